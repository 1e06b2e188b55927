//! State that lives outside the workers: one ledger for each input partition.
//!
//! A ledger holds *documents* (each a map of binary fields, loaded and cached as a whole or except lazy fields), the
//! *outbox* (every output of input records that are not yet known to be committed in the log) and its [`LedgerState`].
//! A worker acquires a ledger under a fresh token and an incremented epoch. Every later write states both, and the
//! store refuses all others. It compares for equality, not order, because a lagging replica can hand out the same epoch
//! twice.
//!
//! Two implementations, [`memory`] and the crate `interlock-redis`, pass one conformance suite
//! (`testing::conformance::ledger`).

mod demand;
mod inspect;
mod lineage;
pub mod memory;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

pub use demand::demand_rebuild;
pub use inspect::{ForeignKey, InspectLedgers, KeyDifference};
pub use lineage::Lineage;

/// A random value that identifies one acquisition of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub String);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Errors of a ledger store, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another acquisition holds the ledger: drop the cache, confirm ownership, acquire again.
    #[error("ledger {ledger}: held by epoch {epoch}, token {token}, not by us")]
    #[allow(missing_docs, reason = "plain fields")]
    Fenced {
        ledger: i32,
        /// The epoch that holds it.
        epoch: i64,
        /// The token that holds it.
        token: Token,
    },
    /// The applied offset is not the one that was decided from, or a finished rebuild is unfinished, because another
    /// master answered: acquire again and compare.
    #[error("ledger {ledger}: the applied offset is {found:?}, the batch was decided from {expected:?}")]
    #[allow(missing_docs, reason = "plain fields")]
    Behind {
        ledger: i32,
        /// The stored applied offset.
        found: Option<i64>,
        /// The applied offset stated in the call.
        expected: Option<i64>,
    },
    /// The store can't be reached or didn't answer in time. The effect of the call is unknown.
    #[error("{}{reason}", named(*.ledger))]
    Unavailable {
        /// The ledger; `None` while the store is being opened.
        ledger: Option<i32>,
        /// Message of the store or the connection.
        reason: String,
    },
    /// The stored data is unreadable for this program, or belongs to another application.
    #[error("{}{reason}", named(*.ledger))]
    Fatal {
        /// The ledger; `None` while the store is being opened.
        ledger: Option<i32>,
        /// The problem and the remedy.
        reason: String,
    },
}

/// Begins an error text with the ledger, if there is one.
fn named(ledger: Option<i32>) -> String {
    ledger.map(|ledger| format!("ledger {ledger}: ")).unwrap_or_default()
}

/// A clean release: the last owner, with this `transactional.id` and token, left no transaction open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The owner's `transactional.id`.
    pub transactional_id: String,
    /// Token in the offset metadata that the owner committed last.
    pub token: Token,
}

/// A ledger's `meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// Number of acquisitions; 0 for a ledger that was never acquired.
    pub epoch: i64,
    /// Token of the holder's acquisition.
    pub token: Token,
    /// Last applied input offset; `None` before the first.
    pub applied: Option<i64>,
    /// Sequence of the last event; 0 before the first.
    pub sequence: i64,
    /// The acquisitions that decided the events.
    pub lineage: Lineage,
    /// `transactional.id`s that may have open transactions, including the holder's.
    pub owners: Vec<String>,
    /// The last clean release.
    pub release: Option<Release>,
    /// True if a rebuild was begun and not finished, so that the documents are incomplete.
    pub rebuilding: bool,
}

/// The holder of a ledger, which every write states.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Holder {
    pub ledger: i32,
    /// Epoch of the acquisition.
    pub epoch: i64,
    /// Token of the acquisition.
    pub token: Token,
}

/// A write of a field of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct FieldWrite {
    pub document: Bytes,
    pub field: Bytes,
    /// The new value; `None` deletes the field.
    pub value: Option<Bytes>,
}

/// A field of a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "plain fields")]
pub struct FieldName {
    pub document: Bytes,
    pub field: Bytes,
}

/// The fields of a document; empty if it does not exist.
pub type Fields = Vec<(Bytes, Bytes)>;

/// All outputs of one batch of input records, kept until their commit in the log is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Last input offset of the batch, which identifies the entry.
    pub last_offset: i64,
    /// The batch as the runtime encodes it.
    pub value: Bytes,
}

/// A batch, which is applied completely or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerCommit {
    /// The applied offset on which the decisions are based.
    pub expected_applied: Option<i64>,
    /// The new applied offset.
    pub applied: i64,
    /// The new last sequence.
    pub sequence: i64,
    /// The new lineage.
    pub lineage: Lineage,
    /// Changes of the documents.
    pub writes: Vec<FieldWrite>,
    /// The batch's outputs, under `applied`.
    pub outbox: Bytes,
    /// Outbox entries whose commit in the log was acknowledged.
    pub trim: Vec<i64>,
}

/// A step of a rebuild. An unfinished rebuild leaves `rebuilding` set, and the next owner starts over.
///
/// Each step states the number of preceding writes, and is refused as [`LedgerError::Behind`] if the store counts
/// another number: between two steps, a master that lacks a write may have taken over, and documents would be missing
/// in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebuildStep {
    /// Begins the rebuild if the applied offset is the one that was read: sets the new token, empties the outbox and,
    /// unless `keep` is set, deletes all documents.
    Begin {
        /// The applied offset that was read for the comparison.
        expected_applied: Option<i64>,
        /// A fresh token for the following steps.
        token: Token,
        /// True to keep the documents, because they agree with the log.
        keep: bool,
    },
    /// Writes some of the documents.
    Write {
        /// Number of writes of this rebuild before this one.
        after: u64,
        /// Changes of the documents.
        writes: Vec<FieldWrite>,
    },
    /// Ends the rebuild.
    Finish {
        /// Number of writes of this rebuild.
        after: u64,
        /// The applied offset, C − 1; `None` if C is 0.
        applied: Option<i64>,
        /// Sequence of the last event folded.
        sequence: i64,
        /// Lineage of the events folded.
        lineage: Lineage,
    },
}

/// A store of ledgers. Writes are atomic, and refused as [`LedgerError::Fenced`] unless they state the epoch and token
/// of the present holder.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// Reads a ledger's state without acquiring it.
    async fn state(&self, ledger: i32) -> Result<LedgerState, LedgerError>;

    /// Acquires a ledger: increments the epoch, sets the token, and adds `owner` to the owners. Returns the state
    /// **before**, except for `epoch` and `owners`, which are the new ones.
    async fn acquire(&self, ledger: i32, owner: &str, token: &Token) -> Result<LedgerState, LedgerError>;

    /// Removes fenced owners.
    async fn forget_owners(&self, holder: &Holder, owners: &[String]) -> Result<(), LedgerError>;

    /// Reads documents, in the order of the call. Fields whose names begin with `lazy` come with empty values.
    async fn load(&self, ledger: i32, documents: &[Bytes], lazy: Option<&[u8]>) -> Result<Vec<Fields>, LedgerError>;

    /// Reads single fields, in the order of the call; `None` for a missing field.
    async fn load_fields(&self, ledger: i32, fields: &[FieldName]) -> Result<Vec<Option<Bytes>>, LedgerError>;

    /// Applies a batch. Returns [`LedgerError::Behind`] unless the applied offset is the expected one and no rebuild is
    /// unfinished.
    async fn commit(&self, holder: &Holder, commit: &LedgerCommit) -> Result<(), LedgerError>;

    /// Reads the outbox, ascending by offset.
    async fn outbox(&self, ledger: i32) -> Result<Vec<OutboxEntry>, LedgerError>;

    /// Executes one step of a rebuild.
    async fn rebuild(&self, holder: &Holder, step: &RebuildStep) -> Result<(), LedgerError>;

    /// Releases the ledger: removes the release's `transactional.id` from the owners, and records the release.
    async fn release(&self, holder: &Holder, release: &Release) -> Result<(), LedgerError>;
}
