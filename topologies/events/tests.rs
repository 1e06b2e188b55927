//! Tests what each kind of event contributes, and that the sums are exact however the events are split into batches.

mod example;
mod speed;

use std::collections::BTreeMap;

use interlock_streams::testing::conformance::sink::text_rows;
use interlock_streams::window::merge_partials;
use proptest::prelude::*;

use super::*;
use example::{DAY, Short, TRIP_M, What, event, opened, short};

/// Returns all rows of all windows, `table: keys and measures`, sorted. The batches are run one by one and merged.
fn windows(batches: &[Vec<Event>]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut lines = Vec::new();
    for mut query in occupancy_queries()
        .unwrap()
        .into_iter()
        .chain(revenue_queries().unwrap())
    {
        let run = |events: &Vec<Event>| runtime.block_on(query.run(events_to_batch(events))).unwrap();
        let partials: Vec<RecordBatch> = batches.iter().map(run).collect();
        let table = query.table();
        let rows = text_rows(table, &merge_partials(table, &partials).unwrap());
        lines.extend(rows.iter().map(|row| format!("{}: {row}", table.name)));
    }
    lines.sort();
    lines
}

#[test]
fn what_counts_for_what() {
    use What::{Cancelled, Confirmed, MovedUp, Promoted, Rejected, Waitlisted};
    let events = [
        short(0, "GN", Confirmed(0, 2), 120_000),
        short(59_999, "GN", Confirmed(0, 1), 60_000),
        // A booking of three of whom one waits (R12) counts as one booking and three passengers.
        short(1_000, "GN", Confirmed(0, 2), 120_000),
        short(1_000, "GN", Waitlisted(2, 3), 60_000),
        short(2_000, "GN", Waitlisted(0, 3), 180_000),
        short(60_000, "GN", Cancelled(2, 1, 3), -90_000),
        short(60_000, "GN", Promoted(3), 0),
        short(60_000, "GN", MovedUp(4), 0),
        short(60_001, "GN", Cancelled(0, 0, 2), 0),
        short(61_000, "TQ", Rejected(2, "WAITLIST_FULL"), 0),
        short(61_000, "GN", Rejected(3, "WAITLIST_FULL"), 0),
        short(61_000, "GN", Rejected(0, "NO_PASSENGERS"), 0),
    ];
    let mut events: Vec<Event> = events.iter().map(event).collect();
    let mut again = event(&short(3_000, "GN", Confirmed(0, 2), 0));
    again.header_mut().replay = true;
    events.extend([again, opened()]);
    assert_eq!(
        windows(&[events]),
        [
            // seats · seat-metres offered · departure
            "capacity: 12951|2026-12-01|3A|64|88576000|1796124600000",
            "capacity: 12951|2026-12-01|SL|144|199296000|1796124600000",
            // confirmed · promoted · released · waitlisted · waitlist_left · seats_sold · seat_metres_sold
            "occupancy_minute: 0|12951|2026-12-01|SL|GN|5|0|0|4|0|5|2500000",
            "occupancy_minute: 60000|12951|2026-12-01|SL|GN|0|3|2|0|1|1|500000",
            // rejected · requests
            "rejections_minute: 60000|12951|2026-12-01|SL|NO_PASSENGERS|0|1",
            "rejections_minute: 60000|12951|2026-12-01|SL|WAITLIST_FULL|5|2",
            // collected_minor · refunded_minor · bookings · passengers
            "revenue_minute: 0|12951|2026-12-01|SL|GN|INR|540000|0|4|9",
            "revenue_minute: 60000|12951|2026-12-01|SL|GN|INR|0|90000|0|0",
        ]
    );
}

#[test]
fn departure_on_the_day_the_clocks_change() {
    let Event::Opened(mut opened) = opened() else {
        unreachable!()
    };
    opened.plan.time_zone = "Europe/Warsaw".into();
    opened.plan.route[0].departure_s = 24 * 3_600 + 40 * 60; // 00:40, and the service day before
    let days = |text: &str| {
        text.parse::<NaiveDate>()
            .unwrap()
            .signed_duration_since(NaiveDate::default())
            .num_days()
    };
    let at = |text: &str| {
        Some(
            text.parse::<chrono::DateTime<chrono::Utc>>()
                .unwrap()
                .timestamp_millis(),
        )
    };
    let departs = |day: &str| departure_time(&opened.plan, days(day) as Date);
    assert_eq!(departs("2026-10-25"), at("2026-10-24T22:40:00Z"));
    assert_eq!(departs("2026-10-26"), at("2026-10-25T23:40:00Z"));
    opened.plan.time_zone = "Nowhere/Else".into();
    assert_eq!(departure_time(&opened.plan, DAY), None);
}

fn what() -> impl Strategy<Value = What> {
    let few = 0..4_i32;
    prop_oneof![
        (0..2_i32, 2..5_i32).prop_map(|(from, to)| What::Confirmed(from, to)),
        (0..2_i32, 2..5_i32).prop_map(|(from, to)| What::Waitlisted(from, to)),
        (1..4_i32).prop_map(What::Promoted),
        few.clone().prop_map(What::MovedUp),
        (few.clone(), few.clone(), few.clone()).prop_map(|(a, b, c)| What::Cancelled(a, b, c)),
        (few, prop_oneof![Just("WAITLIST_FULL"), Just("UNKNOWN_TRAIN")]).prop_map(|(n, code)| What::Rejected(n, code)),
    ]
}

fn any_short() -> impl Strategy<Value = Short> {
    let quota = prop_oneof![Just("GN"), Just("TQ")];
    (0..300_000_i64, what(), any::<bool>(), quota, 0..1_000_000_i64).prop_map(|(at, what, replay, quota, amount)| {
        let amount_minor = match what {
            _ if replay => 0,
            What::Confirmed(..) | What::Waitlisted(..) => amount,
            What::Cancelled(..) => -amount,
            _ => 0,
        };
        Short {
            at,
            what,
            replay,
            quota,
            amount_minor,
        }
    })
}

/// Computes the sums one event at a time.
fn oracle(events: &[Short]) -> Vec<String> {
    let mut rows: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for event in events.iter().filter(|event| !event.replay) {
        let minute = event.at - event.at % 60_000;
        let key = format!("{minute}|12951|2026-12-01|SL");
        let mut add = |row: String, measures: &[i64]| {
            let sums = rows.entry(row).or_insert_with(|| vec![0; measures.len()]);
            sums.iter_mut().zip(measures).for_each(|(sum, measure)| *sum += measure);
        };
        let mut occupancy = |[confirmed, promoted, released, waitlisted, left]: [i32; 5]| {
            let net = confirmed + promoted - released;
            let measures = [confirmed, promoted, released, waitlisted, left, net].map(i64::from);
            if measures.iter().any(|measure| *measure != 0) {
                let measures = [&measures[..], &[i64::from(net) * TRIP_M]].concat();
                add(format!("occupancy_minute: {key}|{}", event.quota), &measures);
            }
        };
        let (mut accepted, mut first) = (None, false);
        match event.what {
            What::Confirmed(from, to) => {
                occupancy([to - from, 0, 0, 0, 0]);
                (accepted, first) = (Some(to - from), from == 0);
            }
            What::Promoted(count) => occupancy([0, count, 0, 0, 0]),
            What::Waitlisted(from, to) => {
                occupancy([0, 0, 0, to - from, 0]);
                (accepted, first) = (Some(to - from), from == 0);
            }
            What::MovedUp(_) => {}
            What::Cancelled(seated, waited, _) => occupancy([0, 0, seated, 0, waited]),
            What::Rejected(count, code) => add(format!("rejections_minute: {key}|{code}"), &[count.into(), 1]),
        }
        let amount = event.amount_minor;
        if amount != 0 || accepted.is_some() {
            let measures = [
                amount.max(0),
                (-amount).max(0),
                first.into(),
                accepted.unwrap_or(0).into(),
            ];
            add(format!("revenue_minute: {key}|{}|INR", event.quota), &measures);
        }
    }
    let text = |sums: &[i64]| sums.iter().map(i64::to_string).collect::<Vec<_>>().join("|");
    rows.iter().map(|(row, sums)| format!("{row}|{}", text(sums))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sums_are_exact_however_cut(events in proptest::collection::vec((any_short(), 0..5_usize), 0..80)) {
        let mut batches = vec![Vec::new(); 5];
        for (short, batch) in &events {
            batches[*batch].push(event(short));
        }
        let shorts: Vec<Short> = events.into_iter().map(|(short, _)| short).collect();
        let expected = oracle(&shorts);
        prop_assert_eq!(windows(&[shorts.iter().map(event).collect()]), &expected[..]);
        prop_assert_eq!(windows(&batches), expected);
    }
}

/// The tables that the sink creates have the columns that the windows yield, and the keys that it upserts by.
#[test]
fn the_sink_has_these_tables() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../sinks/timescale/migrations/0001_windows.sql"
    );
    let sql = std::fs::read_to_string(folder).unwrap();
    for query in occupancy_queries().unwrap().iter().chain(&revenue_queries().unwrap()) {
        let table = query.table();
        let (_, body) = sql
            .split_once(&format!("CREATE TABLE {} (\n", table.name))
            .expect(&table.name);
        let (body, _) = body.split_once("\n);").unwrap();
        let (columns, keys) = body.split_once("    PRIMARY KEY (").unwrap();
        let columns: Vec<&str> = columns
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let names: Vec<String> = query
            .output_schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        assert_eq!(columns, names, "{}", table.name);
        let mut keys: Vec<&str> = keys.trim_end_matches(')').split(", ").collect();
        keys.sort_unstable();
        let mut wanted = table.keys.clone();
        wanted.sort_unstable();
        assert_eq!(keys, wanted, "{}", table.name);
    }
}
