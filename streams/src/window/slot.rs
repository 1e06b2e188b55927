//! The input of a planned query.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_execution::{SendableRecordBatchStream, TaskContext};
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_physical_plan::streaming::PartitionStream;
use futures::stream;

/// The place where a planned scan finds its rows: the micro-batch, or the constants of a join.
#[derive(Debug)]
pub(super) struct Slot {
    schema: SchemaRef,
    batch: Mutex<Option<RecordBatch>>,
}

impl Slot {
    /// Returns an empty slot for rows of this schema.
    pub(super) fn new(schema: SchemaRef) -> Self {
        let batch = Mutex::default();
        Self { schema, batch }
    }

    /// Returns a slot that always has the same rows.
    pub(super) fn holding(rows: RecordBatch) -> Self {
        Self {
            schema: rows.schema(),
            batch: Mutex::new(Some(rows)),
        }
    }

    /// Sets the rows of the next run.
    pub(super) fn put(&self, batch: Option<RecordBatch>) {
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = batch;
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rows = stream::iter(batch.map(Ok));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}
