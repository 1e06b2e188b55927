//! `evolve` applies an event to the state. The state is the fold of the events, and this is the fold, as a rebuild and
//! the audit need it: it reads from the event what `decide` knew, and applies that.
//!
//! Repeated answers change nothing, nor do positions, which follow from the list. An event that names what the plan
//! doesn't have, which our writers never produce, is passed over; the audit then reports the difference (I1, I5).

use interlock_schemas::{
    BerthPreference, BookingCancelled, BookingConfirmed, BookingRejected, BookingWaitlisted, CancelledPassenger, Event,
    EventHeader, EventKind, SeatedPassenger, TrainDateOpened, WaitingPassenger, train_date_key,
};

use crate::apply::carry_out;
use crate::digest::Digest;
use crate::effect::Effect;
use crate::ledger::Ledger;
use crate::outcome::{Answer, Booking, Cancellation, GivenBack, Place, Rejection, Traveller};
use crate::outcomes::RequestId;
use crate::party::Party;
use crate::plan::{Plan, Plans};
use crate::pnr::Pnr;
use crate::rejection::RejectionCode;
use crate::train_date::Open;

/// Applies an event to the state.
pub fn evolve(ledger: &mut Ledger, event: &Event) {
    let header = event.header();
    if header.replay || header.kind == EventKind::Position || is_reused_key(event) {
        return;
    }
    let (train_date, touched, plans) = ledger.touch(&train_date_key(&header.train_id, header.travel_date), None);
    let effect = match (event, train_date.plan()) {
        (Event::Opened(opened), _) => opening(opened, plans),
        (Event::Rejected(rejected), _) => Some(refusal(rejected)),
        (_, None) => None,
        (Event::Confirmed(confirmed), Some(plan)) if header.kind == EventKind::Answer => {
            seated_at_once(confirmed, plan)
        }
        (Event::Confirmed(confirmed), Some(plan)) => promotion(confirmed, plan),
        (Event::Waitlisted(waitlisted), Some(plan)) => waiting(waitlisted, plan),
        (Event::Cancelled(cancelled), Some(plan)) => Some(cancellation(cancelled, plan)),
    };
    if effect.is_some_and(|effect| carry_out(effect, train_date, touched, plans)) {
        ledger.count_booking();
    }
}

/// Returns whether a request id was refused because it belongs to another body (R3): the outcome of that body stays.
pub(crate) fn is_reused_key(event: &Event) -> bool {
    matches!(event, Event::Rejected(rejected) if rejected.code == RejectionCode::IdempotencyKeyReused.as_str())
}

/// Compiles the plan in an event, which was compiled before the event was written.
fn opening(opened: &TrainDateOpened, plans: &mut Plans) -> Option<Effect> {
    let compiled = plans.compile(&opened.plan);
    debug_assert!(compiled.is_ok(), "{compiled:?}");
    let plan = compiled.ok()?;
    Some(Effect::Opened(Open::new(plan, opened.header.travel_date)))
}

fn refusal(rejected: &BookingRejected) -> Effect {
    Effect::Refused {
        request_id: RequestId::new(rejected.header.cause_request_id.clone()),
        rejection: Box::new(Rejection {
            digest: digest(&rejected.header),
            code: rejected.code.clone(),
            message: rejected.message.clone(),
            plan_version: rejected.header.plan_version,
        }),
    }
}

fn seated_at_once(confirmed: &BookingConfirmed, plan: &Plan) -> Option<Effect> {
    let mut booking = new_booking(&confirmed.header, plan)?;
    booking.tier = Some(confirmed.tier);
    let seated = confirmed.passengers.iter().map(|passenger| {
        let seat = seat_of(passenger, plan)?;
        Some(Traveller {
            index: index(passenger.index),
            name: passenger.name.clone(),
            age: passenger.age,
            berth_preference: BerthPreference::None,
            fare_minor: passenger.fare_minor,
            answer: Answer::Seat(seat),
            place: Place::Seat(seat),
        })
    });
    booking.travellers = seated.collect::<Option<_>>()?;
    Some(booked(&confirmed.header, booking))
}

fn waiting(waitlisted: &BookingWaitlisted, plan: &Plan) -> Option<Effect> {
    let mut booking = new_booking(&waitlisted.header, plan)?;
    booking.each_alone = waitlisted.partial_confirmation;
    let waiting = waitlisted.passengers.iter().map(|passenger| Traveller {
        index: index(passenger.index),
        name: passenger.name.clone(),
        age: passenger.age,
        berth_preference: passenger.berth_preference,
        fare_minor: passenger.fare_minor,
        answer: positions(passenger),
        place: Place::Waiting,
    });
    booking.travellers = waiting.collect();
    Some(booked(&waitlisted.header, booking))
}

fn promotion(confirmed: &BookingConfirmed, plan: &Plan) -> Option<Effect> {
    let seats = confirmed
        .passengers
        .iter()
        .map(|passenger| Some((index(passenger.index), seat_of(passenger, plan)?)));
    Some(Effect::Promoted {
        request_id: RequestId::new(confirmed.header.request_id.clone()),
        seats: seats.collect::<Option<_>>()?,
    })
}

fn cancellation(cancelled: &BookingCancelled, plan: &Plan) -> Effect {
    let header = &cancelled.header;
    let given_back = |passenger: &CancelledPassenger| GivenBack {
        index: index(passenger.index),
        seat: plan.find_seat(&passenger.coach, passenger.seat_number),
        already_cancelled: passenger.already_cancelled,
        refund_minor: passenger.refund_minor,
    };
    Effect::Cancelled {
        cause: RequestId::new(header.cause_request_id.clone()),
        request_id: RequestId::new(header.request_id.clone()),
        cancellation: Box::new(Cancellation {
            digest: digest(header),
            passengers: cancelled.passengers.iter().map(given_back).collect(),
        }),
    }
}

/// Returns the booking of an answer, without its passengers.
fn new_booking(header: &EventHeader, plan: &Plan) -> Option<Booking> {
    Some(Booking {
        digest: digest(header),
        pnr: Pnr::parse(&header.pnr)?,
        user_id: header.user_id.clone(),
        allotment: u16::try_from(plan.allotment_index(&header.travel_class, &header.quota)?).ok()?,
        segment: plan.segment(&header.from_station, &header.to_station)?,
        tier: None,
        each_alone: false,
        travellers: Vec::new(),
    })
}

fn booked(header: &EventHeader, booking: Booking) -> Effect {
    Effect::Booked {
        request_id: RequestId::new(header.request_id.clone()),
        booking: Box::new(booking),
    }
}

fn seat_of(passenger: &SeatedPassenger, plan: &Plan) -> Option<u16> {
    plan.find_seat(&passenger.coach, passenger.seat_number)
}

fn positions(passenger: &WaitingPassenger) -> Answer {
    Answer::Waiting {
        first: passenger.first_position.unsigned_abs(),
        current: passenger.current_position.unsigned_abs(),
    }
}

fn digest(header: &EventHeader) -> Digest {
    Digest::parse(&header.request_digest).unwrap_or_default()
}

fn index(index: i32) -> u8 {
    u8::try_from(index).unwrap_or(Party::INDEX_MAX).min(Party::INDEX_MAX)
}
