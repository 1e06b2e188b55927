//! Any bytes as a timetable: plans that can be sold by, or an error that says what to do.

use std::fs;

use interlock_fuzz::Target;
use interlock_inventory::Plan;

use super::*;

/// The files of a feed, one after the other in one input, each behind a line with its name.
const MARK: &str = "== ";

/// A feed that takes days to read would only stop its operator; one that fills the memory would stop others too.
const TRAINS_MAX: usize = 200_000;

fn read(input: &[u8], templates: &Templates) {
    let folder = tempfile::tempdir().unwrap();
    let text = String::from_utf8_lossy(input);
    for part in text.split(MARK) {
        let (name, content) = part.split_once('\n').unwrap_or((part, ""));
        let is_plain = name.ends_with(".txt")
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte));
        if is_plain {
            fs::write(folder.path().join(name), content).unwrap();
        }
    }
    for window in [None, Some(Window { from: 20_788, days: 40 })] {
        match gtfs(folder.path(), window, templates) {
            Ok(seed) => {
                assert!(seed.trains.len() < TRAINS_MAX, "{} trains", seed.trains.len());
                for train in seed.trains {
                    assert!(!train.running_dates.is_empty());
                    Plan::compile(train).unwrap();
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn any_feed_is_a_timetable_or_refused() {
    let templates = Templates::built_in().unwrap();
    let target = Target {
        name: "gtfs",
        runs: 3_000,
        bytes_max: 20_000,
        words: &[
            b",",
            b"\n",
            b"\"",
            b"-1",
            b"25:00:00",
            b"999999999:00:00",
            b"00:00:00",
            b"20261201",
            b"99991231",
            b"00000000",
            b"1e308",
            b"NaN",
            b"4294967296",
            b"== frequencies.txt\n",
            "ł".as_bytes(),
            &[0xff],
        ],
    };
    target.run(|input| read(input, &templates));
}
