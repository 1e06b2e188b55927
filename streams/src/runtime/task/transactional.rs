//! The tasks of a stream thread whose outputs go to the log, with or without ledgers: one transaction for all of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, try_join_all};

use super::rounds::Rounds;
use super::session::LedgerSession;
use super::stages::Stage;
use super::tasks::Tasks;
use super::{Outcome, Task, TaskConfig, TaskId};
use crate::ledger::{Holder, LedgerStore, Release};
use crate::log::{CommittedOffset, Consumer, OffsetCommit, Producer};
use crate::metric_definitions::{ACQUISITIONS, OUTBOX_BATCHES, RECORDS_WRITTEN};
use crate::mutation::{Clause, left_out};
use crate::record::{OutputRecord, PartitionRecords, TopicPartition};
use crate::runtime::acquire::{self, Acquisition};
use crate::runtime::compare::{Verdict, compare};
use crate::runtime::entry::{self, Kept};
use crate::runtime::error::TaskError;
use crate::runtime::metadata::OffsetMetadata;
use crate::runtime::rebuild::Rebuild;

/// A position in a transaction, with the metadata that its ledger gets once it is acknowledged.
#[derive(Clone)]
struct Position {
    offset: i64,
    metadata: Option<OffsetMetadata>,
}

impl Position {
    fn committed(&self) -> CommittedOffset {
        let metadata = self.metadata.as_ref().map(ToString::to_string).unwrap_or_default();
        CommittedOffset {
            offset: self.offset,
            metadata,
        }
    }
}

type Positions = BTreeMap<TopicPartition, Position>;

pub(crate) struct Transactional {
    config: TaskConfig,
    store: Option<Arc<dyn LedgerStore>>,
    /// None after it was lost. The next acquisition makes a new one, whose initialisation settles the open transaction.
    producer: Option<Box<dyn Producer>>,
    tasks: BTreeMap<TaskId, Task>,
    /// Ledgers whose tasks were abandoned while nothing of them was open in the log. Until they are acquired again they
    /// can be released, so that their next owner need not fence this producer.
    abandoned: BTreeMap<TaskId, (Holder, Release)>,
    /// Applied and sent in the open transaction.
    open: Positions,
    /// In the transaction that is being committed.
    in_flight: Positions,
    /// Committed last, of each partition.
    committed: Positions,
    uncommitted: usize,
}

impl Transactional {
    pub(crate) fn new(config: TaskConfig, store: Option<Arc<dyn LedgerStore>>) -> Self {
        Self {
            config,
            store,
            producer: None,
            tasks: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            open: Positions::new(),
            in_flight: Positions::new(),
            committed: Positions::new(),
            uncommitted: 0,
        }
    }

    /// Returns the producer, a new one if it was lost.
    async fn producer(&mut self) -> Result<&mut Box<dyn Producer>, TaskError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => self.config.log.producer(&self.config.transactional_id).await?,
        };
        Ok(self.producer.insert(producer))
    }

    /// Commits these positions in a transaction of their own, and waits for it.
    async fn commit_now(&mut self, consumer: &mut dyn Consumer, positions: &Positions) -> Result<(), TaskError> {
        let group = consumer.group_metadata().await?;
        let commit = self.producer().await?.commit(offset_commits(positions), group);
        Ok(commit.await?)
    }

    /// Opens the tasks of subtopologies without a ledger: they continue at the committed offset.
    async fn acquire_plain(
        &mut self,
        consumer: &mut dyn Consumer,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, i64)>, TaskError> {
        let committed = consumer.committed(partitions).await?;
        let mut positions = Vec::with_capacity(partitions.len());
        for (source, committed) in partitions.iter().zip(committed) {
            let offset = match committed {
                Some(CommittedOffset { offset, .. }) => {
                    let position = Position { offset, metadata: None };
                    self.committed.insert(source.clone(), position);
                    offset
                }
                None => self.config.log.watermarks(source).await?.0,
            };
            let id = self.config.task_id(source)?;
            self.tasks
                .entry(id)
                .or_insert_with(|| Task::new(&self.config, id.0, None));
            positions.push((source.clone(), offset));
        }
        Ok(positions)
    }

    /// Steps 2 to 4 of the protocol, for all ledgers just assigned together.
    async fn acquire_ledgers(
        &mut self,
        consumer: &mut dyn Consumer,
        store: &Arc<dyn LedgerStore>,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, i64)>, TaskError> {
        acquire::check_partitions(&self.config, partitions)?;
        let mut ledgers = acquire::acquire(&self.config, store, partitions).await?;
        acquire::fence(&self.config, store, &ledgers).await?;
        acquire::read_committed(&self.config, consumer, &mut ledgers).await?;
        acquire::check_layouts(&self.config, &mut ledgers).await?;
        // C exists and names the present owner from here on, even if the store is lost.
        let signed = ledgers.iter().map(|ledger| {
            let metadata = OffsetMetadata {
                transactional_id: self.config.transactional_id.clone(),
                ..ledger.metadata.clone()
            };
            (
                ledger.source.clone(),
                Position {
                    offset: ledger.committed,
                    metadata: Some(metadata),
                },
            )
        });
        let signed: Positions = signed.collect();
        if !left_out(Clause::SignOffset) {
            self.commit_now(consumer, &signed).await?;
            self.committed.extend(signed);
        }
        let mut acquired = Vec::with_capacity(ledgers.len());
        let mut resent = Positions::new();
        for ledger in ledgers {
            let (source, committed) = (ledger.source.clone(), ledger.committed);
            let task = self.open_task(store, ledger, &mut resent).await?;
            let position = task
                .session
                .as_ref()
                .map_or(committed, |session| session.position(committed));
            self.tasks.insert(self.config.task_id(&source)?, task);
            acquired.push((source, position));
        }
        if !resent.is_empty() {
            self.commit_now(consumer, &resent).await?;
            self.acknowledge(resent);
        }
        Ok(acquired)
    }

    /// Opens the task of a ledger: continues where the ledger is, sends the end of its log again, or rebuilds it.
    async fn open_task(
        &mut self,
        store: &Arc<dyn LedgerStore>,
        ledger: Acquisition,
        resent: &mut Positions,
    ) -> Result<Task, TaskError> {
        let mut verdict = compare(&ledger.state, ledger.committed, &ledger.metadata);
        let log = read_log(store, &ledger, verdict).await?;
        if log.is_none() {
            verdict = Verdict::Rebuild { keep: false };
        }
        tracing::info!(
            ledger = ledger.holder.ledger, epoch = ledger.holder.epoch, token = %ledger.holder.token,
            applied = ledger.state.applied, sequence = ledger.state.sequence, committed = ledger.committed, ?verdict,
            "ledger acquired"
        );
        let session = LedgerSession::new(
            store.clone(),
            ledger.holder,
            self.config.partitions_of(&ledger.source.topic)?,
            ledger.state,
            ledger.metadata,
        );
        let mut task = Task::new(&self.config, ledger.subtopology, Some(session));
        let Some((session, node)) = task.ledger() else {
            return Err(TaskError::Fatal(format!(
                "{} is read by a subtopology without a ledger",
                ledger.source
            )));
        };
        if let Verdict::Rebuild { keep } = verdict {
            let log = &*self.config.log;
            let rebuild = Rebuild {
                log,
                event_topics: self.config.topology.event_topics(ledger.subtopology),
                group: &self.config.group,
                source: &ledger.source,
                committed: ledger.committed,
                metadata: session.committed.clone(),
                keep,
                token: (self.config.tokens)(),
            };
            rebuild.run(session, node).await?;
        } else if let Some(LedgerLog { kept, unsent }) = log {
            session.take_log(kept, ledger.committed);
            if verdict == Verdict::Resend {
                let metadata = Some(session.metadata(&self.config.transactional_id));
                let offset = session.position(ledger.committed);
                resent.insert(ledger.source, Position { offset, metadata });
                let producer = self.producer().await?;
                for outputs in unsent.into_iter().filter(|_| !left_out(Clause::Resend)) {
                    producer.send(outputs);
                }
            }
        }
        metrics::counter!(ACQUISITIONS, "verdict" => verdict.name()).increment(1);
        Ok(task)
    }

    /// Acknowledges committed positions to the ledgers.
    fn acknowledge(&mut self, positions: Positions) {
        self.committed.extend(positions.clone());
        for (source, position) in positions {
            let Ok(id) = self.config.task_id(&source) else { continue };
            let session = self.tasks.get_mut(&id).and_then(|task| task.session.as_mut());
            if let (Some(session), Some(metadata)) = (session, position.metadata) {
                session.acknowledge(position.offset, metadata);
                outbox_batches(source.partition, session.unacknowledged());
            }
        }
    }

    /// Returns the state that the next owner finds in the log if nothing of this producer is open.
    fn release_of(&self, session: &LedgerSession) -> Release {
        Release {
            transactional_id: self.config.transactional_id.clone(),
            token: session.committed.token.clone(),
        }
    }

    fn send(&mut self, id: TaskId, outcome: Outcome) -> Result<(), TaskError> {
        let Outcome {
            source,
            last_offset,
            outputs,
            ..
        } = outcome;
        let count = outputs.len() as u64;
        if count > 0 {
            let producer = self
                .producer
                .as_mut()
                .ok_or_else(|| TaskError::Fatal("there is no producer".into()))?;
            producer.send(outputs);
            metrics::counter!(RECORDS_WRITTEN, "topology" => self.config.topology.name().to_owned()).increment(count);
        }
        let session = self.tasks.get(&id).and_then(|task| task.session.as_ref());
        if let Some(session) = session {
            outbox_batches(source.partition, session.unacknowledged());
        }
        let metadata = session.map(|session| session.metadata(&self.config.transactional_id));
        let offset = last_offset + 1;
        self.open.insert(source, Position { offset, metadata });
        Ok(())
    }
}

fn outbox_batches(ledger: i32, count: usize) {
    metrics::gauge!(OUTBOX_BATCHES, "ledger" => ledger.to_string()).set(count as f64);
}

fn offset_commits(positions: &Positions) -> Vec<OffsetCommit> {
    let one = |(source, position): (&TopicPartition, &Position)| OffsetCommit {
        source: source.clone(),
        committed: position.committed(),
    };
    positions.iter().map(one).collect()
}

/// The log of a ledger that was acquired.
struct LedgerLog {
    kept: Vec<Kept>,
    /// Outputs of the records from C on, batch by batch.
    unsent: Vec<Vec<OutputRecord>>,
}

/// Reads the log of a ledger and checks that it is whole. Returns `None` if it is not: what lies above C was never
/// committed, so the ledger can be rebuilt, and these records are decided again under a fresh token. If another owner
/// took the ledger meanwhile, the rebuild is refused.
async fn read_log(
    store: &Arc<dyn LedgerStore>,
    ledger: &Acquisition,
    verdict: Verdict,
) -> Result<Option<LedgerLog>, TaskError> {
    let (number, committed) = (ledger.holder.ledger, ledger.committed);
    let entries = store.log(number).await?;
    let kept = entry::check(&entries, &ledger.state, committed);
    let log = kept.and_then(|kept| {
        let unsent = match verdict {
            Verdict::Resend => entry::unsent(&entries, committed)?,
            Verdict::Continue | Verdict::Rebuild { .. } => Vec::new(),
        };
        Ok(LedgerLog { kept, unsent })
    });
    Ok(log
        .inspect_err(|damage| tracing::warn!(ledger = number, committed, "{damage}; rebuilding from the first event"))
        .ok())
}

#[async_trait]
impl Tasks for Transactional {
    fn commits_when_drained(&self) -> bool {
        true
    }

    async fn acquire(
        &mut self,
        consumer: &mut dyn Consumer,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, i64)>, TaskError> {
        // A fresh producer first: where a commit's result is unknown, its initialisation settles it.
        self.producer().await?;
        for source in partitions {
            self.abandoned.remove(&self.config.task_id(source)?);
        }
        let topology = self.config.topology.clone();
        let has_ledger = |source: &&TopicPartition| {
            topology
                .subtopology_of(&source.topic)
                .is_some_and(|subtopology| topology.subtopologies[subtopology].ledger.is_some())
        };
        let ledgers: Vec<TopicPartition> = partitions.iter().filter(has_ledger).cloned().collect();
        let plain: Vec<TopicPartition> = partitions
            .iter()
            .filter(|source| !has_ledger(source))
            .cloned()
            .collect();
        let mut positions = Vec::with_capacity(partitions.len());
        if !plain.is_empty() {
            positions.extend(self.acquire_plain(consumer, &plain).await?);
        }
        if !ledgers.is_empty() {
            let store = self.store.clone();
            let store = store.ok_or_else(|| {
                TaskError::Fatal(format!(
                    "topology {} has a ledger, but no ledger store is set",
                    topology.name()
                ))
            })?;
            positions.extend(self.acquire_ledgers(consumer, &store, &ledgers).await?);
        }
        Ok(positions)
    }

    async fn apply(&mut self, batches: Vec<PartitionRecords>) -> Result<(), TaskError> {
        let mut queues: BTreeMap<TaskId, VecDeque<PartitionRecords>> = BTreeMap::new();
        for batch in batches {
            let id = self.config.task_id(&batch.source)?;
            queues.entry(id).or_default().push_back(batch);
        }
        let mut rounds = Rounds::default();
        for (id, task) in &mut self.tasks {
            if let Some(queue) = queues.remove(id) {
                rounds.read(*id, task, queue);
            }
        }
        let outcomes = rounds.run().await?;
        let mut watch = self.config.stages.watch();
        for (id, outcome) in outcomes {
            self.uncommitted += outcome.records;
            self.send(id, outcome)?;
        }
        watch.lap(Stage::Produce);
        Ok(())
    }

    fn uncommitted(&self) -> usize {
        self.uncommitted
    }

    async fn commit(
        &mut self,
        consumer: &mut dyn Consumer,
    ) -> Result<BoxFuture<'static, Result<(), TaskError>>, TaskError> {
        let group = consumer.group_metadata().await?;
        let positions = std::mem::take(&mut self.open);
        self.uncommitted = 0;
        let commit = self.producer().await?.commit(offset_commits(&positions), group);
        self.in_flight = positions;
        Ok(Box::pin(async move { Ok(commit.await?) }))
    }

    fn renew(&mut self) -> bool {
        for (source, position) in &self.committed {
            if !self.in_flight.contains_key(source) && !self.open.contains_key(source) {
                self.open.insert(source.clone(), position.clone());
            }
        }
        !self.open.is_empty()
    }

    fn committed(&mut self) {
        let positions = std::mem::take(&mut self.in_flight);
        self.acknowledge(positions);
    }

    async fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), TaskError> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let mut releases = Vec::new();
        for source in partitions {
            let id = self.config.task_id(source)?;
            if let Some(session) = self.tasks.get(&id).and_then(|task| task.session.as_ref()) {
                releases.push((session.holder.clone(), self.release_of(session), false));
            } else if let Some((holder, release)) = self.abandoned.remove(&id) {
                releases.push((holder, release, true));
            }
        }
        // All at once: the group waits for this member, and the store may be down.
        let releases = releases.iter().map(|(holder, release, is_abandoned)| async {
            match store.release(holder, release).await {
                // It may have been abandoned for just this. The next owner fences where nothing is released.
                Err(error) if *is_abandoned => {
                    tracing::debug!(ledger = holder.ledger, %error, "an abandoned ledger could not be released");
                    Ok(())
                }
                result => result,
            }
        });
        try_join_all(releases).await?;
        Ok(())
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for source in partitions {
            if !left_out(Clause::SettleBeforeRevocation) {
                self.open.remove(source);
                self.in_flight.remove(source);
            }
            self.committed.remove(source);
            if let Ok(id) = self.config.task_id(source) {
                self.tasks.remove(&id);
                self.abandoned.remove(&id);
                outbox_batches(source.partition, 0);
            }
        }
    }

    async fn abandon(&mut self, producer_lost: bool) {
        self.open.clear();
        self.in_flight.clear();
        self.committed.clear();
        self.uncommitted = 0;
        for (id, task) in std::mem::take(&mut self.tasks) {
            if let Some(session) = task.session {
                let release = self.release_of(&session);
                self.abandoned.insert(id, (session.holder, release));
            }
        }
        if producer_lost {
            self.producer = None;
        }
        if let Some(producer) = self.producer.as_mut()
            && !left_out(Clause::AbortBeforeAcquiring)
            && let Err(error) = producer.abort().await
        {
            tracing::warn!(%error, "the transaction could not be aborted; a new producer will settle it");
            self.producer = None;
        }
        if self.producer.is_none() {
            self.abandoned.clear();
        }
    }

    async fn check(&mut self) -> Result<(), TaskError> {
        let sessions = self.tasks.values_mut().filter_map(|task| task.session.as_mut());
        try_join_all(sessions.map(LedgerSession::check)).await?;
        Ok(())
    }
}
