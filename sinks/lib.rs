//! Databases that keep windows: one file each.
//!
//! - `timescale`: TimescaleDB, for production and dashboards (feature `timescale`, on by default).
//! - [`sqlite`]: SQLite, embedded, for one process without a server.

mod doing;
mod migrations;
mod sql;
pub mod sqlite;
#[cfg(feature = "timescale")]
pub mod timescale;
