//! Applies decisions to the state. This is the only code that changes seats, waitlists and outcomes.
//!
//! Nothing is decided here: a seat is taken because the effect says so. An effect that contradicts the state, which our
//! writers never produce, is applied as far as possible; the audit then reports the difference (I1, I5).

use interlock_schemas::Event;

use crate::decide::Decision;
use crate::effect::{Effect, Seats};
use crate::ledger::{Ledger, Touched};
use crate::outcome::{Answer, Booking, Cancellation, Outcome, Place};
use crate::outcomes::{Outcomes, RequestId};
use crate::party::Party;
use crate::plan::Plans;
use crate::seats::Segment;
use crate::train_date::{Open, TrainDate};
use crate::waitlist::entries_of;

/// Applies a decision to the state that it was made from, and returns its events. It has the same result as
/// [`evolve`](crate::evolve) with each of these events, but reads nothing back from them.
pub fn apply(ledger: &mut Ledger, decision: Decision) -> Vec<Event> {
    if !decision.effects.is_empty() {
        let (train_date, touched, plans) = ledger.touch(&decision.train_date, decision.slot);
        let mut made_booking = false;
        for effect in decision.effects {
            made_booking |= carry_out(effect, train_date, touched, plans);
        }
        if made_booking {
            ledger.count_booking();
        }
    }
    decision.events
}

/// Carries out an effect, and returns true if it makes a booking.
pub(crate) fn carry_out(effect: Effect, train_date: &mut TrainDate, touched: &mut Touched, plans: &mut Plans) -> bool {
    let TrainDate { open, outcomes, .. } = train_date;
    match (effect, open) {
        (Effect::Opened(now), open) => {
            plans.know(&now.plan);
            *open = Some(now);
            touched.plan = true;
        }
        (Effect::Refused { request_id, rejection }, _) => {
            touched.outcomes.push(request_id.clone());
            outcomes.insert(request_id, Outcome::Rejection(rejection));
        }
        (_, None) => {}
        (Effect::Booked { request_id, booking }, Some(open)) => {
            return booked(open, outcomes, touched, request_id, booking);
        }
        (Effect::Promoted { request_id, seats }, Some(open)) => {
            if let Some(booking) = outcomes.booking_mut(&request_id) {
                let before = booking.waiting();
                promoted(open, touched, booking, &seats);
                changed(open, touched, request_id, booking, before);
            }
        }
        (
            Effect::Cancelled {
                cause,
                request_id,
                cancellation,
            },
            Some(open),
        ) => {
            if let Some(booking) = outcomes.booking_mut(&request_id) {
                let before = booking.waiting();
                cancelled(open, touched, booking, &cancellation);
                changed(open, touched, request_id, booking, before);
                touched.outcomes.push(cause.clone());
                outcomes.insert(cause, Outcome::Cancellation(cancellation));
            }
        }
    }
    false
}

fn booked(
    open: &mut Open,
    outcomes: &mut Outcomes,
    touched: &mut Touched,
    request_id: RequestId,
    booking: Box<Booking>,
) -> bool {
    if outcomes.get(&request_id).is_some_and(|known| known.booking().is_none()) {
        return false;
    }
    for traveller in &booking.travellers {
        if let Place::Seat(seat) = traveller.place {
            take(open, touched, seat, booking.segment);
        }
    }
    if booking.is_waiting() {
        let waitlist = &mut open.allotments[usize::from(booking.allotment)].waitlist;
        for traveller in &booking.travellers {
            if let Answer::Waiting { first, .. } = traveller.answer {
                waitlist.issued = waitlist.issued.max(first);
            }
        }
        waitlist.entries.extend(entries_of(&request_id, &booking));
        touched.waitlist(booking.allotment);
    }
    touched.outcomes.push(request_id.clone());
    if let Some(known) = outcomes.booking_mut(&request_id) {
        known.add(*booking);
        return false;
    }
    outcomes.insert(request_id, Outcome::Booking(booking));
    true
}

fn promoted(open: &mut Open, touched: &mut Touched, booking: &mut Booking, seats: &Seats) {
    for &(index, seat) in seats {
        take(open, touched, seat, booking.segment);
        booking.set_place(index, Place::Seat(seat));
    }
}

fn cancelled(open: &mut Open, touched: &mut Touched, booking: &mut Booking, cancellation: &Cancellation) {
    let newly = cancellation.passengers.iter().filter(|given| !given.already_cancelled);
    for given in newly {
        if let Some(seat) = given.seat {
            release(open, touched, seat, booking.segment);
        }
        booking.set_place(given.index, Place::Cancelled(given.seat));
    }
}

/// Notes a changed booking. Those who waited before and no longer do leave the list.
fn changed(open: &mut Open, touched: &mut Touched, request_id: RequestId, booking: &Booking, before: Party) {
    let left = before.without(booking.waiting());
    if !left.is_empty() {
        let waitlist = &mut open.allotments[usize::from(booking.allotment)].waitlist;
        waitlist.remove(&request_id, left);
        if left == before {
            touched.settled.push(request_id.clone());
        }
    }
    touched.outcomes.push(request_id);
}

fn take(open: &mut Open, touched: &mut Touched, seat: u16, segment: Segment) {
    let (block, local) = open.block_of(seat);
    let was_free = block.take(local, segment);
    debug_assert!(was_free, "I1: seat {seat} of the train is taken");
    touched.coach(open.plan.seat(seat).coach);
}

fn release(open: &mut Open, touched: &mut Touched, seat: u16, segment: Segment) {
    let (block, local) = open.block_of(seat);
    block.release(local, segment);
    touched.coach(open.plan.seat(seat).coach);
}
