//! Adds ledgers: grows the topics, and records up to where the history lies in the present ledgers.

use std::sync::Arc;

use bytes::Bytes;
use interlock_inventory::{Ledger, first_booking};
use interlock_streams::ledger::{LedgerStore, read_document};
use interlock_streams::log::Log;
use interlock_streams::runtime::Repartition;

use super::Outcome;
use crate::{Result, ensure, refused};

/// Ledgers of an application, and the topics whose partitions belong to them.
pub struct Growth {
    /// The log whose topics grow.
    pub log: Arc<dyn Log>,
    /// The store that holds the ledgers.
    pub store: Arc<dyn LedgerStore>,
    /// The ledgers of the application.
    pub ledgers: Repartition,
    /// The topics that grow, the requests last.
    pub topics: Vec<String>,
}

impl Growth {
    /// Grows to this number of ledgers, and reports each step.
    pub async fn to(&self, partitions: i32, mut tell: impl FnMut(String)) -> Result<Outcome> {
        for topic in &self.topics {
            let count = self.log.partitions(topic).await?;
            let missing = || {
                refused(format!(
                    "there is no topic {topic}; run `interlock seed`, or start a worker once"
                ))
            };
            let count = count.ok_or_else(missing)?;
            ensure!(
                count <= partitions,
                "--repartition: topic {topic} has {count} partitions, and a topic can't shrink to {partitions}"
            );
        }
        let taken = self.ledgers.grow(&self.topics, partitions).await?;
        tell(format!("every topic of the ledgers has {partitions} partitions"));
        let Some(taken) = taken else {
            tell("nothing to repartition: it was done already, or no worker was ever started".to_owned());
            return Ok(Outcome::Done);
        };
        let before = taken.ledgers();
        let first = first_booking(&self.counters(before).await?, partitions);
        taken.lay_out(first).await?;
        tell(format!(
            "{partitions} ledgers are laid out where there were {before}; start the workers, which rebuild each from its events"
        ));
        Ok(Outcome::Done)
    }

    /// Returns the booking counter of each ledger.
    async fn counters(&self, ledgers: i32) -> Result<Vec<i64>> {
        let mut counters = Vec::new();
        for ledger in 0..ledgers {
            let own = read_document(&*self.store, ledger, &Bytes::new()).await?;
            let fields = own.fields.map_err(|loss| {
                refused(format!(
                    "ledger {ledger}: the document with its booking counter {loss}; start workers, which rebuild the ledger, \
                     and stop them again"
                ))
            })?;
            let restored = Ledger::restore(ledger, ledgers, fields)
                .map_err(|error| refused(format!("ledger {ledger}: {error}")))?;
            counters.push(restored.bookings);
        }
        Ok(counters)
    }
}
