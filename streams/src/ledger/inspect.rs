//! The view of a ledger store from outside: what an auditor reads and a worker does not need.

use async_trait::async_trait;
use bytes::Bytes;

use super::memory::MemoryLedgerStore;
use super::{LedgerError, LedgerStore};

/// A ledger store that lists its documents.
#[async_trait]
pub trait InspectLedgers: LedgerStore {
    /// Returns the names of a ledger's documents, ascending.
    async fn document_names(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError>;
}

#[async_trait]
impl InspectLedgers for MemoryLedgerStore {
    async fn document_names(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError> {
        Ok(self.documents(ledger))
    }
}
