//! `interlock replay`: has ledgers or windows derived from the events again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use interlock_operate::replay::{Growth, Ledgers, Outcome, Windows};
use interlock_operate::topics::{of_ledgers, require};
use interlock_redis::RedisLedgerStore;
use interlock_schemas::registry::{Registry, register_all};
use interlock_schemas::topics::{BOOKING_REQUESTS, contract};
use interlock_sinks::timescale::{TimescaleOptions, TimescaleSink};
use interlock_streams::ledger::Token;
use interlock_streams::runtime::{Repartition, RestoredOffset, RuntimeConfig, group_name, restore_offsets};
use interlock_topologies::{BOOKING, Context, all, choose, shapes};

use crate::Status;
use crate::cli::Replay as Arguments;
use crate::config::{Config, PATIENCE};
use crate::services::{self, patiently, say_waiting};

/// Starts the requested replay, and waits until workers have done it.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    let what = &arguments.what;
    let outcome = match what.repartition {
        Some(partitions) => services::block_on(repartition(arguments, config, partitions))??,
        None if what.ledgers => services::block_on(ledgers(arguments, config))??,
        None if what.windows => services::block_on(windows(arguments, config))??,
        None if what.offsets => services::block_on(offsets(arguments, config))??,
        None => bail!("one of --ledgers, --windows, --repartition and --offsets is needed"),
    };
    match outcome {
        Outcome::Done => Ok(Status::Held),
        Outcome::Begun(left) => {
            eprintln!(
                "begun, and not done yet: {left}. The next worker that has time does it; nothing needs to be repeated"
            );
            Ok(Status::NotHeld)
        }
    }
}

async fn ledger_store(config: &Config) -> anyhow::Result<RedisLedgerStore> {
    let redis = services::redis(config)?;
    let connect = async || Ok(RedisLedgerStore::connect(redis.clone()).await?);
    patiently(Some(PATIENCE), say_waiting, connect).await
}

async fn ledgers(arguments: &Arguments, config: &Config) -> anyhow::Result<Outcome> {
    let log = services::log_once_up(config).await?;
    let ledgers = require(&*log).await?;
    let store = ledger_store(config).await?;
    let chosen = match arguments.partitions.is_empty() {
        true => (0..ledgers).collect(),
        false => arguments.partitions.iter().flat_map(|range| range.0.clone()).collect(),
    };
    let ledgers = Ledgers {
        log: &*log,
        store: &store,
        group: &group_name(&config.application.id, BOOKING),
        source: BOOKING_REQUESTS,
        partitions: ledgers,
        wait: Duration::from_secs(arguments.wait),
        token,
    };
    let rebuilt = ledgers.rebuild(&chosen, |ledger| eprintln!("ledger {ledger} is rebuilt"));
    Ok(rebuilt.await?)
}

async fn repartition(arguments: &Arguments, config: &Config, partitions: i32) -> anyhow::Result<Outcome> {
    let log = services::log_once_up(config).await?;
    let store = Arc::new(ledger_store(config).await?);
    let booking = shapes(all())?.into_iter().find(|topology| topology.has_ledger());
    let booking = Arc::new(booking.context("no topology has ledgers")?);
    let runtime = RuntimeConfig::new(config.application.id.clone(), "");
    let wait = Duration::from_secs(arguments.wait);
    let growth = Growth {
        ledgers: Repartition::new(&runtime, &booking, log.clone(), store.clone(), wait),
        log,
        store,
        topics: of_ledgers().collect(),
    };
    Ok(growth.to(partitions, |step| eprintln!("{step}")).await?)
}

async fn offsets(arguments: &Arguments, config: &Config) -> anyhow::Result<Outcome> {
    let log = services::log_once_up(config).await?;
    require(&*log).await?;
    let store = Arc::new(ledger_store(config).await?);
    // Events are read with the schemas of their writers.
    let registry: Arc<dyn Registry> = Arc::new(services::registry(config)?);
    let register = async || Ok(register_all(&*registry, &contract()).await?);
    let ids = patiently(Some(PATIENCE), say_waiting, register).await?;
    let booking = choose(&[BOOKING.to_owned()])?;
    let booking = booking.first().context("no topology has ledgers")?;
    let booking = Arc::new((booking.build)(&Context { registry, ids })?);
    let runtime = RuntimeConfig::new(config.application.id.clone(), "");
    let wait = Duration::from_secs(arguments.wait);
    let restored = restore_offsets(&runtime, &booking, log, store, wait).await?;
    for RestoredOffset {
        source,
        offset,
        sequence,
    } in &restored
    {
        eprintln!("{source}: offset {offset}, after event {sequence}");
    }
    match restored.len() {
        0 => eprintln!("no offset is lost"),
        count => eprintln!("{count} offsets are restored; start the workers, which rebuild these ledgers"),
    }
    Ok(Outcome::Done)
}

async fn windows(arguments: &Arguments, config: &Config) -> anyhow::Result<Outcome> {
    let log = services::log_once_up(config).await?;
    let known: Vec<_> = shapes(all())?
        .into_iter()
        .filter(|topology| topology.has_sink())
        .collect();
    let chosen: Vec<_> = match &arguments.topology {
        None => known.iter().collect(),
        Some(name) => known.iter().filter(|topology| topology.name() == name).collect(),
    };
    if chosen.is_empty() {
        let names: Vec<&str> = known.iter().map(|topology| topology.name()).collect();
        bail!("--topology: there are windows of {}", names.join(" and "));
    }
    let connect = async || {
        let options = TimescaleOptions::default();
        Ok(TimescaleSink::connect(&config.database.url.0, &options).await?)
    };
    let sink = patiently(Some(PATIENCE), say_waiting, connect).await?;
    let windows = Windows {
        log: &*log,
        sink: &sink,
        known: all()
            .iter()
            .map(|definition| group_name(&config.application.id, definition.name))
            .collect(),
        groups: chosen
            .iter()
            .map(|topology| group_name(&config.application.id, topology.name()))
            .collect(),
        tables: chosen.iter().flat_map(|topology| topology.window_tables()).collect(),
        topics: chosen.iter().flat_map(|topology| topology.source_topics()).collect(),
        wait: Duration::from_secs(arguments.wait),
        token: token(),
    };
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {human_pos} of {human_len} offsets {eta}",
    )?);
    let emptied = windows.tables.join(", ");
    let outcome = windows.restart(|counted, total| {
        if bar.length() != Some(total) {
            eprintln!("emptied {emptied}; workers fill them again");
            bar.set_length(total);
        }
        bar.set_position(counted);
    });
    let outcome = outcome.await?;
    match outcome {
        Outcome::Done => bar.finish_and_clear(),
        Outcome::Begun(_) => bar.abandon(),
    }
    Ok(outcome)
}

/// Returns a fresh token that names this command, for readers of the ledger.
fn token() -> Token {
    Token(format!("replay-{:016x}", rand::random::<u64>()))
}
