//! A [`Sink`] in memory: for tests, the test driver and trying out. Its contents end with the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::merge_partials;
use crate::ledger::Token;
use crate::mutation::{Clause, left_out};
use crate::record::TopicPartition;
use crate::sink::{Advance, Partials, Sink, SinkError, Writer};

/// Window tables and positions in memory. Clone the `Arc` around it to look at it while a task writes.
#[derive(Debug, Default)]
pub struct MemorySink {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tasks: HashMap<String, Task>,
    tables: BTreeMap<String, RecordBatch>,
}

#[derive(Debug, Default)]
struct Task {
    token: Token,
    positions: BTreeMap<TopicPartition, i64>,
}

impl MemorySink {
    /// The rows of a table in ascending order of their keys; none where nothing was ever written to it.
    pub fn rows(&self, table: &str) -> Option<RecordBatch> {
        self.state().tables.get(table).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn acquire(
        &self,
        task: &str,
        token: &Token,
        initial: &[(TopicPartition, i64)],
    ) -> Result<Vec<(TopicPartition, i64)>, SinkError> {
        let mut state = self.state();
        let held = state.tasks.entry(task.to_owned()).or_default();
        held.token = token.clone();
        for (source, offset) in initial {
            held.positions.entry(source.clone()).or_insert(*offset);
        }
        Ok(held.positions.clone().into_iter().collect())
    }

    async fn write_together(&self, writers: &[Writer<'_>], partials: &[Partials]) -> Result<(), SinkError> {
        let mut state = self.state();
        let mut moved = Vec::with_capacity(writers.len());
        for writer in writers {
            moved.push(state.moved(writer)?);
        }
        let mut changed = state.tables.clone();
        for Partials { table, rows } in partials {
            if rows.num_rows() == 0 {
                continue;
            }
            let stored = changed.get(&table.name).cloned();
            let batches: Vec<RecordBatch> = stored.into_iter().chain([rows.clone()]).collect();
            let merged = merge_partials(table, &batches).map_err(|e| SinkError::Fatal {
                task: writers.first().map_or("", |writer| writer.task).to_owned(),
                reason: e.to_string(),
            })?;
            changed.insert(table.name.clone(), merged);
        }
        state.tables = changed;
        for (writer, positions) in writers.iter().zip(moved) {
            if let Some(held) = state.tasks.get_mut(writer.task) {
                held.positions = positions;
            }
        }
        Ok(())
    }
}

impl State {
    /// The positions of a task after a write, or why it is refused.
    fn moved(&self, writer: &Writer<'_>) -> Result<BTreeMap<TopicPartition, i64>, SinkError> {
        let task = writer.task;
        let compares = !left_out(Clause::SinkPositions);
        let held = self
            .tasks
            .get(task)
            .filter(|held| held.token == *writer.token || !compares);
        let Some(held) = held else {
            return Err(fenced(task, "another writer holds it".into()));
        };
        let mut positions = held.positions.clone();
        for Advance { source, from, to } in writer.advances {
            let stored = positions.get(source).copied();
            if stored != Some(*from) && compares {
                return Err(fenced(
                    task,
                    format!("{source} is at {stored:?}, the write starts at {from}"),
                ));
            }
            positions.insert(source.clone(), *to);
        }
        Ok(positions)
    }
}

fn fenced(task: &str, reason: String) -> SinkError {
    SinkError::Fenced {
        task: task.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sink::WindowTable;
    use crate::testing::conformance::sink::{SinkUnderTest, text_rows};

    #[async_trait]
    impl SinkUnderTest for MemorySink {
        fn sink(&self) -> &dyn Sink {
            self
        }

        async fn rows(&self, table: &WindowTable) -> Vec<String> {
            let rows = MemorySink::rows(self, &table.name);
            rows.map_or_else(Vec::new, |rows| text_rows(table, &rows))
        }
    }

    crate::sink_conformance!(Some(Arc::new(MemorySink::default())));
}
