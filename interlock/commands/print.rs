//! Prints the results of commands, for people or as JSON for programs.

use std::fmt::Display;
use std::io::{self, Write as _};

use serde::Serialize;

/// Prints a report.
pub(super) fn report(report: &(impl Serialize + Display), json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match json {
        true => serde_json::to_writer_pretty(&mut out, report)?,
        false => write!(out, "{report}")?,
    }
    writeln!(out)?;
    out.flush()
}

/// Prints a list, one entry per line.
pub(super) fn lines<T: Serialize + Display>(lines: &[T], json: bool) -> io::Result<()> {
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
