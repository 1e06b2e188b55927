//! The arguments of `interlock replay`.

use clap::Args;

use interlock_operate::replay::Partitions;

const USAGE: &str = "\
interlock replay --ledgers [OPTIONS]
       interlock replay --windows [OPTIONS]
       interlock replay --repartition <N> [OPTIONS]
       interlock replay --offsets [OPTIONS]";

/// Derive ledgers or window tables again from the events
#[derive(Debug, Args)]
#[command(override_usage = USAGE, after_help = "\
Workers carry this out, as they do after a loss, while everything else
continues. The command starts it in one step and waits; it can be interrupted
at any moment. The exit status is 1 if it is not finished within --wait; the
next worker finishes it.

--repartition needs all workers stopped and every request decided, and changes
nothing otherwise. If it is interrupted, run it again. Workers rebuild their
ledgers when they start after it.
--offsets needs all workers stopped. It leaves offsets that are not lost alone.

Examples:
  interlock replay --ledgers                 every ledger, one after another
  interlock replay --ledgers --partitions 3,6-8
  interlock replay --windows                 all window tables
  interlock replay --windows --topology revenue
  interlock replay --repartition 16          grow to 16 partitions
  interlock replay --offsets                 committed offsets that are lost")]
pub(crate) struct Replay {
    /// Target
    #[command(flatten)]
    pub(crate) what: ReplayWhat,
    /// Only these ledgers
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["windows", "repartition", "offsets"])]
    pub(crate) partitions: Vec<Partitions>,
    /// Only this topology's windows
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ledgers", "repartition", "offsets"])]
    pub(crate) topology: Option<String>,
    /// Seconds to wait for a ledger, or for windows that make no progress
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) wait: u64,
}

/// Target of a replay.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ReplayWhat {
    /// Ledgers in Redis, from the event topics
    #[arg(long)]
    pub(crate) ledgers: bool,
    /// Window tables in the database, from the event topics
    #[arg(long)]
    pub(crate) windows: bool,
    /// Grow the topics to N partitions, with as many ledgers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) repartition: Option<i32>,
    /// Committed offsets that are lost or another program's, from the event topics
    #[arg(long)]
    pub(crate) offsets: bool,
}
