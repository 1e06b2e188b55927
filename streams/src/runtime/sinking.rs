//! The tasks of a stream thread whose windows go to a database: positions and effect are one database transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, try_join_all};

use super::config::TaskConfig;
use super::error::TaskError;
use super::task::{Task, TaskId};
use super::tasks::Tasks;
use crate::ledger::Token;
use crate::log::Consumer;
use crate::record::{PartitionRecords, TopicPartition};
use crate::sink::{Advance, Partials, Sink};
use crate::window::merge_partials;

struct SinkTask {
    task: Task,
    token: Token,
    /// Stored positions, or those that the write under way will have stored.
    stored: BTreeMap<TopicPartition, i64>,
    /// Positions reached since.
    reached: BTreeMap<TopicPartition, i64>,
    partials: Vec<Partials>,
}

pub(crate) struct Sinking {
    config: TaskConfig,
    sink: Arc<dyn Sink>,
    tasks: BTreeMap<TaskId, SinkTask>,
    uncommitted: usize,
}

impl Sinking {
    pub(crate) fn new(config: TaskConfig, sink: Arc<dyn Sink>) -> Self {
        Self {
            config,
            sink,
            tasks: BTreeMap::new(),
            uncommitted: 0,
        }
    }

    /// Name under which the sink keeps a task's positions.
    fn name(&self, id: TaskId) -> String {
        format!("{}/{}/{}", self.config.group, id.0, id.1)
    }
}

#[async_trait]
impl Tasks for Sinking {
    async fn acquire(
        &mut self,
        _consumer: &mut dyn Consumer,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, i64)>, TaskError> {
        // A rebalance may give a task its partitions one after the other: it is taken anew with all it then has.
        let mut wanted: BTreeMap<TaskId, Vec<TopicPartition>> = BTreeMap::new();
        for source in partitions {
            wanted
                .entry(self.config.task_id(source)?)
                .or_default()
                .push(source.clone());
        }
        let mut positions = Vec::new();
        for (id, mut sources) in wanted {
            if let Some(task) = self.tasks.remove(&id) {
                sources.extend(task.stored.into_keys().filter(|source| !partitions.contains(source)));
            }
            let mut initial = Vec::with_capacity(sources.len());
            for source in sources {
                let low = self.config.log.watermarks(&source).await?.0;
                initial.push((source, low));
            }
            let token = (self.config.tokens)();
            let stored = self.sink.acquire(&self.name(id), &token, &initial).await?;
            positions.extend(stored.iter().cloned());
            let task = SinkTask {
                task: Task::new(&self.config.topology, id.0, None),
                token,
                stored: stored.into_iter().collect(),
                reached: BTreeMap::new(),
                partials: Vec::new(),
            };
            self.tasks.insert(id, task);
        }
        Ok(positions)
    }

    async fn apply(&mut self, batches: Vec<PartitionRecords>) -> Result<(), TaskError> {
        for batch in batches {
            let id = self.config.task_id(&batch.source)?;
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let processed = task.task.process(&batch).await?;
            task.partials.extend(processed.partials);
            if let Some(last) = batch.records.last() {
                task.reached.insert(batch.source, last.offset + 1);
            }
            self.uncommitted += batch.records.len();
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
        let mut writes = Vec::new();
        for (&id, task) in &mut self.tasks {
            if task.reached.is_empty() {
                continue;
            }
            let mut advances = Vec::with_capacity(task.reached.len());
            for (source, to) in std::mem::take(&mut task.reached) {
                let from = task.stored.insert(source.clone(), to).ok_or_else(|| {
                    TaskError::Fatal(format!("{source} was read but its stored position is not known"))
                })?;
                advances.push(Advance { source, from, to });
            }
            let partials = merge(std::mem::take(&mut task.partials))?;
            let name = format!("{}/{}/{}", self.config.group, id.0, id.1);
            writes.push((name, task.token.clone(), advances, partials));
        }
        let sink = self.sink.clone();
        Ok(Box::pin(async move {
            let writes = writes
                .iter()
                .map(|(name, token, advances, partials)| sink.write(name, token, advances, partials));
            try_join_all(writes).await?;
            Ok(())
        }))
    }

    fn committed(&mut self) {}

    async fn release(&mut self, _partitions: &[TopicPartition]) -> Result<(), TaskError> {
        Ok(())
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for source in partitions {
            let Ok(id) = self.config.task_id(source) else { continue };
            if let Some(task) = self.tasks.get_mut(&id) {
                task.stored.remove(source);
                task.reached.remove(source);
                if task.stored.is_empty() {
                    self.tasks.remove(&id);
                }
            }
        }
    }

    async fn abandon(&mut self, _producer_lost: bool) {
        self.tasks.clear();
        self.uncommitted = 0;
    }

    async fn check(&mut self) -> Result<(), TaskError> {
        Ok(())
    }
}

/// One set of rows for each table: several batches become one upsert.
fn merge(partials: Vec<Partials>) -> Result<Vec<Partials>, TaskError> {
    let mut tables: BTreeMap<String, Vec<Partials>> = BTreeMap::new();
    for partial in partials {
        tables.entry(partial.table.name.clone()).or_default().push(partial);
    }
    let mut merged = Vec::with_capacity(tables.len());
    for (name, partials) in tables {
        let table = partials[0].table.clone();
        let rows: Vec<_> = partials.into_iter().map(|partial| partial.rows).collect();
        let rows = merge_partials(&table, &rows)
            .map_err(|error| TaskError::Fatal(format!("the rows of table {name} can't be merged: {error}")))?;
        merged.push(Partials { table, rows });
    }
    Ok(merged)
}
