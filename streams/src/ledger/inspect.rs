//! The view of a ledger store from outside: reads that an auditor needs and a worker does not.

use async_trait::async_trait;
use bytes::Bytes;

use super::memory::MemoryLedgerStore;
use super::{LedgerError, LedgerStore};

/// A ledger store that lists its documents.
#[async_trait]
pub trait InspectLedgers: LedgerStore {
    /// Returns the names of a ledger's documents, ascending.
    async fn document_names(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError>;

    /// Returns the keys of a ledger that are not as a worker writes them, by key.
    async fn foreign_keys(&self, ledger: i32) -> Result<Vec<ForeignKey>, LedgerError>;
}

/// A key that another program wrote or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The key.
    pub key: String,
    /// The document of this key; `None` for the ledger's own keys.
    pub document: Option<Bytes>,
    /// The difference from a key that a worker writes.
    pub difference: KeyDifference,
}

/// The difference between a foreign key and a key that a worker writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyDifference {
    /// The store deletes the key after this number of milliseconds.
    Expires(i64),
    /// The ledger's list of documents lacks this document, so a rebuild does not delete it.
    Unlisted,
    /// A document is a map of fields; this one is of the named type.
    OtherType(String),
}

#[async_trait]
impl InspectLedgers for MemoryLedgerStore {
    async fn document_names(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError> {
        Ok(self.documents(ledger))
    }

    /// Returns none: only this process can write to its memory.
    async fn foreign_keys(&self, _ledger: i32) -> Result<Vec<ForeignKey>, LedgerError> {
        Ok(Vec::new())
    }
}
