//! A `.sql` file, planned once and run for each micro-batch.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion_common::DataFusionError;
use datafusion_execution::TaskContext;
use datafusion_execution::config::SessionConfig;
use datafusion_physical_plan::execution_plan::reset_plan_states;
use datafusion_physical_plan::streaming::PartitionStream;
use datafusion_physical_plan::{ExecutionPlan, collect};

use super::columns::{check_table, partials_schema};
use super::partials::conform;
use super::slot::Slot;
use super::{WindowError, mergeable, physical, planner};
use crate::sink::WindowTable;

/// A window query.
///
/// Planning takes milliseconds and happens once; a run swaps the batch into the planned scan and executes it in one
/// partition on the caller's thread.
pub struct WindowQuery {
    name: String,
    table: WindowTable,
    input_schema: SchemaRef,
    output_schema: SchemaRef,
    slot: Arc<Slot>,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
}

impl WindowQuery {
    /// Plans a query. `name` is its file, for errors; `sql` reads the table [`INPUT`](super::INPUT), which has
    /// `input_schema`, and yields exactly the columns of `table`.
    ///
    /// # Errors
    /// [`WindowError::Plan`], [`WindowError::Column`] and [`WindowError::Table`] for what doesn't fit;
    /// [`WindowError::NotMergeable`] where batches can't be computed one by one (see [`mergeable`]).
    pub fn new(
        name: impl Into<String>,
        sql: &str,
        input_schema: SchemaRef,
        table: WindowTable,
    ) -> Result<Self, WindowError> {
        let name = name.into();
        check_table(&table)?;
        let slot = Arc::new(Slot::new(input_schema.clone()));
        let plan = plan(&name, sql, &slot, &table)?;
        // One partition: a stream thread is one thread.
        let config = SessionConfig::new().with_target_partitions(1);
        Ok(Self {
            output_schema: partials_schema(&name, &table, &plan.schema())?,
            name,
            table,
            input_schema,
            slot,
            plan,
            context: Arc::new(TaskContext::default().with_session_config(config)),
        })
    }

    /// The table that the partials are for.
    pub fn table(&self) -> &WindowTable {
        &self.table
    }

    /// The columns of the partials: the table's keys and measures, in this order.
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output_schema
    }

    /// Computes the partials of one micro-batch: each key occurs once, in no particular order.
    ///
    /// # Errors
    /// [`WindowError::Input`] where the batch has other columns than planned for, [`WindowError::NullKey`],
    /// [`WindowError::Execution`].
    pub async fn run(&mut self, batch: RecordBatch) -> Result<RecordBatch, WindowError> {
        if *batch.schema() != *self.input_schema {
            return Err(WindowError::Input {
                query: self.name.clone(),
                expected: self.input_schema.to_string(),
                got: batch.schema().to_string(),
            });
        }
        self.slot.put(Some(batch));
        // Operators keep what they have seen (a join its constant side, all of them their metrics).
        let executed = match reset_plan_states(self.plan.clone()) {
            Ok(plan) => collect(plan, self.context.clone()).await,
            Err(e) => Err(e),
        };
        self.slot.put(None);
        let batches = executed.map_err(|e| self.failed(&e))?;
        let conforming: Vec<RecordBatch> = batches
            .iter()
            .map(|batch| conform(&self.name, &self.table, &self.output_schema, batch))
            .collect::<Result<_, _>>()?;
        arrow::compute::concat_batches(&self.output_schema, &conforming).map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &dyn fmt::Display) -> WindowError {
        WindowError::Execution {
            query: self.name.clone(),
            reason: error.to_string(),
        }
    }
}

impl fmt::Debug for WindowQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowQuery")
            .field("name", &self.name)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

fn plan(name: &str, sql: &str, slot: &Arc<Slot>, table: &WindowTable) -> Result<Arc<dyn ExecutionPlan>, WindowError> {
    let problem = |e: DataFusionError| WindowError::Plan {
        query: name.to_owned(),
        reason: e.strip_backtrace(),
    };
    let logical = planner::logical_plan(sql, slot.schema().clone()).map_err(problem)?;
    partials_schema(name, table, logical.schema().as_arrow())?;
    mergeable::check(name, table, &logical)?;
    let optimized = planner::optimize(logical).map_err(problem)?;
    physical::plan(&optimized, slot).map_err(problem)
}
