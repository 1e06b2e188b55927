//! The arguments of `interlock dlq`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use interlock_schemas::topics::{BOOKING_REQUESTS, dlq};

use interlock_operate::dead_letters::{Place, topics};

/// Look at dead letters, mend them, and send them again
#[derive(Debug, Args)]
#[command(after_help = "\
Letters are never removed. What was sent again is marked behind its letter in the same transaction, so that nothing is sent
twice unless it is asked for, whatever is interrupted or lost.
Exit status 1 if a letter that was named is unknown or was sent again before; then nothing is sent.

Examples:
  interlock dlq list --limit 20                   the newest, and why
  interlock dlq show 3:17                         one letter, its value as JSON or byte by byte
  interlock dlq replay 3:17 3:18                  these once more, byte for byte, such as after a fix
  interlock dlq replay --all --reason undecodable
  interlock dlq replay 3:17 --value mended.json   a mended record in place of the letter's")]
pub(crate) struct Dlq {
    /// What to do
    #[command(subcommand)]
    pub(crate) action: DlqAction,
}

/// What to do with dead letters.
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

/// List letters, the newest last: place, time and reason, where the record was, its key, what exactly was wrong
#[derive(Debug, Args)]
pub(crate) struct DlqList {
    /// Topic of the letters
    #[arg(default_value_t = dlq(BOOKING_REQUESTS), value_parser = topic_of_letters)]
    pub(crate) topic: String,
    /// Only so many, the newest
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Print a JSON object on each line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show one letter: its headers, its key, and its value as JSON or byte by byte
#[derive(Debug, Args)]
pub(crate) struct DlqShow {
    /// Which letter
    #[arg(value_name = "PARTITION:OFFSET")]
    pub(crate) place: Place,
    /// Topic of the letter
    #[arg(long, default_value_t = dlq(BOOKING_REQUESTS), value_parser = topic_of_letters)]
    pub(crate) topic: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Send records back to the topic that they came from, each once; prints a JSON object for each
#[derive(Debug, Args)]
pub(crate) struct DlqReplay {
    /// Which letters
    #[arg(value_name = "PARTITION:OFFSET", required_unless_present = "all")]
    pub(crate) places: Vec<Place>,
    /// All letters that were not sent again yet, except those that don't hold their record
    #[arg(long, conflicts_with_all = ["places", "value"])]
    pub(crate) all: bool,
    /// Only those of this reason, as `list` shows it
    #[arg(long, value_name = "REASON", requires = "all", conflicts_with = "places")]
    pub(crate) reason: Option<String>,
    /// Send the JSON record in this file in place of the letter's; its key is its own train and date
    #[arg(long, value_name = "FILE")]
    pub(crate) value: Option<PathBuf>,
    /// Also what was sent again before
    #[arg(long)]
    pub(crate) again: bool,
    /// Topic of the letters
    #[arg(long, default_value_t = dlq(BOOKING_REQUESTS), value_parser = topic_of_letters)]
    pub(crate) topic: String,
}
