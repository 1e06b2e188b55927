//! Whatever a client sends, it is answered, and nothing panics; whatever a store gives back, it is read or refused.

mod support;

use interlock_inventory::invariants::EventAuditor;
use interlock_inventory::{Plan, TrainDate, TrainDateKey, is_answerable};
use interlock_schemas::*;
use proptest::prelude::*;
use support::{DEPARTURE, ORIGIN_DATE, World};

/// Texts that mean something, texts that don't, and long ones.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["", "A", "C", "E", "SL", "GN", "TQ", "12951", "u1", "r1", "r2", "r3", "a|b"]).prop_map(str::to_owned),
        2 => any::<String>(),
        1 => (250..260usize).prop_map(|length| "é".repeat(length)),
    ]
}

fn preference() -> impl Strategy<Value = BerthPreference> {
    prop::sample::select(vec![
        BerthPreference::None,
        BerthPreference::Lower,
        BerthPreference::Upper,
        BerthPreference::Aisle,
    ])
}

fn date() -> impl Strategy<Value = Date> {
    prop_oneof![8 => Just(ORIGIN_DATE), 1 => any::<Date>()]
}

prop_compose! {
    fn passenger()(name in text(), age in prop_oneof![4 => 0..100i32, 1 => any::<i32>()], berth_preference in preference(), preference_is_hard in any::<bool>()) -> Passenger {
        Passenger { name: name.into(), age, berth_preference, preference_is_hard }
    }
}

prop_compose! {
    fn book()(
        ids in (text(), text(), date(), text()),
        segment in (text(), text(), text(), text()),
        passengers in prop::collection::vec(passenger(), 0..8),
        partial_confirmation in any::<bool>(),
        requested_at in any::<i64>(),
    ) -> BookingRequest {
        let (request_id, train_id, travel_date, user_id) = ids;
        let (from_station, to_station, travel_class, quota) = segment;
        BookingRequest {
            request_id: request_id.into(), train_id: train_id.into(), travel_date, user_id: user_id.into(), from_station: from_station.into(), to_station: to_station.into(), travel_class: travel_class.into(), quota: quota.into(), passengers,
            partial_confirmation, requested_at,
        }
    }
}

prop_compose! {
    fn cancel()(
        ids in (text(), text(), date(), text(), text()),
        passengers in prop::collection::vec(any::<i32>(), 0..4),
        requested_at in any::<i64>(),
    ) -> CancellationRequest {
        let (request_id, train_id, travel_date, user_id, booking_request_id) = ids;
        CancellationRequest { request_id: request_id.into(), train_id: train_id.into(), travel_date, booking_request_id: booking_request_id.into(), passengers, user_id: user_id.into(), requested_at }
    }
}

fn command() -> impl Strategy<Value = Command> {
    let likely = (0..40u32, 0..6usize)
        .prop_map(|(id, passengers)| Command::Book(support::booking(&format!("r{id}"), "A", "C", passengers)));
    let undo = (0..40u32, 0..40u32).prop_map(|(id, booking)| {
        Command::Cancel(support::cancellation(&format!("x{id}"), &format!("r{booking}"), &[]))
    });
    prop_oneof![2 => book().prop_map(Command::Book), 2 => cancel().prop_map(Command::Cancel), 1 => likely, 1 => undo]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_command_is_answered(
        commands in prop::collection::vec((command(), prop_oneof![4 => Just(DEPARTURE - 1), 1 => any::<i64>()]), 1..60),
    ) {
        let mut plan = support::service();
        plan.layouts[0].seats = 6;
        plan.quotas = vec![Quota { quota: "TQ".into(), travel_class: "SL".into(), seats: 2 }];
        plan.sale = vec![SaleWindow { quota: Text::default(), opens_days_before: 60, opens_at_s: 0 }];
        let mut world = World::new(Some(plan));
        for (command, time) in &commands {
            world.time = *time;
            let events = world.send(command);
            for event in &events {
                if let Event::Rejected(rejected) = event {
                    prop_assert!(rejected.message.len() < 2_000 && !rejected.code.is_empty());
                }
            }
        }
        world.check_fold();
    }

    #[test]
    fn damaged_fields_are_refused_or_read(place in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut world = World::new(Some(support::service()));
        world.time = DEPARTURE - 1;
        for command in [
            Command::Book(support::booking("r1", "A", "C", 1)),
            Command::Book(support::booking("r2", "A", "C", 2)),
            Command::Book(support::booking("r3", "A", "X", 2)),
            Command::Cancel(support::cancellation("c1", "r2", &[1])),
        ] {
            world.send(&command);
        }
        let key = train_date_key("12951", ORIGIN_DATE);
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = world.store[key.as_str()].clone().into_iter().collect();
        let value = &mut place.get_mut(&mut fields).1;
        let at = at.index(value.len());
        value[at] = byte;
        world.store.insert(key.to_string(), fields.iter().cloned().collect());
        if TrainDate::from_fields(&key, fields).is_ok() {
            world.restart();
            world.send_unaudited(&Command::Cancel(support::cancellation("c2", "r1", &[])));
        }
    }

    #[test]
    fn any_text_is_a_key_or_not(text in any::<String>()) {
        if let Ok(key) = TrainDateKey::parse(&text) {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}

/// Bytes of an event on the wire.
fn encoded(event: &Event) -> usize {
    let mut bytes = Vec::new();
    match event {
        Event::Confirmed(event) => event.encode(&mut bytes),
        Event::Waitlisted(event) => event.encode(&mut bytes),
        Event::Cancelled(event) => event.encode(&mut bytes),
        Event::Rejected(event) => event.encode(&mut bytes),
        Event::Opened(event) => event.encode(&mut bytes),
    }
    bytes.len()
}

#[test]
fn no_text_of_a_request_makes_an_event_long() {
    let long = || "é".repeat(500_000);
    let booking = |change: &dyn Fn(&mut BookingRequest)| {
        let mut request = support::booking("r1", "A", "C", 2);
        change(&mut request);
        Command::Book(request)
    };
    let cancellation = |change: &dyn Fn(&mut CancellationRequest)| {
        let mut request = support::cancellation("c1", "r1", &[]);
        change(&mut request);
        Command::Cancel(request)
    };
    let answered = [
        booking(&|request| request.user_id = long().into()),
        booking(&|request| request.from_station = long().into()),
        booking(&|request| request.to_station = long().into()),
        booking(&|request| request.travel_class = long().into()),
        booking(&|request| request.quota = long().into()),
        booking(&|request| request.passengers[1].name = long().into()),
        booking(&|request| request.passengers = vec![request.passengers[0].clone(); 50_000]),
        cancellation(&|request| request.user_id = long().into()),
        cancellation(&|request| request.booking_request_id = long().into()),
        cancellation(&|request| request.passengers = vec![7; 100_000]),
    ];
    for command in answered {
        assert!(is_answerable(&command));
        let mut world = World::new(Some(support::service()));
        world.time = DEPARTURE - 1;
        for event in world.send(&command) {
            assert!(encoded(&event) < 10_000, "{} bytes", encoded(&event));
        }
        world.check_fold();
    }
    assert!(!is_answerable(&booking(&|request| request.request_id = long().into())));
    assert!(!is_answerable(&cancellation(
        &|request| request.request_id = long().into()
    )));
}

#[test]
fn a_long_list_that_moves_makes_no_event_long() {
    let mut plan = support::service();
    plan.waitlist_caps = vec![WaitlistCap {
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: i32::MAX,
    }];
    let mut world = World::new(Some(plan));
    world.time = DEPARTURE - 30 * 3_600_000;
    let id = |number: usize| format!("{number:04}{}", "🚆".repeat(252));
    for number in 0..250 {
        let mut request = support::booking("", "A", "E", 6);
        request.request_id = id(number).into();
        world.send_unaudited(&Command::Book(request));
    }
    let events = world.send_unaudited(&Command::Cancel(support::cancellation("c", &id(0), &[])));
    let moves = events.iter().map(|event| match event {
        Event::Waitlisted(list) => list.moves.len(),
        _ => 0,
    });
    assert_eq!(moves.sum::<usize>(), 249 * 6, "everybody behind moves");
    assert!(events.iter().all(|event| encoded(event) < 500_000));
    world.check_fold();
    let mut auditor = EventAuditor::new();
    let found: Vec<_> = world.events.iter().flat_map(|event| auditor.observe(event)).collect();
    assert_eq!((found, auditor.finish()), (vec![], vec![]));
}

fn other_timetable(plan: &TrainService, date: Date) -> Timetable {
    Timetable {
        running_dates: vec![date],
        route: plan.route.clone(),
    }
}

#[test]
fn an_invalid_plan_says_where() {
    type Damage = fn(&mut TrainService);
    let broken: [(&str, Damage); 16] = [
        ("train_id", |plan| plan.train_id = "a|b".into()),
        ("version", |plan| plan.version = 0),
        ("time_zone", |plan| plan.time_zone = "Mars/Base".into()),
        ("currency", |plan| plan.currency = "rupees".into()),
        ("running_dates", |plan| plan.running_dates = vec![2, 1]),
        ("other_timetables[0].running_dates", |plan| {
            plan.other_timetables = vec![other_timetable(plan, ORIGIN_DATE)];
        }),
        ("other_timetables[1].running_dates", |plan| {
            plan.other_timetables = [1, 1].map(|day| other_timetable(plan, ORIGIN_DATE + day)).into();
        }),
        ("other_timetables[0].route[3]", |plan| {
            plan.other_timetables = vec![other_timetable(plan, ORIGIN_DATE + 1)];
            plan.other_timetables[0].route[3].arrival_s = 0;
        }),
        ("other_timetables", |plan| {
            plan.other_timetables = (1..65).map(|day| other_timetable(plan, ORIGIN_DATE + day)).collect();
        }),
        ("route", |plan| plan.route.truncate(1)),
        ("route[2].code", |plan| plan.route[2].code = "A".into()),
        ("route[3]", |plan| plan.route[3].arrival_s = 0),
        ("layouts[0].seats", |plan| plan.layouts[0].seats = -1),
        ("coaches[0].layout", |plan| plan.coaches[0].layout = "none".into()),
        ("quotas[0].seats", |plan| {
            plan.quotas = vec![Quota {
                quota: "TQ".into(),
                travel_class: "SL".into(),
                seats: 2,
            }]
        }),
        ("coaches[0].travel_class", |plan| {
            plan.fares[0].travel_class = "1A".into()
        }),
    ];
    for (place, damage) in broken {
        let mut plan = support::service();
        damage(&mut plan);
        let error = Plan::compile(plan).unwrap_err();
        assert_eq!(error.place, place, "{error}");
    }
}
