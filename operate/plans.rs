//! Reads and writes the plans in `train-services`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use interlock_schemas::registry::{Ids, Registry};
use interlock_schemas::topics::TRAIN_SERVICES;
use interlock_schemas::{Decoder, Encoder, TrainService, VALUE_SCHEMA_HEADER};
use interlock_streams::log::Log;
use interlock_streams::record::{OutputRecord, TopicPartition};

use crate::Result;

/// Most records per read.
const RECORDS_PER_READ: usize = 1_000;
/// Longest wait of one read.
const READ_WAIT: Duration = Duration::from_millis(500);
/// Plans per append; a national timetable takes a few appends.
const PLANS_PER_APPEND: usize = 1_000;

/// Reads the last plan of each train, by train. Leaves out plans that can't be read, and reports each to `warn`.
pub async fn read(
    log: &dyn Log,
    registry: Arc<dyn Registry>,
    mut warn: impl FnMut(&str),
) -> Result<BTreeMap<String, TrainService>> {
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
                    Ok(plan) => drop(plans.insert(key.to_owned(), plan)),
                    Err(error) => warn(&format!("{partition} offset {}: no plan: {error}", record.offset)),
                }
            }
        }
    }
    Ok(plans)
}

/// Appends plans. After a failure some of them may be written; writing them again does no harm.
pub async fn write(log: &dyn Log, ids: Ids, plans: &[TrainService]) -> Result<()> {
    let encoder = Encoder::new(ids);
    for chunk in plans.chunks(PLANS_PER_APPEND) {
        let records = chunk.iter().map(|plan| {
            let mut value = Vec::new();
            encoder.encode(plan, &mut value)?;
            Ok(OutputRecord {
                topic: TRAIN_SERVICES.into(),
                partition: None,
                timestamp: None,
                key: Some(Bytes::copy_from_slice(plan.train_id.as_bytes())),
                value: Some(value.into()),
                headers: Vec::new(),
            })
        });
        let records = records.collect::<Result<Vec<_>>>()?;
        log.append(records).await?;
    }
    Ok(())
}
