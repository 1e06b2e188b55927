//! The plans that `train-services` holds: reads, writes and withdraws them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use interlock_schemas::registry::{Ids, Registry};
use interlock_schemas::topics::TRAIN_SERVICES;
use interlock_schemas::{Decoder, Encoder, TrainService, VALUE_SCHEMA_HEADER};
use interlock_streams::log::Log;
use interlock_streams::record::{Header, OutputRecord, TopicPartition};

use crate::Result;

/// Most records per read.
const RECORDS_PER_READ: usize = 1_000;
/// Longest wait of one read.
const READ_WAIT: Duration = Duration::from_millis(500);
/// Plans per append; a national timetable takes a few appends.
const PLANS_PER_APPEND: usize = 1_000;

/// Header that names the feed a plan came from.
const FEED: &str = "interlock.feed";

/// A plan on sale.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Published {
    pub plan: TrainService,
    /// Name of the feed that it came from; none if something else than a seed put it on sale.
    pub feed: Option<String>,
}

/// Reads the last plan of each train, by train. Leaves out plans that can't be read, and reports each to `warn`.
pub async fn read(
    log: &dyn Log,
    registry: Arc<dyn Registry>,
    warn: impl FnMut(&str),
) -> Result<BTreeMap<String, TrainService>> {
    let published = read_published(log, registry, warn).await?;
    Ok(published
        .into_iter()
        .map(|(train, published)| (train, published.plan))
        .collect())
}

/// Reads the last plan of each train with its feed, as [`read`] does.
pub async fn read_published(
    log: &dyn Log,
    registry: Arc<dyn Registry>,
    mut warn: impl FnMut(&str),
) -> Result<BTreeMap<String, Published>> {
    let mut decoder = Decoder::<TrainService>::new(registry);
    let mut plans = BTreeMap::new();
    for partition in 0..log.partitions(TRAIN_SERVICES).await?.unwrap_or(0) {
        let partition = TopicPartition::new(TRAIN_SERVICES, partition);
        let (low, high) = log.watermarks(&partition).await?;
        let mut reader = log.reader(&partition, low).await?;
        while reader.position() < high {
            for record in reader.next(RECORDS_PER_READ, READ_WAIT).await? {
                let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else {
                    continue;
                };
                let Some(value) = &record.value else {
                    plans.remove(key);
                    continue;
                };
                let header = record.header(VALUE_SCHEMA_HEADER).map(|header| &header[..]);
                match decoder.decode_with(value, header).await {
                    Ok(plan) => {
                        let feed = record
                            .header(FEED)
                            .map(|name| String::from_utf8_lossy(name).into_owned());
                        plans.insert(key.to_owned(), Published { plan, feed });
                    }
                    Err(error) => warn(&format!("{partition} offset {}: no plan: {error}", record.offset)),
                }
            }
        }
    }
    Ok(plans)
}

/// Appends plans of a feed. If it fails, some of them may be there; to write them again does no harm.
pub async fn write(log: &dyn Log, ids: Ids, feed: &str, plans: &[TrainService]) -> Result<()> {
    let encoder = Encoder::new(ids);
    let header = (FEED.into(), Some(Bytes::copy_from_slice(feed.as_bytes())));
    for chunk in plans.chunks(PLANS_PER_APPEND) {
        let records = chunk.iter().map(|plan| {
            let mut value = Vec::new();
            encoder.encode(plan, &mut value)?;
            Ok(record(&plan.train_id, Some(value.into()), vec![header.clone()]))
        });
        let records = records.collect::<Result<Vec<_>>>()?;
        log.append(records).await?;
    }
    Ok(())
}

/// Takes trains off sale: appends a tombstone for each. No further train-date of theirs opens; open ones are sold by
/// the
/// plan in their ledger, and what is sold stays sold.
pub async fn withdraw(log: &dyn Log, trains: &[String]) -> Result<()> {
    for chunk in trains.chunks(PLANS_PER_APPEND) {
        let records = chunk.iter().map(|train| record(train, None, Vec::new()));
        log.append(records.collect()).await?;
    }
    Ok(())
}

fn record(train: &str, value: Option<Bytes>, headers: Vec<Header>) -> OutputRecord {
    OutputRecord {
        topic: TRAIN_SERVICES.into(),
        partition: None,
        timestamp: None,
        key: Some(Bytes::copy_from_slice(train.as_bytes())),
        value,
        headers,
    }
}
