//! State that lives outside the workers: one ledger for each input partition.
//!
//! A ledger holds *documents* (each a map of binary fields, loaded and cached as a whole or except lazy fields), its
//! own *log* (every output of input records that are not yet known to be committed in Kafka) and its [`LedgerState`],
//! which contains the *index*: the head that each document must have ([`index`]). A worker acquires a ledger under a
//! fresh token and an incremented epoch. Every later write states both, and the number of writes of this acquisition
//! before it (the *version*); the store refuses all others. It compares for equality, not order, because a lagging
//! replica can hand out the same epoch twice.
//!
//! A part of a ledger may be lost, or go back to an earlier state, by itself: a key was deleted, evicted, restored. The
//! state proves every other part, so the holder notices the loss before it decides anything from it.
//!
//! Two implementations, [`memory`] and the crate `interlock-redis`, pass one conformance suite
//! (`testing::conformance::ledger`).

mod demand;
pub mod index;
mod inspect;
mod lineage;
pub mod memory;
mod reader;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

pub use demand::demand_rebuild;
pub use index::{Digest, DocumentWrites, Head, Index, Loss};
pub use inspect::{ForeignKey, InspectLedgers, KeyDifference};
pub use lineage::Lineage;
pub use reader::{Reading, read_document};

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
    /// The ledger has seen another number of writes of this acquisition than the caller made, or a rebuild of it is not
    /// finished, because another master answered or the ledger was put back: acquire again and compare.
    #[error("ledger {ledger}: it has {found} writes of this acquisition{}, the caller made {expected}", unfinished(*.rebuilding))]
    #[allow(missing_docs, reason = "plain fields")]
    Behind {
        ledger: i32,
        /// The stored number of writes.
        found: u64,
        /// The number stated in the call.
        expected: u64,
        /// True if a rebuild is not finished.
        rebuilding: bool,
    },
    /// The server may drop parts of ledgers by itself. Nothing may be decided on it until its settings are changed.
    #[error("ledger {ledger}: {reason}")]
    #[allow(missing_docs, reason = "plain fields")]
    Unfit {
        ledger: i32,
        /// The setting and the remedy.
        reason: String,
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

fn unfinished(rebuilding: bool) -> &'static str {
    if rebuilding {
        " and a rebuild that is not finished"
    } else {
        ""
    }
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
    /// Number of writes that the holder has made.
    pub version: u64,
    /// Last applied input offset; `None` before the first.
    pub applied: Option<i64>,
    /// Sequence of the last event; 0 before the first.
    pub sequence: i64,
    /// The acquisitions that decided the events.
    pub lineage: Lineage,
    /// The applied offset that the oldest needed log entry follows; `None` if nothing was trimmed.
    pub floor: Option<i64>,
    /// Digest of the last log entry; `None` before the first, and after a rebuild.
    pub chain: Option<Digest>,
    /// `transactional.id`s that may have open transactions, including the holder's.
    pub owners: Vec<String>,
    /// The last clean release.
    pub release: Option<Release>,
    /// True if a rebuild is demanded or was not finished, so that the documents can't be used.
    pub rebuilding: bool,
    /// The documents that exist. A document that it does not name does not exist, whatever the store has in its place.
    pub index: Index,
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

/// Names of fields that no processor may use, because a store keeps the head of a document in them.
pub const RESERVED_FIELDS: [&[u8]; 2] = [b"h", b"n"];

/// A document as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// Its head; `None` if it does not exist or has none that can be read.
    pub head: Option<Head>,
    /// Its fields, except the head.
    pub fields: Fields,
}

/// The amount of a document that a [`LedgerStore::view`] contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The head alone.
    Head,
    /// Head and fields.
    Fields,
}

/// Parts of a ledger, all of the same moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The state, without owners and release. Of the index it has the documents that were asked for.
    pub state: LedgerState,
    /// The documents, in the order of the call.
    pub documents: Vec<Document>,
    /// Number of entries in the log.
    pub entries: u64,
    /// The entries asked for, in the order of the call; `None` for a missing one.
    pub log: Vec<Option<Bytes>>,
}

/// All outputs of one batch of input records, kept until their commit in Kafka is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Last input offset of the batch, which identifies the entry.
    pub last_offset: i64,
    /// The batch as the runtime encodes it.
    pub value: Bytes,
}

/// A batch, which is applied completely or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerCommit {
    /// Number of writes of this acquisition before this one.
    pub version: u64,
    /// The new applied offset.
    pub applied: i64,
    /// The new last sequence.
    pub sequence: i64,
    /// The new lineage.
    pub lineage: Lineage,
    /// Changes of the documents.
    pub documents: DocumentWrites,
    /// The batch's log entry, under `applied`.
    pub entry: Bytes,
    /// Digest of the entry.
    pub chain: Digest,
    /// Entries whose commit in Kafka was acknowledged, ascending. The last one becomes the floor.
    pub trim: Vec<i64>,
}

/// A step of a rebuild. An unfinished rebuild leaves `rebuilding` set, and the next owner starts over.
///
/// Each step states the version, and is refused as [`LedgerError::Behind`] if the store counts another number: between
/// two steps, a master that lacks a write may have taken over, and documents would be missing in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebuildStep {
    /// Marks the ledger as one whose rebuild is not finished, and changes nothing else: a part of it is lost.
    Demand {
        /// Number of writes of this acquisition before this one.
        version: u64,
    },
    /// Begins the rebuild: sets the new token, empties the log and, unless `keep` is set, empties the index and removes
    /// every document that is found, named or not.
    Begin {
        /// Number of writes of this acquisition before this one.
        version: u64,
        /// A fresh token for the following steps, whose versions count from 0 again.
        token: Token,
        /// True to keep the documents, because they agree with the log.
        keep: bool,
    },
    /// Writes some of the documents.
    Write {
        /// Number of writes under the fresh token before this one.
        version: u64,
        /// Changes of the documents.
        documents: DocumentWrites,
    },
    /// Ends the rebuild. The floor becomes the applied offset, and there is no chain.
    Finish {
        /// Number of writes under the fresh token before this one.
        version: u64,
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
    /// Reads a ledger's state, index included, without acquiring it.
    async fn state(&self, ledger: i32) -> Result<LedgerState, LedgerError>;

    /// Reads parts of a ledger, all in the same moment. It costs no more than what is asked for, unlike
    /// [`LedgerStore::state`], which reads the whole index.
    async fn view(
        &self,
        ledger: i32,
        documents: &[Bytes],
        contents: Contents,
        entries: &[i64],
    ) -> Result<View, LedgerError>;

    /// Acquires a ledger: increments the epoch, sets the token and version 0, and adds `owner` to the owners. Returns
    /// the state **before**, read in the same step, except for `epoch`, `version` and `owners`, which are the new ones.
    async fn acquire(&self, ledger: i32, owner: &str, token: &Token) -> Result<LedgerState, LedgerError>;

    /// Removes fenced owners. This is not counted among the writes.
    async fn forget_owners(&self, holder: &Holder, owners: &[String]) -> Result<(), LedgerError>;

    /// Reads documents, in the order of the call. Fields whose names begin with `lazy` come with empty values.
    async fn load(&self, ledger: i32, documents: &[Bytes], lazy: Option<&[u8]>) -> Result<Vec<Document>, LedgerError>;

    /// Reads single fields of documents, and the heads with them, in the order of the call. The documents that are
    /// returned have those of the fields that exist.
    async fn load_fields(&self, ledger: i32, wanted: &[(Bytes, Vec<Bytes>)]) -> Result<Vec<Document>, LedgerError>;

    /// Applies a batch. Returns [`LedgerError::Behind`] unless the version is as stated and no rebuild is unfinished.
    ///
    /// If a document is not the one that the index names, the write makes no difference to that: its head differs from
    /// the index afterwards as well.
    async fn commit(&self, holder: &Holder, commit: &LedgerCommit) -> Result<(), LedgerError>;

    /// Reads the log, ascending by offset.
    async fn log(&self, ledger: i32) -> Result<Vec<LogEntry>, LedgerError>;

    /// Executes one step of a rebuild.
    async fn rebuild(&self, holder: &Holder, step: &RebuildStep) -> Result<(), LedgerError>;

    /// Releases the ledger: removes the release's `transactional.id` from the owners, and records the release. This is
    /// not counted among the writes.
    async fn release(&self, holder: &Holder, release: &Release) -> Result<(), LedgerError>;

    /// Returns [`LedgerError::Unfit`] if the store may drop parts of ledgers by itself.
    async fn check_fitness(&self, _ledger: i32) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Makes these documents, and the ledger's own parts, last without limit, if a time to live was set for them.
    async fn persist(&self, _ledger: i32, _documents: &[Bytes]) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Makes a ledger in the format of an earlier version one of the present format, without documents, whose rebuild
    /// is demanded. Changes no other ledger.
    async fn renew(&self, _ledger: i32) -> Result<(), LedgerError> {
        Ok(())
    }
}
