//! The loop of a stream thread: one closed list of inputs, one place where each is handled.
//!
//! ```text
//!             Assigned                    trouble
//!  joining ───────────────▶ running ─────────────────▶ backing off
//!     ▲                        │  ▲                        │
//!     │        Revoked         │  │   a poll, then the     │
//!     └──── commit, release ◀──┘  └──── pause is over ◀────┘
//!                                       (acquire all again)
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::config::RuntimeConfig;
use super::error::{Reason, TaskError};
use super::health::Health;
use super::pause;
use super::task::stages::{Stage, Stages};
use super::task::tasks::Tasks;
use crate::backoff::Backoff;
use crate::log::{Consumer, Log, LogError, Polled};
use crate::metric_definitions::{
    COMMIT_SECONDS, COMMITS, LAG, OUTCOME_SECONDS, RECORDS_APPLIED, RECORDS_READ, RESTARTS, ROUND_SECONDS, TASKS,
};
use crate::mutation::{Clause, left_out};
use crate::record::{PartitionRecords, TopicPartition, listed};

/// The inputs of a stream thread.
enum Input {
    Polled(Result<Polled, LogError>),
    Committed(Result<(), TaskError>),
    CommitDue,
    CheckDue,
    AcquireDue,
    Shutdown,
}

/// A commit under way.
struct Commit {
    result: BoxFuture<'static, Result<(), TaskError>>,
    began: Instant,
    oldest: Option<i64>,
}

/// The pause after an error.
struct BackingOff {
    until: Instant,
    /// The group must have been asked again before anything is acquired.
    polled: bool,
}

/// The connections of a stream thread.
pub(crate) struct Connections {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) consumer: Box<dyn Consumer>,
    pub(crate) tasks: Box<dyn Tasks>,
    pub(crate) stages: Arc<Stages>,
}

/// A consumer, its tasks and their commits.
pub(crate) struct StreamThread<'a> {
    name: String,
    topology: String,
    config: &'a RuntimeConfig,
    log: Arc<dyn Log>,
    consumer: Box<dyn Consumer>,
    tasks: Box<dyn Tasks>,
    health: Health,
    shutdown: watch::Receiver<bool>,
    assigned: BTreeSet<TopicPartition>,
    commit: Option<Commit>,
    backing_off: Option<BackingOff>,
    backoff: Backoff,
    /// Time at which the first uncommitted record was applied, and its timestamp.
    uncommitted_since: Option<Instant>,
    oldest: Option<i64>,
    /// The last poll returned more than half of a round's records, so there are more. Otherwise it returned all.
    backlog: bool,
    check_at: Instant,
    lag_at: Instant,
    renewal_at: Instant,
    stages: Arc<Stages>,
}

/// Interval at which the lag is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(2);
/// Interval at which the offsets of idle partitions are committed again, so that they never grow old: Kafka removes old
/// offsets, after seven days by default. It spares those of a group that has members, but the last commit may be as old
/// as that when the last member leaves.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3_600);

impl<'a> StreamThread<'a> {
    pub(crate) fn new(
        name: String,
        topology: String,
        config: &'a RuntimeConfig,
        connections: Connections,
        health: Health,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let Connections {
            log,
            consumer,
            tasks,
            stages,
        } = connections;
        let check_at = Instant::now() + config.check_interval;
        let backoff = pause::backoff(&name, config.backoff);
        Self {
            name,
            topology,
            config,
            log,
            consumer,
            tasks,
            health,
            shutdown,
            assigned: BTreeSet::new(),
            commit: None,
            backing_off: None,
            backoff,
            uncommitted_since: None,
            oldest: None,
            backlog: false,
            check_at,
            lag_at: Instant::now(),
            renewal_at: Instant::now() + RENEWAL_INTERVAL,
            stages,
        }
    }

    /// Runs until a shutdown or a fatal error.
    pub(crate) async fn run(mut self) -> Result<(), TaskError> {
        self.health.set(&self.name, Some("waiting for partitions".into()));
        loop {
            let result = match self.next().await {
                Input::Shutdown => return self.shut_down().await,
                Input::Committed(result) => self.on_committed(result),
                Input::CommitDue => self.begin_commit().await,
                Input::CheckDue => self.check().await,
                Input::AcquireDue => self.acquire_all().await,
                Input::Polled(Ok(polled)) => self.on_polled(polled).await,
                Input::Polled(Err(error)) => Err(error.into()),
            };
            if let Err(error) = result
                && let Err(fatal) = self.on_trouble(error).await
            {
                self.abandon(false).await;
                self.leave().await;
                return Err(fatal);
            }
        }
    }

    async fn next(&mut self) -> Input {
        if *self.shutdown.borrow() {
            return Input::Shutdown;
        }
        let now = Instant::now();
        if now >= self.lag_at {
            self.lag_at = now + LAG_INTERVAL;
            self.measure_lag();
        }
        if let Some(pause) = &self.backing_off {
            if pause.polled && now >= pause.until {
                return Input::AcquireDue;
            }
        } else if self.commit_is_due(now) {
            return Input::CommitDue;
        } else if now >= self.check_at {
            return Input::CheckDue;
        }
        let wait = self.wait(now);
        // Records that arrive during a commit can't be committed before it has ended. A backlog is worked off
        // meanwhile. Without one they are taken together afterwards: many small rounds would only load the store and
        // the log.
        let full = self.tasks.uncommitted() >= self.config.commit_records_max;
        let blocked = self.commit.is_some() && (full || !self.backlog);
        let commit = async {
            match &mut self.commit {
                Some(commit) => (&mut commit.result).await,
                None => std::future::pending().await,
            }
        };
        let mut watch = self.stages.watch();
        let input = tokio::select! {
            biased;
            _ = self.shutdown.changed() => Input::Shutdown,
            result = commit => Input::Committed(result),
            polled = self.consumer.poll(self.config.batch_records_max, wait), if !blocked => Input::Polled(polled),
        };
        watch.lap(if blocked { Stage::Blocked } else { Stage::Poll });
        input
    }

    fn commit_is_due(&self, now: Instant) -> bool {
        let Some(since) = self.uncommitted_since else {
            return false;
        };
        self.commit.is_none()
            && ((!self.backlog && self.tasks.commits_when_drained())
                || self.tasks.uncommitted() >= self.config.commit_records_max
                || now >= since + self.commit_interval())
    }

    fn commit_interval(&self) -> Duration {
        if self.tasks.commits_when_drained() {
            self.config.commit_interval
        } else {
            self.config.sink_interval
        }
    }

    /// Returns the longest wait of a poll: zero while something could be committed instead.
    fn wait(&self, now: Instant) -> Duration {
        if let Some(pause) = &self.backing_off {
            return pause.until.saturating_duration_since(now);
        }
        let check = self.check_at.saturating_duration_since(now);
        match self.uncommitted_since {
            Some(_) if self.commit.is_some() => check,
            Some(_) if self.tasks.commits_when_drained() => Duration::ZERO,
            Some(since) => (since + self.commit_interval())
                .saturating_duration_since(now)
                .min(check),
            None => check,
        }
    }

    async fn on_polled(&mut self, polled: Polled) -> Result<(), TaskError> {
        if let Some(pause) = &mut self.backing_off {
            pause.polled = true;
        }
        self.backlog =
            matches!(&polled, Polled::Records(batches) if count(batches) >= self.config.batch_records_max / 2);
        match polled {
            Polled::Nothing => Ok(()),
            // Records that were fetched before the error are read again.
            Polled::Records(_) if self.backing_off.is_some() => Ok(()),
            Polled::Records(batches) => self.apply(batches).await,
            Polled::Assigned(partitions) => self.on_assigned(partitions).await,
            Polled::Revoked(partitions) => self.on_revoked(&partitions).await,
            Polled::Lost(partitions) => self.on_lost(&partitions),
        }
    }

    async fn apply(&mut self, batches: Vec<PartitionRecords>) -> Result<(), TaskError> {
        let began = Instant::now();
        let records = count(&batches);
        let oldest = batches
            .iter()
            .filter_map(|batch| Some(batch.records.first()?.timestamp))
            .min();
        metrics::counter!(RECORDS_READ, "topology" => self.topology.clone()).increment(records as u64);
        self.tasks.apply(batches).await?;
        metrics::counter!(RECORDS_APPLIED, "topology" => self.topology.clone()).increment(records as u64);
        metrics::histogram!(ROUND_SECONDS, "topology" => self.topology.clone()).record(began.elapsed().as_secs_f64());
        if self.tasks.uncommitted() > 0 {
            self.uncommitted_since.get_or_insert(began);
            self.oldest = self.oldest.into_iter().chain(oldest).min();
        }
        Ok(())
    }

    async fn on_assigned(&mut self, partitions: Vec<TopicPartition>) -> Result<(), TaskError> {
        tracing::info!(
            thread = self.name,
            partitions = listed(&partitions),
            "partitions assigned"
        );
        self.assigned.extend(partitions.iter().cloned());
        metrics::gauge!(TASKS, "topology" => self.topology.clone(), "thread" => self.name.clone())
            .set(self.assigned.len() as f64);
        if self.backing_off.is_some() {
            // All assigned partitions are acquired together when the pause is over.
            return Ok(());
        }
        self.settle().await?;
        self.acquire(&partitions).await
    }

    async fn on_revoked(&mut self, partitions: &[TopicPartition]) -> Result<(), TaskError> {
        tracing::info!(
            thread = self.name,
            partitions = listed(partitions),
            "partitions revoked"
        );
        let result = match left_out(Clause::SettleBeforeRevocation) {
            true => Ok(()),
            false => self.give_up(partitions).await,
        };
        self.remove(partitions);
        self.consumer.complete_revocation().await?;
        result
    }

    fn on_lost(&mut self, partitions: &[TopicPartition]) -> Result<(), TaskError> {
        self.remove(partitions);
        let lost = listed(partitions);
        let detail = format!("the group took {lost} away before they could be given up");
        Err(TaskError::restart(Reason::PartitionsLost, detail))
    }

    fn remove(&mut self, partitions: &[TopicPartition]) {
        self.tasks.forget(partitions);
        for partition in partitions {
            if self.assigned.remove(partition) {
                lag(&self.topology, partition).set(0.0);
            }
        }
        metrics::gauge!(TASKS, "topology" => self.topology.clone(), "thread" => self.name.clone())
            .set(self.assigned.len() as f64);
    }

    /// Commits the transaction that is open, after the commit under way.
    async fn settle(&mut self) -> Result<(), TaskError> {
        self.finish_commit().await?;
        if self.uncommitted_since.is_some() {
            self.begin_commit().await?;
            self.finish_commit().await?;
        }
        Ok(())
    }

    /// Ends the transaction, one way or the other, and releases ledgers of which nothing is left open.
    async fn give_up(&mut self, partitions: &[TopicPartition]) -> Result<(), TaskError> {
        let settled = self.settle().await;
        if settled.is_err() {
            // Uncommitted work must be aborted before the partitions are given away.
            self.abandon(false).await;
        }
        settled.and(self.tasks.release(partitions).await)
    }

    async fn begin_commit(&mut self) -> Result<(), TaskError> {
        let oldest = self.oldest.take();
        self.uncommitted_since = None;
        let result = self.tasks.commit(self.consumer.as_mut()).await?;
        self.commit = Some(Commit {
            result,
            began: Instant::now(),
            oldest,
        });
        Ok(())
    }

    async fn finish_commit(&mut self) -> Result<(), TaskError> {
        match &mut self.commit {
            None => Ok(()),
            Some(commit) => {
                let result = (&mut commit.result).await;
                self.on_committed(result)
            }
        }
    }

    fn on_committed(&mut self, result: Result<(), TaskError>) -> Result<(), TaskError> {
        let commit = self.commit.take();
        result?;
        self.tasks.committed();
        self.backoff.succeeded();
        if let Some(Commit { began, oldest, .. }) = commit {
            metrics::counter!(COMMITS, "topology" => self.topology.clone()).increment(1);
            let took = began.elapsed();
            self.stages.add(Stage::Transaction, took);
            metrics::histogram!(COMMIT_SECONDS, "topology" => self.topology.clone()).record(took.as_secs_f64());
            if let (Some(oldest), Some(now)) = (oldest, wall_clock_ms()) {
                metrics::histogram!(OUTCOME_SECONDS, "topology" => self.topology.clone())
                    .record((now - oldest).max(0) as f64 / 1_000.0);
            }
        }
        Ok(())
    }

    async fn acquire(&mut self, partitions: &[TopicPartition]) -> Result<(), TaskError> {
        if !partitions.is_empty() {
            let positions = self.tasks.acquire(self.consumer.as_mut(), partitions).await?;
            self.consumer.start(&positions).await?;
            self.health.set(&self.name, None);
        }
        Ok(())
    }

    async fn acquire_all(&mut self) -> Result<(), TaskError> {
        let partitions: Vec<TopicPartition> = self.assigned.iter().cloned().collect();
        self.acquire(&partitions).await?;
        self.backing_off = None;
        self.health.set(&self.name, None);
        Ok(())
    }

    /// Asks for the high watermarks beside the work and sets the lag when they come.
    fn measure_lag(&self) {
        let (log, topology) = (self.log.clone(), self.topology.clone());
        let position = |partition: &TopicPartition| Some((partition.clone(), self.consumer.position(partition)?));
        let positions: Vec<(TopicPartition, i64)> = self.assigned.iter().filter_map(position).collect();
        tokio::spawn(async move {
            for (partition, position) in positions {
                // While the log can't be asked the lag is unknown, and the last one stays.
                if let Ok((_, high)) = log.watermarks(&partition).await {
                    lag(&topology, &partition).set((high - position).max(0) as f64);
                }
            }
        });
    }

    async fn check(&mut self) -> Result<(), TaskError> {
        let now = Instant::now();
        self.check_at = now + self.config.check_interval;
        if now >= self.renewal_at {
            self.renewal_at = now + RENEWAL_INTERVAL;
            if self.tasks.renew() {
                self.uncommitted_since.get_or_insert(now);
            }
        }
        self.tasks.check().await
    }

    /// Drops everything that is not committed; the committed state is read back when the pause is over.
    async fn on_trouble(&mut self, error: TaskError) -> Result<(), TaskError> {
        let producer_lost = error.loses_producer();
        let TaskError::Restart { reason, detail } = error else {
            return Err(error);
        };
        let reason = reason.name();
        tracing::warn!(
            thread = self.name,
            reason,
            detail,
            failures = self.backoff.failures(),
            "starting over"
        );
        metrics::counter!(RESTARTS, "topology" => self.topology.clone(), "reason" => reason).increment(1);
        self.health.set(&self.name, Some(format!("{reason}: {detail}")));
        self.abandon(producer_lost).await;
        let partitions: Vec<TopicPartition> = self.assigned.iter().cloned().collect();
        if let Err(error) = self.consumer.stop(&partitions).await {
            tracing::warn!(thread = self.name, %error, "the partitions could not be stopped");
        }
        self.backing_off = Some(BackingOff {
            until: Instant::now() + self.backoff.failed(),
            polled: false,
        });
        Ok(())
    }

    /// Waits for the commit under way, whether it succeeds or fails, and aborts the open transaction.
    async fn abandon(&mut self, mut producer_lost: bool) {
        if let Some(commit) = self.commit.take() {
            producer_lost |= commit.result.await.is_err_and(|error| error.loses_producer());
        }
        self.uncommitted_since = None;
        self.oldest = None;
        self.tasks.abandon(producer_lost).await;
    }

    /// Commits applied records, gives the partitions up and leaves the group.
    async fn shut_down(mut self) -> Result<(), TaskError> {
        let partitions: Vec<TopicPartition> = self.assigned.iter().cloned().collect();
        let result = self.give_up(&partitions).await;
        if let Err(error) = &result {
            tracing::warn!(thread = self.name, %error, "what was not committed is left to the next owner");
        }
        self.leave().await;
        match result {
            Err(error @ TaskError::Fatal(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Leaves the group, so that it need not wait for a time-out.
    async fn leave(self) {
        self.health.set(&self.name, Some("stopped".into()));
        if let Err(error) = self.consumer.close().await {
            tracing::warn!(thread = self.name, %error, "the group could not be left; it will notice by time-out");
        }
    }
}

fn count(batches: &[PartitionRecords]) -> usize {
    batches.iter().map(|batch| batch.records.len()).sum()
}

fn lag(topology: &str, partition: &TopicPartition) -> metrics::Gauge {
    metrics::gauge!(
        LAG, "topology" => topology.to_owned(), "topic" => partition.topic.to_string(),
        "partition" => partition.partition.to_string()
    )
}

/// Milliseconds since the Unix epoch, for the age of outcomes in the metrics only.
#[expect(
    clippy::disallowed_methods,
    reason = "how old an outcome is, no decision asks for it"
)]
fn wall_clock_ms() -> Option<i64> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    i64::try_from(since.as_millis()).ok()
}
