//! The tasks of a stream thread whose windows go to a database: positions and effect are one database transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, try_join_all};

use super::config::TaskConfig;
use super::error::TaskError;
use super::task::Task;
use super::tasks::Tasks;
use crate::ledger::Token;
use crate::log::Consumer;
use crate::record::{PartitionRecords, TopicPartition};
use crate::sink::{Advance, Partials, Sink};
use crate::window::merge_partials;

/// One source partition: the group may give the partitions of one number to different members, topic by topic, so each
/// is a task of its own to the sink. Windows are sums: it doesn't matter which task adds which event.
struct SinkTask {
    task: Task,
    token: Token,
    /// Stored position, or the one that the write under way will have stored.
    stored: i64,
    /// Position reached since.
    reached: i64,
    partials: Vec<Partials>,
}

pub(crate) struct Sinking {
    config: TaskConfig,
    sink: Arc<dyn Sink>,
    tasks: BTreeMap<TopicPartition, SinkTask>,
    uncommitted: usize,
    /// A write is under way.
    writing: bool,
}

impl Sinking {
    pub(crate) fn new(config: TaskConfig, sink: Arc<dyn Sink>) -> Self {
        Self {
            config,
            sink,
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
            let (part, _) = self.config.task_id(source)?;
            let low = self.config.log.watermarks(source).await?.0;
            let token = (self.config.tokens)();
            let task = name(&self.config.group, source);
            let stored = self.sink.acquire(&task, &token, &[(source.clone(), low)]).await?;
            let stored = stored
                .iter()
                .find(|(at, _)| at == source)
                .map_or(low, |(_, offset)| *offset);
            positions.push((source.clone(), stored));
            let task = Task::new(&self.config.topology, part, None);
            self.tasks.insert(
                source.clone(),
                SinkTask {
                    task,
                    token,
                    stored,
                    reached: stored,
                    partials: Vec::new(),
                },
            );
        }
        Ok(positions)
    }

    async fn apply(&mut self, batches: Vec<PartitionRecords>) -> Result<(), TaskError> {
        for batch in batches {
            let Some(task) = self.tasks.get_mut(&batch.source) else {
                continue;
            };
            let processed = task.task.process(&batch).await?;
            task.partials.extend(processed.partials);
            if let Some(last) = batch.records.last() {
                task.reached = last.offset + 1;
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
        self.writing = true;
        let mut writes = Vec::new();
        for (source, task) in &mut self.tasks {
            if task.reached == task.stored {
                continue;
            }
            let advance = Advance {
                source: source.clone(),
                from: task.stored,
                to: task.reached,
            };
            task.stored = task.reached;
            let partials = merge(std::mem::take(&mut task.partials))?;
            writes.push((
                name(&self.config.group, source),
                task.token.clone(),
                [advance],
                partials,
            ));
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

    fn committed(&mut self) {
        self.writing = false;
    }

    async fn release(&mut self, _partitions: &[TopicPartition]) -> Result<(), TaskError> {
        Ok(())
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for source in partitions {
            self.tasks.remove(source);
        }
    }

    async fn abandon(&mut self, _producer_lost: bool) {
        self.tasks.clear();
        self.uncommitted = 0;
        self.writing = false;
    }

    /// A write of nothing compares the token, so that an idle thread notices too when somebody begins the windows anew. One
    /// task stands for all: that takes every task of a group, and trouble with one starts the thread over for all. A busy
    /// thread writes anyway, and isn't to wait for what it has under way.
    async fn check(&mut self) -> Result<(), TaskError> {
        if self.writing || self.uncommitted > 0 {
            return Ok(());
        }
        if let Some((source, task)) = self.tasks.first_key_value() {
            let name = name(&self.config.group, source);
            self.sink.write(&name, &task.token, &[], &[]).await?;
        }
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
