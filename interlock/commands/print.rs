//! Prints the results of commands, for people or as JSON for programs.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;
use textwrap::{Options, WordSplitter};

/// Columns of a terminal.
pub(crate) const COLUMNS: usize = 80;

/// Prints a report; it ends with one line break.
pub(crate) fn report(report: &(impl Serialize + Display), json: bool) -> io::Result<()> {
    let mut printed = match json {
        true => serde_json::to_string_pretty(report)?,
        false => report.to_string(),
    };
    if !printed.ends_with('\n') {
        printed.push('\n');
    }
    text(printed.as_bytes())
}

/// Prints a text as it is, at once: a reader who leaves early is then one error.
pub(crate) fn text(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// Prints a list, one entry per line.
pub(crate) fn lines<T: Serialize + Display>(lines: &[T], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        match json {
            true => serde_json::to_writer(&mut out, line)?,
            false => write!(out, "{line}")?,
        }
        writeln!(out)?;
    }
    out.flush()
}

/// Returns a text behind a label, wrapped at spaces.
pub(crate) fn wrapped(label: &str, columns: usize, text: &str) -> String {
    let indent = " ".repeat(label.chars().count());
    let options = Options::new(columns)
        .initial_indent(label)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}
