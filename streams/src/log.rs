//! The partitioned, transactional log that topologies read from and write to.
//!
//! [`memory`] implements it in this process, optionally kept on [`disk`]; the crate `interlock-kafka` implements it on
//! Kafka. All pass one conformance suite (`testing::conformance::log`). All methods are asynchronous, so that a
//! simulator can break every call. A call may be dropped at any await: it may or may not have had its effect, as after
//! a lost reply.

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

/// Errors of a log, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing happened; the same call may succeed later.
    #[error("{action}: {reason}")]
    Retriable {
        /// The action that failed, with its coordinates.
        action: String,
        /// The log's message.
        reason: String,
    },
    /// The open transaction can no longer be committed: abort it, then continue.
    #[error("{action}: {reason} (the transaction must be aborted)")]
    Abortable {
        /// The action that failed, with its coordinates.
        action: String,
        /// The log's message.
        reason: String,
    },
    /// This producer was superseded, or the effect of its last call is unknown. A new producer with the same
    /// `transactional.id` settles open transactions when it is initialised.
    #[error("{action}: {reason} (a new producer is needed)")]
    Fenced {
        /// The action that failed, with its coordinates.
        action: String,
        /// The log's message.
        reason: String,
    },
    /// Trying again does not help; a person has to act.
    #[error("{action}: {reason}")]
    Fatal {
        /// The action that failed, with its coordinates.
        action: String,
        /// The log's message.
        reason: String,
    },
}

/// A topic as it must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct TopicSpec {
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    pub replication: i32,
    /// Topic settings, such as `cleanup.policy`.
    pub settings: Vec<(String, String)>,
}

impl TopicSpec {
    /// Describes a topic with one replica and the log's default settings.
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
    /// Metadata stored with the offset.
    pub metadata: String,
}

/// A position to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct OffsetCommit {
    pub source: TopicPartition,
    /// Offset of the next record to apply, and its metadata.
    pub committed: CommittedOffset,
}

/// Proof of membership and generation in a consumer group (KIP-447), in the form that the log's implementation needs.
/// Take fresh metadata for each commit, because stale metadata is refused.
#[derive(Clone)]
pub struct GroupMetadata(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for GroupMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupMetadata")
    }
}

/// Parameters for joining a consumer group.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain fields")]
pub struct ConsumerConfig {
    pub group: String,
    /// Topics to subscribe to.
    pub topics: Vec<String>,
    /// Name of this member, for the log's own diagnostics.
    pub client_id: String,
    /// Identity of a static member (KIP-345), which is the same after a restart; `None` for a dynamic member.
    pub instance_id: Option<String>,
}

/// The result of a poll. Results come in the order of the events.
#[derive(Debug)]
pub enum Polled {
    /// Records of assigned and started partitions.
    Records(Vec<PartitionRecords>),
    /// The group assigned these partitions. They deliver nothing until [`Consumer::start`].
    Assigned(Vec<TopicPartition>),
    /// The group revokes these partitions. They still belong to this member until [`Consumer::complete_revocation`]:
    /// finish open work, then call it. No further records of them come.
    Revoked(Vec<TopicPartition>),
    /// These partitions are lost already, because the session has expired, and another member may own them. There is
    /// nothing to acknowledge.
    Lost(Vec<TopicPartition>),
    /// Nothing happened within the given time. Membership is unchanged since the last event.
    Nothing,
}

/// A member of a consumer group. It reads committed records only.
#[async_trait]
pub trait Consumer: Send {
    /// Waits up to `wait` for the next event and returns at most about `max_records` records. Cancel-safe: an event is
    /// either returned or kept for the next call.
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError>;

    /// Starts or restarts fetching from assigned partitions at these offsets. Records fetched earlier are dropped.
    async fn start(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), LogError>;

    /// Returns the position of a started partition: [`Consumer::poll`] has returned all records below it. As
    /// [`Reader::position`], it also moves past transaction markers and aborted records, when `poll` has met them.
    fn position(&self, partition: &TopicPartition) -> Option<i64>;

    /// Stops fetching from assigned partitions until the next [`Consumer::start`]. Fetched records are dropped.
    async fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError>;

    /// Acknowledges the revocation announced by [`Polled::Revoked`], so that the rebalance continues.
    async fn complete_revocation(&mut self) -> Result<(), LogError>;

    /// Returns fresh metadata for a transactional offset commit.
    async fn group_metadata(&mut self) -> Result<GroupMetadata, LogError>;

    /// Returns the group's **stable** committed offsets: waits until no open transaction commits offsets for these
    /// partitions (KIP-447, `require_stable`).
    async fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>, LogError>;

    /// Leaves the group and frees all resources. A static member leaves only by session time-out.
    async fn close(self: Box<Self>) -> Result<(), LogError>;
}

/// A transactional producer. Operations take effect in the order of the calls, even if their futures are not awaited.
/// Every wait ends: a call that exceeds its deadline returns [`LogError::Fenced`], and the producer must then be
/// dropped.
pub trait Producer: Send {
    /// Adds records to the open transaction, and begins one if none is open. A failure surfaces at the commit.
    fn send(&mut self, records: Vec<OutputRecord>);

    /// Adds these positions to the open transaction, or to a new one, and commits it.
    fn commit(&mut self, offsets: Vec<OffsetCommit>, group: GroupMetadata) -> BoxFuture<'static, Result<(), LogError>>;

    /// Aborts the open transaction, if there is one.
    fn abort(&mut self) -> BoxFuture<'static, Result<(), LogError>>;
}

/// Reads the committed records of one partition, without a group.
#[async_trait]
pub trait Reader: Send {
    /// Returns the next records, at most about `max_records`. Returns none after `wait`, or earlier if the position has
    /// only moved past transaction markers and aborted records. Cancel-safe.
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Vec<Record>, LogError>;

    /// Returns the offset from which the next records will come. It also moves past transaction markers and aborted
    /// records, so it reaches the high watermark even if no record precedes that directly.
    fn position(&self) -> i64;
}

/// A partitioned, transactional log.
#[async_trait]
pub trait Log: Send + Sync {
    /// Joins a consumer group.
    async fn consumer(&self, config: &ConsumerConfig) -> Result<Box<dyn Consumer>, LogError>;

    /// Creates a producer with this `transactional.id`. Fences an earlier producer with the same id, and aborts or
    /// completes its open transaction before it returns (`init_transactions`).
    async fn producer(&self, transactional_id: &str) -> Result<Box<dyn Producer>, LogError>;

    /// Appends records without a transaction, in order and idempotently. Returns the partition and offset of each.
    /// After a failure some of them may have been appended.
    async fn append(&self, records: Vec<OutputRecord>) -> Result<Vec<(i32, i64)>, LogError>;

    /// Returns a reader of a partition from this offset on.
    async fn reader(&self, partition: &TopicPartition, from: i64) -> Result<Box<dyn Reader>, LogError>;

    /// Returns the number of partitions; `None` if the topic does not exist.
    async fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError>;

    /// Returns the group's committed offsets without waiting for open transactions. They only serve to find the last
    /// committer in the metadata, which has to be fenced before [`Consumer::committed`] is called.
    async fn committed_unstable(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError>;

    /// Returns low and high watermark: the first offset kept, and the offset after the last one written, also by open
    /// transactions.
    async fn watermarks(&self, partition: &TopicPartition) -> Result<(i64, i64), LogError>;

    /// Creates the topics that do not exist; the others stay unchanged.
    async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// Adds empty partitions to a topic until it has this number. Records stay where they are, so a key may from now on
    /// belong to another partition than its earlier records.
    async fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError>;
}
