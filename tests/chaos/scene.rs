//! The parts that a fault works on, and the moments that are measured.
//!
//! ```text
//!          struck                 over
//! ────────────┼─────────────────────┼───────────────────────────────> time
//!             ├── from the fault ───┼────────> every ledger has decided a request that was appended after `struck`
//!                                   ├── from its end ──> the same of requests appended after `over`
//!                                   ├── windows ───────> the tables hold every answer that was there at `over`
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sqlx::Row as _;

use super::clock::now_ms;
use super::stage::{Ledgers, Play, Stage};
use super::watch::Watch;
use crate::random::Random;
use crate::real::{Cluster, PATIENCE, Pair, Worker, wait_for};

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    at: Instant,
    ms: i64,
}

impl Moment {
    fn now() -> Self {
        Self {
            at: Instant::now(),
            ms: now_ms(),
        }
    }
}

/// The durations that were measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Duration for which the harness kept the fault up.
    pub(super) lasted: Duration,
    /// From the fault until every ledger has decided a request that came after it.
    pub(super) from_fault: Duration,
    /// From the end of the fault until every ledger has decided a request that came after that.
    pub(super) from_end: Duration,
    /// From the end until the windows hold every answer that was there then.
    pub(super) windows: Duration,
}

/// The surroundings of a fault.
pub(super) struct Scene<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) play: &'a mut Play,
    pub(super) watch: &'a Watch,
    pub(super) chance: &'a mut Random,
    struck: Option<Moment>,
    over: Option<Moment>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(stage: &'a mut Stage, play: &'a mut Play, watch: &'a Watch, chance: &'a mut Random) -> Self {
        Self {
            stage,
            play,
            watch,
            chance,
            struck: None,
            over: None,
        }
    }

    /// Marks the beginning of the fault.
    pub(super) fn struck(&mut self) {
        self.struck = Some(Moment::now());
    }

    /// Marks the end of the fault: from now on the workers have nothing left to wait for.
    pub(super) fn over(&mut self) {
        self.over = Some(Moment::now());
    }

    /// Waits for a random time between two limits in milliseconds.
    pub(super) async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        let pause = self.chance.between(from_ms, to_ms);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// Returns the number of a random worker.
    pub(super) fn any_worker(&mut self) -> usize {
        self.chance.below(self.play.workers.len() as u64) as usize
    }

    /// Returns a worker by its number.
    pub(super) fn worker(&mut self, number: usize) -> &mut Worker {
        &mut self.play.workers[number].worker
    }

    pub(super) fn pair(&mut self) -> Result<&mut Pair> {
        match &mut self.stage.ledgers {
            Ledgers::Pair(pair) => Ok(pair),
            _ => bail!("this fault needs a replica"),
        }
    }

    pub(super) fn cluster(&mut self) -> Result<&mut Cluster> {
        match &mut self.stage.ledgers {
            Ledgers::Cluster(cluster) => Ok(cluster),
            _ => bail!("this fault needs a cluster"),
        }
    }

    /// Waits until every ledger has decided a request that was appended after the fault.
    pub(super) async fn recovered(&self) -> Result<Instant> {
        let struck = self.struck.context("the fault has not struck")?;
        self.decided_after(struck, "after the fault").await
    }

    async fn decided_after(&self, moment: Moment, when: &str) -> Result<Instant> {
        let what = format!("every ledger decides a request that was appended {when}");
        wait_for(&what, PATIENCE, async || Ok(self.watch.all_decided(moment.ms))).await
    }

    /// Waits until the system has recovered by itself, and returns the durations.
    pub(super) async fn conclude(&self) -> Result<Times> {
        let struck = self.struck.context("the fault has not struck")?;
        let over = self.over.unwrap_or(struck);
        let answered = self.watch.last_offsets();
        let recovered = self.recovered().await?;
        let decided = self.decided_after(over, "after the fault's end").await?;
        let windows = wait_for("the windows hold every answer", PATIENCE, async || {
            // The database may be unavailable for another moment.
            let caught_up = self.windows_hold(&answered).await.unwrap_or(false);
            Ok(caught_up.then(Instant::now))
        })
        .await?;
        Ok(Times {
            lasted: over.at - struck.at,
            from_fault: recovered.saturating_duration_since(struck.at),
            from_end: decided.saturating_duration_since(over.at),
            windows: windows.saturating_duration_since(over.at),
        })
    }

    async fn windows_hold(&self, answered: &std::collections::HashMap<(String, i32), i64>) -> Result<bool> {
        let mut database = self.play.installation.database().await?;
        let rows = sqlx::query("SELECT topic, partition, next_offset FROM sink_offsets");
        for row in rows.fetch_all(&mut database).await? {
            let partition: (String, i32) = (row.try_get(0)?, row.try_get(1)?);
            let next: i64 = row.try_get(2)?;
            if answered.get(&partition).is_some_and(|last| next <= *last) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
