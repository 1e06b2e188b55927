//! Turns an optimized logical plan into operators, for plans that [`mergeable`](super::mergeable) accepts.
//!
//! Every operator has one partition, since a stream thread is one thread.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::{DFSchema, DataFusionError, JoinType, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Aggregate, Expr, Join, LogicalPlan, Projection, Values};
use datafusion_physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion_physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion_physical_plan::empty::EmptyExec;
use datafusion_physical_plan::filter::FilterExec;
use datafusion_physical_plan::joins::{CrossJoinExec, HashJoinExec, PartitionMode};
use datafusion_physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion_physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion_physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion_physical_plan::union::UnionExec;

use super::slot::Slot;

type Plan = Arc<dyn ExecutionPlan>;

/// Turns an optimized plan into operators; the table is read from `input`.
///
/// # Errors
/// Nodes that no mergeable query has, and expressions that can't be planned.
pub(super) fn plan(logical: &LogicalPlan, input: &Arc<Slot>) -> Result<Plan> {
    Planner {
        input: input.clone(),
        props: ExecutionProps::new(),
        context: PhysicalPlanningContext::default(),
    }
    .plan(logical)
}

struct Planner {
    input: Arc<Slot>,
    props: ExecutionProps,
    context: PhysicalPlanningContext,
}

impl Planner {
    fn plan(&self, logical: &LogicalPlan) -> Result<Plan> {
        match logical {
            LogicalPlan::TableScan(table) if table.filters.is_empty() && table.fetch.is_none() => {
                scan(self.input.clone(), table.projection.as_ref())
            }
            LogicalPlan::SubqueryAlias(alias) => self.plan(&alias.input),
            LogicalPlan::Filter(filter) => {
                let input = self.plan(&filter.input)?;
                let predicate = self.expr(&filter.predicate, filter.input.schema())?;
                Ok(Arc::new(FilterExec::try_new(predicate, input)?))
            }
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|input| self.plan(input));
                let union = UnionExec::try_new(inputs.collect::<Result<_>>()?)?;
                Ok(Arc::new(CoalescePartitionsExec::new(union)))
            }
            LogicalPlan::Values(values) => self.values(values),
            LogicalPlan::EmptyRelation(none) if none.produce_one_row => {
                Ok(Arc::new(PlaceholderRowExec::new(none.schema.inner().clone())))
            }
            LogicalPlan::EmptyRelation(none) => Ok(Arc::new(EmptyExec::new(none.schema.inner().clone()))),
            other => Err(DataFusionError::NotImplemented(format!(
                "{} in a window query",
                other.display()
            ))),
        }
    }

    fn expr(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        create_physical_expr(expr, schema, &self.props, &self.context)
    }

    fn projection(&self, projection: &Projection) -> Result<Plan> {
        let input = self.plan(&projection.input)?;
        let columns = projection.expr.iter().zip(projection.schema.fields());
        let columns: Result<Vec<_>> = columns
            .map(|(expr, field)| {
                let expr = self.expr(expr, projection.input.schema())?;
                let alias = field.name().clone();
                Ok(ProjectionExpr { expr, alias })
            })
            .collect();
        Ok(Arc::new(ProjectionExec::try_new(columns?, input)?))
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Result<Plan> {
        let input = self.plan(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let keys = aggregate.group_expr.iter().zip(aggregate.schema.fields());
        let keys: Result<Vec<_>> = keys
            .map(|(expr, field)| Ok((self.expr(expr, schema)?, field.name().clone())))
            .collect();
        let mut functions = Vec::new();
        let mut filters = Vec::new();
        for expr in &aggregate.aggr_expr {
            let physical = input.schema();
            let lowered = LoweredAggregateBuilder::new(expr, schema, &physical, &self.props, &self.context).build()?;
            functions.push(lowered.aggregate);
            filters.push(lowered.filter);
        }
        Ok(Arc::new(AggregateExec::try_new(
            AggregateMode::Single,
            PhysicalGroupBy::new_single(keys?),
            functions,
            filters,
            input.clone(),
            input.schema(),
        )?))
    }

    /// An inner join: all pairs, or those with equal keys, and of these the ones that pass the filter.
    fn join(&self, join: &Join) -> Result<Plan> {
        if join.join_type != JoinType::Inner {
            return Err(DataFusionError::NotImplemented(format!("{} join", join.join_type)));
        }
        let (left, right) = (self.plan(&join.left)?, self.plan(&join.right)?);
        let on = join.on.iter().map(|(l, r)| {
            let left = self.expr(l, join.left.schema())?;
            Ok((left, self.expr(r, join.right.schema())?))
        });
        let on: Vec<_> = on.collect::<Result<_>>()?;
        let pairs: Plan = if on.is_empty() {
            Arc::new(CrossJoinExec::new(left, right))
        } else {
            Arc::new(HashJoinExec::try_new(
                left,
                right,
                on,
                None,
                &JoinType::Inner,
                None,
                PartitionMode::CollectLeft,
                join.null_equality,
                false,
            )?)
        };
        match &join.filter {
            Some(filter) => Ok(Arc::new(FilterExec::try_new(self.expr(filter, &join.schema)?, pairs)?)),
            None => Ok(pairs),
        }
    }

    /// Computes the rows of VALUES once, here.
    fn values(&self, values: &Values) -> Result<Plan> {
        let schema = values.schema.inner().clone();
        let row = RecordBatchOptions::new().with_row_count(Some(1));
        let row = RecordBatch::try_new_with_options(SchemaRef::new(Schema::empty()), Vec::new(), &row)?;
        let columns = (0..schema.fields().len()).map(|column| {
            let cells = values.values.iter().map(|cells| {
                let value = self.expr(&cells[column], &DFSchema::empty())?.evaluate(&row)?;
                ScalarValue::try_from_array(&*value.into_array(1)?, 0)
            });
            ScalarValue::iter_to_array(cells.collect::<Result<Vec<_>>>()?)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let rows = RecordBatch::try_new(schema, columns)?;
        scan(Arc::new(Slot::holding(rows)), None)
    }
}

fn scan(slot: Arc<Slot>, projection: Option<&Vec<usize>>) -> Result<Plan> {
    let schema = slot.schema().clone();
    let scan = StreamingTableExec::try_new(schema, vec![slot], projection, None, false, None)?;
    Ok(Arc::new(scan))
}
