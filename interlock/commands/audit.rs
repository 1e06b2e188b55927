//! `interlock audit`: judges the invariants of a running installation.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use interlock_audit::{Audit, AuditOptions, AuditReport, Tables};
use interlock_redis::RedisLedgerStore;

use crate::cli::Audit as Arguments;
use crate::commands::print;
use crate::config::Config;
use crate::{Status, complain, services};

/// Audits and prints the report.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no asynchronous runtime")?;
    let report = match runtime.block_on(run(arguments, config)) {
        Ok(report) => report,
        Err(error) => {
            complain(&error);
            return Ok(Status::Unknown);
        }
    };
    print::report(&report, arguments.json)?;
    Ok(if report.holds() { Status::Held } else { Status::NotHeld })
}

/// Connects to the services and audits what they hold.
pub(crate) async fn run(arguments: &Arguments, config: &Config) -> anyhow::Result<AuditReport> {
    let options = AuditOptions {
        wait: Duration::from_secs(arguments.wait),
        settled: arguments.settled,
        violations_max: arguments.max_violations,
        parallel: arguments.parallel,
    };
    let log = services::log(config)?;
    let registry = Arc::new(services::registry(config)?);
    let store = RedisLedgerStore::connect(services::redis(config)?)
        .await
        .context("Redis keeps the ledgers (redis.url, INTERLOCK_REDIS_URL)")?;
    let tables = match arguments.skip_windows {
        true => None,
        false => Some(Tables::timescale(&config.database.url.0).await?),
    };
    let audit = Audit::new(log, registry, Arc::new(store), &config.application.id, options).await?;
    Ok(audit.run(tables).await?)
}
