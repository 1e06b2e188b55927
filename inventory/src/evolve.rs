//! `evolve`: what an event changes. State is the fold of the events, and this is the fold.
//!
//! Nothing is decided here: a seat is taken because the event says so. Events that change nothing are passed over: repeated
//! answers, and positions, which follow from the list. An event that contradicts the state (no writer of ours makes one)
//! changes what it can; the audit then reports the difference (I1, I5).

use std::collections::HashMap;
use std::sync::Arc;

use interlock_schemas::{
    BerthPreference, BookingCancelled, BookingConfirmed, BookingRejected, BookingWaitlisted, CancelledPassenger, Event,
    EventHeader, EventKind, SeatedPassenger, TrainDateOpened, train_date_key,
};

use crate::digest::Digest;
use crate::ledger::{Ledger, Touched};
use crate::outcome::{Answer, Booking, Cancellation, GivenBack, Outcome, Place, Rejection, Traveller};
use crate::plan::Plans;
use crate::pnr::Pnr;
use crate::train_date::{Open, TrainDate};
use crate::waitlist::{Party, entries_of};

/// Applies an event to the state.
pub fn evolve(ledger: &mut Ledger, event: &Event) {
    let header = event.header();
    if header.replay || header.kind == EventKind::Position {
        return;
    }
    let key = train_date_key(&header.train_id, header.travel_date);
    let touched = ledger.touched.entry(key.clone()).or_default();
    let TrainDate { open, outcomes, .. } = ledger.train_dates.entry(key).or_default();
    let made_booking = match (event, open) {
        (Event::Opened(opened), open) => {
            *open = open_with(&mut ledger.plans, opened);
            touched.plan = true;
            false
        }
        (Event::Rejected(rejected), _) => {
            let request_id: Arc<str> = header.cause_request_id.as_str().into();
            touched.outcomes.insert(Arc::clone(&request_id));
            outcomes.insert(request_id, Outcome::Rejection(Box::new(rejection(rejected))));
            false
        }
        (_, None) => false,
        (_, Some(open)) => Fold {
            header,
            open,
            outcomes,
            touched,
            was_waiting: false,
        }
        .apply(event),
    };
    if made_booking {
        ledger.bookings += 1;
        ledger.bookings_touched = true;
    }
}

/// A plan in an event was compiled before the event was written.
fn open_with(plans: &mut Plans, opened: &TrainDateOpened) -> Option<Open> {
    let compiled = plans.compile(&opened.plan);
    debug_assert!(compiled.is_ok(), "{compiled:?}");
    compiled.ok().map(|plan| Open::new(plan, opened.header.travel_date))
}

fn rejection(rejected: &BookingRejected) -> Rejection {
    Rejection {
        digest: digest(&rejected.header),
        code: rejected.code.as_str().into(),
        message: rejected.message.as_str().into(),
        plan_version: rejected.header.plan_version,
    }
}

/// An open train-date and the event that changes it.
struct Fold<'a> {
    header: &'a EventHeader,
    open: &'a mut Open,
    outcomes: &'a mut HashMap<Arc<str>, Outcome>,
    touched: &'a mut Touched,
    /// Somebody of the booking that was taken out waited.
    was_waiting: bool,
}

impl Fold<'_> {
    /// True if a booking was made by it.
    fn apply(&mut self, event: &Event) -> bool {
        let known = self.outcomes.contains_key(self.header.request_id.as_str());
        match event {
            Event::Confirmed(confirmed) if self.header.kind == EventKind::Answer => self.seated_at_once(confirmed),
            Event::Confirmed(confirmed) => self.promoted(confirmed),
            Event::Waitlisted(waitlisted) => self.waitlisted(waitlisted),
            Event::Cancelled(cancelled) => self.cancelled(cancelled),
            Event::Opened(_) | Event::Rejected(_) => return false,
        };
        !known && self.outcomes.contains_key(self.header.request_id.as_str())
    }

    fn seated_at_once(&mut self, confirmed: &BookingConfirmed) -> Option<()> {
        let mut booking = self.take_out()?;
        booking.tier = Some(confirmed.tier);
        for passenger in &confirmed.passengers {
            let seat = self.take(passenger, &booking)?;
            booking.travellers.push(Traveller {
                index: index(passenger.index),
                name: passenger.name.as_str().into(),
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
        let waitlist = &mut self.open.scopes[usize::from(booking.scope)].waitlist;
        for passenger in &waitlisted.passengers {
            let (first, current) = (
                passenger.first_position.unsigned_abs(),
                passenger.current_position.unsigned_abs(),
            );
            waitlist.issued = waitlist.issued.max(first);
            booking.travellers.push(Traveller {
                index: index(passenger.index),
                name: passenger.name.as_str().into(),
                age: passenger.age,
                berth_preference: passenger.berth_preference,
                fare_minor: passenger.fare_minor,
                answer: Answer::Waiting { first, current },
                place: Place::Waiting,
            });
        }
        let request_id: Arc<str> = self.header.request_id.as_str().into();
        waitlist.entries.extend(entries_of(&request_id, &booking));
        self.touched.waitlists.insert(booking.scope);
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

    /// The booking that the event is about, to be changed and put back; a new one if an answer names it first.
    fn take_out(&mut self) -> Option<Box<Booking>> {
        match self.outcomes.remove(self.header.request_id.as_str()) {
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
            user_id: header.user_id.as_str().into(),
            scope: u16::try_from(plan.scope_index(&header.travel_class, &header.quota)?).ok()?,
            trip: plan.trip(&header.from_station, &header.to_station)?,
            tier: None,
            each_alone: false,
            travellers: Vec::new(),
        }))
    }

    fn put_back(&mut self, booking: Box<Booking>) {
        if self.was_waiting && !booking.is_waiting() {
            self.touched.settled.insert(self.header.request_id.as_str().into());
        }
        self.keep(&self.header.request_id, Outcome::Booking(booking));
    }

    fn keep(&mut self, request_id: &str, outcome: Outcome) {
        let request_id: Arc<str> = request_id.into();
        self.touched.outcomes.insert(Arc::clone(&request_id));
        self.outcomes.insert(request_id, outcome);
    }

    fn take(&mut self, passenger: &SeatedPassenger, booking: &Booking) -> Option<u16> {
        let seat = self.open.plan.find_seat(&passenger.coach, passenger.seat_number)?;
        let (block, local) = self.open.block_of(seat);
        let was_free = block.take(local, booking.trip);
        debug_assert!(was_free, "I1: {} {} is taken", passenger.coach, passenger.seat_number);
        self.touched.coaches.insert(self.open.plan.seat(seat).coach);
        Some(seat)
    }

    fn release(&mut self, seat: u16, booking: &Booking) {
        let (block, local) = self.open.block_of(seat);
        block.release(local, booking.trip);
        self.touched.coaches.insert(self.open.plan.seat(seat).coach);
    }

    fn seat_of(&self, passenger: &CancelledPassenger) -> Option<u16> {
        self.open.plan.find_seat(&passenger.coach, passenger.seat_number)
    }

    fn leave_list(&mut self, booking: &Booking, party: Party) {
        self.open.scopes[usize::from(booking.scope)]
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
