//! Writes outcomes as events. First and repeated answers come from the same stored outcome, so a repeated answer cannot
//! differ from the first (R3).

use interlock_schemas::{
    BookingCancelled, BookingConfirmed, BookingRejected, BookingWaitlisted, CancelledPassenger, Command, Event,
    EventKind, SeatedPassenger, Text, Tier, WaitingPassenger,
};

use crate::outcome::{Answer, Booking, Cancellation, Traveller};
use crate::plan::Plan;
use crate::step::{Step, Subject};
use crate::text::repeatable;
use crate::train_date::Open;

/// Writes the answer to an accepted booking: the passengers with seats, and those who wait.
pub(crate) fn booking(step: &mut Step<'_>, open: &Open, booking: &Booking) {
    let request_id = step.request_id();
    let seated = booking
        .travellers
        .iter()
        .filter_map(|traveller| match traveller.answer {
            Answer::Seat(seat) => Some(seated(&open.plan, traveller, seat)),
            Answer::Waiting { .. } => None,
        });
    let seated: Vec<_> = seated.collect();
    if !seated.is_empty() {
        let tier = booking.tier.unwrap_or(Tier::Split);
        confirmed(step, open, EventKind::Answer, request_id, booking, seated, tier);
    }
    let waiting: Vec<_> = booking.travellers.iter().filter_map(waiting).collect();
    if !waiting.is_empty() {
        let allotment = open.plan.allotment(usize::from(booking.allotment));
        let mut header = step.header(EventKind::Answer, subject(&open.plan, request_id, booking));
        header.pnr = booking.pnr.to_text();
        header.amount_minor = step.moved(waiting.iter().map(|passenger| passenger.fare_minor).sum());
        step.events.push(Event::Waitlisted(BookingWaitlisted {
            header,
            list: allotment.list.clone(),
            passengers: waiting,
            partial_confirmation: booking.each_alone,
            distance_m: open.plan.distance_m(booking.segment),
            moves: Vec::new(),
        }));
    }
}

/// Writes that passengers got these seats: at once, or by promotion (which moves no money, R18).
pub(crate) fn confirmed(
    step: &mut Step<'_>,
    open: &Open,
    kind: EventKind,
    request_id: &Text,
    booking: &Booking,
    passengers: Vec<SeatedPassenger>,
    tier: Tier,
) {
    let mut header = step.header(kind, subject(&open.plan, request_id, booking));
    header.pnr = booking.pnr.to_text();
    if kind == EventKind::Answer {
        header.amount_minor = step.moved(passengers.iter().map(|passenger| passenger.fare_minor).sum());
    }
    step.events.push(Event::Confirmed(BookingConfirmed {
        header,
        passengers,
        tier,
        distance_m: open.plan.distance_m(booking.segment),
        departure_time: open.departure(booking.segment),
        arrival_time: open.arrival(booking.segment),
    }));
}

/// Writes that passengers of a booking were cancelled.
pub(crate) fn cancellation(step: &mut Step<'_>, open: &Open, booking: &Booking, cancellation: &Cancellation) {
    let Command::Cancel(request) = step.command else { return };
    let passengers: Vec<CancelledPassenger> = cancellation
        .passengers
        .iter()
        .map(|given| {
            let seat = given.seat.map(|seat| open.plan.seat(seat));
            CancelledPassenger {
                index: i32::from(given.index),
                coach: seat.map_or(Text::default(), |seat| open.plan.coach_name(seat.coach).clone()),
                seat_number: seat.map_or(0, |seat| i32::from(seat.number)),
                was_confirmed: seat.is_some(),
                already_cancelled: given.already_cancelled,
                refund_minor: given.refund_minor,
            }
        })
        .collect();
    let mut header = step.header(
        EventKind::Answer,
        subject(&open.plan, &request.booking_request_id, booking),
    );
    header.pnr = booking.pnr.to_text();
    header.amount_minor = step.moved(
        -cancellation
            .passengers
            .iter()
            .map(|given| given.refund_minor)
            .sum::<i64>(),
    );
    let distance_m = open.plan.distance_m(booking.segment);
    step.events.push(Event::Cancelled(BookingCancelled {
        header,
        passengers,
        distance_m,
    }));
}

/// Writes the refusal of a command. A refused cancellation shows nothing of the booking, which may be another user's.
pub(crate) fn rejection(step: &mut Step<'_>, code: Text, message: Text) {
    let (subject, named) = match step.command {
        Command::Book(request) => {
            let subject = Subject {
                request_id: request.request_id.clone(),
                travel_class: repeatable(&request.travel_class),
                quota: repeatable(&request.quota),
                user_id: repeatable(&request.user_id),
                from_station: repeatable(&request.from_station),
                to_station: repeatable(&request.to_station),
            };
            (subject, request.passengers.len())
        }
        Command::Cancel(request) => {
            let (request_id, user_id) = (repeatable(&request.booking_request_id), repeatable(&request.user_id));
            (
                Subject {
                    request_id,
                    user_id,
                    ..Subject::default()
                },
                request.passengers.len(),
            )
        }
    };
    let header = step.header(EventKind::Answer, subject);
    let passenger_count = i32::try_from(named).unwrap_or(i32::MAX);
    step.events.push(Event::Rejected(BookingRejected {
        header,
        code,
        message,
        passenger_count,
    }));
}

/// A passenger with a seat, counted in the train.
pub(crate) fn seated(plan: &Plan, traveller: &Traveller, seat: u16) -> SeatedPassenger {
    let seat = plan.seat(seat);
    SeatedPassenger {
        index: i32::from(traveller.index),
        name: traveller.name.clone(),
        age: traveller.age,
        coach: plan.coach_name(seat.coach).clone(),
        seat_number: i32::from(seat.number),
        berth: seat.berth,
        fare_minor: traveller.fare_minor,
    }
}

fn waiting(traveller: &Traveller) -> Option<WaitingPassenger> {
    let Answer::Waiting { first, current } = traveller.answer else {
        return None;
    };
    Some(WaitingPassenger {
        index: i32::from(traveller.index),
        name: traveller.name.clone(),
        age: traveller.age,
        berth_preference: traveller.berth_preference,
        fare_minor: traveller.fare_minor,
        first_position: first as i32,
        current_position: current as i32,
    })
}

fn subject(plan: &Plan, request_id: &Text, booking: &Booking) -> Subject {
    let allotment = plan.allotment(usize::from(booking.allotment));
    Subject {
        request_id: request_id.clone(),
        travel_class: allotment.class.clone(),
        quota: allotment.quota.clone(),
        user_id: booking.user_id.clone(),
        from_station: plan.boarding(booking.segment).code.clone(),
        to_station: plan.alighting(booking.segment).code.clone(),
    }
}
