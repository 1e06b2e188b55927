//! The partitioned, transactional log that topologies read from and write to.
//!
//! [`memory`] implements it in this process, alone or kept on [`disk`]; the crate `interlock-kafka` does on Kafka. All pass
//! one conformance suite (`testing::conformance::log`). All methods are asynchronous, so that every call is a place where a simulator can break it. Implementations must be safe to drop
//! at any await point: a dropped call may or may not have had its effect, as with a lost reply.

pub mod disk;
pub mod memory;
pub mod murmur2;
pub mod partition_reader;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::record::{OutputRecord, PartitionRecords, Record, TopicPartition};

/// What went wrong, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing happened; the same call may succeed later.
    #[error("{action}: {reason}")]
    Retriable {
        /// What was tried, with its coordinates.
        action: String,
        /// What the log said.
        reason: String,
    },
    /// The open transaction can't be committed any more; abort it, then go on.
    #[error("{action}: {reason} (the transaction must be aborted)")]
    Abortable {
        /// What was tried, with its coordinates.
        action: String,
        /// What the log said.
        reason: String,
    },
    /// This producer was superseded, or whether its last call took effect is not known: only a new producer under the
    /// same `transactional.id`, whose initialisation settles what was left open, tells.
    #[error("{action}: {reason} (a new producer is needed)")]
    Fenced {
        /// What was tried, with its coordinates.
        action: String,
        /// What the log said.
        reason: String,
    },
    /// Trying again will not help; somebody must look.
    #[error("{action}: {reason}")]
    Fatal {
        /// What was tried, with its coordinates.
        action: String,
        /// What the log said.
        reason: String,
    },
}

/// A topic as it must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Replication factor.
    pub replication: i32,
    /// Topic settings, such as `cleanup.policy`.
    pub settings: Vec<(String, String)>,
}

impl TopicSpec {
    /// A topic with one replica and the log's own settings.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication: 1,
            settings: Vec::new(),
        }
    }
}

/// A group's committed position in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Offset of the next record to apply.
    pub offset: i64,
    /// What was stored beside it.
    pub metadata: String,
}

/// A position to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The partition.
    pub source: TopicPartition,
    /// Offset of the next record to apply, and what is stored beside it.
    pub committed: CommittedOffset,
}

/// Proof of membership and generation in a consumer group, as the log's implementation needs it (KIP-447).
/// Take a fresh one for each commit: a stale one is refused.
#[derive(Clone)]
pub struct GroupMetadata(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for GroupMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupMetadata")
    }
}

/// How to join a consumer group.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Group.
    pub group: String,
    /// Topics to subscribe to.
    pub topics: Vec<String>,
    /// Name of this member, for the log's own diagnostics.
    pub client_id: String,
    /// Static membership (KIP-345): the same identity over restarts; none for a dynamic member.
    pub instance_id: Option<String>,
}

/// What a consumer's poll brings. The order is the order in which things happened.
#[derive(Debug)]
pub enum Polled {
    /// Records of assigned and started partitions.
    Records(Vec<PartitionRecords>),
    /// The group gave us these partitions. They are silent until [`Consumer::start`].
    Assigned(Vec<TopicPartition>),
    /// The group takes these partitions back. They are still ours until [`Consumer::complete_revocation`]: end what
    /// was begun, then call it. No records of them come after this.
    Revoked(Vec<TopicPartition>),
    /// These partitions were lost already (session expired): somebody else may own them. Nothing to acknowledge.
    Lost(Vec<TopicPartition>),
    /// Nothing within the given time. Membership is as it was at the last event.
    Nothing,
}

/// A member of a consumer group, reading committed records only.
#[async_trait]
pub trait Consumer: Send {
    /// Waits up to `wait` for the next event and returns at most about `max_records` records. Cancel-safe: an event is
    /// either returned or kept for the next call.
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError>;

    /// Starts (or restarts) fetching assigned partitions at these offsets. What was fetched for them before is dropped.
    async fn start(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), LogError>;

    /// Stops fetching from assigned partitions until the next [`Consumer::start`]. What was fetched is dropped.
    async fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Lets the rebalance that [`Polled::Revoked`] announced go on.
    async fn complete_revocation(&mut self) -> Result<(), LogError>;

    /// Fresh membership data for a transactional offset commit.
    async fn group_metadata(&mut self) -> Result<GroupMetadata, LogError>;

    /// The group's committed offsets, **stable** ones: waits until no transaction that commits offsets for these
    /// partitions is open (KIP-447, `require_stable`).
    async fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>, LogError>;

    /// Leaves the group (a static member leaves by session time-out only) and frees everything.
    async fn close(self: Box<Self>) -> Result<(), LogError>;
}

/// A transactional producer. Operations take effect in the order in which they are called, whether or not their futures
/// are awaited. Every wait ends: a call that overruns its deadline reports [`LogError::Fenced`], and the producer is
/// then good for nothing but being dropped.
pub trait Producer: Send {
    /// Adds records to the open transaction, beginning one where none is open. A failure surfaces at the commit.
    fn send(&mut self, records: Vec<OutputRecord>);

    /// Adds these positions to the open transaction (beginning one where none is open) and commits it.
    fn commit(&mut self, offsets: Vec<OffsetCommit>, group: GroupMetadata) -> BoxFuture<'static, Result<(), LogError>>;

    /// Aborts the open transaction; does nothing where none is open.
    fn abort(&mut self) -> BoxFuture<'static, Result<(), LogError>>;
}

/// Reads one partition outside of any group, committed records only.
#[async_trait]
pub trait Reader: Send {
    /// The next records (at most about `max_records`), or none within `wait`. Cancel-safe.
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Vec<Record>, LogError>;

    /// Offset from which the next records will come. Also moves past transaction markers and aborted records, so that
    /// it reaches a high watermark which is no record's offset + 1.
    fn position(&self) -> i64;
}

/// The log.
#[async_trait]
pub trait Log: Send + Sync {
    /// Joins a consumer group.
    async fn consumer(&self, config: &ConsumerConfig) -> Result<Box<dyn Consumer>, LogError>;

    /// A producer under this `transactional.id`. What an earlier producer under the same id left open is aborted or
    /// completed before this returns, and that producer is fenced (`init_transactions`).
    async fn producer(&self, transactional_id: &str) -> Result<Box<dyn Producer>, LogError>;

    /// Appends records outside of any transaction, in order, each once, and returns the partition and offset of each.
    /// After a failure some of them may be there.
    async fn append(&self, records: Vec<OutputRecord>) -> Result<Vec<(i32, i64)>, LogError>;

    /// Reads a partition from this offset on.
    async fn reader(&self, partition: &TopicPartition, from: i64) -> Result<Box<dyn Reader>, LogError>;

    /// Number of partitions; none where the topic doesn't exist.
    async fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError>;

    /// The group's committed offsets as they stand, without waiting for open transactions: only good for learning from
    /// the metadata who committed last, so that it can be fenced before [`Consumer::committed`] is asked.
    async fn committed_unstable(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError>;

    /// Low and high watermark: first offset kept, and one more than the last offset written (also by transactions
    /// that are still open).
    async fn watermarks(&self, partition: &TopicPartition) -> Result<(i64, i64), LogError>;

    /// Creates the topics that don't exist yet; leaves the others alone.
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// Adds empty partitions to a topic until it has so many; leaves it alone where it has. Records stay where they are: from
    /// now on a key may belong to another partition than its earlier records.
    async fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError>;
}
