//! Load as data: which seats are asked for, at what time, and how long the answers took. Only [`run`] has threads and
//! reads the clock; it knows no Kafka, but two traits.
//!
//! ```text
//! profiles/*.toml ──> Profile ─┐                     ┌─> intended_at ── the sender waits, then sends ──┐
//! timetable ──> [TrainService] ┴─> Workload ─ Planned┴─> command                                       │
//!                                                                                                     ▼
//!                       Report <── Latencies (counted from intended_at) + Outcomes <── events ── Kafka, the topologies
//! ```
//!
//! | file | answers |
//! | --- | --- |
//! | `profile`, `profiles/*.toml` | what kinds of load are there? One file for each, and a line in [`Profile::names`] |
//! | `pacing` | when is the n-th request meant to be sent? |
//! | `spread` | over how many trains and dates is a load spread? |
//! | `booking` | what does the n-th booking ask for? |
//! | `workload` | in which order do bookings, repetitions and cancellations come? |
//! | `latency`, `outcomes`, `report` | how did it go? |
//! | `run` | how is a load sent and measured? |
//!
//! The figures are public record (`docs/DOMAIN.md`, last section); each profile names only where it departs from them.
//!
//! A sender of your own needs only this (`sleep`, `send` and the clock are yours):
//!
//! ```
//! use std::time::Duration;
//! use interlock_loadgen::{Profile, Workload, wait};
//! # use interlock_schemas::TrainService;
//! # fn run(plans: &[TrainService], elapsed: impl Fn() -> Duration) -> Result<(), Box<dyn std::error::Error>> {
//! let workload = Workload::new(&Profile::named("burst")?, plans, 200_000, None, 42)?;
//! eprintln!("{}", workload.shape());
//! for planned in workload {
//!     if let Some(pause) = wait(planned.intended_at, elapsed()) {
//!         std::thread::sleep(pause);
//!     }
//!     // Set `requested_at` and send; a late answer counts from `intended_at`, not from when it was really sent.
//! }
//! # Ok(())
//! # }
//! ```

mod booking;
mod identity;
mod latency;
mod outcomes;
mod pacing;
mod profile;
mod report;
pub mod run;
mod spread;
#[cfg(test)]
mod tests;
mod timetable;
mod workload;

pub use latency::{LATENCY_MAX, Latencies, Percentiles};
pub use outcomes::Outcomes;
pub use pacing::{Pacer, wait};
pub use profile::{Arrivals, Cancellations, Clients, Profile, ProfileError, Segments, Spread, Trains, Wishes};
pub use report::Report;
pub use spread::Shape;
pub use timetable::running_from;
pub use workload::{Kind, Planned, Workload, WorkloadError};

/// Requests of the canonical load: `interlock loadgen` without flags.
pub const CANONICAL_REQUESTS: u64 = 200_000;
/// Profile of the canonical load.
pub const CANONICAL_PROFILE: &str = "burst";
