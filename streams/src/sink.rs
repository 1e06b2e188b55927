//! Databases that window partials are merged into, together with the positions they were computed from.
//!
//! Position and effect are one database transaction. Stored position × stated `from` of a write:
//!
//! | stored | from | |
//! | --- | --- | --- |
//! | equal | equal | merge, advance to `to` |
//! | anything else | | [`SinkError::Fenced`]: another writer was here; start over from the stored positions |
//!
//! The token guards the same way against a zombie writer whose positions happen to agree.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use crate::ledger::Token;
use crate::record::TopicPartition;

/// What went wrong, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Another writer holds this task, or the positions are not those stated: drop what was aggregated and start over.
    #[error("sink task {task}: {reason}")]
    Fenced {
        /// The task.
        task: String,
        /// Stored against stated.
        reason: String,
    },
    /// The database can't be reached or the commit's answer was lost: whether it took effect is not known. Start over
    /// from the stored positions.
    #[error("sink task {task}: {reason}")]
    Unavailable {
        /// The task.
        task: String,
        /// What the database said.
        reason: String,
    },
    /// Trying again will not help: a schema that doesn't fit, a missing right.
    #[error("sink task {task}: {reason}")]
    Fatal {
        /// The task.
        task: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// How a window's partials for the same key are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Add (sums and counts).
    Sum,
    /// Keep the smaller.
    Min,
    /// Keep the larger.
    Max,
}

/// A table of windows: rows are told apart by `keys`, the other columns are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowTable {
    /// Name of the table.
    pub name: String,
    /// Key columns.
    pub keys: Vec<String>,
    /// Measure columns and how they merge.
    pub measures: Vec<(String, Merge)>,
}

/// Rows to be merged into a table: one column for each key and measure, by name. Each key occurs once.
#[derive(Clone, Debug)]
pub struct Partials {
    /// The table.
    pub table: WindowTable,
    /// The rows.
    pub rows: RecordBatch,
}

/// An advance of the positions of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub source: TopicPartition,
    /// Offset of the next record to apply before this write.
    pub from: i64,
    /// Offset of the next record to apply after this write.
    pub to: i64,
}

/// What a task says in a write: who holds it, and how far it goes.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The task.
    pub task: &'a str,
    /// The token under which it was acquired.
    pub token: &'a Token,
    /// Its positions.
    pub advances: &'a [Advance],
}

/// A database that keeps windows.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Takes a task under a fresh token (whoever held it before is fenced) and returns its stored positions; partitions
    /// that were never written to are set to the given offset and returned with it.
    async fn acquire(
        &self,
        task: &str,
        token: &Token,
        initial: &[(TopicPartition, i64)],
    ) -> Result<Vec<(TopicPartition, i64)>, SinkError>;

    /// Merges partials and advances the positions of several tasks, all or nothing: one task that another holds, or that
    /// is elsewhere, refuses the whole. A write of nothing is refused like any other.
    async fn write_together(&self, writers: &[Writer<'_>], partials: &[Partials]) -> Result<(), SinkError>;

    /// The same for one task.
    async fn write(
        &self,
        task: &str,
        token: &Token,
        advances: &[Advance],
        partials: &[Partials],
    ) -> Result<(), SinkError> {
        let writer = Writer { task, token, advances };
        self.write_together(&[writer], partials).await
    }
}
