//! Reads documents as somebody who does not hold the ledger: a gateway or an operator.

use bytes::Bytes;

use super::{Contents, Fields, LedgerError, LedgerState, LedgerStore, Loss};
use crate::mutation::{Clause, left_out};

/// Most attempts to read a document that differs from the index in another way each time.
const READS_MAX: usize = 5;

/// A document as a reader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The state of the ledger in the same moment, as [`LedgerStore::view`] returns it.
    pub state: LedgerState,
    /// The fields; empty if the document does not exist. The loss if the document is not the one that the index names,
    /// and nothing can be said about it.
    pub fields: Result<Fields, Loss>,
}

/// Reads a document and compares it with the index. If they differ, it reads again; it reports a loss only after it has
/// found the same difference twice in succession.
///
/// # Errors
/// The error of the store.
pub async fn read_document(store: &dyn LedgerStore, ledger: i32, document: &Bytes) -> Result<Reading, LedgerError> {
    let documents = std::slice::from_ref(document);
    let (mut reads, mut earlier) = (0, None);
    loop {
        reads += 1;
        let mut view = store.view(ledger, documents, Contents::Fields, &[]).await?;
        let state = view.state;
        let found = view.documents.pop().unwrap_or_default();
        let fields = match state.index.get(document) {
            // Whatever has this name is not the ledger's.
            None => Ok(Vec::new()),
            Some(_) if left_out(Clause::ReadersCompare) => Ok(found.fields),
            Some(named) => match named.difference(found.head) {
                None => Ok(found.fields),
                Some(loss) => {
                    let difference = Some((*named, found.head));
                    if earlier != difference && reads < READS_MAX {
                        earlier = difference;
                        continue;
                    }
                    Err(loss)
                }
            },
        };
        return Ok(Reading { state, fields });
    }
}
