//! A deterministic simulator: the production runtime over simulated parts, on one thread, in virtual time.
//!
//! ```text
//!  seed ──> Schedule ──> World ── commands, crashes, fail-overs ──> MemoryLog, MemoryLedgerStore
//!                          │                                              ▲
//!                          └─ workers: runtime::run_here over FaultyLog, FaultyLedgers (each call a yield point)
//!                                                                         │
//!                        heal, settle, then Remains::check: I1–I5 and a single-threaded oracle
//! ```
//!
//! The same seed gives the same trace. A seed that shows a violation is shrunk: kinds of faults, actions and commands are
//! left out as long as it still does. `scripts/simulate --seed S` repeats one.

mod check;
mod faulty_ledgers;
mod faulty_log;
mod random;
mod schedule;
mod shrink;
mod site;
mod trace;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use interlock_streams::runtime::mutation::leave_out;

pub use check::{Amounts, Violation};
pub use schedule::{Action, Rates, Schedule, What};
pub use shrink::shrink;

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its trace.
    pub trace: Vec<String>,
    /// Hash of the trace.
    pub hash: u64,
    /// What it amounted to, or what doesn't hold.
    pub result: Result<Amounts, Violation>,
}

/// Runs a schedule.
pub fn run(schedule: &Schedule) -> Report {
    // Registered by a runtime of its own, which can't be started within this one.
    workload::contract();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    leave_out(schedule.left_out);
    runtime.block_on(async {
        let mut world = world::World::new(schedule).await.expect("a world");
        let result = world.run().await;
        let (trace, hash) = world.trace.finish();
        let result = result.unwrap_or_else(|error| Err(Violation::new("simulator", format!("{error:#}"))));
        Report { trace, hash, result }
    })
}

/// Runs a schedule; a panic of the simulator itself is a violation, too.
pub fn run_safely(schedule: &Schedule) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(schedule))).unwrap_or_else(|_| Report {
        trace: Vec::new(),
        hash: 0,
        result: Err(Violation::new("simulator", "it panicked; see the message above")),
    })
}

/// Describes a failed run: the violation, the shrunken schedule, the end of its trace and how to repeat it.
pub fn describe(schedule: &Schedule, violation: &Violation, trace_lines: usize) -> String {
    let (small, report) = shrink(schedule);
    let from = report.trace.len().saturating_sub(trace_lines);
    let small_violation = report
        .result
        .err()
        .map_or_else(String::new, |violation| violation.to_string());
    format!(
        "seed {} violates {violation}\n\nshrunken to {small}which violates {small_violation}\n\n{}\n\n\
         repeat: scripts/simulate --seed {}",
        schedule.seed,
        report.trace[from..].join("\n"),
        schedule.seed
    )
}
