//! The vocabulary of the cases.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use rand::TryRngCore;
use tokio::time::timeout;

use crate::log::{
    CommittedOffset, Consumer, ConsumerConfig, GroupMetadata, Log, LogError, OffsetCommit, Polled, Producer, TopicSpec,
};
use crate::record::{OutputRecord, Record, TopicPartition};

/// Longest wait for something that must come. A real group needs seconds to rebalance.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Longest wait of one call; the cases call again.
pub(super) const STEP: Duration = Duration::from_millis(50);

/// Number of checks for something that must not come. They prove little about a slow log, but nothing false.
pub(super) const LOOKS: usize = 5;

/// A name that no other run uses.
#[allow(clippy::disallowed_methods, reason = "runs against one cluster must not meet")]
pub fn unique_name(case: &str) -> String {
    let random = rand::rngs::OsRng.try_next_u32().expect("the system has randomness");
    format!("{case}-{random:08x}")
}

/// Waits for something that must come.
///
/// # Panics
/// If it doesn't within [`DEADLINE`].
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// Creates a topic with this many partitions.
pub(super) async fn topic(log: &dyn Log, name: &str, partitions: i32) {
    let spec = TopicSpec {
        name: name.to_owned(),
        partitions,
        replication: 1,
        // Some cases write timestamps of long ago.
        settings: vec![("retention.ms".to_owned(), "-1".to_owned())],
    };
    within("create a topic", log.create_topics(&[spec]))
        .await
        .expect("creates the topic");
}

pub(super) fn output(topic: &str, partition: i32, value: &str) -> OutputRecord {
    OutputRecord {
        topic: topic.into(),
        partition: Some(partition),
        timestamp: None,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
    }
}

pub(super) fn outputs(topic: &str, partition: i32, values: &[&str]) -> Vec<OutputRecord> {
    values.iter().map(|value| output(topic, partition, value)).collect()
}

/// Metadata for commits without offsets: nobody looks at it.
pub(super) fn no_group() -> GroupMetadata {
    GroupMetadata(std::sync::Arc::new(()))
}

pub(super) async fn producer(log: &dyn Log, transactional_id: &str) -> Box<dyn Producer> {
    let made = within("initialise a producer", async {
        loop {
            match log.producer(transactional_id).await {
                Err(LogError::Retriable { .. }) => {}
                other => return other,
            }
        }
    });
    made.await.expect("initialises the producer")
}

pub(super) async fn commit(producer: &mut dyn Producer) {
    let committed = within("commit", producer.commit(Vec::new(), no_group())).await;
    committed.expect("commits");
}

/// Writes these values in one transaction.
pub(super) async fn write(log: &dyn Log, name: &str, topic: &str, partition: i32, values: &[&str]) {
    let mut producer = producer(log, &format!("{name}-writer")).await;
    producer.send(outputs(topic, partition, values));
    commit(producer.as_mut()).await;
}

pub(super) fn value(record: &Record) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

/// Reads what is committed, up to the high watermark as it stands: nothing must be open.
pub(super) async fn read_all(log: &dyn Log, partition: &TopicPartition) -> Vec<Record> {
    let (low, high) = log.watermarks(partition).await.expect("has watermarks");
    let mut reader = log.reader(partition, low).await.expect("opens a reader");
    let mut records = Vec::new();
    within("read to the high watermark", async {
        while reader.position() < high {
            records.extend(reader.next(1000, STEP).await.expect("reads"));
        }
    })
    .await;
    records
}

pub(super) async fn read_values(log: &dyn Log, partition: &TopicPartition) -> Vec<String> {
    read_all(log, partition).await.iter().map(value).collect()
}

/// Waits until the high watermark is at least this far beyond the low one.
pub(super) async fn high_watermark(log: &dyn Log, partition: &TopicPartition, at_least: i64) -> i64 {
    within("the high watermark", async {
        loop {
            let (low, high) = log.watermarks(partition).await.expect("has watermarks");
            if high >= low + at_least {
                return high;
            }
            tokio::time::sleep(STEP / 10).await;
        }
    })
    .await
}

/// A member of the case's group, and what it was told.
pub(super) struct Member {
    pub(super) consumer: Box<dyn Consumer>,
    pub(super) assigned: std::collections::BTreeSet<TopicPartition>,
    pub(super) revoked: Vec<TopicPartition>,
    /// Values and where they were read.
    pub(super) read: Vec<(TopicPartition, Record)>,
}

impl Member {
    pub(super) async fn join(log: &dyn Log, group: &str, topics: &[&str]) -> Self {
        let config = ConsumerConfig {
            group: group.to_owned(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            client_id: format!("{group}-member"),
            instance_id: None,
        };
        Self {
            consumer: log.consumer(&config).await.expect("joins"),
            assigned: std::collections::BTreeSet::new(),
            revoked: Vec::new(),
            read: Vec::new(),
        }
    }

    /// Polls once and takes note; revocations are left for the case to complete.
    pub(super) async fn poll(&mut self) {
        match self.consumer.poll(1000, STEP).await {
            Ok(Polled::Records(batches)) => {
                for batch in batches {
                    assert!(!batch.records.is_empty(), "an empty batch of {}", batch.source);
                    assert!(!self.revoked.contains(&batch.source), "records of a revoked partition");
                    let records = batch.records.into_iter();
                    self.read.extend(records.map(|record| (batch.source.clone(), record)));
                }
            }
            Ok(Polled::Assigned(partitions)) => self.assigned.extend(partitions),
            Ok(Polled::Revoked(partitions)) => self.revoked.extend(partitions),
            Ok(Polled::Lost(partitions)) => self.assigned.retain(|partition| !partitions.contains(partition)),
            Ok(Polled::Nothing) | Err(LogError::Retriable { .. }) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }

    /// Polls until this many partitions are assigned.
    pub(super) async fn gets(&mut self, partitions: usize) {
        within("an assignment", async {
            while self.assigned.len() != partitions {
                self.poll().await;
            }
        })
        .await;
    }

    /// Acknowledges what was revoked.
    pub(super) async fn let_go(&mut self) {
        self.consumer
            .complete_revocation()
            .await
            .expect("completes the revocation");
        for partition in self.revoked.drain(..) {
            self.assigned.remove(&partition);
        }
    }

    /// Starts all that is assigned at its beginning.
    pub(super) async fn start_all(&mut self) {
        let positions: Vec<(TopicPartition, i64)> = self.assigned.iter().map(|p| (p.clone(), 0)).collect();
        self.consumer.start(&positions).await.expect("starts");
    }

    /// Polls until this number of records was read.
    pub(super) async fn reads(&mut self, records: usize) {
        within("records", async {
            while self.read.len() < records {
                self.poll().await;
            }
        })
        .await;
    }

    pub(super) fn values(&self) -> Vec<String> {
        self.read.iter().map(|(_, record)| value(record)).collect()
    }

    /// Commits one offset with metadata through a producer, with fresh membership data.
    pub(super) async fn commit(&mut self, producer: &mut dyn Producer, offset: OffsetCommit) -> Result<(), LogError> {
        let metadata = self.consumer.group_metadata().await?;
        within("commit offsets", producer.commit(vec![offset], metadata)).await
    }

    pub(super) async fn committed(&mut self, partition: &TopicPartition) -> Option<CommittedOffset> {
        let asked = std::slice::from_ref(partition);
        let found = within("read offsets", async {
            loop {
                match self.consumer.committed(asked).await {
                    Err(LogError::Retriable { .. }) => {}
                    other => return other.expect("reads the offsets"),
                }
            }
        });
        found.await.pop().expect("one answer for one partition")
    }
}

pub(super) fn offset(source: &TopicPartition, offset: i64, metadata: &str) -> OffsetCommit {
    OffsetCommit {
        source: source.clone(),
        committed: CommittedOffset {
            offset,
            metadata: metadata.to_owned(),
        },
    }
}
