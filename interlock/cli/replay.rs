//! The arguments of `interlock replay`.

use clap::Args;

use interlock_operate::replay::Partitions;

/// Derive ledgers or window tables from the events once more
#[derive(Debug, Args)]
#[command(after_help = "\
Workers do it, as they do after a loss, and everything else goes on; it may be interrupted at any moment. What is asked for
is begun in one step, and waited for.
Exit status 1 if it was begun and is not done within --wait: the next worker does it.

For --repartition all workers must have stopped, after everything was decided; nothing is changed otherwise. It may be
interrupted, and is then to be called again. Workers rebuild their ledgers when they start after it.

Examples:
  interlock replay --ledgers                      every ledger, one after another
  interlock replay --ledgers --partitions 3,6-8
  interlock replay --windows                      all window tables
  interlock replay --windows --topology revenue
  interlock replay --repartition 16               from fewer partitions to 16")]
pub(crate) struct Replay {
    /// What to derive again
    #[command(flatten)]
    pub(crate) what: ReplayWhat,
    /// Only these ledgers
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with_all = ["windows", "repartition"])]
    pub(crate) partitions: Vec<Partitions>,
    /// Only this topology's windows
    #[arg(long, value_name = "NAME", conflicts_with_all = ["ledgers", "repartition"])]
    pub(crate) topology: Option<String>,
    /// Seconds to wait for one ledger, for windows without progress, or for the group to give all partitions away
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) wait: u64,
}

/// One of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ReplayWhat {
    /// Ledgers in Redis, from the event topics
    #[arg(long)]
    pub(crate) ledgers: bool,
    /// Window tables in the database, from the event topics
    #[arg(long)]
    pub(crate) windows: bool,
    /// Grow the topics to N partitions, and lay out as many ledgers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) repartition: Option<i32>,
}
