//! The in-process log that is kept on disk passes the suite, and brings back what was committed and nothing else.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use interlock_streams::log::disk::{self, DiskError};
use interlock_streams::log::memory::{MemoryLog, MemoryLogConfig};
use interlock_streams::log::{
    CommittedOffset, Consumer, ConsumerConfig, GroupMetadata, Log, LogError, OffsetCommit, Producer, Reader, TopicSpec,
};
use interlock_streams::record::{OutputRecord, TopicPartition};

/// A log in a folder that lasts as long as it.
struct Kept {
    log: MemoryLog,
    _folder: tempfile::TempDir,
}

async fn kept() -> Option<Kept> {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    Some(Kept { log, _folder: folder })
}

interlock_streams::log_conformance!(kept);

fn open(folder: &Path) -> Result<MemoryLog, DiskError> {
    disk::open(&folder.join("log.redb"), MemoryLogConfig::default())
}

#[async_trait]
impl Log for Kept {
    async fn consumer(&self, config: &ConsumerConfig) -> Result<Box<dyn Consumer>, LogError> {
        self.log.consumer(config).await
    }
    async fn producer(&self, transactional_id: &str) -> Result<Box<dyn Producer>, LogError> {
        self.log.producer(transactional_id).await
    }
    async fn append(&self, records: Vec<OutputRecord>) -> Result<Vec<(i32, i64)>, LogError> {
        Log::append(&self.log, records).await
    }
    async fn reader(&self, partition: &TopicPartition, from: i64) -> Result<Box<dyn Reader>, LogError> {
        self.log.reader(partition, from).await
    }
    async fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError> {
        self.log.partitions(topic).await
    }
    async fn committed_unstable(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.log.committed_unstable(group, partitions).await
    }
    async fn watermarks(&self, partition: &TopicPartition) -> Result<(i64, i64), LogError> {
        self.log.watermarks(partition).await
    }
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(topics).await
    }
    async fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        self.log.create_partitions(topic, partitions).await
    }
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn record(partition: i32, value: &str) -> OutputRecord {
    OutputRecord {
        topic: "t".into(),
        partition: Some(partition),
        timestamp: Some(7),
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![("h".into(), Some(Bytes::from_static(b"\xff"))), ("h".into(), None)],
    }
}

async fn topic(log: &MemoryLog, settings: &[(&str, &str)]) {
    let setting = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let spec = TopicSpec {
        name: "t".to_owned(),
        partitions: 2,
        replication: 1,
        settings: settings.iter().map(setting).collect(),
    };
    log.create_topics(&[spec]).await.unwrap();
}

async fn values(log: &MemoryLog, partition: i32) -> Vec<String> {
    let low = log.watermarks(&at(partition)).await.unwrap().0;
    let records = log.read(&at(partition), low, usize::MAX).unwrap();
    let value = |value: Option<Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    records.into_iter().map(|record| value(record.value)).collect()
}

/// Commits a position of the group `g` as its only member.
async fn commit_position(log: &MemoryLog, producer: &mut dyn Producer, offset: i64) {
    let config = ConsumerConfig {
        group: "g".to_owned(),
        topics: vec!["t".to_owned()],
        client_id: "member".to_owned(),
        instance_id: None,
    };
    let mut member = log.consumer(&config).await.unwrap();
    let group = member.group_metadata().await.unwrap();
    let committed = CommittedOffset {
        offset,
        metadata: "by me".to_owned(),
    };
    let commit = OffsetCommit {
        source: at(0),
        committed,
    };
    producer.commit(vec![commit], group).await.unwrap();
}

#[tokio::test]
async fn a_transaction_and_its_offsets_come_back_together_and_an_open_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    topic(&log, &[]).await;
    let mut open_one = log.producer("open").await.unwrap();
    open_one.send(vec![record(0, "never"), record(1, "never")]);
    let mut producer = log.producer("p").await.unwrap();
    producer.send(vec![record(0, "a"), record(1, "b")]);
    commit_position(&log, producer.as_mut(), 5).await;
    producer.send(vec![record(0, "aborted")]);
    producer.abort().await.unwrap();
    producer.send(vec![record(0, "c")]);
    producer
        .commit(Vec::new(), GroupMetadata(std::sync::Arc::new(())))
        .await
        .unwrap();
    let places = Log::append(&log, vec![record(1, "alone")]).await.unwrap();
    assert!(
        values(&log, 0).await.is_empty(),
        "an open transaction holds everything back"
    );
    drop((open_one, producer, log));

    let log = open(folder.path()).unwrap();
    assert_eq!(values(&log, 0).await, ["a", "c"]);
    assert_eq!(values(&log, 1).await, ["b", "alone"]);
    let kept = log.read(&at(1), places[0].1, 1).unwrap().remove(0);
    assert_eq!(
        (kept.offset, kept.timestamp, kept.key.as_deref()),
        (places[0].1, 7, Some(&b"key"[..]))
    );
    assert_eq!(kept.headers, record(1, "").headers);
    let committed = log.committed_unstable("g", &[at(0), at(1)]).await.unwrap();
    assert_eq!(
        committed[0].as_ref().map(|c| (c.offset, c.metadata.as_str())),
        Some((5, "by me"))
    );
    assert_eq!(committed[1], None);
    // It goes on behind what it had.
    let places = Log::append(&log, vec![record(1, "later")]).await.unwrap();
    assert!(places[0].1 > kept.offset);
    assert_eq!(values(&log, 1).await, ["b", "alone", "later"]);
}

#[tokio::test]
async fn a_topic_that_grew_comes_back_as_large() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    topic(&log, &[("retention.records", "1")]).await;
    log.create_partitions("t", 4).await.unwrap();
    Log::append(&log, vec![record(3, "a")]).await.unwrap();
    drop(log);
    let log = open(folder.path()).unwrap();
    assert_eq!(log.partitions("t").await.unwrap(), Some(4));
    assert_eq!(values(&log, 3).await, ["a"]);
    Log::append(&log, vec![record(3, "b")]).await.unwrap();
    assert_eq!(values(&log, 3).await, ["b"], "its settings came back as well");
}

#[tokio::test]
async fn nothing_is_seen_before_it_is_durable_and_what_is_seen_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    topic(&log, &[]).await;
    let mut seen = 0;
    for count in 1..=50 {
        log.append(vec![record(0, &count.to_string())]).unwrap();
        seen = values(&log, 0).await.len().max(seen);
    }
    // Without waiting for anything: what is queued is written, nothing of what was seen is lost.
    drop(log);
    let log = open(folder.path()).unwrap();
    let back = values(&log, 0).await;
    assert!(back.len() >= seen);
    assert_eq!(back, (1..=50).map(|count| count.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn retention_holds_over_a_restart_and_frees_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    topic(&log, &[("retention.records", "3")]).await;
    for count in 0..10 {
        Log::append(&log, vec![record(0, &count.to_string())]).await.unwrap();
    }
    let before = (log.watermarks(&at(0)).await.unwrap(), values(&log, 0).await);
    assert_eq!(before.1, ["7", "8", "9"]);
    drop(log);
    let log = open(folder.path()).unwrap();
    // The next write records which records the last one dropped.
    assert!(log.watermarks(&at(0)).await.unwrap().0 >= before.0.0 - 1);
    Log::append(&log, vec![record(0, "10")]).await.unwrap();
    assert_eq!(values(&log, 0).await, ["8", "9", "10"]);
}

#[tokio::test]
async fn a_full_log_refuses_new_requests_and_finishes_what_it_has() {
    let config = MemoryLogConfig {
        bytes_max: 1_000,
        ..MemoryLogConfig::default()
    };
    let log = MemoryLog::with(config);
    topic(&log, &[]).await;
    let refused = (0..100).find_map(|_| log.append(vec![record(0, "x")]).err());
    assert!(
        matches!(&refused, Some(LogError::Fatal { reason, .. }) if reason.contains("full")),
        "{refused:?}"
    );
    let mut producer = log.producer("p").await.unwrap();
    producer.send(vec![record(1, "the answer")]);
    producer
        .commit(Vec::new(), GroupMetadata(std::sync::Arc::new(())))
        .await
        .unwrap();
    assert_eq!(values(&log, 1).await, ["the answer"]);
}

#[test]
fn a_file_that_can_not_be_used_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(DiskError::InUse { .. })));
    drop(first);
    open(folder.path()).unwrap();

    let foreign = folder.path().join("letter.txt");
    std::fs::write(&foreign, "hello, this is no log but a letter".repeat(1_000)).unwrap();
    let refused = disk::open(&foreign, MemoryLogConfig::default()).err();
    assert!(matches!(refused, Some(DiskError::Foreign { .. })), "{refused:?}");
    let refused = disk::open(&folder.path().join("no/folder"), MemoryLogConfig::default()).err();
    assert!(matches!(refused, Some(DiskError::Unusable { .. })), "{refused:?}");
}
