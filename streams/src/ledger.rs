//! State that lives outside the workers: one ledger for each input partition.
//!
//! A ledger holds *documents* (each a map of binary fields, loaded and cached as a whole or but for some of them), the
//! *outbox* (every output of input records that are not yet known to be committed in the log) and its [`LedgerState`]. A
//! worker acquires a ledger under a fresh token and an incremented epoch; every later write states both, and the store
//! refuses any other: equality, not order, because a lagging replica can hand out the same epoch twice.
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
pub use inspect::InspectLedgers;
pub use lineage::Lineage;

/// Identifies one acquisition of a ledger, at random.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub String);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What went wrong, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another acquisition holds the ledger: drop the cache, confirm ownership, acquire again.
    #[error("ledger {ledger}: held by epoch {epoch}, token {token}, not by us")]
    Fenced {
        /// The ledger.
        ledger: i32,
        /// The epoch that holds it.
        epoch: i64,
        /// The token that holds it.
        token: Token,
    },
    /// The applied offset is not the one that was decided from, or a rebuild that was finished is not (another master
    /// answered): acquire again and compare.
    #[error("ledger {ledger}: the applied offset is {found:?}, the batch was decided from {expected:?}")]
    Behind {
        /// The ledger.
        ledger: i32,
        /// The applied offset found.
        found: Option<i64>,
        /// The applied offset stated.
        expected: Option<i64>,
    },
    /// The store can't be reached or didn't answer in time: whether the call took effect is not known.
    #[error("{}{reason}", named(*.ledger))]
    Unavailable {
        /// The ledger; none while the store is being opened.
        ledger: Option<i32>,
        /// What the store or the connection said.
        reason: String,
    },
    /// What is stored is not what this program can read, or belongs to another application.
    #[error("{}{reason}", named(*.ledger))]
    Fatal {
        /// The ledger; none while the store is being opened.
        ledger: Option<i32>,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Begins an error text with the ledger, if there is one.
fn named(ledger: Option<i32>) -> String {
    ledger.map(|ledger| format!("ledger {ledger}: ")).unwrap_or_default()
}

/// A clean release: the last owner left nothing open under this `transactional.id` when it held this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The owner's `transactional.id`.
    pub transactional_id: String,
    /// Token in the offset metadata that it committed last.
    pub token: Token,
}

/// A ledger's `meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerState {
    /// Counts acquisitions; 0 for a ledger that never was acquired.
    pub epoch: i64,
    /// Token of the acquisition that holds it.
    pub token: Token,
    /// Last applied input offset; none before the first.
    pub applied: Option<i64>,
    /// Last sequence given to an event; 0 before the first.
    pub sequence: i64,
    /// Who decided what.
    pub lineage: Lineage,
    /// `transactional.id`s that may have something open, the holder's included.
    pub owners: Vec<String>,
    /// The last clean release.
    pub release: Option<Release>,
    /// A rebuild was begun and not finished: the documents can't be trusted.
    pub rebuilding: bool,
}

/// The right to write to a ledger: what every write states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The ledger.
    pub ledger: i32,
    /// Epoch of the acquisition.
    pub epoch: i64,
    /// Token of the acquisition.
    pub token: Token,
}

/// Sets a field of a document, or deletes it (`value` none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldWrite {
    /// The document.
    pub document: Bytes,
    /// The field.
    pub field: Bytes,
    /// The new value.
    pub value: Option<Bytes>,
}

/// A field of a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldName {
    /// The document.
    pub document: Bytes,
    /// The field.
    pub field: Bytes,
}

/// The fields of a document; empty where it doesn't exist.
pub type Fields = Vec<(Bytes, Bytes)>;

/// All outputs of one batch of input records, kept until their commit in the log is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Last input offset of the batch, which names the entry.
    pub last_offset: i64,
    /// The batch as the runtime encodes it.
    pub value: Bytes,
}

/// One batch, applied all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerCommit {
    /// The applied offset that the batch was decided from.
    pub expected_applied: Option<i64>,
    /// The new applied offset.
    pub applied: i64,
    /// The new last sequence.
    pub sequence: i64,
    /// The new lineage.
    pub lineage: Lineage,
    /// What changed in the documents.
    pub writes: Vec<FieldWrite>,
    /// The batch's outputs, under `applied`.
    pub outbox: Bytes,
    /// Outbox entries whose commit in the log was acknowledged.
    pub trim: Vec<i64>,
}

/// A step of a rebuild. A rebuild that is not finished leaves `rebuilding` set, and the next owner starts anew.
///
/// Each step says how many writes came before it, and is refused as [`LedgerError::Behind`] where there were not so many: between two
/// steps another master may have taken over that lacks one, and the rebuild would end with documents missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebuildStep {
    /// Refuses unless the applied offset is the one that was read, takes the new token, empties the outbox and, unless
    /// `keep`, deletes all documents.
    Begin {
        /// The applied offset that was read when comparing.
        expected_applied: Option<i64>,
        /// The fresh token under which the following steps write.
        token: Token,
        /// Keep the documents: the ledger's own prefix agrees with the log.
        keep: bool,
    },
    /// Writes some of the documents.
    Write {
        /// Writes of this rebuild before this one.
        after: u64,
        /// What is written.
        writes: Vec<FieldWrite>,
    },
    /// Ends the rebuild.
    Finish {
        /// Writes of this rebuild.
        after: u64,
        /// W := C − 1; none where C is 0.
        applied: Option<i64>,
        /// Sequence of the last event folded.
        sequence: i64,
        /// Lineage of the events folded.
        lineage: Lineage,
    },
}

/// Where ledgers are kept. Writes are atomic and refused as [`LedgerError::Fenced`] unless the holder's epoch and token
/// are those that hold the ledger.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// Reads a ledger's state without acquiring it.
    async fn state(&self, ledger: i32) -> Result<LedgerState, LedgerError>;

    /// Increments the epoch, sets the token, adds `owner` to the owners and returns the state **as it was before**,
    /// except for `epoch` and `owners`, which are the new ones.
    async fn acquire(&self, ledger: i32, owner: &str, token: &Token) -> Result<LedgerState, LedgerError>;

    /// Removes owners that were fenced.
    async fn forget_owners(&self, holder: &Holder, owners: &[String]) -> Result<(), LedgerError>;

    /// Reads documents, in the order asked for. Of the fields whose names begin with `lazy` only the names are read: their
    /// values come empty.
    async fn load(&self, ledger: i32, documents: &[Bytes], lazy: Option<&[u8]>) -> Result<Vec<Fields>, LedgerError>;

    /// Reads single fields, in the order asked for; none where there is no such field.
    async fn load_fields(&self, ledger: i32, fields: &[FieldName]) -> Result<Vec<Option<Bytes>>, LedgerError>;

    /// Applies a batch; [`LedgerError::Behind`] unless the applied offset is the expected one and no rebuild is unfinished.
    async fn commit(&self, holder: &Holder, commit: &LedgerCommit) -> Result<(), LedgerError>;

    /// Reads the outbox, ascending by offset.
    async fn outbox(&self, ledger: i32) -> Result<Vec<OutboxEntry>, LedgerError>;

    /// Makes one step of a rebuild.
    async fn rebuild(&self, holder: &Holder, step: &RebuildStep) -> Result<(), LedgerError>;

    /// Gives the ledger up: removes the release's `transactional.id` from the owners and records the release.
    async fn release(&self, holder: &Holder, release: &Release) -> Result<(), LedgerError>;
}
