//! What the model has of the ledger store: one ledger, in a master that may be replaced by a replica which lacks the last
//! writes. Who is still connected to the old master goes on writing there.

use super::DOCUMENTS;
use super::kafka::Output;

/// Which token decided each sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lineage([u8; SEQUENCES_MAX]);

/// A run that is broken may have more events than records; beyond these it is broken long since.
const SEQUENCES_MAX: usize = 6;

impl Lineage {
    /// Who decided a sequence; 0 for none.
    pub fn token(&self, sequence: u8) -> u8 {
        usize::from(sequence)
            .checked_sub(1)
            .map_or(0, |index| self.0[index.min(SEQUENCES_MAX - 1)])
    }

    /// Notes who decided a sequence.
    pub fn decided(&mut self, sequence: u8, token: u8) {
        self.0[usize::from(sequence - 1).min(SEQUENCES_MAX - 1)] = token;
    }
}

/// A ledger as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// 0: never acquired.
    pub token: u8,
    /// W + 1; 0 where nothing was applied.
    pub next: u8,
    /// Last sequence.
    pub sequence: u8,
    /// Who decided what.
    pub lineage: Lineage,
    /// The state: see [`super::kafka::after`].
    pub documents: [u32; DOCUMENTS],
    /// Outputs of records not known to be committed.
    pub outbox: Vec<Output>,
    /// Bits of the `transactional.id`s that may have something open.
    pub owners: u8,
    /// Who gave the ledger up last, after everything was committed, and the metadata's token then.
    pub released: Option<(usize, u8)>,
}

/// The store: the ledger on the first master, the one on its successor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    masters: [Ledger; 2],
    /// What the replica has: takes the first master's place.
    replica: Ledger,
    /// Index of the present master.
    pub master: usize,
}

impl Store {
    /// As somebody sees it who is connected to this master.
    pub fn ledger(&self, master: usize) -> &Ledger {
        &self.masters[master]
    }

    /// To be written to.
    pub fn ledger_mut(&mut self, master: usize) -> &mut Ledger {
        &mut self.masters[master]
    }

    /// The replica catches up; false where it has.
    pub fn replicate(&mut self) -> bool {
        let lags = self.replica != self.masters[0];
        self.replica = self.masters[0].clone();
        lags
    }

    /// The replica becomes master.
    pub fn fail_over(&mut self) {
        self.masters[1] = std::mem::take(&mut self.replica);
        self.master = 1;
    }
}
