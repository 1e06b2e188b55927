//! The nodes that aggregate what was read between two commits and hand the partials to the sink.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::node::{AnyBatch, Context, Node, ProcessError, downcast};
use super::stages::Stage;
use crate::dsl::message::Message;
use crate::sink::Partials;
use crate::window::{WindowError, WindowQuery};

/// Turns messages into the rows that the queries read.
pub(crate) type Rows<T> = Box<dyn Fn(&[Message<T>]) -> Result<RecordBatch, String> + Send + Sync>;

/// Plans the queries of a window node.
type Plan = Box<dyn Fn() -> Result<Vec<WindowQuery>, WindowError> + Send + Sync>;

/// Planned queries. To plan them takes milliseconds and a stream thread runs one task at a time, so that all tasks share
/// as many sets of them as there are threads.
pub(crate) struct Queries {
    plan: Plan,
    idle: Mutex<Vec<Vec<WindowQuery>>>,
}

impl Queries {
    /// With a first set, and how to plan more.
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

#[async_trait]
impl<T: Send + 'static> Node for WindowNode<T> {
    async fn process(&mut self, input: AnyBatch, _ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let messages = downcast::<T>(input)?;
        let rows = (self.rows)(&messages).map_err(ProcessError::Fatal)?;
        if rows.num_rows() > 0 {
            self.collected.push(rows);
        }
        Ok(())
    }

    async fn collected(&mut self) -> Result<Vec<Partials>, ProcessError> {
        let collected = std::mem::take(&mut self.collected);
        let Some(first) = collected.first() else {
            return Ok(Vec::new());
        };
        let rows = concat_batches(&first.schema(), &collected).map_err(|e| ProcessError::Fatal(e.to_string()))?;
        let failed = |error: WindowError| ProcessError::Fatal(error.to_string());
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

    fn stage(&self) -> Stage {
        Stage::Window
    }
}

/// Stands for the sink in the graph; what it is given was collected by the window before it.
pub(crate) struct SinkNode;

#[async_trait]
impl Node for SinkNode {
    async fn process(&mut self, _input: AnyBatch, _ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        Ok(())
    }
}
