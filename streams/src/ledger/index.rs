//! The index of a ledger: the head that each of its documents must have.
//!
//! `meta` holds the index, so one key proves all others. The store keeps a head with each document, and every write of
//! a document renews both in one step. A head has the sequence that the document reached, and a *sum*: each write adds
//! a number to it that depends on the acquisition and the batch. The store itself adds, so a write onto a document that
//! was lost or put back leaves a sum that the index does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use super::{FieldWrite, Token};
use crate::mutation::{Clause, left_out};

/// The first 8 bytes of a BLAKE3 digest.
pub type Digest = [u8; 8];

/// Length of a head as the index stores it.
pub const HEAD_BYTES: usize = 16;

/// The head of each document that exists, by name.
pub type Index = BTreeMap<Bytes, Head>;

/// The state that a document has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Head {
    /// The document contains the events up to this sequence.
    pub sequence: i64,
    /// Sum of the numbers of all writes of the document.
    pub sum: u64,
}

impl Head {
    /// Formats the head for the index: sequence and sum, big-endian.
    pub fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sum.to_be_bytes());
        bytes
    }

    /// Reads a head from the index; `None` if these are other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD_BYTES] = bytes.try_into().ok()?;
        let (sequence, sum) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            sequence: i64::from_be_bytes(*sequence),
            sum: u64::from_be_bytes(sum.try_into().ok()?),
        })
    }

    /// Compares the head that the index names with the one that was found at the document.
    pub fn difference(self, found: Option<Self>) -> Option<Loss> {
        let (loss, clause) = match found {
            None => (Loss::Absent, Clause::DocumentAbsent),
            Some(found) if found.sequence < self.sequence => (Loss::Older, Clause::DocumentOlder),
            Some(found) if found.sequence > self.sequence => (Loss::Newer, Clause::DocumentNewer),
            Some(found) if found.sum != self.sum => (Loss::Other, Clause::DocumentOther),
            Some(_) => return None,
        };
        (!left_out(clause)).then_some(loss)
    }
}

/// The way in which a document is not the one that the index names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// There is no document, or it has no readable head.
    Absent,
    /// The document lacks the last events.
    Older,
    /// The document has more events.
    Newer,
    /// The document reached the same sequence by other writes.
    Other,
    /// The document lacks a field that it had.
    Incomplete,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "is missing",
            Self::Older => "is older than the ledger",
            Self::Newer => "is newer than the ledger",
            Self::Other => "is of another history than the ledger",
            Self::Incomplete => "is incomplete",
        })
    }
}

/// Names a document in a message.
pub fn shown(document: &[u8]) -> String {
    match document {
        b"" => "the document of the ledger itself".to_owned(),
        name => format!("document {:?}", String::from_utf8_lossy(name)),
    }
}

/// Changes of documents, and the heads that the documents have afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentWrites {
    writes: Vec<FieldWrite>,
    touched: Vec<Touched>,
    number: u32,
}

/// A document that a write changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Touched {
    pub document: Bytes,
    /// True if the index does not name the document. A key that is found in its place is removed first.
    pub is_new: bool,
    /// The head after the write, unless another document was found in its place.
    pub head: Head,
}

impl DocumentWrites {
    /// Makes the writes of a batch that ends with this sequence. The number that they add to the sums depends on the
    /// acquisition and on `batch`, which differs between the batches of one acquisition.
    pub fn new(index: &Index, writes: Vec<FieldWrite>, sequence: i64, token: &Token, batch: Digest) -> Self {
        let number = number(token, batch);
        let names: BTreeSet<&Bytes> = writes.iter().map(|write| &write.document).collect();
        let touched = names.into_iter().map(|document| {
            let named = index.get(document);
            Touched {
                document: document.clone(),
                is_new: named.is_none(),
                head: Head {
                    sequence,
                    sum: named.map_or(0, |head| head.sum).wrapping_add(number.into()),
                },
            }
        });
        Self {
            touched: touched.collect(),
            writes,
            number,
        }
    }

    /// Returns the changes, in order.
    pub fn writes(&self) -> &[FieldWrite] {
        &self.writes
    }

    /// Returns the changed documents, ascending by name.
    pub fn touched(&self) -> &[Touched] {
        &self.touched
    }

    /// Returns the number that is added to the sum of each changed document.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Enters the new heads into an index.
    pub fn enter(&self, index: &mut Index) {
        index.extend(
            self.touched
                .iter()
                .map(|touched| (touched.document.clone(), touched.head)),
        );
    }
}

/// Returns the number of a write. It is odd and has 32 bits, so a sum grows with each write, and two thousand million
/// writes of a document fit into the signed number that a store counts with.
fn number(token: &Token, batch: Digest) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(token.0.as_bytes()).update(&batch);
    let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
    u32::from_be_bytes([a, b, c, d]) | 1
}

/// Returns the digest of several parts, the first of a fixed length.
pub(crate) fn digest(parts: [&[u8]; 2]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut digest = Digest::default();
    hasher.finalize_xof().fill(&mut digest);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> Token {
        Token(name.into())
    }

    fn write(document: &'static str) -> FieldWrite {
        FieldWrite {
            document: Bytes::from(document),
            field: Bytes::from("f"),
            value: None,
        }
    }

    #[test]
    fn a_head_is_read_back_as_it_was_written() {
        let head = Head {
            sequence: 1 << 60,
            sum: u64::MAX,
        };
        assert_eq!(Head::from_bytes(&head.to_bytes()), Some(head));
        assert_eq!(Head::from_bytes(&head.to_bytes()[1..]), None);
        assert_eq!(Head::from_bytes(b""), None);
    }

    #[test]
    fn every_difference_has_a_name() {
        let named = Head { sequence: 5, sum: 7 };
        let found = |sequence, sum| Some(Head { sequence, sum });
        assert_eq!(named.difference(found(5, 7)), None);
        assert_eq!(named.difference(None), Some(Loss::Absent));
        assert_eq!(named.difference(found(4, 7)), Some(Loss::Older));
        assert_eq!(named.difference(found(6, 7)), Some(Loss::Newer));
        assert_eq!(named.difference(found(5, 8)), Some(Loss::Other));
    }

    #[test]
    fn the_same_events_of_another_acquisition_have_another_sum() {
        let writes = |name, batch| DocumentWrites::new(&Index::new(), vec![write("d")], 5, &token(name), batch);
        let one = writes("a", [1; 8]);
        assert_eq!(one, writes("a", [1; 8]));
        assert_ne!(one.touched()[0].head.sum, writes("b", [1; 8]).touched()[0].head.sum);
        assert_ne!(one.touched()[0].head.sum, writes("a", [2; 8]).touched()[0].head.sum);
    }

    #[test]
    fn sums_go_on_where_the_index_is() {
        let mut index = Index::new();
        let first = DocumentWrites::new(&index, vec![write("d"), write("e"), write("d")], 5, &token("a"), [1; 8]);
        assert_eq!(first.touched().len(), 2);
        assert!(first.touched().iter().all(|touched| touched.is_new));
        first.enter(&mut index);
        let second = DocumentWrites::new(&index, vec![write("d")], 9, &token("a"), [2; 8]);
        assert!(!second.touched()[0].is_new);
        let sum = u64::from(first.number()) + u64::from(second.number());
        assert_eq!(second.touched()[0].head, Head { sequence: 9, sum });
        second.enter(&mut index);
        assert_eq!(index.len(), 2);
    }
}
