//! Transactions that are open on the brokers, and the end of those that hang (KIP-664).
//!
//! Readers of committed records stop at the first record of an open transaction. Its coordinator ends it after its
//! time-out; one that hangs is open in a partition, but unknown to its coordinator, and nobody ends it.
//!
//! ```text
//!  leaders:      DescribeProducers ─> who has something open where ─┐
//!  coordinators: ListTransactions, DescribeTransactions ────────────┴─> whose it is, since when; or nobody's: it hangs
//! ```

use std::collections::{BTreeMap, HashMap};

use futures::future::try_join_all;

use super::KafkaLog;
use super::errors::{fatal, retriable};
use super::wire::{Answer, Api, Body, Malformed, ask};
use crate::log::LogError;
use crate::record::TopicPartition;

const WRITE_TXN_MARKERS: Api = Api {
    name: "WriteTxnMarkers",
    key: 27,
    version: 1,
};
const DESCRIBE_PRODUCERS: Api = Api {
    name: "DescribeProducers",
    key: 61,
    version: 0,
};
const DESCRIBE_TRANSACTIONS: Api = Api {
    name: "DescribeTransactions",
    key: 65,
    version: 0,
};
const LIST_TRANSACTIONS: Api = Api {
    name: "ListTransactions",
    key: 66,
    version: 0,
};

/// States in which a transaction is open in some partition.
const OPEN_STATES: [&str; 3] = ["Ongoing", "PrepareCommit", "PrepareAbort"];

/// A transaction that is open in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// The partition.
    pub partition: TopicPartition,
    /// Its first record there: readers of committed records stop before it.
    pub start_offset: i64,
    /// The producer's number, as brokers know it.
    pub producer_id: i64,
    /// How often that number was initialised.
    pub producer_epoch: i32,
    /// The coordinator's epoch that last wrote for it; negative: none did.
    pub coordinator_epoch: i32,
    /// When the producer last wrote there, in milliseconds since the Unix epoch.
    pub last_timestamp: i64,
    /// What its coordinator says; none: no coordinator knows of it, it hangs.
    pub coordinated: Option<Coordinated>,
}

/// A transaction as its coordinator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinated {
    /// The producer's `transactional.id`.
    pub transactional_id: String,
    /// Such as `Ongoing`.
    pub state: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub started: i64,
}

/// Where brokers are, and which of them leads what.
pub(super) struct Cluster {
    pub(super) brokers: BTreeMap<i32, (String, u16)>,
    pub(super) leaders: BTreeMap<TopicPartition, i32>,
}

impl KafkaLog {
    /// The transactions that are open in these topics, by partition and offset.
    ///
    /// # Errors
    /// [`LogError::Fatal`] where brokers are reached over TLS or SASL, or are older than Kafka 3.0: this asks over plain
    /// connections, beside librdkafka.
    pub async fn open_transactions(&self, topics: &[String]) -> Result<Vec<OpenTransaction>, LogError> {
        self.check_plain()?;
        let cluster = self.inquirer.cluster().await?;
        let mut open = self.producers(&cluster, topics).await?;
        let known = self.coordinated(&cluster).await?;
        for transaction in &mut open {
            transaction.coordinated = known.get(&transaction.producer_id).cloned();
        }
        if open.iter().any(|transaction| transaction.coordinated.is_none()) {
            // One that ended between the two questions is open no more.
            let still = self.producers(&cluster, topics).await?;
            let is_open = |transaction: &OpenTransaction| {
                still.iter().any(|other| {
                    (&other.partition, other.producer_id, other.start_offset)
                        == (
                            &transaction.partition,
                            transaction.producer_id,
                            transaction.start_offset,
                        )
                })
            };
            open.retain(|transaction| transaction.coordinated.is_some() || is_open(transaction));
        }
        open.sort_by(|a, b| (&a.partition, a.start_offset).cmp(&(&b.partition, b.start_offset)));
        Ok(open)
    }

    /// Writes into the partition that this transaction is aborted, beside any coordinator: for those that hang. One that a
    /// coordinator knows is ended by [`Log::producer`](crate::log::Log::producer) under its `transactional.id`.
    ///
    /// # Errors
    /// What the broker says; with access control, this needs the right `ClusterAction`.
    pub async fn abort_hanging(&self, transaction: &OpenTransaction) -> Result<(), LogError> {
        self.check_plain()?;
        let cluster = self.inquirer.cluster().await?;
        let partition = &transaction.partition;
        let leader = cluster.leaders.get(partition).and_then(|id| cluster.brokers.get(id));
        let leader = leader.ok_or_else(|| retriable(WRITE_TXN_MARKERS.name, format!("{partition} has no leader")))?;
        let Ok(epoch) = i16::try_from(transaction.producer_epoch) else {
            return Err(fatal(WRITE_TXN_MARKERS.name, "the producer's epoch is out of range"));
        };
        let mut body = Body::default();
        body.array([transaction], |body, transaction| {
            body.i64(transaction.producer_id);
            body.i16(epoch);
            body.bool(false);
            body.array([partition], |body, partition| {
                body.string(&partition.topic);
                body.array([partition.partition], Body::i32);
                body.tags();
            });
            body.i32(transaction.coordinator_epoch.max(0));
            body.tags();
        });
        body.tags();
        let codes = ask(leader, WRITE_TXN_MARKERS, &body, self.config.call_deadline, markers).await?;
        match codes.into_iter().find(|code| *code != 0) {
            None => Ok(()),
            Some(code) => Err(refused(WRITE_TXN_MARKERS, code)),
        }
    }

    fn check_plain(&self) -> Result<(), LogError> {
        let protocol = self
            .config
            .settings
            .iter()
            .rev()
            .find(|(name, _)| name == "security.protocol");
        match protocol {
            Some((_, protocol)) if !protocol.eq_ignore_ascii_case("plaintext") => Err(fatal(
                "ask the brokers for transactions",
                format!(
                    "the brokers are reached over {protocol}, and this asks over plain connections only; use Kafka's own \
                     kafka-transactions.sh --command-config"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Producers with something open, as the leaders say.
    async fn producers(&self, cluster: &Cluster, topics: &[String]) -> Result<Vec<OpenTransaction>, LogError> {
        let mut led: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for (partition, leader) in &cluster.leaders {
            if topics.iter().any(|topic| **topic == *partition.topic) {
                let of_leader = led.entry(*leader).or_default();
                of_leader.entry(&partition.topic).or_default().push(partition.partition);
            }
        }
        let asked = led.into_iter().filter_map(|(leader, topics)| {
            let broker = cluster.brokers.get(&leader)?;
            Some(async move {
                let mut body = Body::default();
                body.array(topics, |body, (topic, partitions)| {
                    body.string(topic);
                    body.array(partitions, Body::i32);
                    body.tags();
                });
                body.tags();
                let answered = ask(broker, DESCRIBE_PRODUCERS, &body, self.config.call_deadline, producers).await?;
                let mut open = Vec::new();
                for (code, found) in answered {
                    if code != 0 {
                        return Err(refused(DESCRIBE_PRODUCERS, code));
                    }
                    open.extend(found);
                }
                Ok(open)
            })
        });
        Ok(try_join_all(asked).await?.concat())
    }

    /// Open transactions by producer, as their coordinators say: every broker may be one.
    async fn coordinated(&self, cluster: &Cluster) -> Result<HashMap<i64, Coordinated>, LogError> {
        let asked = cluster.brokers.values().map(async |broker| {
            let mut body = Body::default();
            body.array(OPEN_STATES, Body::string);
            body.array([0_i64; 0], Body::i64);
            body.tags();
            let within = self.config.call_deadline;
            let (code, ids) = ask(broker, LIST_TRANSACTIONS, &body, within, listed).await?;
            if code != 0 {
                return Err(refused(LIST_TRANSACTIONS, code));
            }
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let mut body = Body::default();
            body.array(&ids, |body, id| body.string(id));
            body.tags();
            ask(broker, DESCRIBE_TRANSACTIONS, &body, within, described).await
        });
        Ok(try_join_all(asked).await?.into_iter().flatten().collect())
    }
}

/// Of each partition: its error code, and what is open there.
fn producers(answer: &mut Answer<'_>) -> Result<Vec<(i16, Vec<OpenTransaction>)>, Malformed> {
    answer.i32()?; // throttle time
    let topics = answer.array(|answer| {
        let topic = answer.string()?.unwrap_or_default();
        let partitions = answer.array(|answer| {
            let partition = TopicPartition::new(topic.as_str(), answer.i32()?);
            let code = answer.i16()?;
            answer.string()?; // a message, which the code says as well
            let producers = answer.array(|answer| producer(answer, &partition))?;
            answer.tags()?;
            let open = producers.into_iter().filter(|producer| producer.start_offset >= 0);
            Ok((code, open.collect()))
        })?;
        answer.tags()?;
        Ok(partitions)
    })?;
    answer.tags()?;
    Ok(topics.into_iter().flatten().collect())
}

fn producer(answer: &mut Answer<'_>, partition: &TopicPartition) -> Result<OpenTransaction, Malformed> {
    let (producer_id, producer_epoch) = (answer.i64()?, answer.i32()?);
    answer.i32()?; // last sequence
    let (last_timestamp, coordinator_epoch, start_offset) = (answer.i64()?, answer.i32()?, answer.i64()?);
    answer.tags()?;
    Ok(OpenTransaction {
        partition: partition.clone(),
        start_offset,
        producer_id,
        producer_epoch,
        coordinator_epoch,
        last_timestamp,
        coordinated: None,
    })
}

/// The error code, and the `transactional.id`s.
fn listed(answer: &mut Answer<'_>) -> Result<(i16, Vec<String>), Malformed> {
    answer.i32()?; // throttle time
    let code = answer.i16()?;
    answer.array(Answer::string)?; // states that this broker doesn't know
    let ids = answer.array(|answer| {
        let id = answer.string()?.unwrap_or_default();
        answer.i64()?;
        answer.string()?;
        answer.tags()?;
        Ok(id)
    })?;
    answer.tags()?;
    Ok((code, ids))
}

/// Each transaction with its producer; those that ended meanwhile are left out.
fn described(answer: &mut Answer<'_>) -> Result<Vec<(i64, Coordinated)>, Malformed> {
    answer.i32()?; // throttle time
    let described = answer.array(|answer| {
        let code = answer.i16()?;
        let transactional_id = answer.string()?.unwrap_or_default();
        let state = answer.string()?.unwrap_or_default();
        answer.i32()?; // time-out
        let (started, producer_id) = (answer.i64()?, answer.i64()?);
        answer.i16()?; // epoch
        answer.array(|answer| {
            answer.string()?;
            answer.array(Answer::i32)?;
            answer.tags()
        })?;
        answer.tags()?;
        let coordinated = Coordinated {
            transactional_id,
            state,
            started,
        };
        Ok((code == 0).then_some((producer_id, coordinated)))
    })?;
    answer.tags()?;
    Ok(described.into_iter().flatten().collect())
}

/// Error codes of all partitions.
fn markers(answer: &mut Answer<'_>) -> Result<Vec<i16>, Malformed> {
    let producers = answer.array(|answer| {
        answer.i64()?;
        let topics = answer.array(|answer| {
            answer.string()?;
            let codes = answer.array(|answer| {
                answer.i32()?;
                let code = answer.i16()?;
                answer.tags()?;
                Ok(code)
            })?;
            answer.tags()?;
            Ok(codes)
        })?;
        answer.tags()?;
        Ok(topics.concat())
    })?;
    answer.tags()?;
    Ok(producers.concat())
}

/// What a broker's error code means here. <https://kafka.apache.org/protocol#protocol_error_codes>
fn refused(api: Api, code: i16) -> LogError {
    let action = format!("{} was refused with code {code}", api.name);
    match code {
        3 | 5 | 6 | 14 | 15 | 16 => retriable(action, "the leader or coordinator has just moved"),
        29 => fatal(action, "this needs the right to read the topics"),
        31 => fatal(action, "this needs the right ClusterAction on the cluster"),
        35 => fatal(action, "the broker is older than Kafka 3.0"),
        47 | 49 | 51 => fatal(
            action,
            "the producer is another one by now, so the transaction has ended",
        ),
        53 => fatal(action, "this needs the right to describe transactional ids"),
        _ => fatal(action, "see the protocol's list of error codes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a broker writes it, by the protocol's message definitions.
    #[test]
    fn producers_with_something_open_are_found() {
        let mut bytes = Body::default();
        bytes.i32(0);
        bytes.array(["confirmed"], |body, topic| {
            body.string(topic);
            body.array([3], |body, partition| {
                body.i32(partition);
                body.i16(0);
                body.string("");
                body.array([-1_i64, 120], |body, start_offset| {
                    body.i64(4711);
                    body.i32(2);
                    body.i32(9);
                    body.i64(1_700_000_000_000);
                    body.i32(-1);
                    body.i64(start_offset);
                    body.tags();
                });
                body.tags();
            });
            body.tags();
        });
        bytes.tags();
        let bytes = bytes.into_bytes();
        let found = producers(&mut Answer(&bytes)).expect("an answer");
        let [(0, open)] = &found[..] else { panic!("{found:?}") };
        let [transaction] = &open[..] else { panic!("{open:?}") };
        assert_eq!(transaction.partition, TopicPartition::new("confirmed", 3));
        assert_eq!((transaction.start_offset, transaction.producer_id), (120, 4711));
        assert_eq!((transaction.producer_epoch, transaction.coordinator_epoch), (2, -1));
        assert!(producers(&mut Answer(&bytes[..bytes.len() - 1])).is_err());
    }
}
