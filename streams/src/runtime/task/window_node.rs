//! The node that aggregates the messages read between two commits into partials for the sink.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::node::{AnyBatch, downcast};
use crate::dsl::message::Message;
use crate::runtime::error::TaskError;
use crate::sink::Partials;
use crate::window::{WindowError, WindowQuery};

/// Turns messages into the rows that the queries read.
pub(crate) type Rows<T> = Box<dyn Fn(&[Message<T>]) -> Result<RecordBatch, String> + Send + Sync>;

/// Plans the queries of a window node.
type Plan = Box<dyn Fn() -> Result<Vec<WindowQuery>, WindowError> + Send + Sync>;

/// Planned queries. To plan them takes milliseconds and a stream thread runs one task at a time, so that all tasks
/// share as many sets of them as there are threads.
pub(crate) struct Queries {
    plan: Plan,
    idle: Mutex<Vec<Vec<WindowQuery>>>,
}

impl Queries {
    /// Begins with a first set; `plan` makes more.
    pub(crate) fn new(first: Vec<WindowQuery>, plan: Plan) -> Self {
        let idle = Mutex::new(vec![first]);
        Self { plan, idle }
    }

    fn take(&self) -> Result<Vec<WindowQuery>, WindowError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| (self.plan)(), Ok)
    }

    fn give_back(&self, queries: Vec<WindowQuery>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(queries);
    }
}

pub(crate) struct WindowNode<T> {
    queries: Arc<Queries>,
    rows: Rows<T>,
    /// Read since the last commit. A query costs much the same for ten rows as for thousands, so it runs once for all.
    collected: Vec<RecordBatch>,
}

impl<T> WindowNode<T> {
    pub(crate) fn new(queries: Arc<Queries>, rows: Rows<T>) -> Self {
        Self {
            queries,
            rows,
            collected: Vec::new(),
        }
    }
}

/// The edge at which messages leave a task for the sink.
#[async_trait]
pub(crate) trait Window: Send {
    /// Keeps messages until the next commit.
    fn collect(&mut self, messages: AnyBatch) -> Result<(), TaskError>;

    /// Runs the queries over the messages collected since the last call.
    async fn partials(&mut self) -> Result<Vec<Partials>, TaskError>;
}

#[async_trait]
impl<T: Send + 'static> Window for WindowNode<T> {
    fn collect(&mut self, messages: AnyBatch) -> Result<(), TaskError> {
        let messages = downcast::<T>(messages)?;
        let rows = (self.rows)(&messages).map_err(TaskError::Fatal)?;
        if rows.num_rows() > 0 {
            self.collected.push(rows);
        }
        Ok(())
    }

    async fn partials(&mut self) -> Result<Vec<Partials>, TaskError> {
        let collected = std::mem::take(&mut self.collected);
        let Some(first) = collected.first() else {
            return Ok(Vec::new());
        };
        let rows = concat_batches(&first.schema(), &collected).map_err(|e| TaskError::Fatal(e.to_string()))?;
        let failed = |error: WindowError| TaskError::Fatal(error.to_string());
        let mut queries = self.queries.take().map_err(failed)?;
        let mut all = Vec::with_capacity(queries.len());
        for query in &mut queries {
            let partials = query.run(rows.clone()).await.map_err(failed)?;
            if partials.num_rows() > 0 {
                all.push(Partials {
                    table: query.table().clone(),
                    rows: partials,
                });
            }
        }
        self.queries.give_back(queries);
        Ok(all)
    }
}
