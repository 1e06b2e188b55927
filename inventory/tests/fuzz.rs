//! Any commands in any order: each is answered, and I1 to I5 hold after each. Any text is a key or not.

mod support;

use interlock_fuzz::Target;
use interlock_inventory::{TrainDateKey, command_key, is_answerable};
use interlock_schemas::*;
use support::{DEPARTURE, World};

/// Commands of one input; longer ones only take longer.
const COMMANDS_MAX: usize = 60;

/// Reads an input step by step: a kind, a length, and that number of bytes.
fn steps(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [kind, length, rest @ ..] = input else { return None };
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        input = rest;
        Some((*kind, bytes))
    })
}

/// Carries out the steps on a small train; every promise is checked after each.
fn sell(input: &[u8]) {
    let mut plan = support::service();
    plan.layouts[0].seats = 4;
    plan.quotas = vec![Quota {
        quota: "TQ".into(),
        travel_class: "SL".into(),
        seats: 1,
    }];
    let mut world = World::new(Some(plan));
    world.time = DEPARTURE - 30 * 3_600_000;
    for (kind, bytes) in steps(input).take(COMMANDS_MAX) {
        let command = match kind % 4 {
            0 => BookingRequest::decode(bytes).map(Command::Book),
            1 => CancellationRequest::decode(bytes).map(Command::Cancel),
            // Producers' clocks decide nothing; the log's goes on, as fast as it likes.
            2 => {
                let step = bytes.iter().fold(0_i64, |time, byte| time << 8 | i64::from(*byte));
                world.time = world.time.saturating_add(step);
                continue;
            }
            _ => {
                world.restart();
                continue;
            }
        };
        let Ok(command) = command else { continue };
        // The topology refuses such a command before it decides.
        if TrainDateKey::parse(&command_key(&command)).is_ok() && is_answerable(&command) {
            world.send(&command);
        }
    }
    world.check_fold();
}

#[test]
fn any_commands_are_answered_and_all_invariants_hold() {
    let target = Target {
        name: "decide",
        runs: 4_000,
        bytes_max: 6_000,
        words: &[
            b"12951",
            b"\x02A",
            b"\x02E",
            b"\x04SL",
            b"\x04GN",
            b"\x04TQ",
            b"\x04r1",
            &[2, 4, 5, 0, 0, 0],
            &[3, 0],
        ],
    };
    target.run(sell);
}

#[test]
fn any_text_is_a_key_or_refused() {
    let target = Target {
        name: "key",
        runs: 100_000,
        bytes_max: 200,
        words: &[
            b"|",
            b"-",
            b"2026-12-01",
            b"9999-12-31",
            b"0000-00-00",
            b"12951",
            "é".as_bytes(),
        ],
    };
    target.run(|input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Ok(key) = TrainDateKey::parse(text) {
            assert_eq!(key.to_string(), text, "written differently");
            assert_eq!(train_date_key(&key.train_id, key.travel_date), text);
        }
    });
}
