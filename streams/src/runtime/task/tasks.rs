//! The interface between a stream thread and its tasks, whether they commit to the log or to a database.

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::log::Consumer;
use crate::record::{PartitionRecords, TopicPartition};
use crate::runtime::error::TaskError;

/// The tasks of one stream thread. Two kinds: [`super::transactional::Transactional`] commits to the log,
/// [`super::sinking::Sinking`] to a database.
#[async_trait]
pub(crate) trait Tasks: Send {
    /// Returns whether a commit is cheap enough to be made as soon as there is no backlog, not only at intervals.
    fn commits_when_drained(&self) -> bool;

    /// Takes partitions that the group has just confirmed to be ours, and says from where to read them. No transaction
    /// of ours is open when this is called.
    async fn acquire(
        &mut self,
        consumer: &mut dyn Consumer,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, i64)>, TaskError>;

    /// Processes records of acquired partitions; others are left out.
    async fn apply(&mut self, batches: Vec<PartitionRecords>) -> Result<(), TaskError>;

    /// Input records applied since the last commit was begun.
    fn uncommitted(&self) -> usize;

    /// Begins to commit everything applied; at most one commit is under way. The next records may be applied while the
    /// future runs; when it succeeds, [`Tasks::committed`] must be called.
    async fn commit(
        &mut self,
        consumer: &mut dyn Consumer,
    ) -> Result<BoxFuture<'static, Result<(), TaskError>>, TaskError>;

    /// Adds the committed positions of idle partitions to the next commit, so that the log does not forget them.
    /// Returns whether there are any.
    fn renew(&mut self) -> bool {
        false
    }

    /// The commit under way succeeded.
    fn committed(&mut self);

    /// Gives partitions up cleanly: everything of them is committed, or was abandoned.
    async fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), TaskError>;

    /// Drops the tasks of partitions that were given up.
    fn forget(&mut self, partitions: &[TopicPartition]);

    /// Drops all tasks and aborts the open transaction.
    async fn abandon(&mut self, producer_lost: bool);

    /// Checks that the ledgers or the sink are as the tasks left them.
    async fn check(&mut self) -> Result<(), TaskError>;
}
