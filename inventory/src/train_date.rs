//! The state of one train-date: outcomes by request id and, once it is open, its plan, seats and waitlists.

use std::sync::Arc;

use interlock_schemas::{Berth, Date, TimestampMs};

use crate::outcome::{Answer, Booking, Outcome};
use crate::outcomes::Outcomes;
use crate::plan::{Allotment, Plan};
use crate::seats::{SeatBlock, Segment};
use crate::waitlist::Waitlist;

/// One run of a train, and what has been sold of it.
///
/// All of it, or all but the outcomes that are left in the store: these are known by a fingerprint only, and must be
/// loaded ([`crate::Ledger::load_outcome`]) before a command about them is decided. Bookings of which somebody waits
/// are never left there: any command may promote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainDate {
    pub(crate) open: Option<Open>,
    pub(crate) outcomes: Outcomes,
}

/// The state of an open train-date: its plan, and the state of each allotment in the plan's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) plan: Arc<Plan>,
    /// The instant from which times of day count.
    pub(crate) day_start: TimestampMs,
    pub(crate) allotments: Vec<AllotmentState>,
}

/// Seats and waitlist of one class and quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllotmentState {
    pub(crate) block: SeatBlock,
    pub(crate) waitlist: Waitlist,
}

/// A seat in a seat map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatView<'a> {
    /// Its coach.
    pub coach: &'a str,
    /// Its number in the coach, from 1.
    pub number: i32,
    /// Kind of berth or seat.
    pub berth: Berth,
    /// Its class.
    pub travel_class: &'a str,
    /// The quota that sells it (R11).
    pub quota: &'a str,
    /// Taken legs: bit `i` is the leg from stop `i` to stop `i + 1`.
    pub taken: u128,
}

/// A waiting passenger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaiterView<'a> {
    /// The booking's request id.
    pub request_id: &'a str,
    /// The booking.
    pub booking: &'a Booking,
    /// Index into the booking's passengers.
    pub index: u8,
    /// Position ever issued (R15).
    pub first_position: u32,
    /// Place among the waiting passengers, from 1.
    pub current_position: u32,
}

impl TrainDate {
    /// Returns the train-date as it will be when opened with this plan: everything is free.
    #[must_use]
    pub fn opened(self, plan: Arc<Plan>, travel_date: Date) -> TrainDate {
        TrainDate {
            open: Some(Open::new(plan, travel_date)),
            ..self
        }
    }

    /// Returns the plan that the train-date is sold by, once it is open.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.open.as_ref().map(|open| &open.plan)
    }

    /// Returns the outcome of a request (R3).
    pub fn outcome(&self, request_id: &str) -> Option<&Outcome> {
        self.outcomes.find(request_id)
    }

    /// Estimates the size in memory, in bytes.
    pub fn memory(&self) -> usize {
        /// Bytes of an outcome with its id, names and place in the map, as measured.
        const OUTCOME: usize = 400;
        /// Bytes of a fingerprint, in a set that is half to fully used.
        const FINGERPRINT: usize = 14;
        let blocks = |open: &Open| {
            open.allotments
                .iter()
                .map(|allotment| allotment.block.memory())
                .sum::<usize>()
        };
        let (loaded, stored) = self.outcomes.counts();
        size_of::<TrainDate>() + self.open.as_ref().map_or(0, blocks) + loaded * OUTCOME + stored * FINGERPRINT
    }

    /// Iterates over all requests and their outcomes, in no particular order.
    pub fn outcomes(&self) -> impl ExactSizeIterator<Item = (&str, &Outcome)> {
        self.outcomes.iter().map(|(id, outcome)| (id.text.as_str(), outcome))
    }

    /// Returns an accepted booking.
    pub fn booking(&self, request_id: &str) -> Option<&Booking> {
        self.outcomes.find(request_id).and_then(Outcome::booking)
    }

    /// Returns the availability (R6): the number of seats of a class and quota that fit a segment; 0 if the plan has
    /// none such.
    pub fn availability(&self, from: &str, to: &str, travel_class: &str, quota: &str) -> usize {
        let Some(open) = &self.open else { return 0 };
        let allotment = open.plan.allotment_index(travel_class, quota);
        let segment = open.plan.segment(from, to);
        allotment.zip(segment).map_or(0, |(allotment, segment)| {
            open.allotments[allotment].block.available(segment)
        })
    }

    /// Iterates over the seats in the train's order, with their taken legs.
    pub fn seat_map(&self) -> impl Iterator<Item = SeatView<'_>> {
        self.open.iter().flat_map(|open| {
            open.plan.seats().iter().map(|seat| {
                let allotment = open.plan.allotment(usize::from(seat.allotment));
                SeatView {
                    coach: open.plan.coach_name(seat.coach),
                    number: i32::from(seat.number),
                    berth: seat.berth,
                    travel_class: &allotment.class,
                    quota: &allotment.quota,
                    taken: open.allotments[usize::from(seat.allotment)]
                        .block
                        .mask(usize::from(seat.local)),
                }
            })
        })
    }

    /// Iterates over the plan's pairs of class and quota, which have seats and a waitlist each.
    pub fn allotments(&self) -> impl Iterator<Item = (&str, &str)> {
        let allotments = self.open.iter().flat_map(|open| open.plan.allotments());
        allotments.map(|allotment| (allotment.class.as_str(), allotment.quota.as_str()))
    }

    /// Returns the waiting passengers of a class and quota, in order.
    pub fn waitlist(&self, travel_class: &str, quota: &str) -> Vec<WaiterView<'_>> {
        let Some(open) = &self.open else { return Vec::new() };
        let Some(allotment) = open.plan.allotment_index(travel_class, quota) else {
            return Vec::new();
        };
        let entries = &open.allotments[allotment].waitlist.entries;
        let passengers = entries
            .iter()
            .flat_map(|entry| entry.party.indices().map(move |index| (entry, index)));
        passengers
            .zip(1..)
            .filter_map(|((entry, index), current_position)| {
                let booking = self.outcomes.booking(&entry.request_id)?;
                let first_position = first_position(booking, index);
                Some(WaiterView {
                    request_id: &entry.request_id.text,
                    booking,
                    index,
                    first_position,
                    current_position,
                })
            })
            .collect()
    }

    /// Returns class and quota of a booking.
    pub fn allotment_of(&self, booking: &Booking) -> Option<(&str, &str)> {
        let allotment = self
            .open
            .as_ref()?
            .plan
            .allotments()
            .get(usize::from(booking.allotment))?;
        Some((&allotment.class, &allotment.quota))
    }

    /// Returns the sold seat-metres of a class: the taken seats of each leg times its length.
    pub fn seat_metres_sold(&self, travel_class: &str) -> i64 {
        self.sum_of_class(travel_class, |open, _, state| {
            let legs = (0..open.plan.legs()).map(|leg| {
                let taken = state.block.seats() - state.block.free_on_leg(leg);
                leg_length(&open.plan, leg) * taken as i64
            });
            legs.sum()
        })
    }

    /// Returns the offered seat-metres of a class; the load factor is sold divided by offered.
    pub fn seat_metres_offered(&self, travel_class: &str) -> i64 {
        self.sum_of_class(travel_class, |open, allotment, _| {
            let route: i64 = (0..open.plan.legs()).map(|leg| leg_length(&open.plan, leg)).sum();
            route * allotment.seats.len() as i64
        })
    }

    fn sum_of_class(&self, class: &str, amount: impl Fn(&Open, &Allotment, &AllotmentState) -> i64) -> i64 {
        let Some(open) = &self.open else { return 0 };
        let allotments = open.plan.allotments().iter().zip(&open.allotments);
        allotments
            .filter(|(allotment, _)| allotment.class == class)
            .map(|(allotment, state)| amount(open, allotment, state))
            .sum()
    }
}

impl Open {
    /// Creates the state in which everything is free and nobody waits.
    pub(crate) fn new(plan: Arc<Plan>, travel_date: Date) -> Open {
        let empty = |allotment: &Allotment| AllotmentState {
            block: SeatBlock::new(allotment.seats.len(), plan.legs()),
            waitlist: Waitlist::default(),
        };
        let allotments = plan.allotments().iter().map(empty).collect();
        Open {
            day_start: plan.times_start(travel_date),
            allotments,
            plan,
        }
    }

    /// Returns the time at which the train leaves the first stop of a segment.
    pub(crate) fn departure(&self, segment: Segment) -> TimestampMs {
        self.day_start + i64::from(self.plan.boarding(segment).departure_s) * 1_000
    }

    /// Returns the time at which the train arrives at the last stop of a segment.
    pub(crate) fn arrival(&self, segment: Segment) -> TimestampMs {
        self.day_start + i64::from(self.plan.alighting(segment).arrival_s) * 1_000
    }

    /// Returns the state of the allotment that sells a seat, and the seat's index in it.
    pub(crate) fn block_of(&mut self, seat: u16) -> (&mut SeatBlock, usize) {
        let seat = self.plan.seat(seat);
        (
            &mut self.allotments[usize::from(seat.allotment)].block,
            usize::from(seat.local),
        )
    }
}

/// Returns the first position of a waiting passenger; 0 for one who never waited.
pub(crate) fn first_position(booking: &Booking, index: u8) -> u32 {
    match booking.traveller(i32::from(index)).map(|traveller| traveller.answer) {
        Some(Answer::Waiting { first, .. }) => first,
        _ => 0,
    }
}

fn leg_length(plan: &Plan, leg: usize) -> i64 {
    let route = &plan.service().route;
    route[leg + 1].distance_m - route[leg].distance_m
}
