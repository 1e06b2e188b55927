//! The model's ledger store: one ledger, in a master that may be replaced by a replica which lacks the last writes. A
//! worker that is still connected to the old master goes on writing there.

use super::DOCUMENTS;
use super::kafka::Output;

/// The token that decided each sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lineage([u8; SEQUENCES_MAX]);

/// A broken run may have more events than records; it is noticed before it reaches this many.
const SEQUENCES_MAX: usize = 6;

impl Lineage {
    /// Returns the token that decided a sequence; 0 for none.
    pub fn token(&self, sequence: u8) -> u8 {
        usize::from(sequence)
            .checked_sub(1)
            .map_or(0, |index| self.0[index.min(SEQUENCES_MAX - 1)])
    }

    /// Records the token that decided a sequence.
    pub fn decided(&mut self, sequence: u8, token: u8) {
        self.0[usize::from(sequence - 1).min(SEQUENCES_MAX - 1)] = token;
    }
}

/// A ledger as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Ledger {
    /// The token; 0 if the ledger was never acquired.
    pub token: u8,
    /// W + 1; 0 if nothing was applied.
    pub next: u8,
    /// Last sequence.
    pub sequence: u8,
    pub lineage: Lineage,
    /// The documents: see [`super::kafka::after`].
    pub documents: [u32; DOCUMENTS],
    /// Outputs of records not known to be committed.
    pub outbox: Vec<Output>,
    /// Bits of the `transactional.id`s that may have something open.
    pub owners: u8,
    /// The worker that last released the ledger, after everything was committed, and the metadata's token at that time.
    pub released: Option<(usize, u8)>,
}

/// The store: the ledger on the first master, and the one on its successor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    masters: [Ledger; 2],
    /// The replica's ledger, which takes the first master's place.
    replica: Ledger,
    /// Index of the present master.
    pub master: usize,
}

impl Store {
    /// Returns the ledger as a client of this master sees it.
    pub fn ledger(&self, master: usize) -> &Ledger {
        &self.masters[master]
    }

    /// As `ledger`, for writing.
    pub fn ledger_mut(&mut self, master: usize) -> &mut Ledger {
        &mut self.masters[master]
    }

    /// Lets the replica catch up; returns false if it already has.
    pub fn replicate(&mut self) -> bool {
        let lags = self.replica != self.masters[0];
        self.replica = self.masters[0].clone();
        lags
    }

    /// Makes the replica the master.
    pub fn fail_over(&mut self) {
        self.masters[1] = std::mem::take(&mut self.replica);
        self.master = 1;
    }
}
