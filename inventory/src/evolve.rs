//! `evolve` applies an event to the state. The state is the fold of the events, and this is the fold.
//!
//! Nothing is decided here: a seat is taken because the event says so. Repeated answers change nothing, nor do
//! positions, which follow from the list. An event that contradicts the state, which our writers never produce, is
//! applied as far as possible; the audit then reports the difference (I1, I5).

use std::collections::HashMap;

use interlock_schemas::{
    BerthPreference, BookingCancelled, BookingConfirmed, BookingRejected, BookingWaitlisted, CancelledPassenger, Event,
    EventHeader, EventKind, SeatedPassenger, Text, TrainDateOpened, train_date_key,
};

use crate::digest::Digest;
use crate::ledger::{Ledger, Touched};
use crate::outcome::{Answer, Booking, Cancellation, GivenBack, Outcome, Place, Rejection, Traveller};
use crate::plan::Plans;
use crate::pnr::Pnr;
use crate::rejection::RejectionCode;
use crate::train_date::{Open, TrainDate};
use crate::waitlist::{Party, entries_of};

/// Applies an event to the state.
pub fn evolve(ledger: &mut Ledger, event: &Event) {
    let header = event.header();
    if header.replay || header.kind == EventKind::Position || is_reused_key(event) {
        return;
    }
    let (train_date, touched, plans) = ledger.touch(train_date_key(&header.train_id, header.travel_date));
    let TrainDate { open, outcomes, .. } = train_date;
    let made_booking = match (event, open) {
        (Event::Opened(opened), open) => {
            *open = open_with(plans, opened);
            touched.plan = true;
            false
        }
        (Event::Rejected(rejected), _) => {
            let request_id = &header.cause_request_id;
            touched.outcomes.push(request_id.clone());
            outcomes.insert(request_id.clone(), Outcome::Rejection(Box::new(rejection(rejected))));
            false
        }
        (_, None) => false,
        (_, Some(open)) => Fold {
            header,
            open,
            outcomes,
            touched,
            was_known: false,
            was_waiting: false,
            is_kept: false,
        }
        .apply(event),
    };
    if made_booking {
        ledger.bookings += 1;
        ledger.bookings_touched = true;
    }
}

/// Returns whether a request id was refused because it belongs to another body (R3): the outcome of that body stays.
pub(crate) fn is_reused_key(event: &Event) -> bool {
    matches!(event, Event::Rejected(rejected) if rejected.code == RejectionCode::IdempotencyKeyReused.as_str())
}

/// Compiles the plan in an event, which was compiled before the event was written.
fn open_with(plans: &mut Plans, opened: &TrainDateOpened) -> Option<Open> {
    let compiled = plans.compile(&opened.plan);
    debug_assert!(compiled.is_ok(), "{compiled:?}");
    compiled.ok().map(|plan| Open::new(plan, opened.header.travel_date))
}

fn rejection(rejected: &BookingRejected) -> Rejection {
    Rejection {
        digest: digest(&rejected.header),
        code: rejected.code.clone(),
        message: rejected.message.clone(),
        plan_version: rejected.header.plan_version,
    }
}

/// An open train-date and the event that changes it.
struct Fold<'a> {
    header: &'a EventHeader,
    open: &'a mut Open,
    outcomes: &'a mut HashMap<Text, Outcome>,
    touched: &'a mut Touched,
    /// True if the booking existed before.
    was_known: bool,
    /// True if a passenger of the booking was waiting.
    was_waiting: bool,
    /// True if the booking was stored again.
    is_kept: bool,
}

impl Fold<'_> {
    /// Returns true if the event made a booking.
    fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::Confirmed(confirmed) if self.header.kind == EventKind::Answer => self.seated_at_once(confirmed),
            Event::Confirmed(confirmed) => self.promoted(confirmed),
            Event::Waitlisted(waitlisted) => self.waitlisted(waitlisted),
            Event::Cancelled(cancelled) => self.cancelled(cancelled),
            Event::Opened(_) | Event::Rejected(_) => return false,
        };
        self.is_kept && !self.was_known
    }

    fn seated_at_once(&mut self, confirmed: &BookingConfirmed) -> Option<()> {
        let mut booking = self.take_out()?;
        booking.tier = Some(confirmed.tier);
        for passenger in &confirmed.passengers {
            let seat = self.take(passenger, &booking)?;
            booking.travellers.push(Traveller {
                index: index(passenger.index),
                name: passenger.name.clone(),
                age: passenger.age,
                berth_preference: BerthPreference::None,
                fare_minor: passenger.fare_minor,
                answer: Answer::Seat(seat),
                place: Place::Seat(seat),
            });
        }
        self.put_back(booking);
        Some(())
    }

    fn waitlisted(&mut self, waitlisted: &BookingWaitlisted) -> Option<()> {
        let mut booking = self.take_out()?;
        booking.each_alone = waitlisted.partial_confirmation;
        let waitlist = &mut self.open.allotments[usize::from(booking.allotment)].waitlist;
        for passenger in &waitlisted.passengers {
            let (first, current) = (
                passenger.first_position.unsigned_abs(),
                passenger.current_position.unsigned_abs(),
            );
            waitlist.issued = waitlist.issued.max(first);
            booking.travellers.push(Traveller {
                index: index(passenger.index),
                name: passenger.name.clone(),
                age: passenger.age,
                berth_preference: passenger.berth_preference,
                fare_minor: passenger.fare_minor,
                answer: Answer::Waiting { first, current },
                place: Place::Waiting,
            });
        }
        waitlist.entries.extend(entries_of(&self.header.request_id, &booking));
        self.touched.waitlist(booking.allotment);
        self.put_back(booking);
        Some(())
    }

    fn promoted(&mut self, confirmed: &BookingConfirmed) -> Option<()> {
        let mut booking = self.take_out()?;
        for passenger in &confirmed.passengers {
            let seat = self.take(passenger, &booking)?;
            booking.traveller_mut(passenger.index)?.place = Place::Seat(seat);
        }
        let party = confirmed
            .passengers
            .iter()
            .map(|passenger| index(passenger.index))
            .collect();
        self.leave_list(&booking, party);
        self.put_back(booking);
        Some(())
    }

    fn cancelled(&mut self, cancelled: &BookingCancelled) -> Option<()> {
        let mut booking = self.take_out()?;
        let mut left = Party::default();
        for passenger in cancelled
            .passengers
            .iter()
            .filter(|passenger| !passenger.already_cancelled)
        {
            let seat = self.seat_of(passenger);
            match seat {
                Some(seat) => self.release(seat, &booking),
                None => left.add(index(passenger.index)),
            }
            booking.traveller_mut(passenger.index)?.place = Place::Cancelled(seat);
        }
        if !left.is_empty() {
            self.leave_list(&booking, left);
        }
        self.put_back(booking);
        let passengers = cancelled.passengers.iter().map(|passenger| GivenBack {
            index: index(passenger.index),
            seat: self.seat_of(passenger),
            already_cancelled: passenger.already_cancelled,
            refund_minor: passenger.refund_minor,
        });
        let cancellation = Cancellation {
            digest: digest(self.header),
            passengers: passengers.collect(),
        };
        self.keep(
            &self.header.cause_request_id,
            Outcome::Cancellation(Box::new(cancellation)),
        );
        Some(())
    }

    /// Takes out the booking of the event, to be changed and stored again; a new one if an answer names it for the
    /// first time.
    fn take_out(&mut self) -> Option<Box<Booking>> {
        let found = self.outcomes.remove(&self.header.request_id);
        self.was_known = found.is_some();
        match found {
            Some(Outcome::Booking(booking)) => {
                self.was_waiting = booking.is_waiting();
                return Some(booking);
            }
            Some(other) => {
                self.keep(&self.header.request_id, other);
                return None;
            }
            None => {}
        }
        let (header, plan) = (self.header, &self.open.plan);
        Some(Box::new(Booking {
            digest: digest(header),
            pnr: Pnr::parse(&header.pnr)?,
            user_id: header.user_id.clone(),
            allotment: u16::try_from(plan.allotment_index(&header.travel_class, &header.quota)?).ok()?,
            segment: plan.segment(&header.from_station, &header.to_station)?,
            tier: None,
            each_alone: false,
            travellers: Vec::new(),
        }))
    }

    fn put_back(&mut self, booking: Box<Booking>) {
        if self.was_waiting && !booking.is_waiting() {
            self.touched.settled.push(self.header.request_id.clone());
        }
        self.keep(&self.header.request_id, Outcome::Booking(booking));
        self.is_kept = true;
    }

    fn keep(&mut self, request_id: &Text, outcome: Outcome) {
        self.touched.outcomes.push(request_id.clone());
        self.outcomes.insert(request_id.clone(), outcome);
    }

    fn take(&mut self, passenger: &SeatedPassenger, booking: &Booking) -> Option<u16> {
        let seat = self.open.plan.find_seat(&passenger.coach, passenger.seat_number)?;
        let (block, local) = self.open.block_of(seat);
        let was_free = block.take(local, booking.segment);
        debug_assert!(was_free, "I1: {} {} is taken", passenger.coach, passenger.seat_number);
        self.touched.coach(self.open.plan.seat(seat).coach);
        Some(seat)
    }

    fn release(&mut self, seat: u16, booking: &Booking) {
        let (block, local) = self.open.block_of(seat);
        block.release(local, booking.segment);
        self.touched.coach(self.open.plan.seat(seat).coach);
    }

    fn seat_of(&self, passenger: &CancelledPassenger) -> Option<u16> {
        self.open.plan.find_seat(&passenger.coach, passenger.seat_number)
    }

    fn leave_list(&mut self, booking: &Booking, party: Party) {
        self.open.allotments[usize::from(booking.allotment)]
            .waitlist
            .remove(&self.header.request_id, party);
    }
}

fn digest(header: &EventHeader) -> Digest {
    Digest::parse(&header.request_digest).unwrap_or_default()
}

fn index(index: i32) -> u8 {
    u8::try_from(index).unwrap_or(Party::INDEX_MAX).min(Party::INDEX_MAX)
}
