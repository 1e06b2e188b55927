//! Gathers what the log says of the requests: the records, the dead letters, and how far the workers are.

use std::sync::Arc;
use std::time::Duration;

use interlock_schemas::registry::Registry;
use interlock_schemas::{Command, Decoder, KEY_SCHEMA_HEADER, parse_key, topics};
use interlock_streams::dead_letter;
use interlock_streams::log::Log;
use interlock_streams::record::TopicPartition;
use interlock_streams::runtime::Layouts;
use tokio::time::{Instant, sleep};

use super::ledger::Committed;
use super::reading::decode;
use super::requests::{DeadLetter, Request, Requests};
use crate::AuditError;
use interlock_streams::log::partition_reader::PartitionReader;

/// Pause between two looks at how far the workers are.
const PROGRESS_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The requests as the log has them.
pub(crate) struct Gathered {
    /// The requests of each partition.
    pub(crate) requests: Vec<Requests>,
    /// The group's positions, read before the events and after the requests that they were compared with.
    pub(crate) committed: Vec<Committed>,
    /// The DLQ.
    pub(crate) dead: Vec<DeadLetter>,
    /// Partitions and offsets of DLQ records that don't name their origin.
    pub(crate) nameless: Vec<(i32, i64)>,
}

/// Returns the number of ledgers, which is the number of partitions of every topic of the booking topology.
pub(crate) async fn ledgers(log: &dyn Log) -> crate::Result<i32> {
    let ledgers = partitions(log, topics::BOOKING_REQUESTS).await?;
    let Some(ledgers) = ledgers else {
        return Err(AuditError::Installation(format!(
            "there is no topic {}; has `interlock run` ever been started here?",
            topics::BOOKING_REQUESTS
        )));
    };
    for topic in topics::EVENTS {
        match partitions(log, topic).await? {
            Some(found) if found == ledgers => {}
            found => {
                return Err(AuditError::Installation(format!(
                    "topic {topic} has {} partitions, {} has {ledgers}: these are not the topics of one installation",
                    found.unwrap_or(0),
                    topics::BOOKING_REQUESTS
                )));
            }
        }
    }
    Ok(ledgers)
}

async fn partitions(log: &dyn Log, topic: &str) -> crate::Result<Option<i32>> {
    Ok(log.partitions(topic).await?)
}

/// Reads the requests until the group has committed all of them, or `wait` is over.
pub(crate) async fn gather(
    log: &dyn Log,
    registry: &Arc<dyn Registry>,
    group: &str,
    ledgers: i32,
    (wait, patience): (Duration, Duration),
) -> crate::Result<Gathered> {
    let mut reading = Vec::with_capacity(ledgers as usize);
    for (partition, committed) in (0..).zip(read_committed(log, group, ledgers).await?) {
        let layouts = committed.layouts_of(ledgers);
        reading.push(RequestReader::open(log, registry, (partition, patience), layouts).await?);
    }
    let until = Instant::now() + wait;
    let committed = loop {
        for reader in &mut reading {
            reader.read(log).await?;
        }
        let committed = read_committed(log, group, ledgers).await?;
        let behind =
            |(reader, committed): (&RequestReader, &Committed)| reader.requests.after_last() > committed.offset;
        let waiting = reading.iter().zip(&committed).any(behind);
        if !waiting || Instant::now() >= until {
            break committed;
        }
        sleep(PROGRESS_CHECK_INTERVAL).await;
    };
    // Copies that committed transactions forwarded are visible by now.
    for reader in &mut reading {
        reader.read(log).await?;
    }
    let (dead, nameless) = dead_letters(log, patience).await?;
    Ok(Gathered {
        requests: reading.into_iter().map(|reader| reader.requests).collect(),
        committed,
        dead,
        nameless,
    })
}

/// Returns the group's positions; 0 for a partition without one.
pub(crate) async fn read_committed(log: &dyn Log, group: &str, ledgers: i32) -> crate::Result<Vec<Committed>> {
    let sources = TopicPartition::all(topics::BOOKING_REQUESTS, ledgers);
    let found = log.committed_unstable(group, &sources).await?;
    let read = |found: Option<interlock_streams::log::CommittedOffset>| match found {
        Some(found) => Committed::new(found.offset, &found.metadata),
        None => Committed::default(),
    };
    Ok(found.into_iter().map(read).collect())
}

/// Reads a partition of the requests up to its present end.
struct RequestReader {
    reader: PartitionReader,
    decoder: Decoder<Command>,
    layouts: Arc<Layouts>,
    requests: Requests,
}

impl RequestReader {
    async fn open(
        log: &dyn Log,
        registry: &Arc<dyn Registry>,
        (partition, patience): (i32, Duration),
        layouts: Arc<Layouts>,
    ) -> crate::Result<Self> {
        let reader = PartitionReader::open(log, topics::BOOKING_REQUESTS, partition)
            .await?
            .patient_for(patience);
        let requests = Requests {
            partition,
            low: reader.low,
            end: reader.low,
            records: Vec::new(),
        };
        Ok(RequestReader {
            reader,
            decoder: Decoder::new(Arc::clone(registry)),
            layouts,
            requests,
        })
    }

    async fn read(&mut self, log: &dyn Log) -> crate::Result<()> {
        self.reader.extend(log).await?;
        while let Some(records) = self.reader.next().await? {
            for record in records {
                let command = decode(&mut self.decoder, &record).await?.ok();
                let has_header = record.header(KEY_SCHEMA_HEADER).is_some();
                let key = record.key.as_deref().map(|key| parse_key(key, has_header));
                let home = key.map(|key| self.layouts.ledger_at(record.offset, key));
                let partition = self.requests.partition;
                let elsewhere = home.filter(|home| *home != partition);
                let request = Request::new(partition, &record, command.as_ref(), elsewhere);
                self.requests.records.push(request);
            }
        }
        self.requests.end = self.reader.end();
        Ok(())
    }
}

async fn dead_letters(log: &dyn Log, patience: Duration) -> crate::Result<(Vec<DeadLetter>, Vec<(i32, i64)>)> {
    let topic = topics::dlq(topics::BOOKING_REQUESTS);
    let (mut dead, mut nameless) = (Vec::new(), Vec::new());
    for partition in 0..partitions(log, &topic).await?.unwrap_or(0) {
        let mut reader = PartitionReader::open(log, &topic, partition)
            .await?
            .patient_for(patience);
        while let Some(records) = reader.next().await? {
            for record in records {
                match DeadLetter::new(&record) {
                    Some(letter) => dead.push(letter),
                    None if dead_letter::marked(&record).is_some() => {}
                    None => nameless.push((partition, record.offset)),
                }
            }
        }
    }
    Ok((dead, nameless))
}
