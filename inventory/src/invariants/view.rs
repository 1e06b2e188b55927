//! The auditor's view of one train-date, built from events alone.

use interlock_schemas::{
    BookingCancelled, BookingConfirmed, BookingWaitlisted, Event, EventHeader, EventKind, PositionMove,
    PromotionPolicy, Text, TrainService,
};
use rustc_hash::FxHashMap;

use super::list::{List, Waiter, legs};
use super::{Found, Invariant, is_first_answer, is_reused_key};

/// Class and quota.
type Allotment = (Text, Text);

/// A train-date as its events describe it.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Sequence of the event that opened it.
    opened: Option<i64>,
    policy: PromotionPolicy,
    stops: FxHashMap<Text, usize>,
    /// Maps coach and number to the row in the list that sells the seat.
    seats: FxHashMap<(Text, i32), (Allotment, usize)>,
    lists: FxHashMap<Allotment, List>,
    /// Maps booking and passenger index to seat and legs.
    seated: FxHashMap<(Text, i32), ((Text, i32), u128)>,
    /// Requests with a first answer, and the offset of its command.
    answered: FxHashMap<Text, i64>,
    /// Passengers named by the first answer to the command that is being read.
    named: Vec<i32>,
}

impl View {
    pub(super) fn observe(&mut self, event: &Event, found: &mut Vec<Found>) {
        let header = event.header();
        self.answers_once(event, found);
        self.amount_adds_up(event, found);
        if header.replay {
            return;
        }
        match event {
            Event::Opened(opened) => self.open(header, &opened.plan, found),
            Event::Confirmed(confirmed) => self.confirmed(confirmed, found),
            Event::Waitlisted(list) if header.kind == EventKind::Position => self.moved(header, &list.moves, found),
            Event::Waitlisted(waitlisted) => self.waitlisted(waitlisted, found),
            Event::Cancelled(cancelled) => self.cancelled(cancelled, found),
            Event::Rejected(_) => {}
        }
    }

    /// Checks I3 at the end of a command.
    pub(super) fn command_ended(&mut self, found: &mut Vec<Found>) {
        self.named.clear();
        let policy = self.policy;
        for (allotment, list) in self.lists.iter_mut().filter(|(_, list)| list.stirred) {
            if let Some(waiter) = list.forgotten(policy) {
                let detail = format!(
                    "{} waits for {} {} and could be served",
                    waiter.request_id, allotment.0, allotment.1
                );
                found.push(Found {
                    invariant: Invariant::I3,
                    detail,
                });
            }
        }
    }

    /// Checks I2: one first answer. Two events are one answer if they share the command and name different passengers.
    fn answers_once(&mut self, event: &Event, found: &mut Vec<Found>) {
        let header = event.header();
        if header.kind != EventKind::Answer {
            return;
        }
        let request = &header.cause_request_id;
        let mut report = |detail: String| {
            found.push(Found {
                invariant: Invariant::I2,
                detail,
            })
        };
        if is_reused_key(event) {
            // The outcome of the first body stays; each further body is refused again (R3).
            if !self.answered.contains_key(request) {
                report(format!("{request} is refused as used before and was not"));
            }
            return;
        }
        let passengers: Vec<i32> = match event {
            Event::Confirmed(confirmed) => confirmed.passengers.iter().map(|passenger| passenger.index).collect(),
            Event::Waitlisted(waitlisted) => waitlisted.passengers.iter().map(|passenger| passenger.index).collect(),
            _ => Vec::new(),
        };
        match (self.answered.get(request), header.replay) {
            (None, true) => report(format!("{request} is answered again before it was answered")),
            (None, false) => {
                self.answered.insert(request.clone(), header.source_offset);
            }
            (Some(offset), false) if *offset != header.source_offset => {
                report(format!(
                    "{request} is answered by offset {} and was by {offset}",
                    header.source_offset
                ));
            }
            (Some(_), false) if passengers.is_empty() || self.named.iter().any(|index| passengers.contains(index)) => {
                report(format!("{request} is answered twice by one command"));
            }
            _ => {}
        }
        self.named.extend(passengers);
    }

    /// Checks R18: the amount of an event equals the fares or refunds of its passengers.
    fn amount_adds_up(&self, event: &Event, found: &mut Vec<Found>) {
        let header = event.header();
        let parts: i64 = match event {
            _ if !is_first_answer(header) => 0,
            Event::Confirmed(confirmed) => confirmed.passengers.iter().map(|passenger| passenger.fare_minor).sum(),
            Event::Waitlisted(waitlisted) => waitlisted.passengers.iter().map(|passenger| passenger.fare_minor).sum(),
            Event::Cancelled(cancelled) => -cancelled
                .passengers
                .iter()
                .map(|passenger| passenger.refund_minor)
                .sum::<i64>(),
            Event::Rejected(_) | Event::Opened(_) => 0,
        };
        if header.amount_minor != parts {
            let detail = format!("R18: the amount is {}, its parts are {parts}", header.amount_minor);
            found.push(Found {
                invariant: Invariant::Rules,
                detail,
            });
        }
    }

    /// Takes over the plan, once: a train-date that was opened keeps its seats and those who hold them.
    fn open(&mut self, header: &EventHeader, plan: &TrainService, found: &mut Vec<Found>) {
        if let Some(first) = self.opened {
            return found.push(Found {
                invariant: Invariant::I1,
                detail: format!("is opened a second time; sequence {first} opened it"),
            });
        }
        self.opened = Some(header.sequence);
        self.policy = plan.promotion;
        self.stops = plan
            .route
            .iter()
            .zip(0..)
            .map(|(stop, place)| (stop.code.clone(), place))
            .collect();
        let seats_of = |layout: &str| {
            plan.layouts
                .iter()
                .find(|known| known.name == layout)
                .map_or(0, |known| known.seats)
        };
        for fare in &plan.fares {
            let class = &fare.travel_class;
            let coaches = plan.coaches.iter().filter(|coach| coach.travel_class == *class);
            let seats =
                coaches.flat_map(|coach| (1..=seats_of(&coach.layout)).map(|number| (coach.name.clone(), number)));
            let mut rest: Vec<(Text, i32)> = seats.collect();
            for quota in plan.quotas.iter().filter(|quota| quota.travel_class == *class) {
                for _ in 0..quota.seats {
                    if let Some(seat) = rest.pop() {
                        self.sell(seat, (class.clone(), quota.quota.clone()));
                    }
                }
            }
            for seat in rest {
                self.sell(seat, (class.clone(), "GN".into()));
            }
        }
    }

    fn sell(&mut self, seat: (Text, i32), allotment: Allotment) {
        let rows = &mut self.lists.entry(allotment.clone()).or_default().rows;
        self.seats.insert(seat, (allotment, rows.len()));
        rows.push(0);
    }

    fn confirmed(&mut self, confirmed: &BookingConfirmed, found: &mut Vec<Found>) {
        let header = &confirmed.header;
        match header.kind {
            EventKind::Promotion => self.was_next(confirmed, found),
            _ => self.went_before_nobody(confirmed, found),
        }
        let Some((from, to)) = self.segment(header) else {
            return found.push(Found {
                invariant: Invariant::I1,
                detail: format!("{} travels where no plan goes", header.request_id),
            });
        };
        for passenger in &confirmed.passengers {
            let seat = (passenger.coach.clone(), passenger.seat_number);
            if let Err(problem) = self.sit(header, &seat, legs(from, to)) {
                let detail = format!("{} seat {} for {}: {problem}", seat.0, seat.1, header.request_id);
                found.push(Found {
                    invariant: Invariant::I1,
                    detail,
                });
            }
            self.seated
                .insert((header.request_id.clone(), passenger.index), (seat, legs(from, to)));
        }
    }

    fn sit(&mut self, header: &EventHeader, seat: &(Text, i32), segment: u128) -> Result<(), String> {
        let (allotment, row) = self.seats.get(seat).ok_or("the plan has no such seat")?;
        if (&allotment.0, &allotment.1) != (&header.travel_class, &header.quota) {
            return Err(format!("it is sold as {} {}", allotment.0, allotment.1));
        }
        let held = self
            .lists
            .get_mut(allotment)
            .and_then(|list| list.rows.get_mut(*row))
            .ok_or("the plan has no such seat")?;
        let taken = *held & segment != 0;
        *held |= segment;
        if !taken {
            return Ok(());
        }
        let holder = self
            .seated
            .iter()
            .find(|(_, (other, legs))| other == seat && legs & segment != 0);
        Err(format!(
            "held by {} on a shared leg",
            holder.map_or("nobody known", |((request_id, _), _)| request_id)
        ))
    }

    /// Checks I3 for a promotion: the entry may be served, and no earlier one could have been.
    fn was_next(&mut self, promoted: &BookingConfirmed, found: &mut Vec<Found>) {
        let (header, policy) = (&promoted.header, self.policy);
        let mut report = |detail: String| {
            found.push(Found {
                invariant: Invariant::I3,
                detail,
            })
        };
        let Some(list) = self.lists.get_mut(&allotment_of(header)) else {
            return report("a promotion without a list".to_owned());
        };
        let named = promoted.passengers.first().map_or(-1, |passenger| passenger.index);
        let waits =
            |waiter: &&Waiter| waiter.request_id == header.request_id && waiter.passengers.iter().any(|p| p.0 == named);
        let first = list
            .waiters
            .iter()
            .find(waits)
            .and_then(|waiter| waiter.passengers.first())
            .map(|passenger| passenger.1);
        let Some(first) = first else {
            return report(format!("{} is promoted and doesn't wait", header.request_id));
        };
        if !list.may_be_served(first, policy) {
            report(format!(
                "{} is promoted where earlier waiters may need the space",
                header.request_id
            ));
        }
        if let Some(earlier) = list.passed_over(first, policy) {
            report(format!(
                "{} is promoted before {}",
                header.request_id, earlier.request_id
            ));
        }
        for passenger in &promoted.passengers {
            if list.leave(&header.request_id, passenger.index).is_none() {
                report(format!(
                    "{} {} is promoted and doesn't wait",
                    header.request_id, passenger.index
                ));
            }
        }
    }

    /// Checks I3 for a booking that is confirmed at once. Under FIFO_SKIP the end of the preceding command has shown
    /// that no waiter fits; under LEG_STRICT the waiters keep their claims.
    fn went_before_nobody(&mut self, confirmed: &BookingConfirmed, found: &mut Vec<Found>) {
        let header = &confirmed.header;
        let (Some((from, to)), Some(list)) = (self.segment(header), self.lists.get(&allotment_of(header))) else {
            return;
        };
        if !list.leaves_room(from, to, confirmed.passengers.len(), self.policy) {
            let detail = format!("{} is confirmed where waiters may need the space", header.request_id);
            found.push(Found {
                invariant: Invariant::I3,
                detail,
            });
        }
    }

    fn waitlisted(&mut self, waitlisted: &BookingWaitlisted, found: &mut Vec<Found>) {
        let header = &waitlisted.header;
        let Some((from, to)) = self.segment(header) else { return };
        let policy = self.policy;
        let list = self.lists.entry(allotment_of(header)).or_default();
        let ahead: usize = list.waiters.iter().map(|waiter| waiter.passengers.len()).sum();
        for (passenger, place) in waitlisted.passengers.iter().zip(ahead as i32 + 1..) {
            list.issued += 1;
            if (passenger.first_position, passenger.current_position) != (list.issued, place) {
                let (first, current) = (passenger.first_position, passenger.current_position);
                let detail = format!(
                    "R15: {} waits at {first}/{current} and should at {}/{place}",
                    header.request_id, list.issued
                );
                found.push(Found {
                    invariant: Invariant::Rules,
                    detail,
                });
            }
        }
        let passengers = waitlisted
            .passengers
            .iter()
            .map(|passenger| (passenger.index, passenger.first_position));
        let waiter = |passengers| Waiter {
            request_id: header.request_id.clone(),
            from,
            to,
            passengers,
        };
        let size = if waitlisted.partial_confirmation {
            1
        } else {
            waitlisted.passengers.len()
        };
        if list.fitting(from, to) >= size && list.leaves_room(from, to, size, policy) {
            let detail = format!("{} waits and could have been seated", header.request_id);
            found.push(Found {
                invariant: Invariant::I3,
                detail,
            });
        }
        match waitlisted.partial_confirmation {
            true => list.waiters.extend(passengers.map(|passenger| waiter(vec![passenger]))),
            false => list.waiters.push(waiter(passengers.collect())),
        }
    }

    fn cancelled(&mut self, cancelled: &BookingCancelled, found: &mut Vec<Found>) {
        let (header, policy) = (&cancelled.header, self.policy);
        for passenger in &cancelled.passengers {
            let key = (header.request_id.clone(), passenger.index);
            let list = self.lists.entry(allotment_of(header)).or_default();
            let gone = match self.seated.get(&key) {
                _ if passenger.already_cancelled => self.seated.contains_key(&key),
                None => list.leave(&header.request_id, passenger.index).is_none(),
                Some((seat, segment)) => {
                    if let Some((_, row)) = self.seats.get(seat) {
                        list.rows[*row] &= !segment;
                    }
                    self.seated.remove(&key);
                    false
                }
            };
            if gone {
                let detail = format!(
                    "{} {} is cancelled against what is known",
                    header.request_id, passenger.index
                );
                found.push(Found {
                    invariant: Invariant::I1,
                    detail,
                });
            }
        }
        if let Some(list) = self.lists.get_mut(&allotment_of(header)) {
            list.stir(policy);
        }
    }

    /// Checks R15: a move states the place that the list gives.
    fn moved(&mut self, header: &EventHeader, moves: &[PositionMove], found: &mut Vec<Found>) {
        let Some(list) = self.lists.get(&allotment_of(header)) else {
            return;
        };
        for moved in moves {
            let place = list.place(moved.first_position);
            if place != Some(moved.current_position) {
                let (request_id, first, current) = (&moved.request_id, moved.first_position, moved.current_position);
                let detail = format!("R15: {request_id} {first} is reported at {current} and is at {place:?}");
                found.push(Found {
                    invariant: Invariant::Rules,
                    detail,
                });
            }
        }
    }

    fn segment(&self, header: &EventHeader) -> Option<(usize, usize)> {
        let from = *self.stops.get(&header.from_station)?;
        let to = *self.stops.get(&header.to_station)?;
        (from < to).then_some((from, to))
    }
}

fn allotment_of(header: &EventHeader) -> Allotment {
    (header.travel_class.clone(), header.quota.clone())
}
