//! Rules for the documentation: it draws the edges between crates that are allowed, states the limits that the code
//! has, leaves out no command and no topic, and is in plain English.

use std::collections::BTreeMap;
use std::fs;

use super::{EVERYTHING, MAY_KNOW, documents, report, root, subcommands};

/// Limits that the documentation states: where each is declared, how, and the page and phrase that state it.
const DOCUMENTED: &[(&str, &str, &str, &str)] = &[
    (
        "gateway/http.rs",
        "BODY_BYTES_MAX: usize = 4 << 20;",
        "docs/http-api.md",
        "a body of more than 4 MiB",
    ),
    (
        "gateway/http/topic_records.rs",
        "LIMIT: (usize, usize) = (100, 1_000);",
        "docs/http-api.md",
        "`limit` defaults to 100 and is at most 1,000",
    ),
    (
        "streams/src/dsl/policy.rs",
        "RECORD_BYTES_MAX: usize = 1_000_000;",
        "docs/http-api.md",
        "a record of more than 1,000,000 bytes",
    ),
    (
        "gateway/lib.rs",
        "TOPIC_READERS_MAX: usize = 16;",
        "docs/http-api.md",
        "at most 16 readers of topics",
    ),
    (
        "gateway/view.rs",
        "BOOKINGS_MAX: usize = 4_000_000;",
        "docs/http-api.md",
        "the last 4,000,000 bookings",
    ),
    (
        "gateway/view.rs",
        "MINUTES_MAX: usize = 60;",
        "docs/http-api.md",
        "the last 60 minutes and 60 seconds of sales",
    ),
    (
        "interlock/commands/dev.rs",
        "WAITING_MAX: u64 = 20_000;",
        "docs/EMBEDDED.md",
        "at most 20,000 waiting",
    ),
    (
        "interlock/commands/dev.rs",
        "LOG_BYTES_MAX: usize = 2 << 30;",
        "docs/EMBEDDED.md",
        "It may use 2 GiB",
    ),
    (
        "interlock/cli.rs",
        "default_value_t = 30)]\n    pub(crate) wait: u64,",
        "docs/invariants.md",
        "waits up to 30 seconds",
    ),
    (
        "tests/tests/simulation.rs",
        "SEEDS: u64 = 2_000;",
        "CONTRIBUTING.md",
        "the 2,000 schedules",
    ),
];

/// The longest line of prose, in characters; rustfmt has the same for code.
pub(super) const COLUMNS_MAX: usize = 120;

/// Phrases that make a reader stop, in lower case; `CONTRIBUTING.md` has the rules, and what to write instead.
pub(super) const NOT_PLAIN: &[&str] = &[
    "in one go",
    "for ever",
    "so many",
    "anew",
    "whoever",
    "is said",
    "is told",
    "there and back",
];

/// Pages that quote what they advise against.
const QUOTES: &[&str] = &["CONTRIBUTING.md"];

#[test]
fn the_architecture_has_the_edges_that_are_allowed() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let crate_of = |folder: &str| match folder {
        "interlock" => folder.to_owned(),
        folder => format!("interlock-{folder}"),
    };
    let mut drawn = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, folders, _, known, _, _] = cells[..] else {
            continue;
        };
        let mut known: Vec<String> = match known {
            "–" => Vec::new(),
            "everything" => EVERYTHING.iter().map(|name| (*name).to_owned()).collect(),
            known => known.split(", ").map(crate_of).collect(),
        };
        known.sort_unstable();
        let folders = folders.split('`').skip(1).step_by(2);
        drawn.extend(folders.map(|folder| (crate_of(folder.trim_end_matches('/')), known.clone())));
    }
    let allowed = MAY_KNOW.iter().map(|(name, may)| {
        let mut may: Vec<String> = may.iter().map(|name| (*name).to_owned()).collect();
        may.sort_unstable();
        ((*name).to_owned(), may)
    });
    let allowed: BTreeMap<String, Vec<String>> = allowed.collect();
    let names = allowed.keys().chain(drawn.keys());
    let mut wrong: Vec<String> = names
        .filter(|name| allowed.get(*name) != drawn.get(*name))
        .map(|name| format!("{name}: allowed {:?}, drawn {:?}", allowed.get(name), drawn.get(name)))
        .collect();
    wrong.dedup();
    report("edges in ARCHITECTURE.md", &wrong);
}

#[test]
fn documented_limits_are_those_of_the_code() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap_or_default();
    let mut wrong = Vec::new();
    for (source, declared, page, phrase) in DOCUMENTED {
        if !read(source).contains(declared) {
            wrong.push(format!(
                "{source} doesn't declare `{declared}`; {page} states \"{phrase}\""
            ));
        }
        // A phrase may go on in the next line.
        if !one_line(&read(page)).contains(phrase) {
            wrong.push(format!("{page} doesn't state \"{phrase}\", as {source} has it"));
        }
    }
    report("limits in the documentation", &wrong);
}

#[test]
fn every_command_and_topic_is_documented() {
    let read = |file: &str| fs::read_to_string(root().join(file)).expect("the page or source exists");
    let (commands, topics) = (read("docs/commands.md"), read("docs/topics.md"));
    let is_missing = |name: &String| name != "help" && !commands.contains(&format!("`interlock {name}`"));
    let missing = subcommands().into_iter().filter(is_missing);
    let mut wrong: Vec<String> = missing.map(|name| format!("docs/commands.md: {name}")).collect();
    let source = read("schemas/topics.rs");
    let declared = source
        .lines()
        .filter(|line| line.starts_with("pub const ") && line.contains(": &str = "));
    let names: Vec<&str> = declared.filter_map(|line| line.split('"').nth(1)).collect();
    assert!(names.len() >= 7, "schemas/topics.rs declares {names:?}");
    let missing = names
        .into_iter()
        .filter(|name| !topics.contains(&format!("| `{name}` |")));
    wrong.extend(missing.map(|name| format!("docs/topics.md: {name}")));
    report("what the documentation leaves out", &wrong);
}

#[test]
fn the_verdicts_in_the_readme_are_those_of_the_audit() {
    let read = |file: &str| fs::read_to_string(root().join(file)).expect("the page or source exists");
    let (readme, source) = (read("README.md"), read("audit/report.rs"));
    let (_, titles) = source
        .split_once("const fn title(")
        .expect("the titles of the verdicts");
    let (titles, _) = titles.split_once("\n}\n").expect("the end of the titles");
    let titles: Vec<&str> = titles.split('"').skip(1).step_by(2).collect();
    assert!(titles.len() >= 7, "audit/report.rs has the titles {titles:?}");
    let missing = titles
        .into_iter()
        .filter(|title| !readme.contains(&format!(" {title} ")));
    let wrong: Vec<String> = missing.map(|title| format!("README.md: {title}")).collect();
    report("verdicts in the README", &wrong);
}

#[test]
fn prose_is_plain_and_fits_the_screen() {
    let mut wrong = Vec::new();
    for (file, text) in documents() {
        let mut fenced = false;
        for (number, line) in (1..).zip(text.lines()) {
            fenced ^= line.trim_start().starts_with("```");
            // A row of a table can't be broken, nor can a link.
            let is_prose = !fenced && !line.starts_with('|');
            if is_prose && !line.contains("](") && line.chars().count() > COLUMNS_MAX {
                wrong.push(format!("{file}:{number}: longer than {COLUMNS_MAX} columns"));
            }
            let phrase = NOT_PLAIN
                .iter()
                .find(|phrase| !fenced && has_words(&line.to_lowercase(), phrase));
            if let Some(phrase) = phrase.filter(|_| !QUOTES.contains(&file.as_str())) {
                wrong.push(format!("{file}:{number}: \"{phrase}\""));
            }
        }
    }
    report("prose", &wrong);
}

/// Returns whether a text has these words, not as a part of longer ones.
pub(super) fn has_words(text: &str, words: &str) -> bool {
    let ends = |rest: Option<char>| !rest.is_some_and(char::is_alphanumeric);
    text.match_indices(words).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + words.len()..].chars().next());
        ends(before) && ends(after)
    })
}

/// Joins the lines of a text, with one space for each run of white space.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
