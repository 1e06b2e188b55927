//! The common parts of the tests on a real Kafka. Every wait is for a condition, with a deadline.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use interlock_kafka::{KafkaConfig, KafkaLog};
use interlock_streams::log::{
    CommittedOffset, Consumer, ConsumerConfig, GroupMetadata, Log, OffsetCommit, Polled, Producer, TopicSpec,
};
use interlock_streams::record::{OutputRecord, Record, TopicPartition};

/// Longest wait for an expected event.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub const TICK: Duration = Duration::from_millis(50);

/// The address of the real Kafka; says aloud what is skipped without one.
pub fn bootstrap(test: &str) -> Option<String> {
    let address = std::env::var("INTERLOCK_KAFKA_BOOTSTRAP_SERVERS")
        .ok()
        .filter(|address| !address.is_empty());
    if address.is_none() {
        eprintln!(
            "SKIPPED {test}: needs a real Kafka. Run: scripts/services start kafka && \
             eval \"$(scripts/services env)\" && cargo test -p interlock-kafka --test log"
        );
    }
    address
}

/// One test's topics and names, which no other test and no other run has.
pub struct Fixture {
    pub config: KafkaConfig,
    pub log: KafkaLog,
    pub name: String,
}

impl Fixture {
    pub fn new(test: &str) -> Option<Self> {
        Self::with(test, |_| {})
    }

    pub fn with(test: &str, change: impl FnOnce(&mut KafkaConfig)) -> Option<Self> {
        let mut config = KafkaConfig {
            bootstrap_servers: bootstrap(test)?,
            ..KafkaConfig::default()
        };
        change(&mut config);
        #[expect(clippy::disallowed_methods, reason = "a name that no earlier run used")]
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970")
            .as_nanos();
        let log = KafkaLog::new(config.clone()).expect("settings are right");
        Some(Self {
            config,
            log,
            name: format!("test-{test}-{now}"),
        })
    }

    /// Another log with the same names, as another process has one.
    pub fn again(&self, change: impl FnOnce(&mut KafkaConfig)) -> KafkaLog {
        let mut config = self.config.clone();
        change(&mut config);
        KafkaLog::new(config).expect("settings are right")
    }

    pub async fn topic(&self, kind: &str, partitions: i32) -> Arc<str> {
        let name = format!("{}-{kind}", self.name);
        let spec = TopicSpec {
            name: name.clone(),
            partitions,
            replication: 1,
            settings: Vec::new(),
        };
        self.log.create_topics(&[spec]).await.expect("topic can be created");
        name.into()
    }

    pub fn member(&self, client: &str, topic: &str) -> ConsumerConfig {
        ConsumerConfig {
            group: self.name.clone(),
            topics: vec![topic.to_owned()],
            client_id: client.to_owned(),
            instance_id: None,
        }
    }

    pub async fn consumer(&self, client: &str, topic: &str) -> Box<dyn Consumer> {
        self.log.consumer(&self.member(client, topic)).await.expect("consumer")
    }

    pub async fn producer(&self, id: &str) -> Box<dyn Producer> {
        self.log
            .producer(&format!("{}-{id}", self.name))
            .await
            .expect("producer")
    }

    /// Writes records in one transaction.
    pub async fn fill(&self, topic: &Arc<str>, partition: i32, values: impl IntoIterator<Item = String>) {
        let mut producer = self.producer(&format!("fill-{partition}")).await;
        producer.send(
            values
                .into_iter()
                .map(|value| record(topic, partition, &value))
                .collect(),
        );
        producer.commit(Vec::new(), nobody()).await.expect("commit");
    }

    /// Waits until so much was written, by open transactions, too.
    pub async fn written(&self, partition: &TopicPartition, high: i64) {
        let until = Instant::now() + PATIENCE;
        while self.log.watermarks(partition).await.expect("watermarks").1 < high {
            assert!(Instant::now() < until, "{partition} never reached {high}");
            tokio::time::sleep(TICK).await;
        }
    }

    /// All committed records of a partition as it is now.
    pub async fn read(&self, partition: &TopicPartition) -> Vec<Record> {
        let (low, high) = self.log.watermarks(partition).await.expect("watermarks");
        let mut reader = self.log.reader(partition, low).await.expect("reader");
        let mut records = Vec::new();
        let until = Instant::now() + PATIENCE;
        while reader.position() < high {
            assert!(
                Instant::now() < until,
                "{partition}: stuck at {} before {high}",
                reader.position()
            );
            records.extend(reader.next(1_000, TICK).await.expect("next"));
        }
        records
    }
}

/// For transactions without offsets.
pub fn nobody() -> GroupMetadata {
    GroupMetadata(Arc::new(()))
}

pub fn record(topic: &Arc<str>, partition: i32, value: &str) -> OutputRecord {
    OutputRecord {
        topic: topic.clone(),
        partition: Some(partition),
        timestamp: None,
        key: Some(Bytes::copy_from_slice(value.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![("header".into(), Some(Bytes::copy_from_slice(value.as_bytes())))],
    }
}

pub fn text(record: &Record) -> String {
    String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
}

pub fn numbers(range: std::ops::Range<i32>) -> impl Iterator<Item = String> {
    range.map(|n| n.to_string())
}

pub fn offset(source: &TopicPartition, offset: i64, metadata: &str) -> OffsetCommit {
    OffsetCommit {
        source: source.clone(),
        committed: CommittedOffset {
            offset,
            metadata: metadata.to_owned(),
        },
    }
}

/// Polls once and keeps account of what is owned. Revocations are completed at once.
pub async fn step(consumer: &mut dyn Consumer, owned: &mut BTreeSet<TopicPartition>) {
    match consumer.poll(1_000, TICK).await.expect("poll") {
        Polled::Assigned(partitions) => owned.extend(partitions),
        Polled::Revoked(partitions) => {
            partitions
                .iter()
                .for_each(|partition| assert!(owned.remove(partition), "{partition} wasn't owned"));
            consumer.complete_revocation().await.expect("complete");
        }
        Polled::Lost(partitions) => partitions.iter().for_each(|partition| assert!(owned.remove(partition))),
        Polled::Records(_) | Polled::Nothing => {}
    }
}

/// Polls until the condition on what is owned holds.
pub async fn owned(
    consumer: &mut dyn Consumer,
    owned: &mut BTreeSet<TopicPartition>,
    done: impl Fn(&BTreeSet<TopicPartition>) -> bool,
) {
    let until = Instant::now() + PATIENCE;
    while !done(owned) {
        assert!(Instant::now() < until, "the group doesn't settle; owned: {owned:?}");
        step(consumer, owned).await;
    }
}

/// A consumer that owns all of the topic's partitions.
pub async fn alone(fixture: &Fixture, topic: &str, partitions: usize) -> Box<dyn Consumer> {
    let mut consumer = fixture.consumer("alone", topic).await;
    owned(&mut *consumer, &mut BTreeSet::new(), |owned| owned.len() == partitions).await;
    consumer
}

/// Polls until this number of records has come.
pub async fn records(consumer: &mut dyn Consumer, count: usize) -> Vec<(TopicPartition, Record)> {
    let until = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(Instant::now() < until, "only {} of {count} records came", records.len());
        if let Polled::Records(parts) = consumer.poll(1_000, TICK).await.expect("poll") {
            for part in parts {
                assert!(!part.records.is_empty());
                records.extend(part.records.into_iter().map(|record| (part.source.clone(), record)));
            }
        }
    }
    records
}

/// All partitions of a topic.
pub fn partitions(topic: &str, count: i32) -> BTreeSet<TopicPartition> {
    (0..count).map(|n| TopicPartition::new(topic, n)).collect()
}

/// Polls both members until the second owns this number of partitions.
pub async fn settle(
    first: &mut dyn Consumer,
    a: &mut BTreeSet<TopicPartition>,
    second: &mut dyn Consumer,
    b: &mut BTreeSet<TopicPartition>,
    count: usize,
) {
    let all = a.union(b).count();
    let until = Instant::now() + PATIENCE;
    while b.len() != count || a.len() != all - count {
        assert!(Instant::now() < until, "the group doesn't settle: {a:?} {b:?}");
        step(first, a).await;
        step(second, b).await;
    }
}
