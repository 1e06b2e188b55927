//! Databases that keep windows, together with the positions that the windows were computed from.
//!
//! Position and effect are one database transaction. Stored position × stated `from` of a write:
//!
//! | stored | from | |
//! | --- | --- | --- |
//! | equal | equal | merge, advance to `to` |
//! | anything else | | [`SinkError::Fenced`]: another writer was here; start over from the stored positions |
//!
//! The token protects in the same way against a zombie writer whose positions happen to agree.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use crate::ledger::Token;
use crate::record::TopicPartition;

/// Errors of a sink, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Another writer holds this task, or the positions are not the stated ones: drop the partials and start over.
    #[error("sink task {task}: {reason}")]
    #[allow(missing_docs, reason = "plain fields")]
    Fenced {
        task: String,
        /// The stored and the stated value.
        reason: String,
    },
    /// The database can't be reached, or the answer of the commit was lost, so its effect is unknown: start over from
    /// the stored positions.
    #[error("sink task {task}: {reason}")]
    #[allow(missing_docs, reason = "plain fields")]
    Unavailable {
        task: String,
        /// Message of the database.
        reason: String,
    },
    /// Trying again does not help: a schema that does not fit, a missing right.
    #[error("sink task {task}: {reason}")]
    #[allow(missing_docs, reason = "plain fields")]
    Fatal {
        task: String,
        /// The problem and the remedy.
        reason: String,
    },
}

/// The rule by which partials of the same key are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Add (sums and counts).
    Sum,
    /// Keep the smaller.
    Min,
    /// Keep the larger.
    Max,
}

/// A table of windows: `keys` identify a row, and the other columns are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct WindowTable {
    pub name: String,
    /// Key columns.
    pub keys: Vec<String>,
    /// Measure columns with their merge rules.
    pub measures: Vec<(String, Merge)>,
}

/// Rows to merge into a table: one column per key and measure, by name. Each key occurs once.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Partials {
    pub table: WindowTable,
    pub rows: RecordBatch,
}

/// An advance of the positions of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Advance {
    pub source: TopicPartition,
    /// Offset of the next record to apply before this write.
    pub from: i64,
    /// Offset of the next record to apply after this write.
    pub to: i64,
}

/// The part of a task in a write: its token and its positions.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Writer<'a> {
    pub task: &'a str,
    /// Token of the acquisition.
    pub token: &'a Token,
    /// Its positions.
    pub advances: &'a [Advance],
}

/// A database that keeps windows.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Acquires a task under a fresh token, which fences the earlier holder. Returns the stored positions; a partition
    /// without one gets the given offset.
    async fn acquire(
        &self,
        task: &str,
        token: &Token,
        initial: &[(TopicPartition, i64)],
    ) -> Result<Vec<(TopicPartition, i64)>, SinkError>;

    /// Merges partials and advances the positions of several tasks, all or nothing. The whole write is refused if
    /// another writer holds one of the tasks, or if a position differs. This also holds for a write without rows.
    async fn write_together(&self, writers: &[Writer<'_>], partials: &[Partials]) -> Result<(), SinkError>;

    /// Writes for one task.
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
