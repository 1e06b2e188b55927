//! The outcomes of a train-date's requests: those in memory, and fingerprints of those that only the store has.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use hashbrown::HashTable;
use interlock_schemas::Text;
use rustc_hash::FxHashSet;

use crate::outcome::{Booking, Outcome};

/// The key of the fingerprints. Each process has its own, so that no client can find ids that share one and slow down
/// the look-ups. Nothing may depend on it.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn fingerprint(request_id: &str) -> u64 {
    KEY.hash_one(request_id)
}

/// A request id and its fingerprint, which is computed once: one request looks its id up many times.
#[derive(Clone, Debug)]
pub(crate) struct RequestId {
    pub(crate) text: Text,
    fingerprint: u64,
}

impl RequestId {
    pub(crate) fn new(text: Text) -> RequestId {
        RequestId {
            fingerprint: fingerprint(&text),
            text,
        }
    }

    fn is(&self, fingerprint: u64, text: &str) -> bool {
        self.fingerprint == fingerprint && self.text == text
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &RequestId) -> bool {
        self.is(other.fingerprint, &other.text)
    }
}

impl Eq for RequestId {}

impl PartialOrd for RequestId {
    fn partial_cmp(&self, other: &RequestId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RequestId {
    fn cmp(&self, other: &RequestId) -> Ordering {
        self.text.cmp(&other.text)
    }
}

/// Outcomes by request id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes {
    loaded: HashTable<(RequestId, Outcome)>,
    /// Fingerprints of the request ids whose outcomes are in the store only. The outcome of a known id that the store
    /// lacks counts as lost. So would that of a new id with the fingerprint of another; of 64 bits, none is expected.
    stored: FxHashSet<u64>,
}

impl Outcomes {
    /// Returns an outcome that is in memory.
    pub(crate) fn get(&self, id: &RequestId) -> Option<&Outcome> {
        let found = self.loaded.find(id.fingerprint, |(known, _)| known == id);
        found.map(|(_, outcome)| outcome)
    }

    /// Returns an outcome that is in memory, by the text of its id.
    pub(crate) fn find(&self, request_id: &str) -> Option<&Outcome> {
        let fingerprint = fingerprint(request_id);
        let found = self
            .loaded
            .find(fingerprint, |(known, _)| known.is(fingerprint, request_id));
        found.map(|(_, outcome)| outcome)
    }

    /// Returns an accepted booking that is in memory.
    pub(crate) fn booking(&self, id: &RequestId) -> Option<&Booking> {
        self.get(id).and_then(Outcome::booking)
    }

    /// Returns an accepted booking that is in memory, to be changed.
    pub(crate) fn booking_mut(&mut self, id: &RequestId) -> Option<&mut Booking> {
        match self.loaded.find_mut(id.fingerprint, |(known, _)| known == id) {
            Some((_, Outcome::Booking(booking))) => Some(booking),
            _ => None,
        }
    }

    /// Adds an outcome, or replaces that of the same id.
    pub(crate) fn insert(&mut self, id: RequestId, outcome: Outcome) {
        let entry = self.loaded.entry(
            id.fingerprint,
            |(known, _)| *known == id,
            |(known, _)| known.fingerprint,
        );
        entry.insert((id, outcome));
    }

    /// Iterates over those in memory, in no particular order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&RequestId, &Outcome)> {
        self.loaded.iter().map(|(id, outcome)| (id, outcome))
    }

    /// Returns the number of those in memory, and of those that only the store has.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.loaded.len(), self.stored.len())
    }

    /// Notes that the store has an outcome.
    pub(crate) fn mark_stored(&mut self, id: &RequestId) {
        self.stored.insert(id.fingerprint);
    }

    /// Returns whether an outcome may be in the store and is not in memory.
    pub(crate) fn is_to_be_loaded(&self, request_id: &str) -> bool {
        // Most ids are new, and one look-up shows it.
        !self.stored.is_empty() && self.stored.contains(&fingerprint(request_id)) && self.find(request_id).is_none()
    }

    /// Unloads an outcome that the store has, unless one of its passengers waits.
    pub(crate) fn leave_in_store(&mut self, id: &RequestId) {
        let Ok(found) = self.loaded.find_entry(id.fingerprint, |(known, _)| known == id) else {
            return;
        };
        if !found.get().1.is_waiting() {
            found.remove();
            self.mark_stored(id);
        }
    }
}

impl PartialEq for Outcomes {
    fn eq(&self, other: &Outcomes) -> bool {
        self.stored == other.stored
            && self.loaded.len() == other.loaded.len()
            && self.iter().all(|(id, outcome)| other.get(id) == Some(outcome))
    }
}

impl Eq for Outcomes {}
