//! The view of a ledger store from outside: reads that an auditor needs and a worker does not.

use async_trait::async_trait;
use bytes::Bytes;

use super::memory::{MemoryLedgerStore, Part};
use super::{LedgerError, LedgerStore};

/// A ledger store whose keys can be listed.
#[async_trait]
pub trait InspectLedgers: LedgerStore {
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
    /// The index does not name this document: workers never read it.
    Unnamed,
    /// No worker writes a key with this name.
    Unknown,
    /// A document is a map of fields; this one is of the named type.
    OtherType(String),
}

#[async_trait]
impl InspectLedgers for MemoryLedgerStore {
    async fn foreign_keys(&self, ledger: i32) -> Result<Vec<ForeignKey>, LedgerError> {
        let index = self.state(ledger).await?.index;
        let foreign = self.parts(ledger).into_iter().filter_map(|part| match part {
            Part::Document(document) if !index.contains_key(&document) => Some(ForeignKey {
                key: String::from_utf8_lossy(&document).into_owned(),
                document: Some(document),
                difference: KeyDifference::Unnamed,
            }),
            _ => None,
        });
        Ok(foreign.collect())
    }
}
