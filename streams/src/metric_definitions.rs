//! The engine's metrics: every name once, with its unit and a sentence.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Counter: records read, by topology.
pub const RECORDS_READ: &str = "interlock_records_read_total";
/// Counter: input records decided or processed and applied, by topology.
pub const RECORDS_APPLIED: &str = "interlock_records_applied_total";
/// Counter: records refused as undecodable, misplaced or unprocessable, by topic and reason.
pub const RECORDS_REFUSED: &str = "interlock_records_refused_total";
/// Counter: records sent on to the partition that their key belongs to, by topic.
pub const RECORDS_FORWARDED: &str = "interlock_records_forwarded_total";
/// Counter: records written to the log, by topology.
pub const RECORDS_WRITTEN: &str = "interlock_records_written_total";
/// Counter: transactions or sink writes committed, by topology.
pub const COMMITS: &str = "interlock_commits_total";
/// Histogram, seconds: from the request of a commit to its acknowledgement, by topology.
pub const COMMIT_SECONDS: &str = "interlock_commit_seconds";
/// Histogram, seconds: one round of loading, deciding and committing to the ledgers, by topology.
pub const ROUND_SECONDS: &str = "interlock_round_seconds";
/// Histogram, seconds: time of a stream thread in a stage of a batch (poll, blocked, decode, load, decide, changes,
/// ledger_commit, process, window, encode, produce, transaction), by topology and stage. Waits (poll,
/// blocked, load, ledger_commit, transaction) overlap with other work, so their sum may exceed the time that passed.
pub const STAGE_SECONDS: &str = "interlock_stage_seconds";
/// Histogram, seconds: age of a record (by its timestamp) when its outcome was committed, by topology.
pub const OUTCOME_SECONDS: &str = "interlock_outcome_seconds";
/// Gauge: offsets from the consumer's position to the high watermark, by topology, topic and partition. The position
/// also moves past transaction markers, so that this is 0 when a partition was read to its end.
pub const LAG: &str = "interlock_lag_records";
/// Gauge: batches in the outbox whose commit in the log is not yet known, by ledger.
pub const OUTBOX_BATCHES: &str = "interlock_outbox_batches";
/// Counter: acquisitions of ledgers, by verdict of the comparison (continue, resend, rebuild).
pub const ACQUISITIONS: &str = "interlock_acquisitions_total";
/// Counter: ledgers rebuilt from the event topics.
pub const REBUILDS: &str = "interlock_rebuilds_total";
/// Histogram, seconds: time that a rebuild took.
pub const REBUILD_SECONDS: &str = "interlock_rebuild_seconds";
/// Counter: times that a stream thread dropped its work and started over, by topology and reason.
pub const RESTARTS: &str = "interlock_restarts_total";
/// Gauge: partitions (tasks) that this worker holds, by topology.
pub const TASKS: &str = "interlock_tasks";

/// All counters.
pub const COUNTERS: &[&str] = &[
    RECORDS_READ,
    RECORDS_APPLIED,
    RECORDS_REFUSED,
    RECORDS_FORWARDED,
    RECORDS_WRITTEN,
    COMMITS,
    ACQUISITIONS,
    REBUILDS,
    RESTARTS,
];
/// All gauges.
pub const GAUGES: &[&str] = &[LAG, OUTBOX_BATCHES, TASKS];
/// All histograms.
pub const HISTOGRAMS: &[&str] = &[
    COMMIT_SECONDS,
    ROUND_SECONDS,
    STAGE_SECONDS,
    OUTCOME_SECONDS,
    REBUILD_SECONDS,
];

/// Describes each metric to the recorder.
pub fn describe() {
    describe_counter!(RECORDS_READ, "Records read, by topology");
    describe_counter!(
        RECORDS_APPLIED,
        "Input records decided or processed and applied, by topology"
    );
    describe_counter!(
        RECORDS_REFUSED,
        "Records refused as undecodable, misplaced or unprocessable, by topic and reason"
    );
    describe_counter!(
        RECORDS_FORWARDED,
        "Records sent on to the partition that their key belongs to, by topic"
    );
    describe_counter!(RECORDS_WRITTEN, "Records written to the log, by topology");
    describe_counter!(COMMITS, "Transactions or sink writes committed, by topology");
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "Time from the request of a commit to its acknowledgement"
    );
    describe_histogram!(
        ROUND_SECONDS,
        Unit::Seconds,
        "Time of one round of loading, deciding and committing to the ledgers"
    );
    describe_histogram!(
        STAGE_SECONDS,
        Unit::Seconds,
        "Time that a stream thread spent on a stage of a batch"
    );
    describe_histogram!(
        OUTCOME_SECONDS,
        Unit::Seconds,
        "Age of a record when its outcome was committed, by topology"
    );
    describe_gauge!(
        LAG,
        "Offsets between what was read and the high watermark, by topology, topic and partition"
    );
    describe_gauge!(
        OUTBOX_BATCHES,
        "Batches in the outbox whose commit in the log is not yet known, by ledger"
    );
    describe_counter!(ACQUISITIONS, "Acquisitions of ledgers, by verdict of the comparison");
    describe_counter!(REBUILDS, "Ledgers rebuilt from the event topics");
    describe_histogram!(REBUILD_SECONDS, Unit::Seconds, "Time that a rebuild took");
    describe_counter!(
        RESTARTS,
        "Times that a stream thread dropped its work and started over, by topology and reason"
    );
    describe_gauge!(TASKS, "Partitions (tasks) that this worker holds, by topology");
}
