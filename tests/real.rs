//! Whole installations on real servers: the built binary as real processes, killed like real ones.
//!
//! | part | content |
//! | --- | --- |
//! | `services` | Kafka, registry, Redis and database servers of this test binary's own |
//! | `database` | a new database for each test |
//! | `redis_servers` | servers that fail over: a master with a replica that lags, one that sentinels watch, a cluster of six |
//! | `proxy` | a network that can be made slow, or cut |
//! | `process` | children with a deadline, whose output is shown when something fails |
//! | `installation` | one test's `interlock`: its settings, its commands, newly created topics |
//! | `worker` | `interlock run`, observed over HTTP |
//! | `load` | `interlock loadgen`, one load after another while something else happens |
//! | `secured` | servers with TLS and passwords, and users with few rights |
//! | `raw_records` | what other clients see: raw records in and out, and the events decoded |
//! | `sums` | the window tables against the sums over the topics |
//!
//! The tests need the built binary and a database server; if no server is named, they print what they skip. The names
//! of the topics are part of the contract, so the tests of a binary run one after another and delete the topics in
//! between. They never do this on a Kafka that they did not start.

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

/// Longest wait for an expected event; machines that build and test at the same time are slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Interval between two checks of a condition.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Prints a message past the test harness, which hides the output of tests that pass.
pub fn say(what: impl Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Returns whether the tests with real processes can run; if not, prints how to run them.
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

/// Polls until there is a result.
///
/// # Errors
/// If there is no result within the patience, or if polling fails.
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
        sleep(CHECK_INTERVAL).await;
    }
}
