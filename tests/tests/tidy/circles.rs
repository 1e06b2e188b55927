//! Files of a crate import each other without circles, so that each can be read after those that it builds on.
//!
//! A file and the files in its folder count as one module: they may use each other, and a part may use its parents.

use std::collections::{BTreeMap, BTreeSet};

use super::{crate_folders, report, texts};

/// Circles that stay: their files, below the crate's source folder, and the reason. `ARCHITECTURE.md` names them too.
const ARGUED: &[(&str, &[&str], &str)] = &[
    (
        "streams/src",
        &[
            "log/memory/broker.rs",
            "log/memory/groups.rs",
            "log/memory/journal.rs",
            "log/memory/shared.rs",
            "log/memory/transactions.rs",
        ],
        "one state machine behind one lock; each file has the methods of one of the broker's roles",
    ),
    (
        "kafka",
        &["consumer.rs", "member.rs", "membership.rs"],
        "two threads of one consumer and the messages between them",
    ),
    (
        "kafka",
        &["producer.rs", "transaction_thread.rs"],
        "two threads of one producer and the messages between them",
    ),
    (
        "redis",
        &["connection.rs", "library.rs"],
        "a new connection loads the functions, through itself",
    ),
    (
        "inventory/src",
        &["fields.rs", "ledger.rs"],
        "the ledger notes what was touched, and the fields write that",
    ),
    (
        "tests",
        &["real/installation.rs", "real/load.rs"],
        "an installation starts loads, which send to the installation",
    ),
];

/// A module's path, without its crate.
type Module = Vec<String>;

#[test]
fn files_import_each_other_without_circles() {
    let mut wrong = Vec::new();
    let mut met = BTreeSet::new();
    for folder in crate_folders() {
        let Some((base, modules)) = modules_of(&folder) else {
            continue;
        };
        for circle in circles(&imports(&modules)) {
            let files: Vec<String> = circle.iter().map(|module| format!("{}.rs", module.join("/"))).collect();
            let is_argued = |(of, argued, _): &&(&str, &[&str], &str)| {
                *of == base && files.iter().all(|file| argued.contains(&file.as_str()))
            };
            match ARGUED.iter().find(is_argued) {
                Some((of, argued, _)) => _ = met.insert((of, argued)),
                None => wrong.push(format!("{base}: {} import each other in a circle", files.join(", "))),
            }
        }
    }
    let stale = ARGUED.iter().filter(|(of, argued, _)| !met.contains(&(of, argued)));
    wrong.extend(stale.map(|(of, argued, _)| format!("{of}: {argued:?} is no circle any more; drop it from the list")));
    report("circles of files", &wrong);
}

#[test]
fn circles_are_found() {
    let module = |name: &str| vec![name.to_owned()];
    let of = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(name, text)| (module(name), (*text).to_owned()));
        let root = (Module::new(), "pub use self::a::A;\nuse self::a::B;".to_owned());
        circles(&imports(&files.chain([root]).collect()))
    };
    let none: &[(&str, &str)] = &[
        ("a", "use crate::b::{B, c};\nuse super::R;"),
        ("b", "// use crate::a::A;"),
    ];
    assert_eq!(of(none), Vec::<Vec<Module>>::new());
    for text in [
        "use crate::{c::{self, C}, a::A};",
        "fn f() -> super::a::A {}",
        "use std::fmt;\nuse super::a;",
    ] {
        let circle = vec![vec![module("a"), module("b")]];
        assert_eq!(of(&[("a", "use crate::b;"), ("b", text)]), circle, "{text}");
    }
    assert_eq!(
        of(&[("a", "use crate::b;"), ("b", "pub use super::a::A;")]),
        Vec::<Vec<Module>>::new()
    );
}

/// Returns the source folder of a crate and the text of each of its modules.
fn modules_of(folder: &str) -> Option<(String, BTreeMap<Module, String>)> {
    let files = texts(&["rs"]);
    let has = |root: &str| files.iter().any(|(file, _)| file == root);
    let is_base = |base: &String| has(&format!("{base}/lib.rs")) || has(&format!("{base}/main.rs"));
    let base = [format!("{folder}/src"), folder.to_owned()].into_iter().find(is_base)?;
    let mut modules = BTreeMap::new();
    for (file, text) in &files {
        let Some(path) = file
            .strip_prefix(&format!("{base}/"))
            .and_then(|path| path.strip_suffix(".rs"))
        else {
            continue;
        };
        // Cargo's own folders hold crates of their own.
        if ["tests/", "benches/", "examples/", "src/"]
            .iter()
            .any(|other| path.starts_with(other))
            || path == "build"
        {
            continue;
        }
        let module = match path {
            "lib" | "main" => Module::new(),
            path => path.split('/').map(str::to_owned).collect(),
        };
        modules.insert(module, text.clone());
    }
    Some((base, modules))
}

/// Returns the modules that each module uses, except its parents.
fn imports(modules: &BTreeMap<Module, String>) -> BTreeMap<&Module, BTreeSet<&Module>> {
    let of = |module: &Module, text: &String| {
        let used = paths(text)
            .into_iter()
            .filter_map(|path| resolve(modules, module, &path));
        used.filter(|used| !module.starts_with(used)).collect()
    };
    modules
        .iter()
        .map(|(module, text)| (module, of(module, text)))
        .collect()
}

/// Returns the module that a path leads to.
fn resolve<'a>(modules: &'a BTreeMap<Module, String>, from: &Module, path: &str) -> Option<&'a Module> {
    let mut names = path.split("::").map(str::trim).peekable();
    let mut target = match names.next()? {
        "crate" => Module::new(),
        "self" => from.clone(),
        "super" => from[..from.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    while names.next_if_eq(&"super").is_some() {
        target.pop()?;
    }
    target.extend(names.map(str::to_owned));
    while !modules.contains_key(&target) {
        target.pop()?;
    }
    modules.get_key_value(&target).map(|(module, _)| module)
}

/// Returns the paths in a file's code that begin with `crate`, `super` or `self`. Passing a name on (`pub use`) does
/// not count, and tests do not.
fn paths(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned() + "\n";
    let code: String = code.lines().map(without_comment).collect();
    let mut paths = Vec::new();
    for statement in code.split(';') {
        let (before, tree) = match statement.rsplit_once("use ") {
            Some((before, tree)) if is_use(before) => (before, tree),
            _ => (statement, ""),
        };
        if !is_public(before) {
            expand("", tree, &mut paths);
        }
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in before.match_indices(start) {
                if !before[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                    let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
                    paths.extend(before[at..].split(end).next().map(str::to_owned));
                }
            }
        }
    }
    paths
}

/// Returns whether a statement's last line so far is only a visibility.
fn is_use(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default().trim();
    line.is_empty() || line.starts_with("pub")
}

fn is_public(before: &str) -> bool {
    before.rsplit('\n').next().unwrap_or_default().trim().starts_with("pub")
}

/// Adds the paths of a `use` tree.
fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, branches)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default().trim();
        paths.push(format!("{prefix}{name}").trim_end_matches("::self").to_owned());
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut start) = (0, 0);
    for (at, c) in branches.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                expand(&prefix, &branches[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Returns the groups of modules that reach each other.
fn circles(imports: &BTreeMap<&Module, BTreeSet<&Module>>) -> Vec<Vec<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = imports
        .keys()
        .map(|module| {
            let (mut reached, mut open) = (BTreeSet::new(), vec![*module]);
            while let Some(next) = open.pop() {
                open.extend(imports[next].iter().filter(|used| reached.insert(**used)));
            }
            (*module, reached)
        })
        .collect();
    let circle = |module: &Module| -> Vec<Module> {
        let in_circle = |other: &&&Module| reached[module].contains(*other) && reached[**other].contains(module);
        reached
            .keys()
            .filter(in_circle)
            .map(|module| (*module).clone())
            .collect()
    };
    let circles: BTreeSet<Vec<Module>> = reached.keys().map(|module| circle(module)).collect();
    circles.into_iter().filter(|circle| circle.len() > 1).collect()
}
