//! Windows: SQL over micro-batches.
//!
//! ```text
//!  events ─> RecordBatch ─> WindowQuery (a .sql file, planned once) ─> partials ─┐
//!  events ─> RecordBatch ─> WindowQuery ──────────────────────────────> partials ─┴─> merge_partials ─> Sink::write
//! ```
//!
//! A micro-batch has no respect for windows: the same minute may be seen by many batches, in any order and hours late.
//! So a query never yields finished rows but *mergeable partials*, and the sink adds them to the row that is there.
//! Nothing waits for a window to close, nothing is dropped for being late, and nothing depends on more input coming. It
//! holds only if the query is a sum over its input rows; [`WindowQuery::new`] refuses those that are not ([`mergeable`]
//! has the rules).
//!
//! Windows are assigned by event time with `date_bin`, tumbling or hopping:
//!
//! ```sql
//! -- tumbling, one minute
//! SELECT date_bin(INTERVAL '1 minute', at) AS minute, shop, SUM(amount) AS total FROM input GROUP BY 1, 2
//! -- hopping, two minutes long, one each minute: a row counts for its own minute and for the one before
//! SELECT date_bin(INTERVAL '1 minute', at) - hop.back AS minute, shop, SUM(amount) AS total
//! FROM input CROSS JOIN (VALUES (INTERVAL '0 minute'), (INTERVAL '1 minute')) AS hop(back) GROUP BY 1, 2
//! ```
//!
//! `date_bin` counts in nanoseconds: it fails on times before 1677 or after 2262.

mod columns;
pub mod memory;
pub mod mergeable;
mod partials;
mod physical;
mod planner;
mod query;
mod slot;
#[cfg(test)]
mod tests;

pub use memory::MemorySink;
pub use partials::merge_partials;
pub use planner::INPUT;
pub use query::WindowQuery;

/// A fault of a window query, its table or its data. Another attempt can't mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WindowError {
    /// The SQL can't be planned: a syntax error, an unknown column or function.
    #[error("{query}: {reason}")]
    Plan {
        /// The query's name: its file.
        query: String,
        /// The message of the planner.
        reason: String,
    },
    /// The columns that the query yields are not the table's.
    #[error("{query}: column {column}: expected {expected}, got {got}")]
    #[allow(missing_docs, reason = "plain fields")]
    Column {
        /// The query's name: its file; or the table, where partials don't fit it.
        query: String,
        column: String,
        /// The type that the table needs.
        expected: String,
        /// The type that the query yields.
        got: String,
    },
    /// The query over two batches is not the sum of the query over each.
    #[error("{query}: can't be computed batch by batch: {reason}")]
    NotMergeable {
        /// The query's name: its file.
        query: String,
        /// The refused part, and a remedy.
        reason: String,
    },
    /// The table is no table of windows.
    #[error("window table {table}: {reason}")]
    #[allow(missing_docs, reason = "plain fields")]
    Table {
        table: String,
        /// The fault.
        reason: String,
    },
    /// A batch has other columns than the query was planned for.
    #[error("{query}: input columns: expected {expected}, got {got}")]
    Input {
        /// The query's name: its file.
        query: String,
        /// The schema that it was planned for.
        expected: String,
        /// The batch's schema.
        got: String,
    },
    /// A key was null: such a row could never be found again.
    #[error("{query}: key column {column} is null in {rows} rows: filter them out or give them a value")]
    NullKey {
        /// The query or the table.
        query: String,
        /// The key column.
        column: String,
        /// In how many rows.
        rows: usize,
    },
    /// A sum left the range of 64 bits.
    #[error("window table {table}: the sum of {column} exceeds 64 bits")]
    #[allow(missing_docs, reason = "plain fields")]
    Overflow {
        table: String,
        /// The measure.
        column: String,
    },
    /// The query failed on this data (division by zero, a cast that doesn't fit).
    #[error("{query}: {reason}")]
    Execution {
        /// The query or the table.
        query: String,
        /// The message of DataFusion or Arrow.
        reason: String,
    },
}
