//! The command `interlock`: it parses arguments and settings, composes the other crates, and reports with an exit
//! status.
//!
//! | file | content |
//! | --- | --- |
//! | `cli` | the arguments of the command line |
//! | `config` | the settings: flags over variables over `interlock.toml` over defaults |
//! | `commands/` | one file for each subcommand |
//! | `services`, `topics` | clients of the real services, and the topics' settings |
//! | `embedded` | the services in this process |
//! | `load/` | the clients that a load runs through |
//! | `log_lines`, `stop` | log lines and signals, for long-running processes |
//! | `topic_access` | records as JSON, directly or through a gateway |
//!
//! Results go to standard output; progress and diagnostics go to standard error. The exit status is 0 if everything
//! holds, 1 if something failed or doesn't hold, and 2 if the command line or the configuration can't be used.

#![allow(
    clippy::disallowed_methods,
    reason = "only the binary reads the clock and draws random numbers; the libraries receive them"
)]
#![cfg_attr(
    not(feature = "servers"),
    allow(
        dead_code,
        unused_imports,
        reason = "the arguments and settings of the commands that talk to servers remain"
    )
)]

mod cli;
mod commands;
mod config;
mod embedded;
mod load;
mod log_lines;
#[cfg(feature = "servers")]
mod services;
mod stop;
#[cfg(feature = "servers")]
mod topic_access;
#[cfg(feature = "servers")]
mod topics;

use std::io::{self, IsTerminal as _};

use clap::Parser as _;
#[cfg(feature = "servers")]
use interlock_kafka::exit;

use crate::commands::print;

/// Every record consists of small texts; with mimalloc instead of the system's allocator, the process uses a quarter
/// less CPU. It asks for no huge pages (`no_thp`), so a worker with four threads takes a fifth less memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const UNKNOWN: u8 = 2;

/// The result of a command that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Everything holds.
    Held,
    /// Something doesn't hold, and was reported.
    NotHeld,
    /// The command could not find out, and reported the reason.
    Unknown,
}

fn main() {
    exit(run());
}

#[cfg(not(feature = "servers"))]
fn exit(status: u8) -> ! {
    std::process::exit(status.into())
}

/// Returns the exit status.
fn run() -> u8 {
    let cli = cli::Cli::parse();
    // These need no configuration, so they work beside a wrong one.
    match &cli.command {
        cli::Command::Completions(arguments) => return status(commands::completions(arguments)),
        cli::Command::Man(arguments) => return status(commands::man(arguments)),
        _ => {}
    }
    let loaded = match config::load(&cli.sources()) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return UNKNOWN;
        }
    };
    status(commands::call(cli.command, &loaded))
}

fn status(result: anyhow::Result<Status>) -> u8 {
    match result {
        Ok(Status::Held) => SUCCESS,
        Ok(Status::NotHeld) => FAILURE,
        Ok(Status::Unknown) => UNKNOWN,
        // The reader of our output, such as `head`, has closed it.
        Err(error) if is_broken_pipe(&error) => SUCCESS,
        Err(error) => {
            complain(&error);
            FAILURE
        }
    }
}

/// Prints an error with its causes: in one line for programs, in lines of 80 columns on a terminal.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("{}", complaint(error, io::stderr().is_terminal()));
}

fn complaint(error: &anyhow::Error, is_terminal: bool) -> String {
    match is_terminal {
        true => print::wrapped("error: ", print::COLUMNS, &format!("{error:#}")),
        false => format!("error: {error:#}"),
    }
}

/// Prints a warning in one line.
pub(crate) fn warn(warning: &str) {
    eprintln!("warning: {warning}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kinds = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    kinds.into_iter().any(|kind| kind == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_fit_a_terminal_and_are_one_line_for_programs() {
        let error = anyhow::anyhow!("{}", ["some words and"; 20].join(" ")).context("reading the topic");
        assert_eq!(complaint(&error, false).lines().count(), 1);
        let lines = complaint(&error, true);
        assert!(lines.lines().count() > 3, "{lines}");
        assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
        let joined: Vec<&str> = lines.split_whitespace().collect();
        assert_eq!(joined.join(" "), complaint(&error, false));
    }
}
