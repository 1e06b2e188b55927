//! Promotes waiters when space is freed or a waiter leaves (R16).
//!
//! One walk in list order is a fixpoint. Free seats only decrease during the walk, so a skipped entry cannot fit later.
//! Under LEG_STRICT, serving an entry takes as many seats on its legs as the entry stops claiming, so the rest for the
//! others stays the same. The first entry that fits is therefore also the first that could have used the space.

use interlock_schemas::{PositionMove, PromotionPolicy};
use smallvec::SmallVec;

use crate::choose::{Seating, Wish, choose};
use crate::outcome::Booking;
use crate::outcomes::RequestId;
use crate::party::Party;
use crate::seats::{Fitting, SeatBlock};
use crate::train_date::{Open, TrainDate, first_position};
use crate::waitlist::{Ahead, Entry};

/// A list that the passengers of one booking have just left, and its seats including those given back.
pub(crate) struct Walk<'a> {
    pub(crate) train_date: &'a TrainDate,
    pub(crate) open: &'a Open,
    pub(crate) allotment: usize,
    /// The seats at this moment; served entries take seats from them.
    pub(crate) block: SeatBlock,
    /// The booking whose passengers have left.
    pub(crate) booking_id: &'a RequestId,
    /// The passengers who have left.
    pub(crate) gone: Party,
}

/// A served entry.
pub(crate) struct Promotion<'a> {
    pub(crate) request_id: &'a RequestId,
    pub(crate) booking: &'a Booking,
    pub(crate) party: Party,
    pub(crate) seating: Seating,
}

/// Returns how many passengers may be seated on a segment: at most the number of seats that fit and, if waiters ahead
/// keep their claims (LEG_STRICT), at most the number that every leg can spare.
pub(crate) fn room(fitting: &Fitting<'_>, ahead: Option<&Ahead>) -> usize {
    let fit = fitting.count();
    ahead.map_or(fit, |ahead| fit.min(ahead.leaves(fitting.block, fitting.segment)))
}

impl<'a> Walk<'a> {
    /// Serves the entries that fit, in list order. Also returns every waiter whose current position changed.
    pub(crate) fn run(mut self) -> (Vec<Promotion<'a>>, Vec<PositionMove>) {
        let entries = &self.open.allotments[self.allotment].waitlist.entries;
        let mut ahead = match self.open.plan.service().promotion {
            PromotionPolicy::FifoSkip => None,
            PromotionPolicy::LegStrict => Some(Ahead::nobody(self.open.plan.legs())),
        };
        let (mut promotions, mut moves) = (Vec::new(), Vec::new());
        let (mut before, mut after) = (0, 0);
        for entry in entries {
            let party = self.who_is_left(entry);
            let promotion = self.serve(entry, party, ahead.as_ref());
            let staying = if promotion.is_some() { Party::default() } else { party };
            if let Some(ahead) = &mut ahead {
                ahead.add(entry.segment, staying.size());
            }
            for index in entry.party.indices() {
                before += 1;
                if staying.contains(index) {
                    after += 1;
                    moves.extend((before != after).then(|| self.moved(entry, index, after)).flatten());
                }
            }
            promotions.extend(promotion);
        }
        (promotions, moves)
    }

    fn who_is_left(&self, entry: &Entry) -> Party {
        if entry.request_id == *self.booking_id {
            entry.party.without(self.gone)
        } else {
            entry.party
        }
    }

    fn serve(&mut self, entry: &'a Entry, party: Party, ahead: Option<&Ahead>) -> Option<Promotion<'a>> {
        if party.is_empty() {
            return None;
        }
        let fitting = Fitting::new(&self.block, entry.segment);
        if room(&fitting, ahead) < party.size() {
            return None;
        }
        let plan = &self.open.plan;
        let booking = self.train_date.outcomes.booking(&entry.request_id)?;
        let wish = |index| {
            booking
                .traveller(i32::from(index))
                .map_or(Wish::default(), |t| Wish::new(t.berth_preference, false))
        };
        let wishes: SmallVec<[Wish; 6]> = party.indices().map(wish).collect();
        let seating = choose(
            &fitting,
            plan.allotment(self.allotment),
            &wishes,
            plan.service().allocation,
        )?;
        for &seat in &seating.seats {
            let taken = self.block.take(seat, entry.segment);
            debug_assert!(taken, "I1: a chosen seat is free");
        }
        Some(Promotion {
            request_id: &entry.request_id,
            booking,
            party,
            seating,
        })
    }

    fn moved(&self, entry: &Entry, index: u8, current_position: i32) -> Option<PositionMove> {
        let booking = self.train_date.outcomes.booking(&entry.request_id)?;
        Some(PositionMove {
            pnr: booking.pnr.to_text(),
            request_id: entry.request_id.text.clone(),
            index: i32::from(index),
            first_position: first_position(booking, index) as i32,
            current_position,
        })
    }
}
