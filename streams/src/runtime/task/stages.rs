//! Measures the time of a stream thread by stage, for each batch: reading the clock for each record would cost as much
//! as decoding it.

use std::sync::Arc;
use std::time::Duration;

use metrics::Histogram;
use tokio::time::Instant;

use crate::metric_definitions::STAGE_SECONDS;

/// A part of a stream thread's work. The stages `Poll`, `Blocked`, `Load`, `LedgerCommit` and `Transaction` are waits,
/// during which the thread decides other ledgers' batches or reads on. The others are the thread's own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waiting for records.
    Poll,
    /// Reading no more records until the commit under way is through.
    Blocked,
    Decode,
    /// Documents that the ledger's store has, then the turn to decide.
    Load,
    /// Deciding commands and folding their events.
    Decide,
    /// Collecting the changed fields for the ledger's store.
    Changes,
    LedgerCommit,
    /// Any other node.
    Process,
    /// Rows for windows, and the queries over them.
    Window,
    /// Events, and the outbox's entry.
    Encode,
    /// Handing records to the producer.
    Produce,
    /// A commit to the log or to a database, from its request to its acknowledgement.
    Transaction,
}

impl Stage {
    const ALL: [(Stage, &str); 12] = [
        (Stage::Poll, "poll"),
        (Stage::Blocked, "blocked"),
        (Stage::Decode, "decode"),
        (Stage::Load, "load"),
        (Stage::Decide, "decide"),
        (Stage::Changes, "changes"),
        (Stage::LedgerCommit, "ledger_commit"),
        (Stage::Process, "process"),
        (Stage::Window, "window"),
        (Stage::Encode, "encode"),
        (Stage::Produce, "produce"),
        (Stage::Transaction, "transaction"),
    ];
}

/// The histograms of a topology, one for each stage.
pub(crate) struct Stages([Histogram; Stage::ALL.len()]);

impl Stages {
    pub(crate) fn new(topology: &str) -> Arc<Self> {
        let histogram =
            |(_, name)| metrics::histogram!(STAGE_SECONDS, "topology" => topology.to_owned(), "stage" => name);
        Arc::new(Self(Stage::ALL.map(histogram)))
    }

    pub(crate) fn add(&self, stage: Stage, spent: Duration) {
        self.0[stage as usize].record(spent.as_secs_f64());
    }

    /// Begins to measure.
    pub(crate) fn watch(self: &Arc<Self>) -> Stopwatch {
        Stopwatch {
            stages: self.clone(),
            since: Instant::now(),
        }
    }
}

/// Gives each stretch of time to one stage.
pub(crate) struct Stopwatch {
    stages: Arc<Stages>,
    since: Instant,
}

impl Stopwatch {
    /// Counts the time since the last lap for this stage.
    pub(crate) fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        self.stages.add(stage, now - self.since);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_the_histogram_of_its_name() {
        for (index, (stage, _)) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, index, "{stage:?}");
        }
    }
}
