//! House rules as tests: the edges between crates, the parts that every file has, and names in the documentation.
//!
//! The tests run `cargo metadata` and `cargo tree` and build nothing. If a rule gets in the way, change it here and
//! give the reason; do not work around it.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/comments.rs"]
mod comments;
#[path = "tidy/documentation.rs"]
mod documentation;
#[path = "tidy/peer.rs"]
mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crate may name which of ours; an edge that isn't here is a change of the architecture (`ARCHITECTURE.md`).
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("interlock-random", &[]),
    ("interlock-fuzz", &["interlock-random"]),
    ("interlock-schemas", &[]),
    ("interlock-streams", &[]),
    ("interlock-kafka", &["interlock-streams"]),
    ("interlock-inventory", &["interlock-schemas"]),
    (
        "interlock-loadgen",
        &["interlock-random", "interlock-schemas", "interlock-streams"],
    ),
    ("interlock-redis", &["interlock-streams"]),
    ("interlock-timetable", &["interlock-schemas", "interlock-inventory"]),
    ("interlock-sinks", &["interlock-schemas", "interlock-streams"]),
    (
        "interlock-topologies",
        &["interlock-schemas", "interlock-inventory", "interlock-streams"],
    ),
    (
        "interlock-gateway",
        &["interlock-schemas", "interlock-inventory", "interlock-streams"],
    ),
    (
        "interlock-audit",
        &["interlock-schemas", "interlock-inventory", "interlock-streams"],
    ),
    (
        "interlock-operate",
        &[
            "interlock-schemas",
            "interlock-inventory",
            "interlock-streams",
            "interlock-sinks",
        ],
    ),
    ("interlock", EVERYTHING),
    ("interlock-tests", EVERYTHING),
    ("interlock-benches", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "interlock-random",
    "interlock-schemas",
    "interlock-streams",
    "interlock-kafka",
    "interlock-inventory",
    "interlock-loadgen",
    "interlock-timetable",
    "interlock-gateway",
    "interlock-redis",
    "interlock-sinks",
    "interlock-topologies",
    "interlock-audit",
    "interlock-operate",
];

/// Families of crates that only the engine's feature `windows` brings.
const WINDOWS: &[&str] = &["arrow", "datafusion"];

/// Crates that a pure crate must not reach, not even through others.
const IMPURE: &[&str] = &["tokio", "redis", "rdkafka", "reqwest", "sqlx", "axum"];

/// Words that the engine has no use for.
const DOMAIN_WORDS: &[&str] = &[
    "train",
    "trains",
    "seat",
    "seats",
    "passenger",
    "passengers",
    "pnr",
    "berth",
];

/// Folders whose code decides or plans: the time is handed to it.
const CLOCKLESS: &[&str] = &["inventory/src/", "topologies/", "loadgen/", "timetable/"];

/// The one exception among them: running a load is waiting and measuring.
const WITH_A_CLOCK: &str = "loadgen/run";

/// A file is read in one sitting.
const LINES_MAX: usize = 600;

/// Files that may be longer: how long, and why.
const LONGER: &[(&str, usize, &str)] = &[
    (
        "inventory/tests/support/oracle.rs",
        700,
        "the rules once more, to be compared with docs/DOMAIN.md from top to bottom",
    ),
    (
        "kafka/tests/log.rs",
        900,
        "a list of cases against a real broker; each stands alone",
    ),
];

/// Paths of somebody's machine, in two pieces so that this file doesn't hold them itself.
const MACHINE_PATHS: &[(&str, &str)] = &[("/ro", "ot/"), ("/wo", "rk/"), ("/ho", "me/"), ("/Us", "ers/")];

/// Files that say of earlier versions what need not hold now.
const HISTORY: &[&str] = &["CHANGELOG.md"];

#[test]
fn crates_know_only_whom_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps", "--locked", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata is JSON");
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a package has a name");
        let Some(may) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let on = dependency["name"].as_str().expect("a dependency has a name");
            // A crate's own tests may ask it for features, and have themselves attacked.
            let in_tests = dependency["kind"] == "dev" && matches!(on, "interlock-fuzz" | "interlock-random");
            if on.starts_with("interlock") && on != name && !in_tests && !may.contains(&on) {
                wrong.push(format!("{name} must not know {on}"));
            }
        }
    }
    report("edges between crates", &wrong);
}

#[test]
fn the_domain_is_pure() {
    let wrong = reached("interlock-inventory", &[], IMPURE);
    report("dependencies of the domain", &wrong);
}

#[test]
fn the_gateway_is_built_without_clients_and_windows() {
    let forbidden = [WINDOWS, &["rdkafka", "redis"]].concat();
    let wrong = reached("interlock-gateway", &[], &forbidden);
    report("dependencies of the gateway", &wrong);
}

/// Returns which of these crates, or families of crates such as `arrow-array` of `arrow`, a package depends on, also
/// through others.
fn reached(package: &str, features: &[&str], forbidden: &[&str]) -> Vec<String> {
    let of_package = format!("--package={package}");
    let arguments = [
        "tree",
        &of_package,
        "--edges=normal",
        "--prefix=none",
        "--locked",
        "--offline",
    ];
    let tree = cargo(&[&arguments, features].concat());
    let reached: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(
        reached.contains(package),
        "cargo tree did not list the dependencies of {package}:\n{tree}"
    );
    let is_of = |name: &str, family: &str| name == family || name.starts_with(&format!("{family}-"));
    let found = forbidden
        .iter()
        .filter(|family| reached.iter().any(|name| is_of(name, family)));
    found
        .map(|name| format!("{package} reaches {name}; see `cargo tree -p {package} -e normal`"))
        .collect()
}

#[test]
fn the_engine_does_without_windows() {
    let whole = reached("interlock-streams", &[], WINDOWS);
    assert!(
        !whole.is_empty(),
        "with its feature `windows` interlock-streams reaches none of {WINDOWS:?}"
    );
    let wrong = reached("interlock-streams", &["--no-default-features"], WINDOWS);
    report("dependencies of the engine without windows", &wrong);
}

#[test]
fn the_engine_knows_nothing_of_trains() {
    let mut wrong = Vec::new();
    for (file, text) in texts(&["rs", "lua"]) {
        if ["streams/", "kafka/", "redis/"]
            .iter()
            .any(|folder| file.starts_with(folder))
        {
            let foreign = words(&text).filter(|word| DOMAIN_WORDS.contains(&word.to_lowercase().as_str()));
            wrong.extend(foreign.map(|word| format!("{file}: {word}")));
        }
    }
    report("words of the domain in the engine", &wrong);
}

#[test]
fn what_decides_has_no_clock() {
    let mut wrong = Vec::new();
    for (file, text) in texts(&["rs"]) {
        let is_test = file.contains("/tests/") || file.ends_with("/tests.rs");
        let is_clockless = CLOCKLESS.iter().any(|folder| file.starts_with(folder)) && !file.starts_with(WITH_A_CLOCK);
        if is_test || !is_clockless {
            continue;
        }
        for call in ["SystemTime::now", "Instant::now", "Utc::now", "Local::now"] {
            wrong.extend(lines_with(&text, call).map(|line| format!("{file}:{line}: {call}")));
        }
    }
    report("clocks where the time should be handed in", &wrong);
}

#[test]
fn every_source_file_says_what_it_is() {
    let wrong: Vec<String> = texts(&["rs"])
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(file, _)| format!("{file} doesn't begin with //!"))
        .collect();
    report("files without a word on themselves", &wrong);
}

#[test]
fn no_source_file_is_too_long() {
    let mut wrong = Vec::new();
    for (file, text) in texts(&["rs", "lua", "sql"]) {
        let exception = LONGER.iter().find(|(name, ..)| *name == file);
        let max = exception.map_or(LINES_MAX, |(_, max, _)| *max);
        let lines = text.lines().count();
        if lines > max {
            wrong.push(format!(
                "{file} has {lines} lines of {max}: split it, or add it to the list with a reason"
            ));
        }
    }
    report("files that are too long", &wrong);
}

#[test]
fn modules_are_files_beside_their_folders() {
    let wrong: Vec<String> = tracked()
        .into_iter()
        // Cargo would take `tests/support.rs` for a test of its own.
        .filter(|file| file.ends_with("/mod.rs") && !file.contains("/tests/"))
        .map(|file| format!("{file}: name it after its folder, and put it beside that"))
        .collect();
    report("modules in the other style", &wrong);
}

#[test]
fn no_file_names_a_machine() {
    let mut wrong = Vec::new();
    for file in tracked() {
        // Not everything is text; a lock file is nobody's prose.
        let Ok(text) = fs::read_to_string(root().join(&file)) else {
            continue;
        };
        if file == "Cargo.lock" {
            continue;
        }
        for (first, second) in MACHINE_PATHS {
            let path = format!("{first}{second}");
            // Within a longer path or an address it is another one.
            let own = |line: &&str| line.match_indices(&path).any(|(at, _)| !continues(&line[..at]));
            let lines = text.lines().filter(own);
            wrong.extend(lines.map(|line| format!("{file}: `{}`", line.trim())));
        }
    }
    report("paths of somebody's machine", &wrong);
}

#[test]
fn documented_commands_exist() {
    let commands = subcommands();
    let mut wrong = Vec::new();
    for (file, text) in documents() {
        for code in codes(&text) {
            let words: Vec<&str> = code.split_whitespace().collect();
            for (at, word) in words.iter().enumerate() {
                let is_program = *word == "interlock" || word.ends_with("/interlock");
                let is_run = *word == "--" && words[..at].contains(&"run") && words.contains(&"cargo");
                let next = words.get(at + 1).copied().unwrap_or("-");
                let is_name = next.starts_with(|c: char| c.is_ascii_lowercase());
                if (is_program || is_run) && is_name && !commands.contains(next) {
                    wrong.push(format!(
                        "{file}: `{code}`: there is no command {next}, but {commands:?}"
                    ));
                }
                let script = word.trim_start_matches("./");
                if script.starts_with("scripts/") && !root().join(script).exists() {
                    wrong.push(format!("{file}: `{code}`: there is no {script}"));
                }
            }
        }
    }
    report("commands in the documentation", &wrong);
}

#[test]
fn documented_names_exist() {
    let known = known_names();
    let mut wrong = Vec::new();
    let mut texts = documents();
    texts.extend(
        self::texts(&["json"])
            .into_iter()
            .filter(|(file, _)| file.starts_with("grafana/")),
    );
    for (file, text) in texts {
        for name in words(&text).filter(|word| word.starts_with("interlock_") || word.starts_with("INTERLOCK_")) {
            // Prometheus' histograms have three series each.
            let series = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            let is_known = known.contains(name) || series.is_some_and(|metric| known.contains(metric));
            // `INTERLOCK_*` and `INTERLOCK_{…}` stand for many.
            if !is_known && !name.ends_with('_') {
                wrong.push(format!("{file}: {name} is no metric, crate or variable"));
            }
        }
    }
    report("names in documentation and dashboards", &wrong);
}

#[test]
fn the_image_is_built_from_every_crate() {
    let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
    let wrong: Vec<String> = crate_folders()
        .filter(|folder| !ignored.lines().any(|line| line == format!("!{folder}")))
        .map(|folder| format!(".dockerignore leaves {folder} out, which the workspace has"))
        .collect();
    report("container", &wrong);
}

/// Returns the folders that have a `Cargo.toml`.
fn crate_folders() -> impl Iterator<Item = String> {
    let manifests = tracked().into_iter();
    manifests.filter_map(|file| Some(file.strip_suffix("/Cargo.toml")?.to_owned()))
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for (file, text) in texts(&["md"]) {
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = Path::new(&file).parent().unwrap_or(Path::new(""));
            let target = match path {
                "" => root().join(&file),
                path => root().join(folder).join(path),
            };
            if !target.exists() {
                wrong.push(format!("{file}: {link} doesn't exist"));
            } else if !anchor.is_empty() && !anchors(&target).contains(anchor) {
                wrong.push(format!("{file}: {link}: there is no such heading"));
            }
        }
    }
    report("links", &wrong);
}

fn report(what: &str, wrong: &[String]) {
    let mut list = String::new();
    for line in wrong {
        let _ = writeln!(list, "  {line}");
    }
    assert!(wrong.is_empty(), "{what}:\n{list}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(arguments: &[&str]) -> String {
    output(Command::new(env!("CARGO")).args(arguments))
}

fn output(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("the output is text")
}

/// Every file that git has, or would have after `git add`.
fn tracked() -> Vec<String> {
    let files = output(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]));
    let exists = |file: &&str| root().join(file).is_file();
    let files: BTreeSet<&str> = files.lines().filter(exists).collect();
    files.into_iter().map(str::to_owned).collect()
}

fn texts(endings: &[&str]) -> Vec<(String, String)> {
    let has_ending = |file: &String| {
        let ending = Path::new(file).extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| endings.contains(&ending))
    };
    let read = |file: String| {
        let text = fs::read_to_string(root().join(&file)).ok()?;
        Some((file, text))
    };
    tracked().into_iter().filter(has_ending).filter_map(read).collect()
}

/// Returns the pages that must be true now.
fn documents() -> Vec<(String, String)> {
    let mut documents = texts(&["md"]);
    documents.retain(|(file, _)| !HISTORY.contains(&file.as_str()));
    documents
}

fn lines_with<'a>(text: &'a str, what: &'a str) -> impl Iterator<Item = usize> + 'a {
    let numbered = (1..).zip(text.lines());
    numbered
        .filter(move |(_, line)| line.contains(what))
        .map(|(number, _)| number)
}

/// Returns whether a path that begins after `before` is the rest of a longer one.
fn continues(before: &str) -> bool {
    before.ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c))
}

/// Returns the subcommands that the enum in `cli.rs` declares.
fn subcommands() -> BTreeSet<String> {
    let cli = fs::read_to_string(root().join("interlock/cli.rs")).expect("interlock/cli.rs");
    let variants = ["enum Command {", "enum Servers {"].map(|declaration| {
        let (_, after) = cli.split_once(declaration).expect(declaration);
        let (variants, _) = after.split_once('}').expect("the end of the enum");
        variants
    });
    let name = |line: &str| {
        let line = line.trim();
        let is_variant = line.starts_with(|c: char| c.is_ascii_uppercase());
        is_variant.then(|| line.split(['(', ',', ' ']).next().unwrap_or_default().to_lowercase())
    };
    let mut commands: BTreeSet<String> = variants.iter().flat_map(|text| text.lines()).filter_map(name).collect();
    // A group of commands, and not one.
    commands.remove("servers");
    commands.insert("help".into());
    commands
}

/// Lines of fenced blocks and inline code of a Markdown text.
fn codes(text: &str) -> Vec<String> {
    let mut codes = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            // A comment follows the `#`.
            codes.push(line.split(" #").next().unwrap_or_default().to_owned());
        } else {
            codes.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    codes
}

/// Targets of a Markdown text's links.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut links = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            links.extend(targets.map(|(target, _)| target.to_owned()));
        }
    }
    links
}

/// Names of a Markdown file's headings, as GitHub makes them.
fn anchors(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

/// Metrics, libraries and variables: whatever code, scripts or settings name that documentation may name too.
fn known_names() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for file in tracked() {
        let is_source = file.ends_with(".rs") || file.ends_with(".lua") || file.ends_with(".toml");
        let is_script = file.starts_with("scripts/") || file.ends_with(".yml");
        if (is_source || is_script) && !file.ends_with("tidy.rs") {
            let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
            let named = words(&text).filter(|word| word.to_ascii_lowercase().starts_with("interlock_"));
            known.extend(named.map(str::to_owned));
        }
    }
    known
}
