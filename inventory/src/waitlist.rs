//! The waitlist of a class and quota, in its order (R14–R17).
//!
//! An entry is what is served at once: a whole party, or one passenger of a party that travels as far as it can
//! (`partial_confirmation`, R12). Entries stand in order of arrival and are never reordered. Positions count
//! passengers: the *first* position is issued once and never again; the *current* one is the place among those who
//! still wait, so it isn't stored but counted.

use smallvec::SmallVec;

use crate::outcome::Booking;
use crate::outcomes::RequestId;
use crate::party::Party;
use crate::seats::{SeatBlock, Segment};

/// Passengers who are served together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) request_id: RequestId,
    pub(crate) segment: Segment,
    pub(crate) party: Party,
}

/// A list in order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waitlist {
    /// First positions issued so far; the next is one more.
    pub(crate) issued: u32,
    pub(crate) entries: Vec<Entry>,
}

impl Waitlist {
    /// Passengers who wait.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.iter().map(|entry| entry.party.size()).sum()
    }

    /// Removes passengers of a booking from the list.
    pub(crate) fn remove(&mut self, request_id: &RequestId, party: Party) {
        self.entries.retain_mut(|entry| {
            if entry.request_id == *request_id {
                entry.party = entry.party.without(party);
            }
            !entry.party.is_empty()
        });
    }
}

/// Returns the entries of a booking's waiting passengers: separate, or all together (R12).
pub(crate) fn entries_of(request_id: &RequestId, booking: &Booking) -> Vec<Entry> {
    let waiting = booking.waiting();
    let entry = |party| Entry {
        request_id: request_id.clone(),
        segment: booking.segment,
        party,
    };
    match booking.each_alone {
        true => waiting
            .indices()
            .map(|index| entry(Party::from_iter([index])))
            .collect(),
        false if waiting.is_empty() => Vec::new(),
        false => vec![entry(waiting)],
    }
}

/// The test of [`PromotionPolicy::LegStrict`](interlock_schemas::PromotionPolicy::LegStrict): how many passengers wait
/// ahead on each leg. This many seats must be left untouched on every leg of a segment.
pub(crate) struct Ahead {
    waiting: SmallVec<[usize; 32]>,
}

impl Ahead {
    pub(crate) fn nobody(legs: usize) -> Ahead {
        Ahead {
            waiting: SmallVec::from_elem(0, legs),
        }
    }

    pub(crate) fn all(legs: usize, waitlist: &Waitlist) -> Ahead {
        let mut ahead = Ahead::nobody(legs);
        waitlist
            .entries
            .iter()
            .for_each(|entry| ahead.add(entry.segment, entry.party.size()));
        ahead
    }

    pub(crate) fn add(&mut self, segment: Segment, passengers: usize) {
        self.waiting[segment.legs()]
            .iter_mut()
            .for_each(|waiting| *waiting += passengers);
    }

    /// Returns how many passengers can be served on a segment without touching the claims of those ahead.
    pub(crate) fn leaves(&self, block: &SeatBlock, segment: Segment) -> usize {
        let spare = segment
            .legs()
            .map(|leg| block.free_on_leg(leg).saturating_sub(self.waiting[leg]));
        spare.min().unwrap_or(0)
    }
}
