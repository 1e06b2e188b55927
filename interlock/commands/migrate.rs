//! `interlock migrate`: creates or updates the window tables, under a role that may. The role of the workers then needs
//! no such right (`database.migrate = false`).

use interlock_sinks::timescale::{TimescaleOptions, TimescaleSink};

use crate::Status;
use crate::config::{Config, PATIENCE};
use crate::services::{self, patiently, say_waiting};

/// Brings the tables up to date.
pub(crate) fn call(config: &Config) -> anyhow::Result<Status> {
    let url = &config.database.url.0;
    let migrated = async || Ok(TimescaleSink::connect(url, &TimescaleOptions::default()).await?);
    services::block_on(patiently(Some(PATIENCE), say_waiting, migrated))??;
    eprintln!("the window tables are up to date");
    Ok(Status::Held)
}
