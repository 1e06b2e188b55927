//! Tests of the properties that every load has.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use interlock_schemas::{Allocation, Berth, Coach, Command, Layout, PromotionPolicy, Quota, Stop, TrainService};
use proptest::prelude::*;

use crate::{Kind, Latencies, Outcomes, Planned, Profile, Report, Spread, Workload, WorkloadError, running_from};

fn plan(number: usize, stops: usize, coaches: usize) -> TrainService {
    let stop = |n: usize| Stop {
        code: format!("S{n}").into(),
        name: format!("Station {n}").into(),
        arrival_s: 36_000 + n as i32 * 600,
        departure_s: 36_000 + n as i32 * 600,
        distance_m: n as i64 * 10_000,
    };
    let coach = |n: usize| Coach {
        name: format!("C{n}").into(),
        travel_class: if n == 0 { "CC" } else { "SL" }.into(),
        layout: "flat".into(),
    };
    TrainService {
        train_id: format!("T{number}").into(),
        name: format!("Train {number}").into(),
        version: 1,
        time_zone: "UTC".into(),
        running_dates: (20_000..20_030).collect(),
        route: (0..stops).map(stop).collect(),
        other_timetables: vec![],
        layouts: vec![Layout {
            name: "flat".into(),
            seats: 64,
            pattern: vec![Berth::Lower, Berth::Upper],
        }],
        coaches: (0..coaches).map(coach).collect(),
        quotas: vec![Quota {
            quota: "TQ".into(),
            travel_class: "CC".into(),
            seats: 16,
        }],
        fares: vec![],
        refund_bands: vec![],
        waitlist_caps: vec![],
        sale: vec![],
        allocation: Allocation::BestFit,
        promotion: PromotionPolicy::FifoSkip,
        currency: "EUR".into(),
    }
}

fn plans(trains: usize) -> Vec<TrainService> {
    (0..trains).map(|n| plan(n, 2 + n % 9, 2 + n % 3)).collect()
}

fn load(profile: &str, trains: usize, requests: u64, rate: Option<f64>, seed: u64) -> Vec<Planned> {
    let profile = Profile::named(profile).unwrap();
    Workload::new(&profile, &plans(trains), requests, rate, seed)
        .unwrap()
        .collect()
}

fn key_of(command: &Command) -> (&str, &str, i32) {
    match command {
        Command::Book(book) => (&book.request_id, &book.train_id, book.travel_date),
        Command::Cancel(cancel) => (&cancel.request_id, &cancel.train_id, cancel.travel_date),
    }
}

/// Times ascend; a repetition is of an earlier request, a cancellation of an earlier booking by the same user on the
/// same train-date, and nothing else has a key that was there before.
fn check(planned: &[Planned]) {
    let mut seen: HashMap<&str, &Command> = HashMap::new();
    let mut latest = Duration::ZERO;
    for item in planned {
        assert!(item.intended_at >= latest, "intended times ascend");
        latest = item.intended_at;
        let (id, train, date) = key_of(&item.command);
        match item.kind {
            Kind::Resend | Kind::CancellationResend => assert_eq!(seen[id], &item.command),
            Kind::Altered => assert_ne!(seen[id], &item.command),
            Kind::Booking | Kind::Malformed | Kind::Cancellation => {
                assert!(seen.insert(id, &item.command).is_none(), "key {id} twice");
            }
        }
        if let Command::Cancel(cancel) = &item.command {
            let Command::Book(booking) = seen[cancel.booking_request_id.as_str()] else {
                panic!("not of a booking")
            };
            assert_eq!((booking.train_id.as_str(), booking.travel_date), (train, date));
            assert_eq!(booking.user_id, cancel.user_id);
            assert!(
                cancel
                    .passengers
                    .iter()
                    .all(|i| (*i as usize) < booking.passengers.len())
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_load_is_consistent_complete_and_repeatable(
        profile in prop::sample::select(Profile::names()),
        trains in 1_usize..40,
        requests in 0_u64..3_000,
        rate in prop::option::of(1.0..1e6_f64),
        seed: u64,
    ) {
        let planned = load(profile, trains, requests, rate, seed);
        prop_assert_eq!(planned.len() as u64, requests);
        check(&planned);
        prop_assert_eq!(&planned, &load(profile, trains, requests, rate, seed));
    }
}

#[test]
fn another_seed_is_another_load() {
    let keys = |seed| {
        load("burst", 5, 500, None, seed)
            .iter()
            .map(|p| key_of(&p.command).0.to_owned())
            .collect()
    };
    let (one, other): (HashSet<String>, HashSet<String>) = (keys(1), keys(2));
    assert!(one.is_disjoint(&other));
}

fn share(count: usize, total: usize) -> f64 {
    count as f64 / total as f64
}

fn near(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() < 0.012,
        "{what}: {found:.4}, but {expected} is on record"
    );
}

#[test]
fn shares_are_those_of_the_public_record() {
    let planned = load("burst", 60, 150_000, Some(5_000.0), 11);
    let of = |kind| planned.iter().filter(|p| p.kind == kind).count();
    let asked = of(Kind::Booking) + of(Kind::Malformed);
    near(share(of(Kind::Resend), asked), 0.15, "resent");
    near(
        share(of(Kind::CancellationResend), of(Kind::Cancellation)),
        0.15,
        "cancellations resent",
    );
    near(share(of(Kind::Altered), asked), 0.01, "altered");
    near(share(of(Kind::Malformed), asked), 0.02, "malformed");

    let bookings: Vec<_> = planned
        .iter()
        .filter(|p| p.kind == Kind::Booking)
        .filter_map(|p| {
            if let Command::Book(book) = &p.command {
                Some(book)
            } else {
                None
            }
        })
        .collect();
    for (size, expected) in [(1, 0.54), (2, 0.28), (3, 0.09), (4, 0.06), (5, 0.015), (6, 0.015)] {
        let ordinary: Vec<_> = bookings.iter().filter(|b| b.quota == "GN").collect();
        near(
            share(
                ordinary.iter().filter(|b| b.passengers.len() == size).count(),
                ordinary.len(),
            ),
            expected,
            "party",
        );
    }
    let (mut full, mut one_end, mut long) = (0, 0, 0);
    for booking in &bookings {
        let stops = 2 + booking.train_id[1..].parse::<usize>().unwrap() % 9;
        if stops < 4 {
            continue;
        }
        let ends = (
            booking.from_station == "S0",
            booking.to_station == format!("S{}", stops - 1),
        );
        long += 1;
        full += usize::from(ends == (true, true));
        one_end += usize::from(ends.0 != ends.1);
    }
    near(share(full, long), 0.5, "full run");
    near(share(one_end, long), 0.3, "one end");

    let mut by_train: HashMap<&str, usize> = HashMap::new();
    bookings
        .iter()
        .for_each(|b| *by_train.entry(&b.train_id).or_default() += 1);
    let mut counts: Vec<usize> = by_train.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let harmonic: f64 = (1..=counts.len()).map(|n| 1.0 / n as f64).sum();
    near(
        share(counts[0], bookings.len()),
        1.0 / harmonic,
        "the most popular train",
    );
    near(share(counts[3], bookings.len()), 0.25 / harmonic, "the fourth");
}

#[test]
fn repetitions_come_within_five_seconds() {
    let planned = load("steady", 60, 50_000, Some(500.0), 3);
    let mut first: HashMap<&str, Duration> = HashMap::new();
    for item in &planned {
        let (id, ..) = key_of(&item.command);
        let since = item.intended_at - *first.entry(id).or_insert(item.intended_at);
        assert!(since < Duration::from_millis(5_100), "{since:?} after the first");
    }
}

#[test]
fn cancellations_come_in_bursts() {
    let planned = load("burst", 60, 100_000, None, 3);
    let cancels: Vec<bool> = planned.iter().map(|p| p.kind == Kind::Cancellation).collect();
    let mut shares: Vec<f64> = cancels
        .chunks(1_000)
        .map(|chunk| share(chunk.iter().filter(|c| **c).count(), chunk.len()))
        .collect();
    shares.sort_by(f64::total_cmp);
    assert!(
        shares[50] < 0.02 && shares[95] > 0.3,
        "mostly none, then many: {shares:?}"
    );
}

#[test]
fn one_train_can_be_made_to_take_most() {
    let mut profile = Profile::named("burst").unwrap();
    profile.trains.hot_share = 0.8;
    let planned: Vec<_> = Workload::new(&profile, &plans(40), 20_000, None, 1).unwrap().collect();
    let bookings: Vec<_> = planned
        .iter()
        .filter(|p| p.kind == Kind::Booking)
        .map(|p| key_of(&p.command).1)
        .collect();
    let mut by_train: HashMap<&str, usize> = HashMap::new();
    bookings
        .iter()
        .for_each(|train| *by_train.entry(train).or_default() += 1);
    near(
        share(by_train.into_values().max().unwrap_or(0), bookings.len()),
        0.8,
        "the hot train",
    );
}

#[test]
fn a_tatkal_opening_asks_eight_times_for_each_seat_of_its_quota() {
    let profile = Profile::named("tatkal").unwrap();
    let workload = Workload::new(&profile, &plans(60), 40_000, None, 1).unwrap();
    let shape = workload.shape().clone();
    assert!((7.0..=8.0).contains(&shape.offered), "{shape}");
    let (mut tatkal, mut passengers, mut hot) = (0, 0, HashSet::new());
    for planned in workload.filter(|p| p.kind == Kind::Booking) {
        let Command::Book(book) = planned.command else { continue };
        assert!(book.passengers.len() <= 4);
        tatkal += usize::from(book.quota == "TQ");
        passengers += book.passengers.len();
        hot.insert((book.train_id, book.travel_date));
    }
    assert!(
        tatkal > 0 && passengers as u64 > 6 * shape.seats,
        "{passengers} passengers for {} seats",
        shape.seats
    );
    assert_eq!(hot.len() as u64, shape.train_dates);
}

#[test]
fn the_load_grows_over_trains_then_dates_until_it_fits() {
    let shape = |requests| {
        let profile = Profile::named("burst").unwrap();
        Workload::new(&profile, &plans(60), requests, None, 1)
            .unwrap()
            .shape()
            .clone()
    };
    let (small, large, huge) = (shape(1_000), shape(60_000), shape(10_000_000));
    assert_eq!((small.trains, small.dates), (12, 1), "{small}");
    assert!(
        large.trains == 60 && large.dates > 1 && large.dates < 30 && large.confirmed >= 0.85,
        "{large}"
    );
    assert!(huge.dates == 30 && huge.confirmed < 0.5, "more than there is: {huge}");
    assert_eq!(Profile::named("burst").unwrap().spread, Spread::Confirmed(0.85));
}

#[test]
fn what_cannot_be_a_load_is_refused() {
    let profile = Profile::named("burst").unwrap();
    let refused = |plans: &[TrainService], rate| Workload::new(&profile, plans, 10, rate, 1).err();
    assert_eq!(refused(&[], None), Some(WorkloadError::NothingOnSale { plans: 0 }));
    assert_eq!(refused(&plans(1), Some(0.0)), Some(WorkloadError::Rate { rate: 0.0 }));
    let later = running_from(&plans(2), 20_029);
    assert_eq!(later[1].running_dates, [20_029]);
    assert!(running_from(&plans(2), 20_030).is_empty());
}

#[test]
fn a_report_reads_as_table_and_as_json() {
    let workload = Workload::new(&Profile::named("tatkal").unwrap(), &plans(3), 100, None, 9).unwrap();
    let mut latencies = Latencies::default();
    (0..99).for_each(|i| latencies.record(Duration::ZERO, Duration::from_millis(i)));
    let report = Report::new(workload.shape().clone(), 9, 100, 2.0, &latencies, Outcomes::default());
    assert_eq!(
        (report.answered, report.unanswered, report.throughput_per_s),
        (99, 1, 49.5)
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["latency"]["max_us"], 98_047);
    assert!(
        report.to_string().starts_with("throughput "),
        "the two numbers that matter come first"
    );
}

#[test]
#[ignore = "a measurement: cargo test --release -p interlock-loadgen speed -- --ignored --nocapture"]
#[allow(clippy::disallowed_methods)]
fn speed() {
    let start = std::time::Instant::now();
    let workload = Workload::new(&Profile::named("burst").unwrap(), &plans(200), 2_000_000, None, 1).unwrap();
    let passengers: usize = workload
        .map(|p| {
            if let Command::Book(book) = p.command {
                book.passengers.len()
            } else {
                0
            }
        })
        .sum();
    let per_s = 2e6 / start.elapsed().as_secs_f64();
    println!("{per_s:.0} requests/s ({passengers} passengers)");
}
