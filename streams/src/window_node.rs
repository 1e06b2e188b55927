//! The nodes that aggregate a batch and hand the partials to the sink.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use crate::message::Message;
use crate::node::{AnyBatch, Context, Node, ProcessError, downcast};
use crate::sink::Partials;
use crate::window::WindowQuery;

/// Turns messages into the rows that the queries read.
pub(crate) type Rows<T> = Box<dyn Fn(&[Message<T>]) -> Result<RecordBatch, String> + Send + Sync>;

pub(crate) struct WindowNode<T> {
    /// The planned queries, or why they can't be planned.
    pub(crate) queries: Result<Vec<WindowQuery>, String>,
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
        let queries = self
            .queries
            .as_mut()
            .map_err(|reason| ProcessError::Fatal(reason.clone()))?;
        for query in queries {
            let partials = query
                .run(rows.clone())
                .await
                .map_err(|error| ProcessError::Fatal(error.to_string()))?;
            if partials.num_rows() > 0 {
                ctx.partials.push(Partials {
                    table: query.table().clone(),
                    rows: partials,
                });
            }
        }
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
