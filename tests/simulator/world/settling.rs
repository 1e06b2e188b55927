//! The end of a run: the faults end, everything settles, and the workers stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use interlock_schemas::topics;
use interlock_streams::ledger::LedgerStore as _;
use interlock_streams::log::Log as _;
use interlock_streams::record::TopicPartition;
use tokio::time::{Instant, sleep};

use super::{Next, Promise, Violation, World};

/// Everything must have settled this long after the last fault.
const SETTLE_MAX_MS: u64 = 240_000;
/// A settled state must last for this time, which is longer than anything can still be in flight.
const QUIET: Duration = Duration::from_secs(25);
/// A worker that is asked to stop does so within this time.
const STOP_MAX: Duration = Duration::from_secs(60);

impl World<'_> {
    /// Ends all faults, and starts the workers that are down.
    pub(super) async fn heal(&mut self) -> Result<()> {
        self.trace.line(format_args!("everything is healed"));
        self.healed.store(true, Ordering::Relaxed);
        for partition in 0..self.partitions() {
            for topic in topics::EVENTS.iter().chain([&topics::BOOKING_REQUESTS]) {
                self.log.release_markers(&TopicPartition::new(*topic, partition));
            }
        }
        self.log.release_offsets(&self.group());
        for next in std::mem::take(&mut self.agenda).into_values() {
            match next {
                Next::ReleaseCommits(id) => self.log.release_commits(&id),
                Next::ReleaseNews(id) => self.log.release_news(&id),
                _ => {}
            }
        }
        for worker in 0..self.workers.len() {
            if let Some(life) = self.life(worker) {
                let store = life.site.clone();
                store.set_store(self.store.clone());
            }
            self.start(worker)?;
        }
        Ok(())
    }

    /// Waits until everything is decided and committed, and stays so.
    pub(super) async fn settle(&mut self) -> Result<(), Violation> {
        let until = self.trace.now_ms() + SETTLE_MAX_MS;
        let mut quiet_since: Option<Instant> = None;
        loop {
            sleep(Duration::from_millis(500)).await;
            self.look().await?;
            let missing = self.missing().await?;
            match (&missing, quiet_since) {
                (None, Some(since)) if since.elapsed() >= QUIET => return Ok(()),
                (None, Some(_)) => {}
                (None, None) => quiet_since = Some(Instant::now()),
                (Some(_), _) => quiet_since = None,
            }
            if let Some(missing) = missing
                && self.trace.now_ms() > until
            {
                let troubles = self.workers.iter().filter_map(|worker| {
                    let life = worker.life.as_ref()?;
                    Some(format!("{}: {:?}", life.site.name, life.health.troubles()))
                });
                let troubles: Vec<String> = troubles.collect();
                let detail = format!(
                    "after {SETTLE_MAX_MS} ms without faults: {missing}; {}",
                    troubles.join("; ")
                );
                return Err(Violation::new(Promise::Progress, detail));
            }
        }
    }

    /// Returns the work that is not done yet, if any.
    async fn missing(&mut self) -> Result<Option<String>> {
        let sources = TopicPartition::all(topics::BOOKING_REQUESTS, self.partitions());
        let offsets = self.log.committed_unstable(&self.group(), &sources).await?;
        for (source, committed) in sources.iter().zip(offsets) {
            let Some(committed) = committed else {
                return Ok(Some(format!("{source} has no committed offset")));
            };
            let mut reader = self.log.reader(source, committed.offset).await?;
            if !reader.next(1, Duration::ZERO).await?.is_empty()
                || reader.position() < self.log.watermarks(source).await?.1
            {
                return Ok(Some(format!("{source} is committed up to {} only", committed.offset)));
            }
            let state = self.store.state(source.partition).await?;
            if state.rebuilding || state.applied.unwrap_or(-1) + 1 != committed.offset {
                let detail = format!(
                    "ledger {} is at {:?} (rebuilding: {}), the log at {}",
                    source.partition, state.applied, state.rebuilding, committed.offset
                );
                return Ok(Some(detail));
            }
            for topic in topics::EVENTS {
                let events = TopicPartition::new(topic, source.partition);
                let (_, high) = self.log.watermarks(&events).await?;
                let stable = self.stable.entry(events.clone()).or_default();
                if *stable < high {
                    let mut reader = self.log.reader(&events, *stable).await?;
                    reader.next(usize::MAX, Duration::ZERO).await?;
                    *stable = reader.position();
                }
                if *stable < high {
                    return Ok(Some(format!("{events} has an open transaction")));
                }
            }
        }
        self.remains().windows_behind().await
    }

    pub(super) async fn stop_all(&mut self) -> Result<(), Violation> {
        for worker in &mut self.workers {
            if let Some(life) = worker.life.as_mut() {
                life.stopping = true;
                life.shutdown.send_replace(true);
            }
        }
        let deadline = Instant::now() + STOP_MAX;
        while self.workers.iter().any(|worker| worker.life.is_some()) {
            sleep(Duration::from_millis(100)).await;
            self.look().await?;
            if Instant::now() > deadline {
                return Err(Violation::new(Promise::Progress, "a worker doesn't stop"));
            }
        }
        Ok(())
    }
}
