//! Repartitions between the two halves of a run. The operator's calls fail like all others; the operator is interrupted
//! and tries again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use interlock_inventory::Ledger;
use interlock_schemas::topics;
use interlock_streams::ledger::read_document;
use interlock_streams::log::Log as _;
use interlock_streams::record::TopicPartition;
use interlock_streams::runtime::{Reason, Repartition, RepartitionError, RuntimeConfig, TaskError};
use tokio::time::{sleep, timeout};

use super::super::faulty_ledgers::FaultyLedgers;
use super::super::faulty_log::FaultyLog;
use super::super::site::Site;
use super::{Promise, Stage, Violation, World, tokens, topology};
use crate::random::Random;

/// Largest number of attempts that fail or are interrupted, before the faults end.
const FAULTY_ATTEMPTS: u64 = 6;
/// Longer than any time-out of the log.
const BEYOND_TIMEOUTS: Duration = Duration::from_secs(12);
/// Longest time for the group to assign all partitions.
const WAIT: Duration = Duration::from_secs(20);

impl World<'_> {
    /// Repartitions to more ledgers, after everything is decided and all workers have stopped.
    pub(super) async fn grow(&mut self, ledgers: i32, first_booking: i64) -> Result<(), Violation> {
        let sources = TopicPartition::all(topics::BOOKING_REQUESTS, self.partitions());
        let ends = self.log.committed_unstable(&self.group(), &sources).await;
        let ends = ends.map_err(anyhow::Error::from)?;
        let ends = ends.iter().map(|end| end.as_ref().map_or(0, |end| end.offset));
        if let Some(last) = self.stages.last_mut() {
            last.ends = ends.collect();
        }
        self.healed.store(false, Ordering::Relaxed);
        let mut random = Random::new(self.schedule.seed, 10);
        for attempt in 0.. {
            if attempt == FAULTY_ATTEMPTS {
                self.healed.store(true, Ordering::Relaxed);
            }
            if attempt > 2 * FAULTY_ATTEMPTS {
                return Err(Violation::new(
                    Promise::Progress,
                    format!("{ledgers} ledgers can't be laid out"),
                ));
            }
            let name = format!("operator/{attempt}");
            let site = Arc::new(Site::new(
                name.clone(),
                Random::new(self.schedule.seed, 5_000 + attempt),
                self.schedule.rates,
                self.trace.clone(),
                self.healed.clone(),
                self.store.clone(),
            ));
            let patience = match attempt < FAULTY_ATTEMPTS && random.chance(5_000) {
                true => Duration::from_millis(random.below(3_000)),
                false => Duration::from_secs(300),
            };
            match timeout(patience, self.attempt(&site, &name, ledgers)).await {
                Ok(Ok(())) => break,
                Err(_) => site.say(format_args!("is interrupted")),
                Ok(Err(error)) => {
                    site.say(format_args!("{error}"));
                    let may_be_tried_again = matches!(
                        error,
                        RepartitionError::NotAlone { .. } | RepartitionError::Task(TaskError::Restart { .. })
                    );
                    if !may_be_tried_again {
                        return Err(Violation::new(Promise::Running, format!("{name}: {error}")));
                    }
                }
            }
            sleep(BEYOND_TIMEOUTS).await;
        }
        self.healed.store(false, Ordering::Relaxed);
        self.stages.push(Stage {
            ledgers,
            first_booking,
            ends: Vec::new(),
        });
        Ok(())
    }

    /// Does the same as `interlock replay --repartition`.
    async fn attempt(&self, site: &Arc<Site>, name: &str, partitions: i32) -> Result<(), RepartitionError> {
        let log = Arc::new(FaultyLog {
            site: site.clone(),
            log: self.log.clone(),
        });
        let store = Arc::new(FaultyLedgers(site.clone()));
        let config = RuntimeConfig {
            tokens: tokens(name),
            ..self.config("operator")
        };
        let booking = Arc::new(topology("booking").map_err(|error| TaskError::Fatal(error.to_string()))?);
        let repartition = Repartition::new(&config, &booking, log.clone(), store.clone(), WAIT);
        let of_ledgers = topics::EVENTS.into_iter().map(str::to_owned);
        let of_ledgers = of_ledgers.chain([
            topics::dlq(topics::BOOKING_REQUESTS),
            topics::BOOKING_REQUESTS.to_owned(),
        ]);
        let of_ledgers: Vec<String> = of_ledgers.collect();
        let Some(taken) = repartition.grow(&of_ledgers, partitions).await? else {
            return Ok(());
        };
        let before = taken.ledgers();
        let mut counters = Vec::new();
        for ledger in 0..before {
            let own = read_document(&*store, ledger, &Bytes::new()).await?;
            // Lost since the ledger was taken: a worker has to rebuild it first.
            let fields = own.fields.map_err(|loss| TaskError::Restart {
                reason: Reason::LedgerDamaged,
                detail: loss.to_string(),
            })?;
            let restored = Ledger::restore(ledger, before, fields);
            counters.push(restored.map_err(|error| TaskError::Fatal(error.to_string()))?.bookings);
        }
        taken
            .lay_out(interlock_inventory::first_booking(&counters, partitions))
            .await
    }
}
