//! Makes the owners rebuild their ledgers, one after the other, so that the other ledgers go on selling.

use std::collections::BTreeSet;
use std::time::Duration;

use interlock_streams::ledger::{Contents, LedgerError, LedgerStore, Token, View, demand_rebuild};
use interlock_streams::log::Log;
use interlock_streams::record::TopicPartition;
use tokio::time::{Instant, sleep};

use super::{Outcome, PROGRESS_INTERVAL};
use crate::{Result, ensure, refused};

/// Name among the owners of a ledger while it is acquired here.
const TAKER: &str = "interlock replay";

/// Ledgers of an application.
pub struct Ledgers<'a> {
    /// The log that holds the events.
    pub log: &'a dyn Log,
    /// The store that holds the ledgers.
    pub store: &'a dyn LedgerStore,
    /// The group whose offsets are compared.
    pub group: &'a str,
    /// The topic whose partitions have the ledgers.
    pub source: &'a str,
    /// The number of ledgers.
    pub partitions: i32,
    /// Longest wait for one ledger.
    pub wait: Duration,
    /// Makes fresh tokens; the caller supplies the randomness.
    pub token: fn() -> Token,
}

impl Ledgers<'_> {
    /// Has each of these ledgers rebuilt from its first event, and reports each.
    pub async fn rebuild(&self, chosen: &BTreeSet<i32>, mut tell: impl FnMut(i32)) -> Result<Outcome> {
        if let Some(unknown) = chosen.iter().find(|ledger| **ledger >= self.partitions) {
            return Err(refused(format!(
                "--partitions: there are ledgers 0 to {}, not {unknown}",
                self.partitions - 1
            )));
        }
        for ledger in chosen {
            self.check(*ledger).await?;
        }
        // No worker starts before all of them have its format.
        for ledger in chosen {
            self.store.renew(*ledger).await?;
        }
        for ledger in chosen {
            let epoch = demand_rebuild(self.store, *ledger, TAKER, self.token).await?;
            if !self.is_rebuilt(*ledger, epoch).await? {
                let later = chosen.iter().filter(|later| *later > ledger).count();
                return Ok(Outcome::Begun(format!(
                    "ledger {ledger} was not rebuilt within {:?} (does a worker run?), and {later} more were not begun",
                    self.wait
                )));
            }
            tell(*ledger);
        }
        Ok(Outcome::Done)
    }

    /// Requires a committed offset, which determines how far the events are folded.
    async fn check(&self, ledger: i32) -> Result<()> {
        let source = TopicPartition::new(self.source, ledger);
        let sources = std::slice::from_ref(&source);
        let committed = self.log.committed_unstable(self.group, sources).await?;
        ensure!(
            committed.first().is_some_and(Option::is_some),
            "group {} has no committed offset for {source}: no worker has ever held this ledger, or the offset was lost and must \
             be restored first; nothing was begun",
            self.group
        );
        Ok(())
    }

    /// Waits until an owner has acquired the ledger after this epoch and rebuilt it.
    async fn is_rebuilt(&self, ledger: i32, demanded: i64) -> Result<bool> {
        let until = Instant::now() + self.wait;
        loop {
            match self.store.view(ledger, &[], Contents::Head, &[]).await {
                Ok(View { state, .. }) if state.epoch > demanded && !state.rebuilding => return Ok(true),
                Ok(_) | Err(LedgerError::Unavailable { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            sleep(PROGRESS_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use interlock_streams::ledger::memory::MemoryLedgerStore;
    use interlock_streams::log::TopicSpec;
    use interlock_streams::log::memory::MemoryLog;

    use super::*;

    #[tokio::test]
    async fn a_ledger_that_nobody_ever_held_is_left_alone() {
        let (log, store) = (MemoryLog::new(), MemoryLedgerStore::default());
        log.create_topics(&[TopicSpec::new("in", 2)]).await.unwrap();
        let ledgers = Ledgers {
            log: &log,
            store: &store,
            group: "g",
            source: "in",
            partitions: 2,
            wait: Duration::ZERO,
            token: Token::default,
        };
        let error = ledgers.rebuild(&[1].into(), |_| ()).await.unwrap_err().to_string();
        assert!(
            error.contains("in[1]") && error.contains("nothing was begun"),
            "{error}"
        );
        let error = ledgers.rebuild(&[0, 2].into(), |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("0 to 1, not 2"), "{error}");
        assert_eq!(store.state(1).await.unwrap().epoch, 0);
    }
}
