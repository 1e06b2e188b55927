//! Random trains and random commands: the crate agrees with the oracle, and the invariants hold after every command.

#[path = "support/oracle.rs"]
mod oracle;
mod support;

use interlock_inventory::TrainDate;
use interlock_schemas::*;
use oracle::{Oracle, Told};
use proptest::prelude::*;
use support::{DEPARTURE, ORIGIN_DATE, World};

const HOUR_MS: i64 = 3_600_000;
const STATIONS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
const COMMANDS: usize = 100;

/// The next step; numbers are taken modulo the number of choices.
#[derive(Clone, Debug)]
enum Deed {
    Book {
        from: usize,
        length: usize,
        class: usize,
        quota: usize,
        wishes: Vec<(BerthPreference, bool)>,
        partial: bool,
    },
    Cancel {
        booking: usize,
        passengers: Vec<i32>,
        stranger: bool,
    },
    Again {
        command: usize,
        changed: bool,
    },
    Wait {
        hours: i64,
    },
    Restart,
}

fn wish() -> impl Strategy<Value = (BerthPreference, bool)> {
    use BerthPreference::{Lower, Middle, None, Upper, Window};
    let kind = prop_oneof![6 => Just(None), 2 => Just(Lower), 1 => Just(Middle), 1 => Just(Upper), 1 => Just(Window)];
    (kind, prop::bool::weighted(0.2))
}

fn deed() -> impl Strategy<Value = Deed> {
    let party = prop_oneof![
        5 => prop::collection::vec(wish(), 1..2),
        5 => prop::collection::vec(wish(), 2..7),
        1 => prop::collection::vec(wish(), 0..9),
    ];
    let segment = (0..8usize, prop_oneof![3 => 1..3usize, 1 => 3..8usize, 1 => Just(0)]);
    prop_oneof![
        12 => (segment, 0..8usize, 0..8usize, party, any::<bool>()).prop_map(|((from, length), class, quota, wishes, partial)| {
            Deed::Book { from, length, class, quota, wishes, partial }
        }),
        8 => (0..1000usize, prop::collection::vec(0..6i32, 0..3), prop::bool::weighted(0.05)).prop_map(
            |(booking, passengers, stranger)| Deed::Cancel { booking, passengers, stranger }
        ),
        2 => (0..1000usize, prop::bool::weighted(0.2)).prop_map(|(command, changed)| Deed::Again { command, changed }),
        1 => (0..5i64).prop_map(|hours| Deed::Wait { hours }),
        1 => Just(Deed::Restart),
    ]
}

prop_compose! {
    fn train()(
        stops in 2..=8usize,
        sleeper in (1..=9i32, 1..=3usize, 1..=4usize),
        chairs in (1..=5i32, 0..=2usize),
        quotas in prop::collection::vec((0..3usize, 0..2usize), 0..3),
        cap in prop::option::of(0..30i32),
        first_fit in any::<bool>(),
        strict in any::<bool>(),
        prices in (0..9_999i64, 0..500i64, 0..900i32, 0..4_000i64, 0..3_000i64),
    ) -> TrainService {
        use Berth::{Aisle, Lower, Middle, SideLower, Upper, Window};
        let mut plan = support::service();
        plan.route = (0..stops as i32).map(|number| Stop {
            code: STATIONS[number as usize].into(),
            name: Text::default(),
            arrival_s: 36_000 + number * 3_600,
            departure_s: 36_000 + number * 3_600,
            distance_m: i64::from(number) * 70_000,
        }).collect();
        let (seats, coaches, bay) = sleeper;
        plan.layouts = vec![
            Layout { name: "layout".into(), seats, pattern: [Lower, Middle, Upper, SideLower][..bay].into() },
            Layout { name: "chairs".into(), seats: chairs.0, pattern: vec![Window, Middle, Aisle] },
        ];
        plan.coaches = (0..coaches).map(|number| support::coach(&format!("S{number}"))).collect();
        for number in 0..chairs.1 {
            plan.coaches.insert(number * 2, Coach {
                name: format!("C{number}").into(), travel_class: "CC".into(), layout: "chairs".into(),
            });
        }
        let (fare_minor, fee, tax_bp, flat, clerkage) = prices;
        let fare = |class: &str| Fare {
            travel_class: class.into(),
            slabs: vec![
                FareSlab { up_to_m: 140_000, fare_minor },
                FareSlab { up_to_m: 300_000, fare_minor: fare_minor * 2 + 1 },
            ],
            reservation_fee_minor: fee,
            tax_bp,
            cancellation_flat_minor: flat,
            clerkage_minor: clerkage,
            ..plan.fares[0].clone()
        };
        plan.fares = vec![fare("SL"), fare("CC")];
        for (name, (size, class)) in ["TQ", "LD"].into_iter().zip(quotas) {
            let class = if class == 1 && chairs.1 > 0 { "CC" } else { "SL" };
            let seats = if class == "CC" { chairs.0 * chairs.1 as i32 } else { seats * coaches as i32 };
            plan.quotas.push(Quota { quota: name.into(), travel_class: class.into(), seats: (size as i32).min(seats / 2) });
        }
        if let Some(passengers) = cap {
            plan.waitlist_caps = vec![WaitlistCap { travel_class: "SL".into(), quota: "GN".into(), passengers }];
        }
        plan.allocation = if first_fit { Allocation::FirstFit } else { Allocation::BestFit };
        plan.promotion = if strict { PromotionPolicy::LegStrict } else { PromotionPolicy::FifoSkip };
        plan
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_crate_says_what_the_oracle_says(plan in train(), hours in prop::sample::select(vec![100, 76, 27, 11, 3]), deeds in prop::collection::vec(deed(), COMMANDS)) {
        let mut run = Run::new(&plan, hours);
        for (deed, number) in deeds.iter().zip(1..) {
            run.step(deed);
            if number % 30 == 0 {
                run.world.check_fold();
            }
        }
        run.decides_the_same_again();
    }
}

struct Run {
    world: World,
    oracle: Oracle,
    departures: Vec<TimestampMs>,
    commands: Vec<(Command, TimestampMs)>,
    bookings: Vec<(String, String)>,
}

impl Run {
    fn new(plan: &TrainService, hours_left: i64) -> Run {
        let mut world = World::new(Some(plan.clone()));
        world.time = DEPARTURE - hours_left * HOUR_MS;
        let departures = (0..plan.route.len() as i64)
            .map(|number| DEPARTURE + number * HOUR_MS)
            .collect();
        Run {
            world,
            oracle: Oracle::new(plan),
            departures,
            commands: vec![],
            bookings: vec![],
        }
    }

    fn step(&mut self, deed: &Deed) {
        let command = match deed {
            Deed::Wait { hours } => return self.world.time += hours * HOUR_MS,
            Deed::Restart => return self.world.restart(),
            Deed::Book { .. } => Command::Book(self.booking(deed)),
            Deed::Cancel {
                booking,
                passengers,
                stranger,
            } => {
                let nobody = ("nobody".to_owned(), "u0".to_owned());
                let (booking, user) = self
                    .bookings
                    .get(booking % (self.bookings.len() + 1))
                    .unwrap_or(&nobody)
                    .clone();
                let mut request = support::cancellation(&format!("c{}", self.commands.len()), &booking, passengers);
                request.user_id = if *stranger { "stranger".into() } else { user.into() };
                Command::Cancel(request)
            }
            Deed::Again { .. } if self.commands.is_empty() => return,
            Deed::Again { command, changed } => self.again(command % self.commands.len(), *changed),
        };
        self.commands.push((command.clone(), self.world.time));
        let told = self.oracle.command(&command, self.world.time, &self.departures);
        let events = self.world.send(&command);
        assert_eq!(heard(&events), told, "{command:?}");
        self.what_holds_after_every_command();
    }

    fn booking(&mut self, deed: &Deed) -> BookingRequest {
        let Deed::Book {
            from,
            length,
            class,
            quota,
            wishes,
            partial,
        } = deed
        else {
            unreachable!()
        };
        let stops = self.departures.len();
        let (from, to) = (from % stops, (from % stops + length) % (stops + 1));
        let id = format!("b{}", self.commands.len());
        let to = STATIONS.get(to).filter(|_| to < stops).unwrap_or(&"nowhere");
        let mut request = support::booking(&id, STATIONS[from], to, wishes.len());
        for (passenger, (preference, hard)) in request.passengers.iter_mut().zip(wishes) {
            (passenger.berth_preference, passenger.preference_is_hard) = (*preference, *hard);
        }
        request.travel_class = ["SL", "SL", "SL", "SL", "CC", "CC", "CC", "2A"][*class].into();
        request.quota = ["GN", "GN", "GN", "GN", "TQ", "TQ", "LD", "XX"][*quota].into();
        request.partial_confirmation = *partial;
        request.user_id = format!("u{}", self.commands.len() % 3).into();
        self.bookings.push((id, request.user_id.to_string()));
        request
    }

    fn again(&self, command: usize, changed: bool) -> Command {
        let mut command = self.commands[command].0.clone();
        match &mut command {
            Command::Book(request) => {
                request.requested_at += 1;
                request.partial_confirmation ^= changed;
            }
            Command::Cancel(request) if changed => request.passengers.push(0),
            Command::Cancel(_) => {}
        }
        command
    }

    fn what_holds_after_every_command(&self) {
        assert_eq!(
            self.world.revenue(),
            self.oracle.balance,
            "amounts are fares less refunds"
        );
        assert!(!self.oracle.somebody_could_be_served(), "I3");
        let Some(train_date) = self.world.train_date() else {
            return;
        };
        for (seat, taken) in train_date.seat_map().zip(self.oracle.taken()) {
            let legs: Vec<bool> = (0..taken.len()).map(|leg| seat.taken >> leg & 1 == 1).collect();
            assert_eq!(legs, taken, "I1: {} {}", seat.coach, seat.number);
        }
        for (class, quota) in train_date.allotments() {
            self.allotment_agrees(train_date, class, quota);
        }
        for class in ["SL", "CC"] {
            assert!(train_date.seat_metres_sold(class) <= train_date.seat_metres_offered(class));
        }
    }

    fn allotment_agrees(&self, train_date: &TrainDate, class: &str, quota: &str) {
        let waiters = train_date.waitlist(class, quota).into_iter();
        let waiters: Vec<_> = waiters
            .map(|w| {
                (
                    w.request_id.into(),
                    i32::from(w.index),
                    w.first_position as i32,
                    w.current_position as i32,
                )
            })
            .collect();
        assert_eq!(waiters, self.oracle.waiters(class, quota));
        for (from, station) in STATIONS.iter().enumerate().take(self.departures.len()) {
            let to = (from + 1 + self.commands.len() % 3).min(self.departures.len() - 1);
            let expected = if from < to {
                self.oracle.availability(from, to, class, quota)
            } else {
                0
            };
            assert_eq!(
                train_date.availability(station, STATIONS[to], class, quota),
                expected,
                "R6"
            );
        }
    }

    fn decides_the_same_again(&self) {
        let mut second = World {
            plan: self.world.plan.clone(),
            ..World::new(None)
        };
        for (command, time) in &self.commands {
            second.time = *time;
            second.send(command);
        }
        assert_eq!(
            second.events, self.world.events,
            "a replay from the start gives the same"
        );
        assert_eq!(second.store, self.world.store, "down to the byte");
    }
}

/// The events as the oracle would put them.
fn heard(events: &[Event]) -> Vec<Told> {
    let told: Vec<Told> = events.iter().filter_map(hear).collect();
    match events.iter().any(|event| event.header().replay) {
        true => vec![Told::Again(told)],
        false => told,
    }
}

fn hear(event: &Event) -> Option<Told> {
    assert_eq!(event.header().travel_date, ORIGIN_DATE);
    Some(match event {
        Event::Opened(_) => return None,
        Event::Rejected(rejected) => Told::Refused(rejected.code.to_string().leak()),
        Event::Confirmed(confirmed) => {
            let seats = confirmed
                .passengers
                .iter()
                .map(|seat| (seat.index, seat.coach.clone(), seat.seat_number))
                .collect();
            match confirmed.header.kind {
                EventKind::Promotion => Told::Promoted(confirmed.header.request_id.clone(), seats, confirmed.tier),
                _ => Told::Seated(seats, confirmed.tier),
            }
        }
        Event::Waitlisted(waitlisted) if waitlisted.header.kind == EventKind::Position => {
            let place = |moved: &PositionMove| {
                (
                    moved.request_id.clone(),
                    moved.index,
                    moved.first_position,
                    moved.current_position,
                )
            };
            Told::Moved(waitlisted.moves.iter().map(place).collect())
        }
        Event::Waitlisted(waitlisted) => {
            let place = |waiter: &WaitingPassenger| (waiter.index, waiter.first_position, waiter.current_position);
            Told::Waits(waitlisted.passengers.iter().map(place).collect())
        }
        Event::Cancelled(cancelled) => {
            let gave = |given: &CancelledPassenger| (given.index, given.refund_minor, given.already_cancelled);
            Told::GaveBack(cancelled.passengers.iter().map(gave).collect())
        }
    })
}
