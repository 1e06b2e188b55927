//! Reads train-dates from the ledger store.

use std::sync::Arc;

use bytes::Bytes;
use interlock_inventory::TrainDate;
use interlock_streams::ledger::LedgerStore;
use interlock_streams::log::murmur2::partition_for_key;

use crate::problem::Problem;

/// Read access to the ledgers of an installation.
pub(crate) struct Ledgers {
    store: Arc<dyn LedgerStore>,
    count: i32,
}

impl Ledgers {
    /// Number of ledgers, which is the number of partitions.
    pub(crate) fn new(store: Arc<dyn LedgerStore>, count: i32) -> Self {
        Self { store, count }
    }

    /// Reads the present state of a train-date. An unknown train-date has no plan.
    pub(crate) async fn train_date(&self, key: &str) -> Result<TrainDate, Problem> {
        let ledger = partition_for_key(key.as_bytes(), self.count);
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
