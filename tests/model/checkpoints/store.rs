//! The model's ledger store: one ledger, in a master that may be replaced by a replica which lacks the last writes. A
//! worker that is still connected to the old master goes on writing there. Each key may be lost by itself.

use super::super::explore::fingerprint;
use super::record::{DOCUMENTS, Document, Output};

/// The token that decided each sequence, in four bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lineage(u64);

impl Lineage {
    /// Returns the token that decided a sequence; 0 for none.
    pub(super) fn token(self, sequence: u8) -> u8 {
        (self.0 >> (4 * u32::from(sequence).min(15)) & 15) as u8
    }

    /// Records the token that decided a sequence.
    pub(super) fn decided(&mut self, sequence: u8, token: u8) {
        let shift = 4 * u32::from(sequence).min(15);
        self.0 = self.0 & !(15 << shift) | u64::from(token) << shift;
    }
}

/// The key `meta`. If it is absent, all is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Meta {
    /// The token; 0 if the ledger was never acquired.
    pub token: u8,
    /// Number of writes under this token.
    pub version: u8,
    /// W + 1; 0 if nothing was applied.
    pub next: u8,
    /// Last sequence.
    pub sequence: u8,
    /// The lineage.
    pub lineage: Lineage,
    /// Digest of the last log entry.
    pub chain: u32,
    /// The entries before this offset are trimmed.
    pub floor: u8,
    /// True if the day is closed.
    pub closed: bool,
    /// True if a rebuild was not finished.
    pub is_rebuilding: bool,
    /// For each document its checkpoint. The model stores the head itself in place of the head's digest.
    pub index: [Option<Document>; DOCUMENTS],
    /// Bits of the `transactional.id`s that may have something open.
    pub owners: u8,
    /// The worker that last released the ledger, after everything was committed, and the metadata's token at that time.
    pub released: Option<(u8, u8)>,
}

/// An entry of the log: the outputs of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// Offset after the batch; the entry's key.
    pub next: u8,
    /// The same of the entry before.
    pub from: u8,
    /// Digest of the entry before.
    pub before: u32,
    /// The outputs; a batch has two records at most.
    pub outputs: [Option<Output>; 2],
    /// Bits of the documents that have a timer after the batch, among those that it touches.
    pub due: u8,
}

impl Entry {
    /// Returns its outputs.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().flatten()
    }

    /// Returns its digest.
    pub(super) fn digest(&self) -> u32 {
        fingerprint(self) as u32 | 1
    }
}

/// The key of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    /// The head.
    pub head: Document,
    /// Bits of the answers in its segments. The head says which they have to be.
    pub segments: u8,
}

/// A ledger as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// The key `meta`.
    pub meta: Meta,
    /// The key `log`, by offset.
    pub log: Vec<Entry>,
    /// The documents.
    pub documents: [Option<Stored>; DOCUMENTS],
}

/// The parts of a ledger that can be lost by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The key `meta`.
    Meta,
    /// The index, if it were a key of its own.
    Index,
    /// The key `log`.
    Log,
    /// The entry of this offset.
    Entry(u8),
    /// The key of a document.
    Document(usize),
}

impl Ledger {
    /// Writes an entry of the log.
    pub(super) fn put(&mut self, entry: Entry) {
        self.log.retain(|other| other.next != entry.next);
        let index = self.log.partition_point(|other| other.next < entry.next);
        self.log.insert(index, entry);
    }

    /// Replaces a part by that of another ledger, which is an older one, or an empty one. Returns false if it is the
    /// same.
    pub(super) fn replace(&mut self, part: Part, by: &Ledger) -> bool {
        let before = self.clone();
        match part {
            Part::Meta => self.meta = by.meta,
            Part::Index => self.meta.index = by.meta.index,
            Part::Log => self.log.clone_from(&by.log),
            Part::Entry(next) => match by.log.iter().find(|entry| entry.next == next) {
                Some(entry) => self.put(*entry),
                None => self.log.retain(|entry| entry.next != next),
            },
            Part::Document(document) => self.documents[document] = by.documents[document],
        }
        *self != before
    }
}
