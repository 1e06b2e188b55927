//! The command `interlock`: parse, find out what is meant, call, exit status. What it does lies in the other crates.
//!
//! | file | is |
//! | --- | --- |
//! | `cli` | what can be typed |
//! | `config` | what is set: flags over variables over `interlock.toml` over defaults |
//! | `commands/` | one file for each subcommand |
//! | `services`, `topics` | clients of the real services, and the topics' settings |
//! | `embedded` | the services in this process |
//! | `load/` | the clients that a load runs through |
//! | `observe`, `stop` | what processes that stay share: metrics and health over HTTP, signals |
//! | `topic_access` | records as JSON, directly or through a gateway |
//!
//! Standard output is data, standard error is talk. Exit status: 0 all held, 1 something failed or didn't hold, 2 the
//! command line or the configuration can't be used.

#![allow(
    clippy::disallowed_methods,
    reason = "here the clock and chance come in; the libraries are handed them"
)]

mod cli;
mod commands;
mod config;
mod embedded;
mod load;
mod observe;
mod services;
mod stop;
mod topic_access;
mod topics;

use std::io;

use clap::Parser as _;
use interlock_kafka::exit;

/// Every record is a handful of small texts; mimalloc hands them out for a quarter less of all CPU time than the system's
/// allocator. It asks for no huge pages (`no_thp`): a worker with four threads takes a fifth less memory without.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const UNKNOWN: u8 = 2;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// All that was asked for holds.
    Held,
    /// It was found out that something doesn't hold, and said.
    NotHeld,
    /// It could not be found out, and said why.
    Unknown,
}

fn main() {
    exit(run());
}

/// Returns the exit status.
fn run() -> u8 {
    let cli = cli::Cli::parse();
    let loaded = match config::load(&cli.sources()) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(&error);
            return UNKNOWN;
        }
    };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    match commands::call(cli.command, &loaded) {
        Ok(Status::Held) => SUCCESS,
        Ok(Status::NotHeld) => FAILURE,
        Ok(Status::Unknown) => UNKNOWN,
        // Who reads our output has seen enough, such as `head`.
        Err(error) if is_broken_pipe(&error) => SUCCESS,
        Err(error) => {
            complain(&error);
            FAILURE
        }
    }
}

/// One line: what, and why.
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kinds = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    kinds.into_iter().any(|kind| kind == io::ErrorKind::BrokenPipe)
}
