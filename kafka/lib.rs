//! The trait `Log` on Apache Kafka, through librdkafka.
//!
//! | part | what it is |
//! | --- | --- |
//! | `config` | settings, and why each differs from librdkafka's own |
//! | `consumer`, `member` | a group's member: asynchronous side, and the thread that owns the client |
//! | `membership`, `positions` | what that thread does about partitions: whose they are, where they are read from |
//! | `record_arena`, `fetch_buffer` | records copied out of librdkafka, and collected so that a batch has some of each partition |
//! | `producer`, `transaction_thread` | a transactional producer: likewise |
//! | `appender` | a producer without transactions |
//! | `bulk` | a producer and a consumer for loads: outside of groups and transactions |
//! | `reader` | one partition outside of any group |
//! | `admin` | questions about topics and offsets, and the creation of topics |
//! | `ffi` | the few calls that rust-rdkafka lacks; the only unsafe code |
//! | `errors` | errors sorted by what the caller does next |
//!
//! librdkafka's calls block, some of them for longer than documented. None therefore runs on a tokio worker: each
//! consumer, producer and reader has an OS thread, and every wait for an answer has a deadline.

mod admin;
mod appender;
mod bulk;
mod config;
mod consumer;
mod context;
mod errors;
mod fetch_buffer;
mod ffi;
mod gaps;
mod member;
mod membership;
mod positions;
mod producer;
mod reader;
mod record_arena;
mod transaction_thread;

use std::collections::HashMap;

use async_trait::async_trait;
use interlock_streams::log::{CommittedOffset, Consumer, ConsumerConfig, Log, LogError, Producer, Reader, TopicSpec};
use interlock_streams::record::{OutputRecord, TopicPartition};
use tokio::sync::OnceCell;

use self::admin::AdminClient;
use self::appender::Appender;
use self::consumer::KafkaConsumer;
use self::producer::KafkaProducer;
use self::reader::KafkaReader;

pub use self::bulk::{BulkProducer, TailConsumer, TailRecord};
pub use self::config::{GroupProtocol, KafkaConfig};
pub use self::ffi::exit;

/// A log on Kafka.
pub struct KafkaLog {
    config: KafkaConfig,
    admin: AdminClient,
    /// Created on first use, because few callers append without a transaction.
    appender: OnceCell<Appender>,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog")
            .field("bootstrap_servers", &self.config.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Checks the settings. librdkafka connects later, in the background, and keeps trying.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        config.check()?;
        let admin = AdminClient::new(config.clone())?;
        Ok(Self {
            config,
            admin,
            appender: OnceCell::new(),
        })
    }

    /// Reads the settings of topics as the broker states them; for each topic that it refuses, returns the reason.
    pub async fn topic_settings(
        &self,
        topics: &[&str],
    ) -> Result<Vec<Result<HashMap<String, String>, String>>, LogError> {
        self.admin.topic_settings(topics).await
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn consumer(&self, config: &ConsumerConfig) -> Result<Box<dyn Consumer>, LogError> {
        Ok(Box::new(KafkaConsumer::join(&self.config, config).await?))
    }

    async fn producer(&self, transactional_id: &str) -> Result<Box<dyn Producer>, LogError> {
        Ok(Box::new(KafkaProducer::init(&self.config, transactional_id).await?))
    }

    async fn append(&self, records: Vec<OutputRecord>) -> Result<Vec<(i32, i64)>, LogError> {
        let appender = self.appender.get_or_try_init(async || Appender::new(&self.config));
        appender.await?.append(&records).await
    }

    async fn reader(&self, partition: &TopicPartition, from: i64) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(KafkaReader::open(&self.config, partition, from).await?))
    }

    async fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError> {
        self.admin.partitions(topic).await
    }

    async fn committed_unstable(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        self.admin.committed_unstable(group, partitions).await
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<(i64, i64), LogError> {
        self.admin.watermarks(partition).await
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.admin.create_topics(topics).await
    }

    async fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        self.admin.create_partitions(topic, partitions).await
    }
}
