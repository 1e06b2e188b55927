//! Where window partials are kept: one file for each database.
//!
//! - [`timescale`]: TimescaleDB, for production and dashboards.

pub mod timescale;
