//! The requests that still wait for their answer, kept in little memory: a hash stands for each request id.
//!
//! A request id may be sent several times, and each sent record has one answer (a repetition's is the first one again).
//! With `partial_confirmation` an answer is two events, one confirmed and one waitlisted. They share the request's
//! offset, so the second does not count as a further answer.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use rustc_hash::FxHashMap;

/// Hashes a request id to 64 bits: among ten million requests, two collide with a chance of 1 : 370,000.
pub(super) fn hash(request_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    request_id.hash(&mut hasher);
    hasher.finish()
}

/// The time at which a request was meant to be sent; none if an earlier process has sent it.
pub(super) type Intended = Option<Duration>;

/// The relation of an event to a request of this load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The answer to the request that was meant to be sent at this time.
    To(Intended),
    /// The second half of an answer.
    Continued,
    /// An answer beyond the number of requests.
    Surplus,
    /// Not about a request of this load.
    Foreign,
}

/// Partition and offset of an answered request.
pub(super) type Place = (i32, i64);

/// The requests that were sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    keys: FxHashMap<u64, Key>,
    /// Further intended times, and places answered before the last, of the few keys that have them.
    more: FxHashMap<u64, (Vec<Intended>, Vec<Place>)>,
    open: u64,
}

/// The requests under one id.
#[derive(Debug)]
struct Key {
    /// The earliest intended time that has no answer.
    open: Option<Intended>,
    /// The place of the request answered last.
    answered: Option<Place>,
}

impl Pending {
    /// Takes note of a request that is about to be sent.
    pub(super) fn sent(&mut self, key: u64, intended_at: Intended) {
        self.open += 1;
        let known = self.keys.entry(key).or_insert(Key {
            open: None,
            answered: None,
        });
        match known.open {
            None => known.open = Some(intended_at),
            Some(_) => self.more.entry(key).or_default().0.push(intended_at),
        }
    }

    /// Takes note of an answer.
    pub(super) fn answered(&mut self, key: u64, place: Place) -> Answer {
        let Some(known) = self.keys.get_mut(&key) else {
            return Answer::Foreign;
        };
        let more = self.more.get_mut(&key);
        if known.answered == Some(place) || more.as_ref().is_some_and(|(_, places)| places.contains(&place)) {
            return Answer::Continued;
        }
        let Some(intended_at) = known.open else {
            return Answer::Surplus;
        };
        known.open = more.and_then(|(times, _)| if times.is_empty() { None } else { Some(times.remove(0)) });
        if let Some(before) = known.answered.replace(place) {
            self.more.entry(key).or_default().1.push(before);
        }
        self.open -= 1;
        Answer::To(intended_at)
    }

    /// Returns whether the request belongs to this load.
    pub(super) fn is_ours(&self, key: u64) -> bool {
        self.keys.contains_key(&key)
    }

    /// Returns the number of requests without an answer.
    pub(super) fn open(&self) -> u64 {
        self.open
    }

    /// Returns the hashes of the ids with at least one unanswered request.
    pub(super) fn unanswered(&self) -> HashSet<u64> {
        self.keys
            .iter()
            .filter(|(_, key)| key.open.is_some())
            .map(|(hash, _)| *hash)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Intended {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn each_sent_record_has_one_answer_in_the_order_of_sending() {
        let mut pending = Pending::default();
        pending.sent(1, s(1));
        pending.sent(1, s(2));
        pending.sent(2, s(3));
        assert_eq!(pending.answered(1, (0, 10)), Answer::To(s(1)));
        assert_eq!(pending.open(), 2);
        assert_eq!(pending.unanswered(), HashSet::from([1, 2]));
        assert_eq!(pending.answered(1, (0, 12)), Answer::To(s(2)));
        assert_eq!(pending.answered(2, (1, 10)), Answer::To(s(3)));
        assert!(pending.open() == 0 && pending.unanswered().is_empty());
    }

    #[test]
    fn an_answer_in_two_events_is_one_also_where_a_repetitions_comes_in_between() {
        let mut pending = Pending::default();
        pending.sent(1, s(1));
        assert_eq!(pending.answered(1, (0, 10)), Answer::To(s(1)));
        pending.sent(1, s(2));
        assert_eq!(pending.answered(1, (0, 12)), Answer::To(s(2)));
        assert_eq!(pending.answered(1, (0, 10)), Answer::Continued);
        assert_eq!(pending.answered(1, (0, 12)), Answer::Continued);
        assert_eq!(pending.open(), 0);
    }

    #[test]
    fn what_is_not_ours_and_what_is_too_much_is_told_apart() {
        let mut pending = Pending::default();
        pending.sent(1, s(1));
        assert_eq!(pending.answered(7, (0, 10)), Answer::Foreign);
        assert_eq!(pending.answered(1, (0, 10)), Answer::To(s(1)));
        assert_eq!(pending.answered(1, (0, 11)), Answer::Surplus);
        assert!(pending.is_ours(1) && !pending.is_ours(7));
    }

    #[test]
    fn hashes_are_the_same_in_every_process() {
        assert_eq!(hash("b-1"), hash("b-1"));
        assert_ne!(hash("b-1"), hash("b-2"));
    }
}
