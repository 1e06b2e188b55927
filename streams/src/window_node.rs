//! The nodes that aggregate a batch and hand the partials to the sink.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use crate::message::Message;
use crate::node::{AnyBatch, Context, Node, ProcessError, downcast};
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
    pub(crate) queries: Arc<Queries>,
    pub(crate) rows: Rows<T>,
}

#[async_trait]
impl<T: Send + 'static> Node for WindowNode<T> {
    async fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let messages = downcast::<T>(input)?;
        let rows = (self.rows)(&messages).map_err(ProcessError::Fatal)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let failed = |error: WindowError| ProcessError::Fatal(error.to_string());
        let mut queries = self.queries.take().map_err(failed)?;
        for query in &mut queries {
            let partials = query.run(rows.clone()).await.map_err(failed)?;
            if partials.num_rows() > 0 {
                ctx.partials.push(Partials {
                    table: query.table().clone(),
                    rows: partials,
                });
            }
        }
        self.queries.give_back(queries);
        Ok(())
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
