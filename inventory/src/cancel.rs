//! A cancellation: frees, refunds and promotes in one step (R16, R20, R21).

use interlock_schemas::{BookingWaitlisted, CancellationRequest, Event, EventKind};
use smallvec::SmallVec;

use crate::answer;
use crate::effect::{Effect, Seats};
use crate::fare::{refund_of_seat, refund_of_waiter};
use crate::outcome::{Booking, Cancellation, GivenBack, Place, Traveller};
use crate::outcomes::RequestId;
use crate::promote::{Promotion, Walk};
use crate::rejection::{Refusal, RejectionCode};
use crate::step::{Step, Subject};
use crate::text::clip;
use crate::train_date::{Open, TrainDate};
use crate::{PASSENGERS_MAX, TEXT_CHARS_MAX};

/// Most moves in one event: with the longest ids, half the size limit of a record. Plans allow lists of thousands.
const MOVES_MAX: usize = 400;

/// Emits the answer to a cancellation and its consequences, or returns the reason of its refusal.
pub(crate) fn cancel(
    step: &mut Step<'_>,
    train_date: Option<&TrainDate>,
    open: &Open,
    request: &CancellationRequest,
) -> Result<(), Refusal> {
    let booking_id = RequestId::new(request.booking_request_id.clone());
    let found = train_date.and_then(|train_date| Some((train_date, train_date.outcomes.booking(&booking_id)?)));
    let Some((train_date, booking)) = found else {
        let message = format!(
            "there is no booking `{}` on train {} of this date; check the booking's request id",
            clip(&request.booking_request_id, TEXT_CHARS_MAX),
            request.train_id
        );
        return Err(RejectionCode::BookingNotFound.because(message));
    };
    if booking.user_id != request.user_id {
        let message = format!(
            "booking `{}` was made by another user; only who booked may cancel",
            request.booking_request_id
        );
        return Err(RejectionCode::NotYourBooking.because(message));
    }
    let named = named_travellers(booking, request)?;
    let passengers = named
        .iter()
        .map(|traveller| give_back(open, booking, traveller, step.at.time))
        .collect();
    let cancellation = Box::new(Cancellation {
        digest: step.digest,
        passengers,
    });
    answer::cancellation(step, open, booking, &cancellation);
    let newly = cancellation.passengers.iter().filter(|given| !given.already_cancelled);
    let newly: SmallVec<[GivenBack; PASSENGERS_MAX]> = newly.copied().collect();
    step.effects.push(Effect::Cancelled {
        cause: step.id.clone(),
        request_id: booking_id.clone(),
        cancellation,
    });
    what_follows(step, train_date, open, &booking_id, booking, &newly);
    Ok(())
}

/// Returns the passengers that a request names, ascending and without repeats; all if it names none.
fn named_travellers<'a>(booking: &'a Booking, request: &CancellationRequest) -> Result<Vec<&'a Traveller>, Refusal> {
    let known = |index: i32| booking.traveller(index).is_some();
    if let Some(unknown) = request.passengers.iter().find(|index| !known(**index)) {
        let message = format!(
            "booking `{}` has no passenger {unknown}: its {} passengers are counted from 0",
            request.booking_request_id,
            booking.travellers.len()
        );
        return Err(RejectionCode::UnknownPassenger.because(message));
    }
    let all = request.passengers.is_empty();
    let named = |traveller: &&Traveller| all || request.passengers.contains(&i32::from(traveller.index));
    Ok(booking.travellers.iter().filter(named).collect())
}

fn give_back(open: &Open, booking: &Booking, traveller: &Traveller, now: i64) -> GivenBack {
    let allotment = open.plan.allotment(usize::from(booking.allotment));
    let (fare, paid) = (open.plan.fare_of(allotment), traveller.fare_minor);
    let (seat, already_cancelled, refund_minor) = match traveller.place {
        Place::Cancelled(seat) => (seat, true, 0),
        Place::Waiting => (None, false, refund_of_waiter(paid, fare)),
        Place::Seat(seat) => {
            let bands = &open.plan.service().refund_bands;
            let milliseconds_left = open.departure(booking.segment).saturating_sub(now);
            (
                Some(seat),
                false,
                refund_of_seat(paid, fare, &allotment.quota, bands, milliseconds_left),
            )
        }
    };
    GivenBack {
        index: traveller.index,
        seat,
        already_cancelled,
        refund_minor,
    }
}

/// Emits promotions until no other waiter fits (R16), then the new places of the remaining waiters.
fn what_follows(
    step: &mut Step<'_>,
    train_date: &TrainDate,
    open: &Open,
    booking_id: &RequestId,
    booking: &Booking,
    newly: &[GivenBack],
) {
    let allotment = usize::from(booking.allotment);
    if newly.is_empty() || open.allotments[allotment].waitlist.entries.is_empty() {
        return;
    }
    let mut block = open.allotments[allotment].block.clone();
    for seat in newly.iter().filter_map(|given| given.seat) {
        block.release(usize::from(open.plan.seat(seat).local), booking.segment);
    }
    let walk = Walk {
        train_date,
        open,
        allotment,
        block,
        booking_id,
        gone: newly.iter().map(|given| given.index).collect(),
    };
    let (promotions, moves) = walk.run();
    for promotion in promotions {
        promoted(step, open, allotment, &promotion);
    }
    let allotment = open.plan.allotment(allotment);
    for moves in moves.chunks(MOVES_MAX) {
        let subject = Subject {
            request_id: step.request_id().clone(),
            travel_class: allotment.class.clone(),
            quota: allotment.quota.clone(),
            ..Subject::default()
        };
        let header = step.header(EventKind::Position, subject);
        step.events.push(Event::Waitlisted(BookingWaitlisted {
            header,
            list: allotment.list.clone(),
            passengers: Vec::new(),
            partial_confirmation: false,
            distance_m: 0,
            moves: moves.to_vec(),
        }));
    }
}

fn promoted(step: &mut Step<'_>, open: &Open, allotment: usize, promotion: &Promotion<'_>) {
    let seats = &open.plan.allotment(allotment).seats;
    let chosen = promotion.seating.seats.iter().map(|&local| seats[local]);
    let seats: Seats = promotion.party.indices().zip(chosen).collect();
    let passengers = seats.iter().filter_map(|&(index, seat)| {
        let traveller = promotion.booking.traveller(i32::from(index))?;
        Some(answer::seated(&open.plan, traveller, seat))
    });
    let (passengers, tier) = (passengers.collect(), promotion.seating.tier);
    answer::confirmed(
        step,
        open,
        EventKind::Promotion,
        &promotion.request_id.text,
        promotion.booking,
        passengers,
        tier,
    );
    step.effects.push(Effect::Promoted {
        request_id: promotion.request_id.clone(),
        seats,
    });
}
