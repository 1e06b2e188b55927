//! `interlock seed`: makes plans from a timetable, compares them with the plans on sale, and publishes the differences.

use std::fmt;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::Local;
use interlock_operate::plans::{self, Published};
use interlock_operate::topics::ensure;
use interlock_schemas::registry::{Registry, register_all};
use interlock_schemas::topics::{TRAIN_SERVICES, contract};
use interlock_timetable::{Changes, DAYS_DEFAULT, OnSale, Renamed, Seed, Summary, Templates, Window, demo, gtfs};
use serde::Serialize;

use super::print::{self, COLUMNS};
use crate::cli::Seed as Arguments;
use crate::config::{Config, PATIENCE};
use crate::{Status, services, topics};

/// Trains that a line of the report names, at most.
const NAMED_MAX: usize = 10;

/// The report for programs.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    summary: Summary,
    /// Name of the feed.
    feed: String,
    /// The comparison with the plans on sale; none in a dry run.
    #[serde(flatten)]
    published: Option<Difference>,
}

/// The plans that were published, and the trains that are still on sale.
#[derive(Serialize)]
struct Difference {
    /// Plans written, because they are new or differ from what the topic held.
    written: usize,
    /// Plans that the topic held already.
    unchanged: usize,
    /// Trains of the feed on sale that it no longer has.
    gone: Vec<String>,
    /// True if they were withdrawn.
    withdrawn: bool,
    /// Trains of these that run on under a new id.
    renamed: Vec<Renamed>,
}

/// Makes plans and publishes those that are new.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    let from = arguments.from.unwrap_or_else(|| Local::now().date_naive());
    let window = Window {
        from: from.to_epoch_days(),
        days: arguments.days.unwrap_or(DAYS_DEFAULT),
    };
    let window = (!arguments.feed_dates).then_some(window);
    let seed = make(arguments, window)?;
    let first = window.map_or(i32::MIN, |window| window.from);
    let published = match arguments.dry_run {
        true => None,
        false => Some(services::block_on(publish(&seed, first, arguments.withdraw, config))??),
    };
    let report = Report {
        summary: seed.summary(),
        feed: seed.feed,
        published,
    };
    print::report(&report, arguments.json)?;
    Ok(Status::Held)
}

fn make(arguments: &Arguments, window: Option<Window>) -> anyhow::Result<Seed> {
    let mut seed = match (&arguments.source.gtfs, window) {
        (Some(feed), window) => {
            let templates = match &arguments.template {
                Some(file) => Templates::from_file(file)?,
                None => Templates::built_in()?,
            };
            gtfs(feed, window, &templates)?
        }
        (None, window) => demo(window.context("the demonstration has no dates of its own")?)?,
    };
    if let Some(name) = &arguments.feed {
        seed.feed.clone_from(name);
    }
    Ok(seed)
}

/// Writes the plans that the topic doesn't hold yet. Withdraws the trains that are gone if asked to.
async fn publish(seed: &Seed, first: i32, withdraw: bool, config: &Config) -> anyhow::Result<Difference> {
    let registry: Arc<dyn Registry> = Arc::new(services::registry(config)?);
    let log = services::log(config)?;
    let patience = Some(PATIENCE);
    let ids = services::patiently(patience, services::say_waiting, async || {
        Ok(register_all(&*registry, &contract()).await?)
    });
    let ids = ids.await?;
    let on_sale = services::patiently(patience, services::say_waiting, async || {
        services::reach_kafka(config).await?;
        ensure(&*log, &topics::settings(&config.topics)).await?;
        Ok(plans::read_published(&*log, registry.clone(), crate::warn).await?)
    });
    let on_sale = on_sale.await?.into_iter();
    for warning in topics::check_settings(&log).await? {
        eprintln!("warning: {warning}");
    }
    let on_sale = on_sale.map(|(train, Published { plan, feed })| (train, OnSale { plan, feed }));
    let changes = Changes::new(seed, &on_sale.collect(), first);
    plans::write(&*log, ids, &seed.feed, &changes.changed)
        .await
        .context("write the plans")?;
    if withdraw {
        plans::withdraw(&*log, &changes.gone)
            .await
            .context("withdraw the trains that are gone")?;
    }
    Ok(Difference {
        written: changes.changed.len(),
        unchanged: seed.trains.len() - changes.changed.len(),
        gone: changes.gone,
        withdrawn: withdraw,
        renamed: changes.renamed,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.summary)?;
        let Some(published) = &self.published else {
            return writeln!(f, "written      nothing: this is a dry run");
        };
        let (written, unchanged) = (published.written, published.unchanged);
        writeln!(f, "written      {written} to {TRAIN_SERVICES}, {unchanged} unchanged")?;
        let mut line = |label: &str, text: String| writeln!(f, "{}", print::wrapped(label, COLUMNS, &text));
        if !published.gone.is_empty() {
            let (count, names) = (published.gone.len(), names(&published.gone));
            match published.withdrawn {
                true => line("withdrawn    ", format!("{count}, no longer in this feed: {names}"))?,
                false => line(
                    "gone         ",
                    format!("{count} still on sale, no longer in this feed: {names}; --withdraw takes them off sale"),
                )?,
            }
        }
        if !published.renamed.is_empty() {
            let pairs: Vec<String> = published
                .renamed
                .iter()
                .map(|pair| format!("{} as {}", pair.old, pair.new))
                .collect();
            let consequence = match published.withdrawn {
                true => "what is sold under the old id stays sold",
                false => "these runs are on sale twice until you use --withdraw",
            };
            line(
                "warning      ",
                format!("the same run under a new id: {}; {consequence}", names(&pairs)),
            )?;
        }
        Ok(())
    }
}

fn names(all: &[String]) -> String {
    let more = if all.len() > NAMED_MAX { ", …" } else { "" };
    format!("{}{more}", all[..all.len().min(NAMED_MAX)].join(", "))
}
