//! Which requests still wait for their answer, in little memory: a hash of the key instead of the key.
//!
//! A key may be sent several times, and each sent record has one answer (a repetition's is the first one again). With
//! `partial_confirmation` an answer is two events, one confirmed and one waitlisted: they share the request's offset, and
//! the second is no further answer.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use rustc_hash::FxHashMap;

/// What stands for a request's key: 64 bits, so that among ten million requests two collide with a chance of 1 : 370,000.
pub(super) fn hash(request_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    request_id.hash(&mut hasher);
    hasher.finish()
}

/// When a request was meant to be sent; none if an earlier process has sent it.
pub(super) type Intended = Option<Duration>;

/// What an event is to a request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The answer to what was meant to be sent at this time.
    To(Intended),
    /// The second half of an answer.
    Continued,
    /// One more answer than there were requests.
    Surplus,
    /// Not about a request of ours.
    Foreign,
}

/// Where an answered request lies: partition and offset.
pub(super) type Place = (i32, i64);

/// The requests that were sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    keys: FxHashMap<u64, Key>,
    /// Further intended times, and places answered before the last, of the few keys that have them.
    more: FxHashMap<u64, (Vec<Intended>, Vec<Place>)>,
    open: u64,
}

/// One key.
#[derive(Debug)]
struct Key {
    /// The earliest intended time that has no answer.
    open: Option<Intended>,
    /// The request answered last.
    answered: Option<Place>,
}

impl Pending {
    /// A request is about to be sent.
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

    /// An answer has come.
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

    /// Whether a request is ours.
    pub(super) fn is_ours(&self, key: u64) -> bool {
        self.keys.contains_key(&key)
    }

    /// How many requests have no answer.
    pub(super) fn open(&self) -> u64 {
        self.open
    }

    /// Keys of which at least one request has no answer.
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
