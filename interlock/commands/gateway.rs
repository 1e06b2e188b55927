//! `interlock gateway`: serves HTTP and the live page in front of Kafka and Redis.

use std::sync::Arc;

use interlock_gateway::{Parts, observe};
use interlock_operate::topics;
use interlock_redis::RedisLedgerStore;
use interlock_schemas::registry::{Registry, register_all};
use interlock_schemas::topics::contract;
use interlock_streams::runtime::{Health, group_name};
use interlock_topologies::BOOKING;

use crate::config::{Config, PATIENCE};
use crate::log_lines::log_to_stderr;
use crate::stop::Stop;
use crate::{Status, services};

/// Serves until a signal stops it.
pub(crate) fn call(config: &Config) -> anyhow::Result<Status> {
    log_to_stderr(&config.log)?;
    let metrics = observe::install_recorder()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config, metrics));
    // Open event streams would not end by themselves.
    runtime.shutdown_background();
    result.map(|()| Status::Held)
}

async fn serve(config: &Config, metrics: observe::Handle) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    // Listens first, so that a taken port is reported before any wait.
    let listener = observe::listen("gateway.listen", "--listen", config.gateway.listen).await?;
    let health = Health::default();
    let parts = tokio::select! {
        parts = connect(config, health.clone()) => parts?,
        () = stop.asked() => return Ok(()),
    };
    let app = interlock_gateway::router(parts).await?;
    let address = observe::serve(listener, app.merge(observe::router(health, metrics)))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        "the gateway is on http://{address}/"
    );
    stop.asked().await;
    tracing::info!("stopped");
    Ok(())
}

async fn connect(config: &Config, health: Health) -> anyhow::Result<Parts> {
    let registry: Arc<dyn Registry> = Arc::new(services::registry(config)?);
    let log = services::log(config)?;
    let (patience, say) = (Some(PATIENCE), services::say_waiting);
    let ids = services::patiently(patience, say, async || Ok(register_all(&*registry, &contract()).await?)).await?;
    let ready = async || {
        services::reach_kafka(config).await?;
        Ok(topics::require(&*log).await?)
    };
    services::patiently(patience, say, ready).await?;
    let redis = services::redis(config)?;
    let connect = async || Ok(RedisLedgerStore::connect(redis.clone()).await?);
    let ledgers = services::patiently(patience, say, connect).await?;
    Ok(Parts {
        log,
        ledgers: Arc::new(ledgers),
        registry,
        ids,
        group: format!("{}-gateway-{:08x}", config.application.id, rand::random::<u32>()),
        deciders: group_name(&config.application.id, BOOKING),
        health,
    })
}
