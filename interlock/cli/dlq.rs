//! The arguments of `interlock dlq`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use interlock_schemas::topics::{BOOKING_REQUESTS, dlq};

use interlock_operate::dead_letters::{Place, topics};

/// List dead letters, show them, and send them again
#[derive(Debug, Args)]
#[command(after_help = "\
Letters are never removed. A record that is sent again is marked behind its
letter in the same transaction, so nothing is sent twice unless --again is
given, even after an interruption.

The exit status is 1, and nothing is sent, if a named letter does not exist or
was sent again before.

Examples:
  interlock dlq list --limit 20
  interlock dlq show 3:17                         as JSON, or byte by byte
  interlock dlq replay 3:17 3:18                  send them again, unchanged
  interlock dlq replay --all --reason undecodable
  interlock dlq replay 3:17 --value repaired.json")]
pub(crate) struct Dlq {
    /// Action
    #[command(subcommand)]
    pub(crate) action: DlqAction,
}

/// Action of `interlock dlq`.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqAction {
    List(DlqList),
    Show(DlqShow),
    Replay(DlqReplay),
}

fn topic_of_letters(text: &str) -> Result<String, String> {
    let topics = topics();
    let found = topics.iter().find(|topic| *topic == text).cloned();
    found.ok_or_else(|| format!("letters are in {}", topics.join(", ")))
}

/// List letters, the newest last
#[derive(Debug, Args)]
pub(crate) struct DlqList {
    /// Topic of the letters
    #[arg(default_value_t = dlq(BOOKING_REQUESTS), value_parser = topic_of_letters)]
    pub(crate) topic: String,
    /// Print only the N newest
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Print a JSON object on each line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show a letter: its headers, its key and its value
#[derive(Debug, Args)]
pub(crate) struct DlqShow {
    /// Letter to show
    #[arg(value_name = "PARTITION:OFFSET")]
    pub(crate) place: Place,
    /// Topic of the letter
    #[arg(long, default_value_t = dlq(BOOKING_REQUESTS), value_parser = topic_of_letters)]
    pub(crate) topic: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Send records back to their topic and print a JSON object for each
#[derive(Debug, Args)]
pub(crate) struct DlqReplay {
    /// Letters to send
    #[arg(value_name = "PARTITION:OFFSET", required_unless_present = "all")]
    pub(crate) places: Vec<Place>,
    /// Send all letters that were not sent again yet and contain their record
    #[arg(long, conflicts_with_all = ["places", "value"])]
    pub(crate) all: bool,
    /// With --all: only letters of this reason, as `list` shows it
    #[arg(long, value_name = "REASON", requires = "all", conflicts_with = "places")]
    pub(crate) reason: Option<String>,
    /// Send the JSON record in this file instead of the letter's
    #[arg(long, value_name = "FILE")]
    pub(crate) value: Option<PathBuf>,
    /// Also send letters that were sent again before
    #[arg(long)]
    pub(crate) again: bool,
    /// Topic of the letters
    #[arg(long, default_value_t = dlq(BOOKING_REQUESTS), value_parser = topic_of_letters)]
    pub(crate) topic: String,
}
