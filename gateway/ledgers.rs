//! Reads train-dates from the ledger store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use interlock_inventory::TrainDate;
use interlock_schemas::topics::BOOKING_REQUESTS;
use interlock_streams::ledger::LedgerStore;
use interlock_streams::log::Log;
use interlock_streams::log::murmur2::partition_for_key;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::problem::Problem;

/// How long the number of partitions is cached: a repartitioning changes it while the gateway runs.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Read access to the ledgers of an installation.
pub(crate) struct Ledgers {
    store: Arc<dyn LedgerStore>,
    log: Arc<dyn Log>,
    /// Their number, and when the log said so.
    count: Mutex<(i32, Instant)>,
}

impl Ledgers {
    /// Begins with as many ledgers as partitions.
    pub(crate) fn new(store: Arc<dyn LedgerStore>, log: Arc<dyn Log>, count: i32) -> Self {
        let count = Mutex::new((count, Instant::now()));
        Self { store, log, count }
    }

    /// Returns the number of ledgers, which is that of the partitions of `booking-requests`.
    async fn count(&self) -> Result<i32, Problem> {
        let mut known = self.count.lock().await;
        if known.1.elapsed() >= COUNT_INTERVAL {
            let count = self.log.partitions(BOOKING_REQUESTS).await?;
            let missing =
                || Problem::unavailable(format!("there is no topic {BOOKING_REQUESTS}; run `interlock seed`"));
            *known = (count.ok_or_else(missing)?, Instant::now());
        }
        Ok(known.0)
    }

    /// Reads the present state of a train-date. An unknown train-date has no plan.
    pub(crate) async fn train_date(&self, key: &str) -> Result<TrainDate, Problem> {
        let ledger = partition_for_key(key.as_bytes(), self.count().await?);
        let name = Bytes::copy_from_slice(key.as_bytes());
        let fields = self.store.load(ledger, &[name], None).await?.pop().unwrap_or_default();
        // Asked after the read, because a rebuild that began in between has emptied the ledger.
        if self.store.state(ledger).await?.rebuilding {
            return Err(Problem::unavailable(format!(
                "ledger {ledger} is being rebuilt from its events; ask again"
            )));
        }
        TrainDate::from_fields(key, fields).map_err(|error| Problem::internal(error.to_string()))
    }
}
