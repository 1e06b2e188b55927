//! I6: sums against rows, and the checks of a ledger's head.

use std::sync::Arc;
use std::time::Duration;

use interlock_inventory::{CommandContext, Ledger, Plan, decide, evolve};
use interlock_schemas::registry::Registry;
use interlock_schemas::{Command, Event};
use interlock_streams::ledger::{LedgerState, Lineage, LogEntry, Token};
use interlock_streams::log::Log;
use interlock_streams::runtime::log_entry;

use super::example::{book, cancel, train};
use super::world::World;
use crate::database::{Positions, Reading, read_on, within_topics};
use crate::findings::{Findings, Place};
use crate::ledger::LastEvent;
use crate::reading::LedgerEvents;
use crate::state::check_meta;
use crate::windows::{Dimensions, Measures, Table, WindowSums, Writer};
use interlock_inventory::invariants::Invariant;

const NOON: i64 = 19_990 * 86_400_000 + 43_200_000;

/// Decides commands at intervals of a minute.
fn events(commands: &[Command]) -> Vec<Event> {
    let plan = std::sync::Arc::new(Plan::compile(train()).unwrap());
    let (mut ledger, mut events) = (Ledger::new(0, 1), Vec::new());
    for (command, offset) in commands.iter().zip(0..) {
        let at = CommandContext {
            ledger: 0,
            next_sequence: events.len() as i64 + 1,
            source_offset: offset,
            time: NOON + 1_500 + offset * 60_000,
            token: &"t".into(),
        };
        let decided = decide(&ledger, command, Some(&plan), &at);
        decided.iter().for_each(|event| evolve(&mut ledger, event));
        events.extend(decided);
    }
    events
}

fn dimensions(labels: [&str; 2]) -> Dimensions {
    Dimensions {
        train_id: "12951".to_owned(),
        travel_date: 20_000,
        travel_class: "CC".to_owned(),
        labels: labels.map(str::to_owned),
    }
}

fn sums() -> WindowSums {
    let commands = [
        book("b1", 2),
        book("b1", 2),
        book("b2", 1),
        cancel("c1", "b1"),
        book("none", 0),
    ];
    let mut sums = WindowSums::default();
    for event in events(&commands) {
        sums.add(&event, &Writer::ALL);
    }
    sums
}

/// Returns the rows for the commands above, written by hand.
fn rows() -> Vec<(Table, i64, Dimensions, Measures)> {
    let (quota, money) = (dimensions(["GN", ""]), dimensions(["GN", "INR"]));
    let minute = |number: i64| NOON + number * 60_000;
    let refund = 2 * (60_000 - 12_000);
    vec![
        (Table::Occupancy, minute(0), quota.clone(), [2, 0, 0, 0, 0, 2, 400_000]),
        (Table::Occupancy, minute(2), quota.clone(), [0, 0, 0, 1, 0, 0, 0]),
        (Table::Occupancy, minute(3), quota, [0, 1, 2, 0, 0, -1, -200_000]),
        (Table::Revenue, minute(0), money.clone(), [120_000, 0, 1, 2, 0, 0, 0]),
        (Table::Revenue, minute(2), money.clone(), [60_000, 0, 1, 1, 0, 0, 0]),
        (Table::Revenue, minute(3), money, [0, refund, 0, 0, 0, 0, 0]),
        (
            Table::Rejections,
            minute(4),
            dimensions(["NO_PASSENGERS", ""]),
            [0, 1, 0, 0, 0, 0, 0],
        ),
        // 10:00 in Kolkata is 04:30 UTC.
        (
            Table::Capacity,
            0,
            dimensions(["", ""]),
            [2, 400_000, 20_000 * 86_400_000 + 16_200_000, 0, 0, 0, 0],
        ),
    ]
}

fn compare(rows: &[(Table, i64, Dimensions, Measures)]) -> Findings {
    let (mut sums, mut findings) = (sums(), Findings::new(50));
    for (table, minute, dimensions, measures) in rows {
        sums.compare(*table, *minute, dimensions, measures, &mut findings);
    }
    sums.compare_rest(&mut findings);
    findings
}

#[test]
fn sums_equal_what_people_count() {
    let found = compare(&rows());
    assert_eq!((found.counts(Invariant::I6), found.violations), ((8, 0), vec![]));
}

#[test]
fn every_difference_is_reported_to_the_minor_unit() {
    for at in 0..rows().len() {
        let mut missing = rows();
        let (table, ..) = missing.remove(at);
        assert!(compare(&missing).counts(Invariant::I6).1 > 0, "{table:?} {at}");
        for column in 0..table.measures().len() {
            let mut changed = rows();
            changed[at].3[column] += 1;
            let found = compare(&changed);
            assert_eq!(found.counts(Invariant::I6).1, 1, "{table:?} {at} {column}");
            let Place::Row { column: named, .. } = &found.violations[0].place else {
                panic!("{:?}", found.violations[0]);
            };
            assert_eq!(*named, table.measures()[column]);
            assert!(found.violations[0].detail.ends_with("(+1)"));
        }
    }
    let mut more = rows();
    more.push((
        Table::Revenue,
        NOON + 600_000,
        dimensions(["GN", "INR"]),
        [1, 0, 0, 0, 0, 0, 0],
    ));
    let found = compare(&more);
    let place = found.violations[0].place.to_string();
    assert_eq!(
        place,
        "revenue_minute, 2024-09-24T12:10Z 12951|2024-10-04|CC|GN|INR, collected_minor"
    );
}

#[test]
fn ledgers_add_up() {
    let mut both = sums();
    both.merge(sums());
    let mut findings = Findings::new(50);
    for (table, minute, dimensions, measures) in rows() {
        both.compare(
            table,
            minute,
            &dimensions,
            &measures.map(|measure| measure * 2),
            &mut findings,
        );
    }
    assert_eq!(findings.counts(Invariant::I6).1, 0, "{:?}", findings.violations);
}

/// Tables may be ahead of the events that were read: up to those *given out*, not up to the ends of the topics.
#[tokio::test]
async fn what_tables_are_ahead_by_is_read() {
    let mut world = World::new().await;
    world.sell().await;
    let registry: Arc<dyn Registry> = world.registry.clone();
    let log: Arc<dyn Log> = Arc::new(world.log.clone());
    let (mut whole, mut partly) = (WindowSums::default(), WindowSums::default());
    let (mut reached, mut positions) = (Vec::new(), Positions::default());
    for given_out in [2, usize::MAX] {
        let mut events = LedgerEvents::open(
            Arc::clone(&log),
            Arc::clone(&registry),
            world.home(),
            Duration::from_secs(5),
        )
        .await
        .unwrap();
        for _ in 0..given_out {
            let Some(found) = events.next().await.unwrap() else {
                break;
            };
            let sums = if given_out == 2 { &mut partly } else { &mut whole };
            sums.add(&found.event.unwrap(), &Writer::ALL);
        }
        let at = events.reached(world.home());
        positions = at
            .iter()
            .map(|at| ((at.topic.to_owned(), at.partition), at.after_last))
            .collect();
        if reached.is_empty() {
            reached = at;
        }
    }
    let reading = Reading {
        log: &*log,
        registry: &registry,
        application: "app",
        reached: &reached,
        patience: Duration::from_secs(5),
    };
    assert_ne!(partly.rows(), whole.rows());
    for writer in Writer::ALL {
        read_on(&reading, writer, &positions, &mut partly).await.unwrap();
    }
    assert_eq!(partly.rows(), whole.rows());

    // Positions past the topics' ends are named, and nobody waits for records that will never be there.
    let mut beyond = positions.clone();
    beyond.values_mut().for_each(|position| *position += 1_000);
    let mut findings = Findings::new(50);
    within_topics(&reading, Writer::Revenue, &mut beyond, &mut findings)
        .await
        .unwrap();
    let named = findings.counts(Invariant::I6).1;
    assert_eq!(named, reached.len() as u64, "{:?}", findings.violations);
    assert!(
        findings.violations[0].detail.contains("of confirmed["),
        "{:?}",
        findings.violations
    );
    let until = std::time::Instant::now() + reading.patience;
    read_on(&reading, Writer::Revenue, &beyond, &mut partly).await.unwrap();
    assert!(std::time::Instant::now() < until);
}

#[test]
fn text_that_a_database_cannot_hold_is_compared_as_it_is_stored() {
    let mut command = book("b1", 1);
    if let Command::Book(book) = &mut command {
        book.travel_class = "C\0C".into();
    }
    let mut sums = WindowSums::default();
    events(&[command])
        .iter()
        .for_each(|event| sums.add(event, &Writer::ALL));
    let rows = sums.rows().join("\n");
    assert!(rows.contains("|C\u{fffd}C|") && !rows.contains('\0'), "{rows}");
}

#[test]
fn the_head_of_a_ledger_is_checked() {
    let sound = LedgerState {
        applied: Some(9),
        sequence: 4,
        lineage: Lineage(vec![(1, Token("t".to_owned())), (9, Token("later".to_owned()))]),
        ..LedgerState::default()
    };
    let last = LastEvent {
        sequence: 4,
        token: "t".to_owned(),
    };
    // The entries of batches that end at these offsets, the first one of two records, and the state that they lead to.
    let says = |state: &LedgerState, offsets: &[i64], committed: i64| {
        let (mut from, mut chain, mut entries) = (offsets.first().map(|first| first - 2), None, Vec::new());
        for offset in offsets {
            let (value, digest) = log_entry(from, chain, *offset, &[]);
            let last_offset = *offset;
            entries.push(LogEntry { last_offset, value });
            (from, chain) = (Some(*offset), Some(digest));
        }
        let floor = offsets.first().map_or(state.applied, |first| Some(first - 2));
        let state = &LedgerState {
            floor,
            chain,
            ..state.clone()
        };
        let mut findings = Findings::new(50);
        check_meta(0, (state, &entries), &last, (committed, committed), &mut findings);
        let fields = findings
            .violations
            .iter()
            .filter_map(|violation| match &violation.place {
                Place::Field { field, .. } => Some(field.clone()),
                _ => None,
            });
        fields.collect::<Vec<_>>()
    };
    assert_eq!(says(&sound, &[], 10), [""; 0]);
    assert_eq!(says(&sound, &[3, 9], 10), [""; 0], "trimmed later");
    assert_eq!(says(&sound, &[9], 8), [""; 0], "not committed yet");
    assert_eq!(says(&sound, &[7], 8), ["log"]);
    assert_eq!(says(&sound, &[12], 10), ["log"]);
    assert_eq!(says(&sound, &[], 11), ["meta applied"]);
    let other = |change: fn(&mut LedgerState)| {
        let mut state = sound.clone();
        change(&mut state);
        state
    };
    assert_eq!(says(&other(|state| state.sequence = 5), &[], 10), ["meta sequence"]);
    assert_eq!(says(&other(|state| state.applied = None), &[], 10), ["meta applied"]);
    assert_eq!(
        says(&other(|state| state.lineage.0[0].1 = Token("u".to_owned())), &[], 10),
        ["meta lineage"]
    );
    assert_eq!(says(&other(|state| state.lineage.0.clear()), &[], 10), ["meta lineage"]);
}
