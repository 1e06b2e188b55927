//! The plans that `train-services` holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interlock_schemas::registry::Registry;
use interlock_schemas::topics::TRAIN_SERVICES;
use interlock_schemas::{Decoder, TrainService};
use interlock_streams::log::Log;
use interlock_streams::record::TopicPartition;

/// Records that are taken in one go.
const RECORDS_PER_READ: usize = 1_000;
/// How long one look for further records waits.
const LOOK: Duration = Duration::from_millis(500);

/// The last plan of each train, by train. Plans that can't be read are left out with a warning.
pub(crate) async fn read(log: &dyn Log, registry: Arc<dyn Registry>) -> anyhow::Result<BTreeMap<String, TrainService>> {
    let mut decoder = Decoder::<TrainService>::new(registry);
    let mut plans = BTreeMap::new();
    for partition in 0..log.partitions(TRAIN_SERVICES).await?.unwrap_or(0) {
        let partition = TopicPartition::new(TRAIN_SERVICES, partition);
        let (low, high) = log.watermarks(&partition).await?;
        let mut reader = log.reader(&partition, low).await?;
        while reader.position() < high {
            for record in reader.next(RECORDS_PER_READ, LOOK).await? {
                let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) else {
                    continue;
                };
                let Some(value) = &record.value else {
                    plans.remove(key);
                    continue;
                };
                match decoder.decode(value).await {
                    Ok(plan) => drop(plans.insert(key.to_owned(), plan)),
                    Err(error) => eprintln!("warning: {partition} offset {}: no plan: {error}", record.offset),
                }
            }
        }
    }
    Ok(plans)
}
