//! Train-dates from the ledger store.

use std::sync::Arc;

use bytes::Bytes;
use interlock_inventory::TrainDate;
use interlock_streams::ledger::LedgerStore;
use interlock_streams::log::murmur2::partition_for_key;

use crate::problem::Problem;

/// The ledgers of an installation, only read.
pub(crate) struct Ledgers {
    store: Arc<dyn LedgerStore>,
    count: i32,
}

impl Ledgers {
    /// There are as many as partitions.
    pub(crate) fn new(store: Arc<dyn LedgerStore>, count: i32) -> Self {
        Self { store, count }
    }

    /// A train-date as it is decided at this moment; one of which nothing is known has no plan.
    pub(crate) async fn train_date(&self, key: &str) -> Result<TrainDate, Problem> {
        let ledger = partition_for_key(key.as_bytes(), self.count);
        let name = Bytes::copy_from_slice(key.as_bytes());
        let fields = self.store.load(ledger, &[name], None).await?.pop().unwrap_or_default();
        // Asked afterwards: a rebuild that began meanwhile has emptied it.
        if self.store.state(ledger).await?.rebuilding {
            return Err(Problem::unavailable(format!(
                "ledger {ledger} is being rebuilt from its events; ask again"
            )));
        }
        TrainDate::from_fields(key, fields).map_err(|error| Problem::internal(error.to_string()))
    }
}
