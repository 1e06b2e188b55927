//! The arguments of `interlock seed`.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;

/// Put a timetable on sale
#[derive(Debug, Args)]
#[command(after_help = "\
This registers the schemas and creates the topics first. Plans that the topic
already has are not written again. A changed plan gets the next version, which
applies to train-dates that are not open yet.

Examples:
  interlock seed --demo                trains in India and Poland for 30 days
  interlock seed --gtfs feed.zip --from 2026-12-01 --days 60
  interlock seed --gtfs feed/ --template coaches.toml --json")]
pub(crate) struct Seed {
    /// Timetable to sell
    #[command(flatten)]
    pub(crate) source: SeedSource,
    /// First date on which trains run [default: today]
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<NaiveDate>,
    /// Days on which trains run [default: 30]
    #[arg(long, value_name = "N")]
    pub(crate) days: Option<u32>,
    /// Keep the feed's own dates, even past ones
    #[arg(long, conflicts_with_all = ["demo", "from", "days"])]
    pub(crate) feed_dates: bool,
    /// Coaches, quotas and fares for trains of a GTFS feed [default: built in]
    #[arg(long, value_name = "FILE", conflicts_with = "demo")]
    pub(crate) template: Option<PathBuf>,
    /// Name of the feed, by which its next version is recognised [default: its publisher]
    #[arg(long, value_name = "NAME")]
    pub(crate) feed: Option<String>,
    /// Take trains off sale that this feed no longer has; what is sold stays sold
    #[arg(long)]
    pub(crate) withdraw: bool,
    /// Only read the timetable and report; needs no servers
    #[arg(long, conflicts_with = "withdraw")]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Source of the timetable.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SeedSource {
    /// The built-in network in India and Poland
    #[arg(long)]
    pub(crate) demo: bool,
    /// A GTFS feed: a folder or a zip file
    #[arg(long, value_name = "PATH")]
    pub(crate) gtfs: Option<PathBuf>,
}
