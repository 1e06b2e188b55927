//! Runs thousands of schedules of the simulator, each from a seed.
//!
//! Settings, for `scripts/simulate`: `SIMULATE_SEEDS` (how many), `SIMULATE_FIRST` (the first), `SIMULATE_COMMANDS`
//! (of each), `SIMULATE_TRACE` (lines printed of a failing one). Besides, `SIMULATE_WINDOW_SEEDS` (how many in which
//! the workers keep windows), `SIMULATE_GROWING_SEEDS` (how many in which there become more ledgers) and
//! `SIMULATE_MUTATION_SEEDS` (how many for each clause that is left out).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use interlock_streams::mutation::Clause;
use interlock_tests::simulator::{Amounts, Schedule, Violation, describe, run, traced};

/// Number of schedules in an ordinary test run.
const SEEDS: u64 = 2_000;
/// Number of commands in each.
const COMMANDS: u64 = 500;
/// Schedules in which the workers keep windows, and commands of each.
const WINDOW_SEEDS: u64 = 40;
const WINDOW_COMMANDS: u64 = 120;
/// Schedules in which there become more ledgers, and commands of each half.
const GROWING_SEEDS: u64 = 200;
const GROWING_COMMANDS: u64 = 250;
/// Failures described; more are counted.
const DESCRIBED_MAX: usize = 1;

/// Schedules within which a clause that is left out must be noticed, and commands of each.
const MUTATION_SEEDS: u64 = 40;
const MUTATION_COMMANDS: u64 = 150;
/// Clauses that schedules within the budget don't miss. They are tried here only if `SIMULATE_MUTATION_SEEDS` asks for
/// it: each is noticed by a trace of its own, in `protocol_traces.rs`, `lost_parts.rs` or `driven.rs`.
const NOT_CAUGHT: &[Clause] = &[
    Clause::SettleBeforeRevocation,
    Clause::RebuildToHighWatermark,
    Clause::FoldBelowCommitted,
    Clause::CompareLineage,
    Clause::AgreeByLastToken,
    Clause::FreshToken,
    Clause::FenceOwners,
    Clause::StableOffsets,
    Clause::AskAfterLostReply,
    Clause::TrimBelowAcknowledged,
    Clause::DocumentNewer,
    Clause::OutcomeLost,
    Clause::NamedOnly,
    Clause::RemoveUnnamed,
    Clause::StateVersion,
    Clause::LogWhole,
    Clause::LogDigest,
    Clause::StoreFit,
    Clause::ReadersCompare,
];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// Calls a function for each number of a range, on all processors.
fn for_each(first: u64, end: u64, what: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(first);
    let threads = std::thread::available_parallelism().map_or(4, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        break;
                    }
                    what(number);
                }
            });
        }
    });
}

/// Runs the schedules of some seeds, all of which must pass.
fn all_hold(first: u64, seeds: u64, schedule: impl Fn(u64) -> Schedule + Sync) {
    let began = Instant::now();
    println!("seeds {first} to {}", first + seeds - 1);
    let failures: Mutex<BTreeMap<u64, Violation>> = Mutex::default();
    let total = Mutex::new(Amounts::default());
    let said = Mutex::new(Instant::now());
    for_each(first, first + seeds, |seed| {
        match run(&schedule(seed)) {
            Ok(amounts) => {
                let mut total = total.lock().expect("no panic while adding");
                total.events += amounts.events;
                total.promotions += amounts.promotions;
                total.replays += amounts.replays;
                total.tokens += amounts.tokens;
            }
            Err(violation) => {
                println!("seed {seed}: {violation:.300}");
                failures.lock().expect("no panic while adding").insert(seed, violation);
            }
        }
        let mut said = said.lock().expect("no panic while printing");
        if said.elapsed() > Duration::from_secs(10) {
            *said = Instant::now();
            println!("{} of {seeds} after {:?}", seed - first, began.elapsed());
        }
    });
    let total = total.into_inner().expect("no panic");
    println!("{seeds} schedules in {:?}: {total:?}", began.elapsed());
    let failures = failures.into_inner().expect("no panic");
    for (seed, violation) in failures.iter().take(DESCRIBED_MAX) {
        let lines = setting("SIMULATE_TRACE", 150) as usize;
        println!("{}", describe(&schedule(*seed), violation, lines));
    }
    assert!(
        failures.is_empty(),
        "{} of {seeds} schedules fail: {:?}",
        failures.len(),
        failures.keys().collect::<Vec<_>>()
    );
    assert!(
        seeds < 20 || (total.promotions > 0 && total.replays > 0 && total.tokens > seeds),
        "{total:?}"
    );
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..5 {
        let schedule = Schedule {
            windows: seed == 0,
            ..Schedule::of(seed, 200)
        };
        let (first, second) = (traced(&schedule), traced(&schedule));
        let differs = first.trace.iter().zip(&second.trace).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.result, run(&schedule), "seed {seed} without a trace");
    }
}

#[test]
fn every_schedule_holds() {
    let (seeds, first) = (setting("SIMULATE_SEEDS", SEEDS), setting("SIMULATE_FIRST", 0));
    let commands = setting("SIMULATE_COMMANDS", COMMANDS);
    all_hold(first, seeds, |seed| Schedule::of(seed, commands));
}

#[test]
fn windows_hold_what_the_events_add_up_to() {
    all_hold(0, setting("SIMULATE_WINDOW_SEEDS", WINDOW_SEEDS), |seed| Schedule {
        windows: true,
        ..Schedule::of(seed, WINDOW_COMMANDS)
    });
}

#[test]
fn more_ledgers_know_what_was_decided() {
    let (seeds, first) = (
        setting("SIMULATE_GROWING_SEEDS", GROWING_SEEDS),
        setting("SIMULATE_FIRST", 0),
    );
    all_hold(first, seeds, |seed| Schedule::growing(seed, GROWING_COMMANDS));
}

/// The simulator notices when a clause of the protocol is left out.
#[test]
fn mutations_are_caught() {
    let seeds = setting("SIMULATE_MUTATION_SEEDS", MUTATION_SEEDS);
    let all = std::env::var_os("SIMULATE_MUTATION_SEEDS").is_some();
    let missed: Mutex<Vec<Clause>> = Mutex::default();
    for_each(0, Clause::OF_RUNTIME.len() as u64, |index| {
        let clause = Clause::OF_RUNTIME[index as usize];
        if !all && NOT_CAUGHT.contains(&clause) {
            return;
        }
        let caught = (0..seeds).find_map(|seed| {
            let schedule = Schedule {
                left_out: Some(clause),
                windows: clause == Clause::SinkPositions,
                ..Schedule::of(seed, MUTATION_COMMANDS)
            };
            Some((seed, run(&schedule).err()?))
        });
        match caught {
            Some((seed, violation)) => println!("{clause:?}: seed {seed}: {violation:.200}"),
            None => {
                println!("{clause:?}: not caught by {seeds} seeds");
                missed.lock().expect("no panic while adding").push(clause);
            }
        }
    });
    let missed = missed.into_inner().expect("no panic");
    assert!(
        missed.iter().all(|clause| NOT_CAUGHT.contains(clause)),
        "not caught: {missed:?}"
    );
}
