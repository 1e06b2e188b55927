//! The tasks of a stream thread whose windows go to a database: positions and effect are one database transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::tasks::Tasks;
use super::{Task, TaskConfig};
use crate::ledger::Token;
use crate::log::Consumer;
use crate::record::{PartitionRecords, TopicPartition};
use crate::runtime::error::TaskError;
use crate::sink::{Advance, Partials, Sink, Writer};
use crate::window::merge_partials;

/// One source partition: the group may give the partitions of one number to different members, topic by topic, so each
/// is a task of its own to the sink. Windows are sums: it doesn't matter which task adds which event.
struct Source {
    token: Token,
    /// Stored position, or the one that the write under way will have stored.
    stored: i64,
    /// Position reached since.
    reached: i64,
}

pub(crate) struct Sinking {
    config: TaskConfig,
    sink: Arc<dyn Sink>,
    sources: BTreeMap<TopicPartition, Source>,
    /// By subtopology: all its sources share its windows, since they are written together.
    tasks: BTreeMap<usize, Task>,
    uncommitted: usize,
    /// A write is under way.
    writing: bool,
}

impl Sinking {
    pub(crate) fn new(config: TaskConfig, sink: Arc<dyn Sink>) -> Self {
        Self {
            config,
            sink,
            sources: BTreeMap::new(),
            tasks: BTreeMap::new(),
            uncommitted: 0,
            writing: false,
        }
    }
}

/// Name under which the sink keeps a task's position.
fn name(group: &str, source: &TopicPartition) -> String {
    format!("{group}/{}/{}", source.topic, source.partition)
}

#[async_trait]
impl Tasks for Sinking {
    fn commits_when_drained(&self) -> bool {
        false
    }

    async fn acquire(
        &mut self,
        _consumer: &mut dyn Consumer,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, i64)>, TaskError> {
        let mut positions = Vec::with_capacity(partitions.len());
        for source in partitions {
            let (subtopology, _) = self.config.task_id(source)?;
            let low = self.config.log.watermarks(source).await?.0;
            let token = (self.config.tokens)();
            let task = name(&self.config.group, source);
            let stored = self.sink.acquire(&task, &token, &[(source.clone(), low)]).await?;
            let stored = stored
                .iter()
                .find(|(at, _)| at == source)
                .map_or(low, |(_, offset)| *offset);
            positions.push((source.clone(), stored));
            self.tasks
                .entry(subtopology)
                .or_insert_with(|| Task::new(&self.config, subtopology, None));
            let reached = stored;
            self.sources.insert(source.clone(), Source { token, stored, reached });
        }
        Ok(positions)
    }

    async fn apply(&mut self, batches: Vec<PartitionRecords>) -> Result<(), TaskError> {
        for batch in batches {
            let (subtopology, _) = self.config.task_id(&batch.source)?;
            let (Some(source), Some(task)) = (self.sources.get_mut(&batch.source), self.tasks.get_mut(&subtopology))
            else {
                continue;
            };
            let (_, outcome) = task.read(batch).await?.decide()?.commit().await?;
            source.reached = outcome.last_offset + 1;
            self.uncommitted += outcome.records;
        }
        Ok(())
    }

    fn uncommitted(&self) -> usize {
        self.uncommitted
    }

    async fn commit(
        &mut self,
        _consumer: &mut dyn Consumer,
    ) -> Result<BoxFuture<'static, Result<(), TaskError>>, TaskError> {
        self.uncommitted = 0;
        self.writing = true;
        let mut partials = Vec::new();
        for task in self.tasks.values_mut() {
            partials.extend(task.partials().await?);
        }
        let partials = merge(partials)?;
        let mut advanced = Vec::new();
        for (at, source) in &mut self.sources {
            if source.reached == source.stored {
                continue;
            }
            let advance = Advance {
                source: at.clone(),
                from: source.stored,
                to: source.reached,
            };
            source.stored = source.reached;
            advanced.push((name(&self.config.group, at), source.token.clone(), [advance]));
        }
        let sink = self.sink.clone();
        Ok(Box::pin(async move {
            let writers: Vec<Writer<'_>> = advanced
                .iter()
                .map(|(task, token, advances)| Writer { task, token, advances })
                .collect();
            Ok(sink.write_together(&writers, &partials).await?)
        }))
    }

    fn committed(&mut self) {
        self.writing = false;
    }

    async fn release(&mut self, _partitions: &[TopicPartition]) -> Result<(), TaskError> {
        Ok(())
    }

    /// Nothing of them is collected any more: it was written before, or all tasks are about to be abandoned.
    fn forget(&mut self, partitions: &[TopicPartition]) {
        for source in partitions {
            self.sources.remove(source);
        }
    }

    async fn abandon(&mut self, _producer_lost: bool) {
        self.sources.clear();
        self.tasks.clear();
        self.uncommitted = 0;
        self.writing = false;
    }

    /// Writes nothing, which compares the token: so an idle thread also notices when an operator starts the windows
    /// over. One task is enough, because that replaces the tokens of all tasks of a group, and an error of one task
    /// starts the thread over for all. A busy thread writes anyway.
    async fn check(&mut self) -> Result<(), TaskError> {
        if self.writing || self.uncommitted > 0 {
            return Ok(());
        }
        if let Some((at, source)) = self.sources.first_key_value() {
            let name = name(&self.config.group, at);
            self.sink.write(&name, &source.token, &[], &[]).await?;
        }
        Ok(())
    }
}

/// One set of rows for each table, whichever nodes they come from.
fn merge(partials: Vec<Partials>) -> Result<Vec<Partials>, TaskError> {
    let mut tables: BTreeMap<String, Vec<Partials>> = BTreeMap::new();
    for partial in partials {
        tables.entry(partial.table.name.clone()).or_default().push(partial);
    }
    let mut merged = Vec::with_capacity(tables.len());
    for (name, partials) in tables {
        if partials.len() == 1 {
            merged.extend(partials);
            continue;
        }
        let table = partials[0].table.clone();
        let rows: Vec<_> = partials.into_iter().map(|partial| partial.rows).collect();
        let rows = merge_partials(&table, &rows)
            .map_err(|error| TaskError::Fatal(format!("the rows of table {name} can't be merged: {error}")))?;
        merged.push(Partials { table, rows });
    }
    Ok(merged)
}
