//! Where window partials are kept: one file for each database.
//!
//! - [`timescale`]: TimescaleDB, for production and dashboards.
//! - [`sqlite`]: SQLite, embedded, where nothing is to be installed.

mod doing;
mod sql;
pub mod sqlite;
pub mod timescale;
