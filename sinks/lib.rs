//! Databases that keep windows: one file each.
//!
//! - [`timescale`]: TimescaleDB, for production and dashboards.
//! - [`sqlite`]: SQLite, embedded, for one process without a server.

mod doing;
mod migrations;
mod sql;
pub mod sqlite;
pub mod timescale;
