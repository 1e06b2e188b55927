//! The settings of the topics: creates the topics that are missing, and judges those that exist.
//!
//! | topics | settings | why |
//! | --- | --- | --- |
//! | `booking-requests` | `message.timestamp.type=LogAppendTime` | the time of a command is its record's, never the client's claim |
//! | `train-services` | `cleanup.policy=compact` | a start reads the last plan of each train, however old |
//! | dead letters | `max.message.bytes=2097152` | the longest record that a broker takes fits in, with the reason |
//! | events, requests, dead letters | `retention.ms` as configured, unlimited by default | a ledger is rebuilt from its events |
//!
//! All topics have the same number of partitions, because a partition of each belongs to one ledger. The one exception
//! is `train-services`: every worker reads all of it. It never grows, because a train's plans would then lie in two
//! partitions.

use std::time::Duration;

use interlock_schemas::topics::{BOOKING_REQUESTS, EVENTS, TOPICS, TRAIN_SERVICES, dlq};
use interlock_streams::log::{Log, TopicSpec};

use crate::{Result, ensure};

/// Number of copies from which on a write must reach two of them.
const COPIES_FOR_TWO_IN_SYNC: i32 = 3;

/// The setting by which the broker's clock stamps records.
const TIMESTAMP: (&str, &str) = ("message.timestamp.type", "LogAppendTime");
/// The setting that keeps the last record of each key.
const COMPACT: (&str, &str) = ("cleanup.policy", "compact");
/// Limits that would delete records; -1 lifts them.
const RETENTION: [&str; 2] = ["retention.ms", "retention.bytes"];
const UNLIMITED: &str = "-1";

/// The choices of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// Number of partitions of new topics.
    pub partitions: i32,
    /// Number of copies of each partition.
    pub replication: i32,
    /// Retention of records; `None`: without limit.
    pub retention: Option<Duration>,
}

impl TopicSettings {
    /// Returns the settings of a log in this process: one copy, kept without limit.
    pub const fn in_process(partitions: i32) -> Self {
        Self {
            partitions,
            replication: 1,
            retention: None,
        }
    }
}

/// Returns the specification of every topic of the contract, and of its dead-letter topic.
pub fn specs(topics: &TopicSettings) -> Vec<TopicSpec> {
    let names = TOPICS.iter().flat_map(|(topic, _)| [(*topic).to_owned(), dlq(topic)]);
    let specs = names.map(|name| TopicSpec {
        settings: settings(&name, topics),
        name,
        partitions: topics.partitions,
        replication: topics.replication,
    });
    specs.collect()
}

/// Creates the topics that are missing, with as many partitions as the existing topics have; if there are none, with as
/// many as configured. Fails if existing topics differ from each other. Returns the number of partitions.
pub async fn ensure(log: &dyn Log, topics: &TopicSettings) -> Result<i32> {
    let existing = existing(log).await?;
    let partitions = common(&existing)?.unwrap_or(topics.partitions);
    if partitions != topics.partitions {
        tracing::warn!(
            existing = partitions,
            configured = topics.partitions,
            "the topics have another number of partitions than topics.partitions says; it stays as it is"
        );
    }
    let topics = TopicSettings {
        partitions,
        ..topics.clone()
    };
    let missing: Vec<TopicSpec> = specs(&topics)
        .into_iter()
        .filter(|spec| existing.iter().all(|(name, _)| *name != spec.name))
        .collect();
    if !missing.is_empty() {
        log.create_topics(&missing).await?;
        let names: Vec<&str> = missing.iter().map(|spec| spec.name.as_str()).collect();
        tracing::info!(
            topics = names.join(", "),
            partitions,
            replication = topics.replication,
            "created topics"
        );
    }
    Ok(partitions)
}

/// Returns the number of partitions of topics that must all exist, because the caller may not create them.
pub async fn require(log: &dyn Log) -> Result<i32> {
    let existing = existing(log).await?;
    let missing: Vec<&str> = TOPICS
        .iter()
        .map(|(topic, _)| *topic)
        .filter(|topic| existing.iter().all(|(name, _)| name != topic))
        .collect();
    ensure!(
        missing.is_empty(),
        "these topics are missing: {}; run `interlock seed`, or set topics.create",
        missing.join(", ")
    );
    Ok(common(&existing)?.unwrap_or_default())
}

/// Returns the topics whose partitions belong to ledgers, the requests last.
pub fn of_ledgers() -> impl Iterator<Item = String> {
    let all = TOPICS.iter().rev().map(|(topic, _)| *topic);
    let of_ledgers = all.filter(|topic| *topic != TRAIN_SERVICES && *topic != BOOKING_REQUESTS);
    let others = of_ledgers.flat_map(|topic| [topic.to_owned(), dlq(topic)]);
    others.chain([dlq(BOOKING_REQUESTS), BOOKING_REQUESTS.to_owned()])
}

async fn existing(log: &dyn Log) -> Result<Vec<(String, i32)>> {
    let mut existing = Vec::new();
    for name in TOPICS.iter().flat_map(|(topic, _)| [(*topic).to_owned(), dlq(topic)]) {
        if let Some(partitions) = log.partitions(&name).await? {
            existing.push((name, partitions));
        }
    }
    Ok(existing)
}

fn common(existing: &[(String, i32)]) -> Result<Option<i32>> {
    let of_ledgers = |(name, _): &&(String, i32)| *name != TRAIN_SERVICES && *name != dlq(TRAIN_SERVICES);
    let mut existing = existing.iter().filter(of_ledgers).peekable();
    let Some((_, partitions)) = existing.peek().copied() else {
        return Ok(None);
    };
    let differ = existing.clone().any(|(_, other)| other != partitions);
    let list = || {
        existing
            .map(|(name, partitions)| format!("{name} {partitions}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    ensure!(
        !differ,
        "all topics must have the same number of partitions, but they have: {}; if `interlock replay --repartition` was \
         interrupted, run it again",
        list()
    );
    Ok(Some(*partitions))
}

fn settings(topic: &str, topics: &TopicSettings) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut set = |name: &str, value: &str| settings.push((name.to_owned(), value.to_owned()));
    if topic == TRAIN_SERVICES {
        set(COMPACT.0, COMPACT.1);
    } else {
        set("cleanup.policy", "delete");
        let kept = topics.retention.map(|kept| kept.as_millis().to_string());
        set(RETENTION[0], kept.as_deref().unwrap_or(UNLIMITED));
        // The broker's default could delete by size what has to be kept by time.
        set(RETENTION[1], UNLIMITED);
    }
    if topic == BOOKING_REQUESTS {
        set(TIMESTAMP.0, TIMESTAMP.1);
    }
    if topic.ends_with(&dlq("")) {
        set("max.message.bytes", "2097152");
    }
    if topics.replication >= COPIES_FOR_TWO_IN_SYNC {
        set("min.insync.replicas", "2");
    }
    settings
}

/// The settings of a topic, as stated by the broker.
pub type Stated<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Judges the settings of a topic that existed before. Fails if outcomes would be wrong; returns a warning if records
/// may be lost one day.
pub fn judge(topic: &str, stated: Stated<'_>) -> Result<Option<String>> {
    let is = |name: &str, value: &str| stated(name).is_none_or(|stated| stated == value);
    let advice = |(name, value): (&str, &str)| {
        format!(
            "set it: kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}"
        )
    };
    ensure!(
        topic != BOOKING_REQUESTS || is(TIMESTAMP.0, TIMESTAMP.1),
        "topic {topic} keeps the clients' timestamps, but the time of a command is the broker's; {}",
        advice(TIMESTAMP)
    );
    if topic == TRAIN_SERVICES && stated(COMPACT.0).is_some_and(|policy| !policy.contains(COMPACT.1)) {
        let advice = advice(COMPACT);
        return Ok(Some(format!(
            "topic {topic} is not compacted, so that plans vanish when they are old; {advice}"
        )));
    }
    if EVENTS.contains(&topic) && !RETENTION.iter().all(|name| is(name, UNLIMITED)) {
        let kept = stated(RETENTION[0]).unwrap_or_default();
        return Ok(Some(format!(
            "topic {topic} keeps records for {kept} ms only; ledgers are rebuilt from it, so this must outlive the sale; \
             else {}",
            advice((RETENTION[0], UNLIMITED))
        )));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(replication: i32, retention: Option<Duration>) -> TopicSettings {
        TopicSettings {
            partitions: 4,
            replication,
            retention,
        }
    }

    fn setting(specs: &[TopicSpec], topic: &str, name: &str) -> Option<String> {
        let spec = specs.iter().find(|spec| spec.name == topic).unwrap();
        spec.settings
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    }

    #[test]
    fn topics_are_as_the_contract_says() {
        let specs = specs(&topics(1, None));
        assert_eq!(specs.len(), 2 * TOPICS.len());
        assert!(specs.iter().all(|spec| spec.partitions == 4 && spec.replication == 1));
        assert_eq!(
            setting(&specs, "booking-requests", "message.timestamp.type").as_deref(),
            Some("LogAppendTime")
        );
        assert_eq!(setting(&specs, "confirmed", "message.timestamp.type"), None);
        assert_eq!(
            setting(&specs, "train-services", "cleanup.policy").as_deref(),
            Some("compact")
        );
        for topic in EVENTS {
            assert_eq!(setting(&specs, topic, "retention.ms").as_deref(), Some("-1"), "{topic}");
        }
        assert_eq!(
            setting(&specs, "booking-requests.dlq", "retention.ms").as_deref(),
            Some("-1")
        );
        assert_eq!(setting(&specs, "confirmed", "min.insync.replicas"), None);
    }

    #[test]
    fn three_copies_need_two_in_sync_and_retention_can_be_limited() {
        let day = Duration::from_secs(86_400);
        let specs = specs(&topics(3, Some(day)));
        assert_eq!(
            setting(&specs, "confirmed", "min.insync.replicas").as_deref(),
            Some("2")
        );
        assert_eq!(
            setting(&specs, "confirmed", "retention.ms").as_deref(),
            Some("86400000")
        );
    }

    #[test]
    fn topics_that_do_not_fit_are_judged() {
        let judge = |topic: &str, settings: &[(&str, &str)]| {
            let find = |name: &str| {
                settings
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            judge(topic, &find).map_err(|error| error.to_string())
        };
        assert!(judge("booking-requests", &[("message.timestamp.type", "CreateTime")]).is_err());
        assert_eq!(
            judge("booking-requests", &[("message.timestamp.type", "LogAppendTime")]),
            Ok(None)
        );
        assert!(
            judge("train-services", &[("cleanup.policy", "delete")])
                .unwrap()
                .is_some()
        );
        assert_eq!(
            judge("train-services", &[("cleanup.policy", "compact,delete")]),
            Ok(None)
        );
        assert!(
            judge("waitlist", &[("retention.ms", "604800000")])
                .unwrap()
                .unwrap()
                .contains("604800000 ms")
        );
        assert_eq!(judge("waitlist", &[("retention.ms", "-1")]), Ok(None));
        assert_eq!(judge("waitlist", &[]), Ok(None));
    }

    #[test]
    fn all_must_have_the_same_number_of_partitions() {
        let list = |counts: &[(&str, i32)]| {
            counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect::<Vec<_>>()
        };
        assert_eq!(common(&[]).unwrap(), None);
        assert_eq!(common(&list(&[("a", 4), ("b", 4)])).unwrap(), Some(4));
        assert!(
            common(&list(&[("a", 4), ("b", 8)]))
                .unwrap_err()
                .to_string()
                .contains("a 4, b 8")
        );
    }
}
