//! The domain's decisions on the canonical load, for the demonstration's timetable.

use std::collections::HashMap;
use std::sync::Arc;

use interlock_inventory::{CommandContext, Ledger, Plan, decide, evolve};
use interlock_loadgen::{CANONICAL_PROFILE, CANONICAL_REQUESTS, Outcomes, Profile, Workload};
use interlock_schemas::{Command, TrainService};
use interlock_timetable::{DAYS_DEFAULT, Window, demo};

/// 2026-12-01 and the days after.
const WINDOW: Window = Window {
    from: 20_788,
    days: DAYS_DEFAULT,
};
/// Noon of the day before, in milliseconds: everything is on sale and nothing has left.
const NOW: i64 = (WINDOW.from as i64 - 1) * 86_400_000 + 43_200_000;

/// Decides a load in one ledger.
fn sell(trains: &[TrainService], requests: u64) -> Outcomes {
    let plans: HashMap<_, Arc<Plan>> = trains
        .iter()
        .map(|train| {
            (
                train.train_id.clone(),
                Arc::new(Plan::compile(train.clone()).expect("a valid plan")),
            )
        })
        .collect();
    let profile = Profile::named(CANONICAL_PROFILE).expect("the profile");
    let workload = Workload::new(&profile, trains, requests, None, 42).expect("a workload");
    println!("{}", workload.shape());
    let (mut ledger, mut outcomes, mut next_sequence) = (Ledger::new(0, 1), Outcomes::default(), 1);
    for (planned, source_offset) in workload.zip(0..) {
        let train = match &planned.command {
            Command::Book(book) => &book.train_id,
            Command::Cancel(cancel) => &cancel.train_id,
        };
        let at = CommandContext {
            ledger: 0,
            next_sequence,
            source_offset,
            time: NOW,
            token: &"t".into(),
        };
        for event in decide(&ledger, &planned.command, plans.get(train), &at) {
            outcomes.record(&event);
            evolve(&mut ledger, &event);
            next_sequence += 1;
        }
        if source_offset % 1_000 == 0 {
            ledger.take_changes();
        }
    }
    println!("{outcomes:#?}");
    outcomes
}

fn check_canonical(outcomes: &Outcomes, requests: u64) {
    assert!(
        outcomes.confirmed > requests / 2,
        "more than half of all requests are confirmed at once: {outcomes:?}"
    );
    assert!(
        outcomes.promoted > requests / 1_000 && outcomes.waitlisted > requests / 100,
        "{outcomes:?}"
    );
    assert!(
        outcomes.cancelled > requests / 20 && outcomes.replays > requests / 20,
        "{outcomes:?}"
    );
    assert!(
        outcomes.rejected["WAITLIST_FULL"] > requests / 200,
        "popular train-dates sell out: {outcomes:?}"
    );
    for code in [
        "IDEMPOTENCY_KEY_REUSED",
        "UNKNOWN_STATION",
        "TOO_MANY_PASSENGERS",
        "STATIONS_OUT_OF_ORDER",
        "CLASS_NOT_ON_TRAIN",
    ] {
        assert!(outcomes.rejected.contains_key(code), "{code}: {outcomes:?}");
    }
}

#[test]
fn a_tenth_of_the_canonical_load_on_the_demo_is_mostly_confirmed() {
    let requests = CANONICAL_REQUESTS / 10;
    check_canonical(
        &sell(&demo(WINDOW).expect("the demonstration").trains, requests),
        requests,
    );
}

#[test]
#[ignore = "half a minute: cargo test -p interlock-tests --test seeded -- --ignored --nocapture"]
fn the_canonical_load_is_mostly_confirmed() {
    let demo = demo(WINDOW).expect("the demonstration");
    println!("{}", demo.summary());
    check_canonical(&sell(&demo.trains, CANONICAL_REQUESTS), CANONICAL_REQUESTS);
}
