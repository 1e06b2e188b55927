//! From the configuration to stream threads at work: waits for each service in turn, and says which and why.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, TryFutureExt as _};
use interlock_operate::belongs;
use interlock_operate::topics::{ensure, require};
use interlock_redis::{RedisConfig, RedisLedgerStore};
use interlock_schemas::registry::{Registry, register_all};
use interlock_schemas::topics::contract;
use interlock_sinks::timescale::{TimescaleOptions, TimescaleSink};
use interlock_streams::ledger::LedgerStore;
use interlock_streams::log::Log;
use interlock_streams::runtime::{self, ConnectLedgers, ConnectSink, Health, RuntimeConfig, Services, StreamThreads};
use interlock_streams::sink::{Sink, SinkError};
use interlock_topologies::{BOOKING, Context, Definition};
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::services;
use crate::topics;

/// Names the start among what may keep a worker from being ready.
pub(super) const START: &str = "start";

/// Waits for the services, then starts the stream threads.
pub(super) async fn start(
    config: &Config,
    definitions: &[Definition],
    health: &Health,
) -> anyhow::Result<StreamThreads> {
    let runtime = runtime_config(config);
    let registry: Arc<dyn Registry> = Arc::new(services::registry(config)?);
    let log = services::log(config)?;
    let redis = services::redis(config)?;

    let ids = until_up(health, async || Ok(register_all(&*registry, &contract()).await?)).await?;
    until_up(health, async || services::reach_kafka(config).await).await?;
    let ledgers = until_up(health, async || Ok(prepare_topics(&*log, config).await?)).await?;
    for warning in topics::check_settings(&log).await? {
        tracing::warn!("{warning}");
    }
    let context = Context { registry, ids };
    let topologies = definitions
        .iter()
        .map(|definition| (definition.build)(&context))
        .collect::<Result<Vec<_>, _>>()?;
    if topologies.iter().any(|topology| topology.has_ledger()) {
        until_up(health, async || {
            let store = RedisLedgerStore::connect(redis.clone()).await?;
            store.check_server().await?;
            Ok(belongs::check_ledgers(&store, ledgers).await?)
        })
        .await?;
        let group = runtime.group(BOOKING);
        until_up(health, async || {
            belongs::check_layout(&*log, &group, ledgers).await?;
            Ok(belongs::check_positions(&*log, &group, ledgers).await?)
        })
        .await?;
    }
    let names: Vec<&str> = definitions.iter().map(|definition| definition.name).collect();
    tracing::info!(
        application = runtime.application_id,
        instance = runtime.instance_id,
        topologies = names.join(", "),
        threads = runtime.threads,
        ledgers,
        "starting"
    );
    let services = Services {
        log,
        ledgers: Some(connect_ledgers(redis)),
        sink: Some(connect_sink(config, &runtime)),
    };
    Ok(runtime::start(&runtime, &topologies, &services, health)?)
}

/// As long as it takes; meanwhile the worker lives but isn't ready.
async fn until_up<T>(health: &Health, attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let say = |why: &str, pause: Duration| {
        health.set(START, Some(why.to_owned()));
        tracing::warn!("{why}; again in {pause:.1?}");
    };
    services::patiently(None, say, attempt).await
}

async fn prepare_topics(log: &dyn Log, config: &Config) -> anyhow::Result<i32> {
    match config.topics.create {
        true => Ok(ensure(log, &topics::settings(&config.topics)).await?),
        false => Ok(require(log).await?),
    }
}

fn runtime_config(config: &Config) -> RuntimeConfig {
    let (application, run) = (&config.application, &config.run);
    let instance_id = match application.instance_id.as_str() {
        "" => some_instance_id(),
        fixed => fixed.to_owned(),
    };
    RuntimeConfig {
        static_membership: application.static_membership,
        threads: run.threads,
        commit_interval: run.commit_interval,
        commit_records_max: run.commit_records_max,
        batch_records_max: run.batch_records_max,
        check_interval: run.check_interval,
        ..RuntimeConfig::new(application.id.clone(), instance_id)
    }
}

/// Host, process and chance: the same process number comes again in every container.
fn some_instance_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = if host.is_empty() { "host" } else { host };
    format!("{host}-{}-{:04x}", std::process::id(), rand::random::<u16>())
}

fn connect_ledgers(config: RedisConfig) -> ConnectLedgers {
    Arc::new(move || {
        let config = config.clone();
        let connect = async move { Ok(Arc::new(RedisLedgerStore::connect(config).await?) as Arc<dyn LedgerStore>) };
        connect.boxed()
    })
}

/// The first connection brings the tables up to date, and takes them for this application. This isn't done before the
/// stream threads start, because selling needs no database.
fn connect_sink(config: &Config, runtime: &RuntimeConfig) -> ConnectSink {
    let (url, migrate) = (config.database.url.0.clone(), config.database.migrate);
    let groups = interlock_topologies::all()
        .iter()
        .map(|definition| runtime.group(definition.name));
    let groups: Arc<[String]> = groups.collect();
    let prepared = Arc::new(OnceCell::new());
    Arc::new(move || {
        let (url, groups, prepared) = (url.clone(), groups.clone(), prepared.clone());
        let options = |migrate| TimescaleOptions {
            migrate,
            ..TimescaleOptions::default()
        };
        let connect = async move {
            let prepare = || async {
                let sink = TimescaleSink::connect(&url, &options(migrate)).await?;
                sink.take_for_application(&groups).await
            };
            prepared.get_or_try_init(prepare).await?;
            Ok(Arc::new(TimescaleSink::connect(&url, &options(false)).await?) as Arc<dyn Sink>)
        };
        connect.map_err(with_setting).boxed()
    })
}

/// Adds the setting to the error of a database that can't be reached.
fn with_setting(error: SinkError) -> SinkError {
    match error {
        SinkError::Unavailable { task, reason } => SinkError::Unavailable {
            task,
            reason: format!("{reason}; is it up, and is database.url right?"),
        },
        other => other,
    }
}
