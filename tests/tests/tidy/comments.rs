//! Rules for comments: plain English, and lines that fit the screen.

use std::fs;

use super::documentation::{COLUMNS_MAX, NOT_PLAIN, has_words};
use super::{report, root, tracked};

/// Beginnings of sentences that hide their subject; a question may begin so.
const BEGINNINGS: &[&str] = &["What", "Who", "Whoever", "Whom", "Whether"];

/// Calques and vague phrases that only comments had, besides [`NOT_PLAIN`].
const PHRASES: &[&str] = &[
    "stands on",
    "lay out anew",
    "looks whether",
    "says how it is",
    "knows whom",
];

/// Words of [`NOT_PLAIN`] that a comment may have.
const ALLOWED: &[&str] = &["anew"];

#[test]
fn comments_are_plain_and_fit_the_screen() {
    let mut wrong = Vec::new();
    for file in tracked() {
        let Some(mark) = mark(&file) else {
            continue;
        };
        let Ok(text) = fs::read_to_string(root().join(&file)) else {
            continue;
        };
        let mut fenced = false;
        for (number, line) in (1..).zip(text.lines()) {
            let Some(comment) = comment(line, mark) else {
                fenced = false;
                continue;
            };
            fenced ^= comment.starts_with("```");
            wrong.extend(fault(line, comment, fenced).map(|fault| format!("{file}:{number}: {fault}")));
        }
    }
    report("comments", &wrong);
}

#[test]
fn a_comment_that_breaks_a_rule_is_found() {
    let fault = |line: &str| fault(line, comment(line, "//").expect("a comment"), false);
    assert!(fault("/// What was refused.").is_some());
    assert!(fault("    // Whether it holds.").is_some());
    assert!(fault("// It is tried for ever.").is_some());
    assert!(fault(&format!("//! {}", "word ".repeat(30))).is_some());
    assert_eq!(fault("/// What if there is none?"), None);
    assert_eq!(fault("/// Returns what was refused, whether or not it is kept."), None);
    assert_eq!(fault(&format!("//! | {} |", "word ".repeat(30))), None);
    assert_eq!(comment("let address = \"http://host\";", "//"), None);
    assert_eq!(comment("#!/usr/bin/env bash", "#"), None);
    assert_eq!(comment("     * of a train-date", "*"), Some("of a train-date"));
    assert_eq!(comment("/** Returns it. */", "*"), Some("Returns it. */"));
    assert_eq!(comment("long product = a * b;", "*"), None);
}

/// Returns the mark that begins a comment in this file; none for a file of another kind.
fn mark(file: &str) -> Option<&'static str> {
    if file.ends_with(".rs") {
        return Some("//");
    }
    if file.ends_with(".java") {
        return Some("*");
    }
    let is_script = file.starts_with("scripts/") && !file.contains('.');
    (is_script || file.ends_with(".sh") || file.ends_with(".py")).then_some("#")
}

/// Returns the text of a line that is a comment.
fn comment<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    let line = line.trim_start();
    let text = match mark {
        // Within a comment of several lines, each begins with a star.
        "*" => ["/**", "//", "*"].iter().find_map(|mark| line.strip_prefix(mark))?,
        mark => line.strip_prefix(mark)?,
    };
    match mark {
        "#" if text.starts_with('!') => None,
        _ => Some(text.trim_start_matches(['/', '!']).trim()),
    }
}

/// Returns the rule that a comment breaks. A row of a table and a line with a link can't be broken.
fn fault(line: &str, comment: &str, fenced: bool) -> Option<String> {
    let is_prose = !fenced && !comment.starts_with('|') && !line.contains("://");
    if is_prose && line.chars().count() > COLUMNS_MAX {
        return Some(format!("longer than {COLUMNS_MAX} columns"));
    }
    let first = comment.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    if BEGINNINGS.contains(&first) && !comment.contains('?') {
        return Some(format!("begins with {first}: name the subject"));
    }
    let lower = comment.to_lowercase();
    let mut phrases = NOT_PLAIN
        .iter()
        .chain(PHRASES)
        .filter(|phrase| !ALLOWED.contains(phrase));
    let found = phrases.find(|phrase| has_words(&lower, phrase))?;
    Some(format!("\"{found}\""))
}
