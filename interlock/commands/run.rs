//! `interlock run`: a worker. Connects, starts the topologies, reports its state, and stops gracefully.

mod start;

use std::time::Duration;

use anyhow::Context as _;
use interlock_gateway::observe;
use interlock_kafka::exit;
use interlock_streams::runtime::Health;
use interlock_topologies::choose;

use crate::Status;
use crate::config::Config;
use crate::log_lines::log_to_stderr;
use crate::stop::{Stop, leave};

/// Interval between two checks whether a stream thread has ended by itself.
const THREAD_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// Exit status of a process that was told twice to stop.
const STOPPED_AT_ONCE: u8 = 130;

/// Works until told to stop.
pub(crate) fn call(config: &Config) -> anyhow::Result<Status> {
    log_to_stderr(&config.log)?;
    let metrics = observe::install_recorder()?;
    // For signals, health and metrics only: each stream thread has a runtime of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.context("no asynchronous runtime")?;
    let result = runtime.block_on(work(config, metrics));
    // A question to a service that is down may still be waiting for its answer.
    runtime.shutdown_background();
    result.map(|()| Status::Held)
}

async fn work(config: &Config, metrics: observe::Handle) -> anyhow::Result<()> {
    let definitions = choose(&config.run.topologies)?;
    let mut stop = Stop::new()?;
    let health = Health::default();
    health.set(start::START, Some("starting".to_owned()));
    let listener = observe::listen("metrics.listen", "--metrics-listen", config.metrics.listen).await?;
    let address = observe::serve(listener, observe::router(health.clone(), metrics))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        "metrics and health on http://{address}/"
    );

    let running = tokio::select! {
        started = start::start(config, &definitions, &health) => started?,
        () = stop.asked() => return Ok(()),
    };
    health.set(start::START, None);
    let ended = async {
        while !running.any_finished() {
            tokio::time::sleep(THREAD_CHECK_INTERVAL).await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = stop.asked() => tracing::info!("stopping: finishing batches, committing, leaving the groups; again to stop at once"),
    }
    tokio::select! {
        result = leave(running) => result?,
        () = stop.asked() => {
            tracing::warn!("stopping at once: what is not committed will be done again by others");
            exit(STOPPED_AT_ONCE);
        }
    }
    tracing::info!("stopped");
    Ok(())
}
