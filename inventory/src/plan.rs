//! The plan of a train, checked and indexed once, so that decisions need not look things up by name.
//!
//! ```text
//! coaches  S1: 1 2 3 … 72   S2: 1 2 3 … 72   B1: 1 2 … 64        seats of the train, counted from 0 in its order
//!          └──────── GN of SL ───────┘└TQ SL┘ └── GN of 3A ──┘    allotments: the seats of one class and quota (R11)
//! ```
//!
//! A quota takes the last seats of its class, and the first quota of the list the very last ones; `GN` has the rest. An
//! allotment is therefore a run of its class's seats, and its coaches and bays are runs of the allotment.

use std::ops::Range;
use std::sync::Arc;

use chrono_tz::Tz;
use interlock_schemas::{Berth, Date, Fare, Stop, Text, TimestampMs, TrainService};
use rustc_hash::FxHashMap;

use crate::GENERAL;
use crate::code::Code;
use crate::plan_check::{PlanError, check};
use crate::seats::Segment;
use crate::times::start_of_day;

/// Classes with a waitlist of 60 % of the seats (R14): the air-conditioned ones of India and Europe's first class. All
/// others, Europe's `SECOND` too, have 30 %.
const LONG_WAITLIST_CLASSES: [&str; 7] = ["1A", "2A", "3A", "3E", "CC", "EC", "FIRST"];

/// Most plans of a train that are kept compiled: timetables and versions by which its dates were opened.
const PLANS_OF_TRAIN_MAX: usize = 8;

/// Number of kinds of berth.
pub(crate) const BERTHS: usize = 7;

/// A train's plan, valid and indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    service: TrainService,
    zone: Tz,
    /// The codes of the stops, and class and quota of the allotments: names to be compared as numbers.
    stop_codes: Vec<Code>,
    scopes: Vec<(Code, Code)>,
    coaches: FxHashMap<Text, usize>,
    coach_seats: Vec<Range<usize>>,
    /// For each coach, in the order of its seats: the allotment that sells a seat, and the seat's index in the
    /// allotment's block.
    coach_runs: Vec<Vec<(usize, Range<usize>)>>,
    seats: Vec<Seat>,
    allotments: Vec<Allotment>,
    /// The plans that train-dates are sold by: one for each timetable.
    sold: Vec<Sold>,
}

/// A plan with one timetable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sold {
    dates: Vec<Date>,
    /// The plan without dates. All dates of all ledgers share it.
    plan: Arc<Plan>,
}

/// A seat of the train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Index of the coach, from 0.
    pub(crate) coach: u16,
    /// Number in the coach, from 1.
    pub(crate) number: u16,
    /// The allotment that sells it.
    pub(crate) allotment: u16,
    /// Index in the block of the allotment.
    pub(crate) local: u16,
    /// Kind of berth or seat.
    pub(crate) berth: Berth,
}

/// The seats of one class and quota: the extent of a waitlist (R15) and of a choice of seat (R7, R11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allotment {
    pub(crate) class: Text,
    pub(crate) quota: Text,
    /// Name of the waitlist, such as `GNWL`.
    pub(crate) list: Text,
    /// Maximum number of waiting passengers (R14).
    pub(crate) waitlist_cap: usize,
    /// Index of the class's fare.
    fare: usize,
    /// The seats, by their index in the train.
    pub(crate) seats: Vec<u16>,
    /// The seats of each kind of berth.
    pub(crate) kinds: [Box<[u64]>; BERTHS],
    /// Bays, as runs of the allotment's seats.
    pub(crate) bays: Vec<Range<usize>>,
    /// True if each bay is a byte of a set of the allotment's seats.
    pub(crate) bays_are_bytes: bool,
    /// Coaches, as runs of the allotment's seats.
    pub(crate) coaches: Vec<Range<usize>>,
}

/// Compiled plans by train. All dates of a timetable share one, and so do all ledgers that know it, because compiling a
/// plan takes longer than many decisions, and a plan is larger than the seats of a date.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plans(FxHashMap<Text, Vec<Arc<Plan>>>);

impl Plans {
    /// Returns the compiled plan: a known one if it is equal.
    pub(crate) fn compile(&mut self, service: &TrainService) -> Result<Arc<Plan>, PlanError> {
        let mut known = self.0.get(&service.train_id).into_iter().flatten();
        if let Some(plan) = known.find(|plan| plan.service == *service) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(Plan::compile(service.clone())?);
        self.know(&plan);
        Ok(plan)
    }

    /// Keeps a plan that a train-date is sold by, so that reading the train-date again does not compile it.
    pub(crate) fn know(&mut self, plan: &Arc<Plan>) {
        let known = self.0.entry(plan.service.train_id.clone()).or_default();
        if known.iter().any(|known| Arc::ptr_eq(known, plan)) {
            return;
        }
        if known.len() >= PLANS_OF_TRAIN_MAX {
            known.remove(0);
        }
        known.push(Arc::clone(plan));
    }
}

impl Plan {
    /// Checks and indexes a plan. The error names the field and the problem.
    pub fn compile(service: TrainService) -> Result<Plan, PlanError> {
        let mut plan = Plan::index(service)?;
        let sold_by = |plan: Plan, dates: &[Date]| Sold {
            dates: dates.to_vec(),
            plan: Arc::new(plan),
        };
        let dates = &plan.service.running_dates;
        if !dates.is_empty() {
            let mut first = plan.clone();
            first.service.running_dates.clear();
            first.service.other_timetables.clear();
            plan.sold.push(sold_by(first, dates));
        }
        for (i, timetable) in plan.service.other_timetables.iter().enumerate() {
            let mut service = plan.service.clone();
            service.route.clone_from(&timetable.route);
            service.running_dates.clear();
            service.other_timetables.clear();
            let other = Plan::index(service).map_err(|error| PlanError {
                place: format!("other_timetables[{i}].{}", error.place),
                ..error
            })?;
            plan.sold.push(sold_by(other, &timetable.running_dates));
        }
        Ok(plan)
    }

    fn index(service: TrainService) -> Result<Plan, PlanError> {
        let zone = check(&service)?;
        let stop_codes = service.route.iter().map(|stop| Code::of(&stop.code)).collect();
        let coaches = service
            .coaches
            .iter()
            .zip(0..)
            .map(|(coach, index)| (coach.name.clone(), index))
            .collect();
        let (seats, coach_seats) = number_seats(&service);
        let mut plan = Plan {
            service,
            zone,
            stop_codes,
            scopes: Vec::new(),
            coaches,
            coach_seats,
            coach_runs: Vec::new(),
            seats,
            allotments: Vec::new(),
            sold: Vec::new(),
        };
        plan.cut_into_allotments();
        plan.coach_runs = plan
            .coach_seats
            .iter()
            .cloned()
            .map(|seats| plan.runs_of(seats))
            .collect();
        Ok(plan)
    }

    /// Returns the plan that the train-date is sold by: without dates, and with the timetable of this date. `None` if
    /// the train doesn't run on it.
    pub fn sold_on(&self, date: Date) -> Option<&Arc<Plan>> {
        let runs = |sold: &&Sold| sold.dates.binary_search(&date).is_ok();
        self.sold.iter().find(runs).map(|sold| &sold.plan)
    }

    /// Returns the record that the plan was made from.
    pub fn service(&self) -> &TrainService {
        &self.service
    }

    /// Returns the train's time zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// Returns the instant from which the times of a run count: noon minus twelve hours of its service day. The travel
    /// date is that of the departure at the origin; if this is at 24:00 or later, the service day is an earlier one.
    pub fn times_start(&self, travel_date: Date) -> TimestampMs {
        let late = self.service.route[0].departure_s.div_euclid(86_400);
        start_of_day(self.zone, travel_date.saturating_sub(late))
    }

    /// Returns the number of legs: one less than the number of stops.
    pub fn legs(&self) -> usize {
        self.service.route.len() - 1
    }

    /// Returns whether the train runs on a date.
    pub fn runs_on(&self, date: Date) -> bool {
        self.sold_on(date).is_some()
    }

    /// Returns the index of a station on the route, from 0.
    pub fn stop(&self, code: &str) -> Option<u8> {
        let found = match Code::of(code) {
            Code::LONG => self.service.route.iter().position(|stop| stop.code == code),
            code => self.stop_codes.iter().position(|known| *known == code),
        };
        found.and_then(|index| u8::try_from(index).ok())
    }

    /// Returns the segment between two stations; `None` if one is not on the route, or they are out of order.
    pub fn segment(&self, from: &str, to: &str) -> Option<Segment> {
        Segment::new(self.stop(from)?, self.stop(to)?)
    }

    /// Returns the length of a segment in metres.
    pub fn distance_m(&self, segment: Segment) -> i64 {
        self.service.route[segment.to()].distance_m - self.service.route[segment.from()].distance_m
    }

    /// Returns the stop at which a segment begins.
    pub fn boarding(&self, segment: Segment) -> &Stop {
        &self.service.route[segment.from()]
    }

    /// Returns the stop at which a segment ends.
    pub fn alighting(&self, segment: Segment) -> &Stop {
        &self.service.route[segment.to()]
    }

    /// Returns the number of seats of the train.
    pub fn seat_count(&self) -> usize {
        self.seats.len()
    }

    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.allotments.iter().any(|allotment| allotment.class == class)
    }

    pub(crate) fn allotment_index(&self, class: &str, quota: &str) -> Option<usize> {
        let scope = (Code::of(class), Code::of(quota));
        if scope.0 == Code::LONG || scope.1 == Code::LONG {
            let mut allotments = self.allotments.iter();
            return allotments.position(|allotment| allotment.class == class && allotment.quota == quota);
        }
        self.scopes.iter().position(|known| *known == scope)
    }

    pub(crate) fn allotment(&self, index: usize) -> &Allotment {
        &self.allotments[index]
    }

    pub(crate) fn allotments(&self) -> &[Allotment] {
        &self.allotments
    }

    pub(crate) fn fare_of(&self, allotment: &Allotment) -> &Fare {
        &self.service.fares[allotment.fare]
    }

    pub(crate) fn seat(&self, seat: u16) -> Seat {
        self.seats[usize::from(seat)]
    }

    pub(crate) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    pub(crate) fn coach_name(&self, coach: u16) -> &Text {
        &self.service.coaches[usize::from(coach)].name
    }

    pub(crate) fn coach_index(&self, name: &str) -> Option<usize> {
        self.coaches.get(name).copied()
    }

    pub(crate) fn seats_of_coach(&self, coach: usize) -> Range<usize> {
        self.coach_seats[coach].clone()
    }

    /// Returns the seats of a coach in order: the allotment that sells each, and its index in the allotment's block.
    pub(crate) fn runs_of_coach(&self, coach: usize) -> &[(usize, Range<usize>)] {
        &self.coach_runs[coach]
    }

    fn runs_of(&self, seats: Range<usize>) -> Vec<(usize, Range<usize>)> {
        let neighbours = self.seats[seats].chunk_by(|a, b| a.allotment == b.allotment && a.local + 1 == b.local);
        let run = |seats: &[Seat]| {
            let start = usize::from(seats[0].local);
            (usize::from(seats[0].allotment), start..start + seats.len())
        };
        neighbours.map(run).collect()
    }

    /// Returns the index in the train of the seat with this number in this coach.
    pub(crate) fn find_seat(&self, coach: &str, number: i32) -> Option<u16> {
        let seats = self.seats_of_coach(self.coach_index(coach)?);
        let seat = seats.start + usize::try_from(number).ok()?.checked_sub(1)?;
        seats.contains(&seat).then(|| u16::try_from(seat).ok()).flatten()
    }

    fn cut_into_allotments(&mut self) {
        for fare in 0..self.service.fares.len() {
            let class = self.service.fares[fare].travel_class.clone();
            let mut rest: Vec<u16> = (0..)
                .zip(&self.seats)
                .filter(|(_, seat)| self.class_of(seat) == class)
                .map(|(i, _)| i)
                .collect();
            if rest.is_empty() {
                continue;
            }
            let quotas: Vec<_> = self
                .service
                .quotas
                .iter()
                .filter(|quota| quota.travel_class == class)
                .cloned()
                .collect();
            for quota in quotas {
                let seats = rest.split_off(rest.len() - quota.seats as usize);
                self.add_allotment(&class, &quota.quota, fare, seats);
            }
            self.add_allotment(&class, GENERAL, fare, rest);
        }
    }

    fn class_of(&self, seat: &Seat) -> &str {
        &self.service.coaches[usize::from(seat.coach)].travel_class
    }

    fn add_allotment(&mut self, class: &str, quota: &str, fare: usize, seats: Vec<u16>) {
        let index = self.allotments.len() as u16;
        let mut kinds: [Vec<u64>; BERTHS] = std::array::from_fn(|_| vec![0; seats.len().div_ceil(64)]);
        for (local, &seat) in seats.iter().enumerate() {
            let seat = &mut self.seats[usize::from(seat)];
            (seat.allotment, seat.local) = (index, local as u16);
            kinds[seat.berth as usize][local / 64] |= 1 << (local % 64);
        }
        let bay_of = |seat: &u16| {
            let seat = self.seat(*seat);
            (seat.coach, (usize::from(seat.number) - 1) / self.bay_length(seat.coach))
        };
        let bays = runs(&seats, bay_of);
        let allotment = Allotment {
            class: class.into(),
            quota: quota.into(),
            list: format!("{quota}WL").into(),
            waitlist_cap: self.waitlist_cap(class, quota, seats.len()),
            fare,
            kinds: kinds.map(Vec::into_boxed_slice),
            bays_are_bytes: (0..)
                .zip(&bays)
                .all(|(bay, seats)| seats.start == bay * 8 && seats.len() <= 8),
            bays,
            coaches: runs(&seats, |seat| self.seat(*seat).coach),
            seats,
        };
        self.scopes.push((Code::of(class), Code::of(quota)));
        self.allotments.push(allotment);
    }

    fn bay_length(&self, coach: u16) -> usize {
        let layout = &self.service.coaches[usize::from(coach)].layout;
        let found = self.service.layouts.iter().find(|candidate| candidate.name == *layout);
        found.map_or(1, |layout| layout.pattern.len())
    }

    /// Returns the cap of a waitlist (R14): as in the plan, or else 60 % or 30 % of the allotment's seats, rounded half
    /// up.
    fn waitlist_cap(&self, class: &str, quota: &str, seats: usize) -> usize {
        let named = self
            .service
            .waitlist_caps
            .iter()
            .find(|cap| cap.travel_class == class && cap.quota == quota);
        let percent = if LONG_WAITLIST_CLASSES.contains(&class) { 60 } else { 30 };
        named.map_or((seats * percent + 50) / 100, |cap| cap.passengers as usize)
    }
}

/// Returns the train's seats in order, and the range of each coach. The allotments are filled in later.
fn number_seats(service: &TrainService) -> (Vec<Seat>, Vec<Range<usize>>) {
    let layouts: FxHashMap<&str, _> = service
        .layouts
        .iter()
        .map(|layout| (layout.name.as_str(), layout))
        .collect();
    let mut seats = Vec::new();
    let mut coach_seats = Vec::new();
    for (coach, index) in service.coaches.iter().zip(0..) {
        let start = seats.len();
        if let Some(layout) = layouts.get(coach.layout.as_str()) {
            let kinds = layout.pattern.iter().cycle().take(layout.seats as usize);
            seats.extend(kinds.zip(1..).map(|(&berth, number)| Seat {
                coach: index,
                number,
                allotment: 0,
                local: 0,
                berth,
            }));
        }
        coach_seats.push(start..seats.len());
    }
    (seats, coach_seats)
}

/// Returns the runs of neighbours with the same mark.
fn runs<T, M: PartialEq>(items: &[T], mark: impl Fn(&T) -> M) -> Vec<Range<usize>> {
    let mut start = 0;
    let chunks = items.chunk_by(|a, b| mark(a) == mark(b));
    chunks
        .map(|chunk| {
            let run = start..start + chunk.len();
            start = run.end;
            run
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn quotas_take_the_last_seats_of_the_class() {
        let plan = Plan::compile(example::sleeper_train()).unwrap();
        let seats = |quota| &plan.allotment(plan.allotment_index("SL", quota).unwrap()).seats;
        assert_eq!((seats("GN").len(), seats("TQ").len()), (124, 20));
        assert_eq!((seats("GN")[0], seats("TQ")[0], seats("TQ")[19]), (0, 124, 143));
        assert_eq!(plan.seat(143).number, 72);
        assert_eq!(plan.find_seat("S2", 72), Some(143));
        assert_eq!(plan.find_seat("S2", 73), None);
    }

    #[test]
    fn bays_and_coaches_are_runs_of_the_allotment() {
        let plan = Plan::compile(example::sleeper_train()).unwrap();
        let allotment = plan.allotment(plan.allotment_index("SL", "TQ").unwrap());
        assert_eq!(allotment.coaches, vec![0..20]);
        assert_eq!(
            allotment.bays,
            vec![0..4, 4..12, 12..20],
            "the quota cuts a bay of eight"
        );
        assert_eq!(allotment.waitlist_cap, 6, "30 % of 20");
    }
}
