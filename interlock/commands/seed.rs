//! `interlock seed`: writes the plans of a timetable to `train-services`.

use std::io::{self, Write as _};
use std::sync::Arc;

use anyhow::Context as _;
use chrono::Local;
use interlock_operate::plans;
use interlock_operate::topics::ensure;
use interlock_schemas::TrainService;
use interlock_schemas::registry::{Registry, register_all};
use interlock_schemas::topics::{TRAIN_SERVICES, contract};
use interlock_timetable::{DAYS_DEFAULT, Seed, Summary, Templates, Window, changed, demo, gtfs};
use serde::Serialize;

use crate::cli::Seed as Arguments;
use crate::config::{Config, PATIENCE};
use crate::{Status, services, topics};

/// The result, for programs.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    summary: Summary,
    /// Number of plans that are new or have changed.
    written: usize,
    /// Number of plans that the topic already had.
    unchanged: usize,
}

/// Makes plans, and writes the new ones.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    let seed = make(arguments)?;
    let summary = seed.summary();
    let all = seed.trains.len();
    let changed = services::block_on(publish(seed.trains, config))??;
    let report = Report {
        summary,
        written: changed,
        unchanged: all - changed,
    };
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report.summary)?;
        writeln!(
            out,
            "written      {} to {TRAIN_SERVICES}, {} unchanged",
            report.written, report.unchanged
        )?;
    }
    out.flush()?;
    Ok(Status::Held)
}

fn make(arguments: &Arguments) -> anyhow::Result<Seed> {
    let from = arguments.from.unwrap_or_else(|| Local::now().date_naive());
    let window = Window {
        from: from.to_epoch_days(),
        days: arguments.days.unwrap_or(DAYS_DEFAULT),
    };
    Ok(match &arguments.source.gtfs {
        Some(feed) => {
            let templates = match &arguments.template {
                Some(file) => Templates::from_file(file)?,
                None => Templates::built_in()?,
            };
            gtfs(feed, (!arguments.feed_dates).then_some(window), &templates)?
        }
        None => demo(window)?,
    })
}

/// Writes the plans that the topic does not have yet, and returns their number.
async fn publish(trains: Vec<TrainService>, config: &Config) -> anyhow::Result<usize> {
    let registry: Arc<dyn Registry> = Arc::new(services::registry(config)?);
    let log = services::log(config)?;
    let patience = Some(PATIENCE);
    let ids = services::patiently(patience, services::say_waiting, async || {
        Ok(register_all(&*registry, &contract()).await?)
    });
    let ids = ids.await?;
    let held = services::patiently(patience, services::say_waiting, async || {
        services::reach_kafka(config).await?;
        ensure(&*log, &topics::settings(&config.topics)).await?;
        Ok(plans::read(&*log, registry.clone(), services::warn).await?)
    });
    let held = held.await?;
    for warning in topics::check_settings(&services::kafka(config)).await? {
        eprintln!("warning: {warning}");
    }
    let changed = changed(trains, &held);
    plans::write(&*log, ids, &changed).await.context("write the plans")?;
    Ok(changed.len())
}
