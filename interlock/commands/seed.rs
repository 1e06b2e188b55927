//! `interlock seed`: from a timetable to `train-services`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{Local, NaiveDate};
use interlock_schemas::registry::{Registry, register_all};
use interlock_schemas::topics::{TRAIN_SERVICES, contract};
use interlock_schemas::{Date, Encoder, TrainService};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde::Serialize;

use crate::cli::Seed as Arguments;
use crate::config::{Config, PATIENCE};
use crate::seed::{self, DAYS_DEFAULT, Seed, Summary, Templates, Window};
use crate::{Status, plans, services, topics};

/// Plans in one transaction: large enough for a national timetable in a few, small enough for its time-out.
const PLANS_PER_TRANSACTION: usize = 1_000;
/// Longest time that a step of a transaction takes.
const STEP: Duration = Duration::from_secs(30);

/// What was done, as programs read it.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    summary: Summary,
    /// Plans that are new or differ from what the topic held.
    written: usize,
    /// Plans that the topic held already.
    unchanged: usize,
}

/// Makes plans and writes those that are new.
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
        from: days_since_epoch(from),
        days: arguments.days.unwrap_or(DAYS_DEFAULT),
    };
    Ok(match &arguments.source.gtfs {
        Some(feed) => {
            let templates = match &arguments.template {
                Some(file) => Templates::from_file(file)?,
                None => Templates::built_in()?,
            };
            seed::gtfs(feed, (!arguments.feed_dates).then_some(window), &templates)?
        }
        None => seed::demo(window)?,
    })
}

/// Writes the plans that the topic doesn't hold yet, and returns how many there were.
async fn publish(trains: Vec<TrainService>, config: &Config) -> anyhow::Result<usize> {
    let registry: Arc<dyn Registry> = Arc::new(services::registry(config)?);
    let log = services::log(config)?;
    let patience = Some(PATIENCE);
    let ids = services::patiently(patience, services::say_waiting, async || {
        Ok(register_all(&*registry, &contract()).await?)
    });
    let encoder = Encoder::new(ids.await?);
    let held = services::patiently(patience, services::say_waiting, async || {
        services::reach_kafka(config).await?;
        topics::ensure(&*log, &config.topics).await?;
        Ok(plans::read(&*log, registry.clone()).await?)
    });
    let held = held.await?;
    for warning in topics::check_settings(&services::kafka(config)).await? {
        eprintln!("warning: {warning}");
    }
    let changed = changed(trains, &held);
    let count = changed.len();
    let values = changed.into_iter().map(|plan| {
        let mut value = Vec::new();
        encoder.encode(&plan, &mut value)?;
        Ok((plan.train_id.to_string(), value))
    });
    let values = values.collect::<anyhow::Result<Vec<_>>>()?;
    let mut client = services::plain_producer(&services::kafka(config), "interlock-seed");
    client.set("transactional.id", format!("{}-seed", config.application.id));
    // librdkafka's calls block.
    tokio::task::spawn_blocking(move || write(&client, &values))
        .await
        .context("the writer panicked")??;
    Ok(count)
}

/// The plans that differ from those held; a plan that has changed gets the next version.
fn changed(trains: Vec<TrainService>, held: &BTreeMap<String, TrainService>) -> Vec<TrainService> {
    let newer = trains.into_iter().filter_map(|mut plan| {
        if let Some(old) = held.get(plan.train_id.as_str()) {
            plan.version = old.version;
            if plan == *old {
                return None;
            }
            plan.version += 1;
        }
        Some(plan)
    });
    newer.collect()
}

fn write(client: &rdkafka::ClientConfig, values: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let producer: BaseProducer = client.create().context("no Kafka producer")?;
    producer
        .init_transactions(STEP)
        .context("begin to write plans (is somebody else seeding?)")?;
    for chunk in values.chunks(PLANS_PER_TRANSACTION) {
        producer.begin_transaction().context("begin a transaction")?;
        for (train, value) in chunk {
            let mut record = BaseRecord::to(TRAIN_SERVICES).key(train).payload(value);
            // A full queue empties while we wait.
            while let Err((error, unsent)) = producer.send(record) {
                let full = error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull);
                anyhow::ensure!(full, "the plan of train {train} can't be written: {error}");
                producer.poll(Duration::from_millis(50));
                record = unsent;
            }
        }
        producer
            .commit_transaction(STEP)
            .with_context(|| format!("write {} plans to {TRAIN_SERVICES}", chunk.len()))?;
    }
    Ok(())
}

/// A date as records state it.
pub(crate) fn days_since_epoch(date: NaiveDate) -> Date {
    Date::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_from_1970() {
        assert_eq!(days_since_epoch(NaiveDate::from_ymd_opt(1970, 1, 2).unwrap()), 1);
        assert_eq!(days_since_epoch(NaiveDate::from_ymd_opt(2026, 12, 1).unwrap()), 20_788);
    }

    #[test]
    fn a_plan_is_written_once_and_again_with_the_next_version_when_it_has_changed() {
        let trains = seed::demo(Window { from: 20_788, days: 2 }).unwrap().trains;
        let held: BTreeMap<_, _> = trains
            .iter()
            .map(|plan| (plan.train_id.to_string(), plan.clone()))
            .collect();
        assert_eq!(changed(trains.clone(), &BTreeMap::new()).len(), trains.len());
        assert!(changed(trains.clone(), &held).is_empty());
        let later = seed::demo(Window { from: 20_789, days: 2 }).unwrap().trains;
        let changed = changed(later, &held);
        assert_eq!(changed.len(), trains.len());
        assert!(
            changed
                .iter()
                .all(|plan| plan.version == held[plan.train_id.as_str()].version + 1)
        );
    }
}
