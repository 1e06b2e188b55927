//! Whole installations on real servers: the built binary as real processes, killed like real ones.
//!
//! | part | what it is |
//! | --- | --- |
//! | `services` | Kafka, registry, Redis and database servers of this test binary's own |
//! | `database` | a new database for each test |
//! | `redis_servers` | what fails over: a master with a replica that lags, one that sentinels watch, a cluster of six |
//! | `proxy` | a network that can be made slow, or cut |
//! | `process` | children with a deadline, whose output is shown when something fails |
//! | `installation` | one test's `interlock`: its settings, its commands, its topics as new |
//! | `worker` | `interlock run`, asked over HTTP how it is |
//! | `load` | `interlock loadgen`, one load after another while something else happens |
//! | `secured` | servers with TLS and passwords, for those who have few rights |
//! | `raw_records` | what other clients see: raw records in and out, and the events decoded |
//! | `sums` | the window tables against the sums over the topics |
//!
//! They need the built binary and a database server, and say aloud what they skip where none is named. The names of the
//! topics are the contract, so the tests of a binary run one after another and delete the topics in between: never on a
//! Kafka that somebody else started.

mod database;
mod installation;
mod load;
mod process;
mod proxy;
mod raw_records;
mod redis_servers;
pub mod secured;
mod services;
mod sums;
mod worker;

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};

pub(crate) use database::execute;
pub use installation::{Installation, binary, in_installation, with_sentinel, wkd};
pub use load::{Load, Outcome};
pub use process::{Finished, Process};
pub use proxy::{Mode, Proxy};
pub use raw_records::{Raw, Read};
pub use redis_servers::Sentinel;
pub(crate) use redis_servers::{Cluster, Pair};
pub use services::{Addresses, Servers, Service, Wanted, free_kafka_port, proxied_port};
pub(crate) use services::{may_mount, root};
pub use sums::Sums;
pub use worker::Worker;

/// Longest wait for anything that does happen; machines that build and test at the same time are slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Says something past the test harness, which would keep it to itself if the test passes.
pub fn say(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Whether the tests with real processes can run; says aloud how to run them if not.
pub fn is_wanted(test: &str) -> bool {
    let wanted = services::named_database().is_some();
    if !wanted {
        say(format_args!(
            "SKIPPED {test}: no database server is named. Run `scripts/services start`, then \
             `eval \"$(scripts/services env)\"`, `cargo build --workspace --bin interlock`, and this again"
        ));
    }
    wanted
}

/// Looks again and again until there is something.
///
/// # Errors
/// If there is nothing within the patience, or if looking fails.
pub async fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await.with_context(|| format!("waiting until {what}"))? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("it did not happen within {patience:?} that {what}");
        }
        sleep(LOOK).await;
    }
}
