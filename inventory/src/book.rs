//! A booking: refused, seated, or put on the waitlist (R7, R11, R12, R14, R17, R18).

use interlock_schemas::{BerthPreference, BookingRequest, PromotionPolicy};
use smallvec::SmallVec;

use crate::answer;
use crate::choose::{Seating, Wish, choose};
use crate::effect::Effect;
use crate::fare::{TATKAL, fare};
use crate::ledger::Ledger;
use crate::outcome::{Answer, Booking, Place, Traveller};
use crate::plan::{Allotment, Plan};
use crate::pnr::Pnr;
use crate::promote::room;
use crate::rejection::{Refusal, RejectionCode};
use crate::seats::{Fitting, Segment};
use crate::step::Step;
use crate::times::{instant_of, wall_time};
use crate::train_date::{AllotmentState, Open};
use crate::waitlist::Ahead;
use crate::{GENERAL, PASSENGERS_MAX, TATKAL_PASSENGERS_MAX};

/// Emits the answer to a booking, or returns the reason of its refusal.
pub(crate) fn book(step: &mut Step<'_>, ledger: &Ledger, open: &Open, request: &BookingRequest) -> Result<(), Refusal> {
    let plan = &*open.plan;
    let segment = find_segment(plan, request)?;
    let allotment = find_allotment(plan, request)?;
    party_is_possible(request)?;
    sale_is_on(step, open, request, segment)?;
    let wanted = Wanted {
        request,
        open,
        segment,
        allotment: plan.allotment(allotment),
        state: &open.allotments[allotment],
    };
    let seating = wanted.seating()?;
    let travellers = wanted.travellers(seating.as_ref());
    let booking = Box::new(Booking {
        digest: step.digest,
        pnr: Pnr::new(ledger.bookings, ledger.number, ledger.ledgers),
        user_id: request.user_id.clone(),
        allotment: allotment as u16,
        segment,
        tier: seating.as_ref().map(|seating| seating.tier),
        each_alone: request.partial_confirmation && travellers.iter().any(|t| t.place == Place::Waiting),
        travellers,
    });
    answer::booking(step, open, &booking);
    step.effects.push(Effect::Booked {
        request_id: step.id.clone(),
        booking,
    });
    Ok(())
}

struct Wanted<'a> {
    request: &'a BookingRequest,
    open: &'a Open,
    segment: Segment,
    allotment: &'a Allotment,
    state: &'a AllotmentState,
}

impl Wanted<'_> {
    /// Returns seats for as many of the first passengers as can be seated; none if all must wait.
    fn seating(&self) -> Result<Option<Seating>, Refusal> {
        let (wishes, plan) = (self.wishes(), self.open.plan.service());
        let fitting = Fitting::new(&self.state.block, self.segment);
        let seatable = self.seatable(&fitting, plan.promotion);
        let (seated, waiting) = wishes.split_at(seatable);
        if waiting.iter().any(|wish| wish.is_hard()) {
            return Err(self.no_matching_berth());
        }
        if waiting.is_empty() || seatable > 0 {
            let seating = choose(&fitting, self.allotment, seated, plan.allocation);
            let seating = seating.ok_or_else(|| self.no_matching_berth())?;
            self.list_has_room(waiting.len())?;
            return Ok(Some(seating));
        }
        self.list_has_room(waiting.len())?;
        Ok(None)
    }

    fn wishes(&self) -> SmallVec<[Wish; PASSENGERS_MAX]> {
        let passengers = self.request.passengers.iter();
        passengers
            .map(|passenger| Wish::new(passenger.berth_preference, passenger.preference_is_hard))
            .collect()
    }

    /// Returns how many of the party can be seated now: all or none, or with `partial_confirmation` as many as fit
    /// (R12). Under LEG_STRICT the waiting passengers also reduce the room for a newcomer (R16, R17); under FIFO_SKIP
    /// none of them fits.
    fn seatable(&self, fitting: &Fitting<'_>, policy: PromotionPolicy) -> usize {
        let ahead = match policy {
            PromotionPolicy::FifoSkip => None,
            PromotionPolicy::LegStrict => Some(Ahead::all(self.open.plan.legs(), &self.state.waitlist)),
        };
        let (room, party) = (room(fitting, ahead.as_ref()), self.request.passengers.len());
        match self.request.partial_confirmation {
            true => room.min(party),
            false if room >= party => party,
            false => 0,
        }
    }

    fn list_has_room(&self, newcomers: usize) -> Result<(), Refusal> {
        let (waiting, cap) = (self.state.waitlist.waiting(), self.allotment.waitlist_cap);
        if newcomers == 0 || waiting + newcomers <= cap {
            return Ok(());
        }
        Err(RejectionCode::WaitlistFull.because(format!(
            "waitlist {} of class {} takes {cap} passengers and has {waiting}: no place for {newcomers} more; \
             try another class, quota, train or date",
            self.allotment.list, self.allotment.class
        )))
    }

    fn no_matching_berth(&self) -> Refusal {
        RejectionCode::NoMatchingBerth.because(format!(
            "the berths asked for as a condition are not free from {} to {} in {} {}; ask again without the condition",
            self.request.from_station, self.request.to_station, self.allotment.class, self.allotment.quota
        ))
    }

    fn travellers(&self, seating: Option<&Seating>) -> Vec<Traveller> {
        let plan = &*self.open.plan;
        let fare_minor = fare(
            plan.fare_of(self.allotment),
            &self.allotment.quota,
            plan.distance_m(self.segment),
        );
        let seats = seating.map_or(&[][..], |seating| &seating.seats);
        let (mut first, mut current) = (self.state.waitlist.issued, self.state.waitlist.waiting() as u32);
        let places = (0..).map(|index: usize| match seats.get(index) {
            Some(&local) => (
                Answer::Seat(self.allotment.seats[local]),
                Place::Seat(self.allotment.seats[local]),
            ),
            None => {
                (first, current) = (first + 1, current + 1);
                (Answer::Waiting { first, current }, Place::Waiting)
            }
        });
        let passengers = self.request.passengers.iter().zip(0..).zip(places);
        passengers
            .map(|((passenger, index), (answer, place))| Traveller {
                index,
                name: passenger.name.clone(),
                age: passenger.age,
                berth_preference: if place == Place::Waiting {
                    passenger.berth_preference
                } else {
                    BerthPreference::None
                },
                fare_minor,
                answer,
                place,
            })
            .collect()
    }
}

fn find_segment(plan: &Plan, request: &BookingRequest) -> Result<Segment, Refusal> {
    let train = &plan.service().train_id;
    let stop = |station| {
        plan.stop(station).ok_or_else(|| {
            let message = format!("train {train} does not stop at `{station}`; choose a station of its route");
            RejectionCode::UnknownStation.because(message)
        })
    };
    let (from, to) = (stop(&request.from_station)?, stop(&request.to_station)?);
    Segment::new(from, to).ok_or_else(|| {
        RejectionCode::StationsOutOfOrder.because(format!(
            "train {train} does not go from {} to {}; name a later station as the end of the segment",
            request.from_station, request.to_station
        ))
    })
}

fn find_allotment(plan: &Plan, request: &BookingRequest) -> Result<usize, Refusal> {
    let (train, class, quota) = (&plan.service().train_id, &request.travel_class, &request.quota);
    plan.allotment_index(class, quota).ok_or_else(|| {
        if !plan.has_class(class) {
            let message = format!("train {train} has no class `{class}`; choose one of its classes");
            return RejectionCode::ClassNotOnTrain.because(message);
        }
        let message = format!("train {train} has no quota `{quota}` in class {class}; {GENERAL} is open to everybody");
        RejectionCode::QuotaNotOnTrain.because(message)
    })
}

/// Returns the largest party (R12): six, or four in the tatkal quota.
fn party_is_possible(request: &BookingRequest) -> Result<(), Refusal> {
    let count = request.passengers.len();
    let max = if request.quota == TATKAL {
        TATKAL_PASSENGERS_MAX
    } else {
        PASSENGERS_MAX
    };
    if count == 0 {
        return Err(RejectionCode::NoPassengers.because("the booking names nobody; name at least one passenger"));
    }
    if count > max {
        let message = format!(
            "{count} passengers are too many: quota {} takes {max} in one booking; split it",
            request.quota
        );
        return Err(RejectionCode::TooManyPassengers.because(message));
    }
    Ok(())
}

/// Applies the quota's own sale window, or else the common one. A plan without either is always on sale.
fn sale_is_on(step: &Step<'_>, open: &Open, request: &BookingRequest, segment: Segment) -> Result<(), Refusal> {
    let (plan, now) = (&open.plan, step.at.time);
    let windows = &plan.service().sale;
    let own = windows.iter().find(|window| window.quota == request.quota);
    if let Some(window) = own.or_else(|| windows.iter().find(|window| window.quota.is_empty())) {
        let day = request.travel_date.saturating_sub(window.opens_days_before);
        let opens = instant_of(plan.zone(), day, window.opens_at_s);
        if now < opens {
            let message = format!(
                "the sale of quota {} opens at {}; ask again then",
                request.quota,
                wall_time(plan.zone(), opens)
            );
            return Err(RejectionCode::SaleNotOpen.because(message));
        }
    }
    let departure = open.departure(segment);
    if now >= departure {
        let when = wall_time(plan.zone(), departure);
        let message = format!(
            "the train left {} at {when}; choose a later train",
            request.from_station
        );
        return Err(RejectionCode::TrainDeparted.because(message));
    }
    Ok(())
}
