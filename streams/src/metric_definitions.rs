//! The engine's metrics: every name once, with its unit and a sentence.

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
/// Counter, nanoseconds: what stream threads spent on a stage (poll, blocked, decode, load, decide, changes, ledger_commit,
/// process, window, encode, produce, transaction), by topology and stage. What waits for others (poll, blocked, load,
/// ledger_commit, transaction) overlaps with other work: its sum may exceed what passed.
pub const STAGE_NANOSECONDS: &str = "interlock_stage_nanoseconds_total";
/// Histogram, seconds: age of a record (by its timestamp) when its outcome was committed, by topology.
pub const OUTCOME_SECONDS: &str = "interlock_outcome_seconds";
/// Gauge: offsets between what was read and the high watermark, by topology, topic and partition. Transaction markers are
/// offsets too: a partition that was read to its end may show 1.
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
