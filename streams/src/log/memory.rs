//! An in-process log with Kafka's semantics, as a real broker has them.
//!
//! The same exactly-once runtime runs over it in tests, in the deterministic simulator and embedded in one process, so
//! it keeps the traps as well: markers occupy offsets, an open transaction holds back everything behind it, stale
//! generations are refused while ownership is not checked, a transaction that takes too long fences its producer.
//!
//! **When things happen.** [`Producer`] operations take effect when they are called, in that order; the futures of
//! `commit` and `abort` only bring the answer, after one yield. Each asynchronous method yields once (to tokio or any
//! other executor) before its effect, and again after it unless it is a read, so that a simulator can interleave, and
//! can drop a call before or after it took effect. Dropping a consumer or producer is a crash: the member stays until
//! its session ends, the transaction stays open until it times out or its producer is superseded.
//!
//! **What a test can bring about**: held back are [`MemoryLog::hold_markers`], [`MemoryLog::hold_offsets`],
//! [`MemoryLog::hold_commits`] and [`MemoryLog::hold_news`]; [`MemoryLog::refuse_commit`] dooms a transaction,
//! [`MemoryLog::revoke`] asks partitions back.

mod assignor;
mod broker;
mod clock;
mod consumer;
mod groups;
mod hooks;
mod journal;
mod partition;
mod producer;
mod reader;
mod shared;
mod transactions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::yield_now;

use self::broker::unknown;
use self::consumer::MemoryConsumer;
use self::producer::{MemoryProducer, await_answer};
use self::reader::MemoryReader;
use self::shared::Shared;
use super::{CommittedOffset, Consumer, ConsumerConfig, Log, LogError, Producer, Reader, TopicSpec};
use crate::record::{OutputRecord, Record, TopicPartition};

pub use self::clock::{Clock, ManualClock, SystemClock, TokioClock};
pub(super) use self::journal::{Change, Journal};

/// Settings of the log; the defaults are Kafka's.
#[derive(Clone)]
pub struct MemoryLogConfig {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// A member of a group that makes no call for so long is removed (none of its calls waiting meanwhile).
    pub session_timeout: Duration,
    /// A transaction open for so long is aborted, and its producer fenced.
    pub transaction_timeout: Duration,
    /// Longest wait of a call for markers that a test holds back or for another transaction, before it reports an
    /// error.
    pub request_timeout: Duration,
    /// Bytes from which records outside of transactions are refused. Transactions are still accepted, so the records
    /// that were accepted can be processed.
    pub bytes_max: usize,
}

impl Default for MemoryLogConfig {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            session_timeout: Duration::from_secs(45),
            transaction_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(60),
            bytes_max: usize::MAX,
        }
    }
}

/// The in-process log. Clones share it.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

impl MemoryLog {
    /// An empty log with Kafka's defaults and the system's clock.
    pub fn new() -> Self {
        Self::with(MemoryLogConfig::default())
    }

    /// An empty log.
    pub fn with(config: MemoryLogConfig) -> Self {
        Self {
            shared: Arc::new(Shared::new(config)),
        }
    }

    /// Restores a log from a journal, and writes further changes to the journal.
    pub(super) fn restore(
        config: MemoryLogConfig,
        history: Change,
        journal: Box<dyn Journal>,
    ) -> Result<Self, LogError> {
        let shared = Arc::new(Shared::restore(config, history, journal)?);
        Ok(Self { shared })
    }

    /// Appends records outside of any transaction, all or (where one names no existing partition or is too large) none.
    /// Returns the partition and offset of each. Takes effect at the call and never waits; only a log that is kept on
    /// disk shows the records a little later.
    pub fn append(&self, records: Vec<OutputRecord>) -> Result<Vec<(i32, i64)>, LogError> {
        Ok(self.shared.lock().append_alone(records)?.places)
    }

    /// Returns committed records of a partition from an offset on, at most `max_records`. Never waits.
    pub fn read(&self, partition: &TopicPartition, from: i64, max_records: usize) -> Result<Vec<Record>, LogError> {
        let (records, _) = self.shared.lock().fetch(partition, from, max_records)?;
        Ok(records)
    }

    /// Drops the records of a partition below this offset, as far as no open transaction needs them.
    pub fn truncate(&self, partition: &TopicPartition, before: i64) -> Result<(), LogError> {
        let mut state = self.shared.lock();
        let (found, _) = state.partition_mut(partition).ok_or_else(|| unknown(partition))?;
        found.truncate(before);
        Ok(())
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn consumer(&self, config: &ConsumerConfig) -> Result<Box<dyn Consumer>, LogError> {
        yield_now().await;
        let consumer = MemoryConsumer::join(Arc::clone(&self.shared), config.clone());
        yield_now().await;
        Ok(Box::new(consumer))
    }

    async fn producer(&self, transactional_id: &str) -> Result<Box<dyn Producer>, LogError> {
        yield_now().await;
        let producer = MemoryProducer::supersede(Arc::clone(&self.shared), transactional_id).await?;
        yield_now().await;
        Ok(Box::new(producer))
    }

    async fn append(&self, records: Vec<OutputRecord>) -> Result<Vec<(i32, i64)>, LogError> {
        yield_now().await;
        let appended = self.shared.lock().append_alone(records)?;
        if let Some(answer) = appended.answer {
            await_answer(Arc::clone(&self.shared), answer, "append records".to_owned()).await?;
        }
        yield_now().await;
        Ok(appended.places)
    }

    async fn reader(&self, partition: &TopicPartition, from: i64) -> Result<Box<dyn Reader>, LogError> {
        yield_now().await;
        let reader = MemoryReader::open(Arc::clone(&self.shared), partition.clone(), from)?;
        Ok(Box::new(reader))
    }

    async fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError> {
        yield_now().await;
        let state = self.shared.lock();
        let count = state.topics.get(topic).map(|topic| topic.partitions.len());
        Ok(count.and_then(|count| i32::try_from(count).ok()))
    }

    async fn committed_unstable(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        yield_now().await;
        Ok(self.shared.lock().offsets(group, partitions))
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<(i64, i64), LogError> {
        yield_now().await;
        let state = self.shared.lock();
        let found = state.partition(partition).ok_or_else(|| unknown(partition))?;
        Ok((found.low(), found.high()))
    }

    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        yield_now().await;
        {
            let mut state = self.shared.lock();
            let mut created = BTreeSet::new();
            for topic in topics {
                if state.create_topic(topic)? {
                    created.insert(topic.name.as_str());
                }
            }
            state.announce(&created);
        }
        yield_now().await;
        Ok(())
    }

    async fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        yield_now().await;
        {
            let mut state = self.shared.lock();
            if state.grow_topic(topic, partitions)? {
                state.announce(&BTreeSet::from([topic]));
            }
        }
        yield_now().await;
        Ok(())
    }
}
