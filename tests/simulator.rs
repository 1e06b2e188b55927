//! A deterministic simulator: the production runtime over simulated parts, on one thread, in virtual time.
//!
//! ```text
//!  seed ──> Schedule ──> World ── commands, crashes, fail-overs ──> MemoryLog, MemoryLedgerStore
//!                          │                                              ▲
//!                          └─ workers: runtime::run_here over FaultyLog, FaultyLedgers and, in some runs, FaultySink
//!                                                                         │ (each call a yield point)
//!                        heal, settle, then Remains::check: I1–I6 and a single-threaded oracle
//! ```
//!
//! The same seed gives the same trace. A failing seed is shrunk: kinds of faults, actions and commands are left out as
//! long as it still fails. `scripts/simulate --seed S` repeats one.

mod check;
mod faulty_ledgers;
mod faulty_log;
mod faulty_sink;
mod schedule;
mod shrink;
mod site;
mod trace;
mod windows;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use interlock_streams::mutation::leave_out;

pub use check::{Amounts, Promise, Violation};
pub use schedule::{Action, Rates, Schedule, What};
pub use shrink::shrink;

/// A run with its trace.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Report {
    pub trace: Vec<String>,
    /// Hash of the trace.
    pub hash: u64,
    /// The amounts of the run, or a violation.
    pub result: Result<Amounts, Violation>,
}

/// Runs a schedule.
pub fn run(schedule: &Schedule) -> Result<Amounts, Violation> {
    safely(schedule, false).result
}

/// Runs a schedule and keeps the trace, which takes longer. Nothing else differs.
pub fn traced(schedule: &Schedule) -> Report {
    safely(schedule, true)
}

/// A panic of the simulator itself is a violation, too.
fn safely(schedule: &Schedule, is_traced: bool) -> Report {
    catch_unwind(AssertUnwindSafe(|| simulate(schedule, is_traced))).unwrap_or_else(|_| Report {
        trace: Vec::new(),
        hash: 0,
        result: Err(Violation::new(Promise::Simulator, "it panicked; see the message above")),
    })
}

fn simulate(schedule: &Schedule, is_traced: bool) -> Report {
    // Registered by a runtime of its own, which can't be started within this one.
    workload::contract();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    leave_out(schedule.left_out);
    runtime.block_on(async {
        let mut world = world::World::new(schedule, is_traced).await.expect("a world");
        let result = world.run().await;
        let (trace, hash) = world.trace.finish();
        Report { trace, hash, result }
    })
}

/// Describes a failed run: the violation, the shrunken schedule, the end of its trace and how to repeat it.
pub fn describe(schedule: &Schedule, violation: &Violation, trace_lines: usize) -> String {
    let small = shrink(schedule);
    let report = traced(&small);
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
