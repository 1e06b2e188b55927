//! Turns SQL into a plan that runs; parser, analyser and optimizer are DataFusion's.
//!
//! The crate `datafusion` would do all of this in one call. It also brings catalogs, file formats and object stores,
//! which take a third of the whole build's time, so the parts are put together here.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion_optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion_sql::parser::DFParserBuilder;
use datafusion_sql::planner::SqlToRel;

/// Name under which a query reads its micro-batch.
pub const INPUT: &str = "input";

/// Plans one statement that reads the table [`INPUT`], without optimizing it.
///
/// # Errors
/// Whatever DataFusion says about the statement.
pub(super) fn logical_plan(sql: &str, input: SchemaRef) -> Result<LogicalPlan> {
    let mut statements = DFParserBuilder::new(sql).build()?.parse_statements()?;
    let (Some(statement), true) = (statements.pop_front(), statements.is_empty()) else {
        return Err(DataFusionError::Plan("expected exactly one statement".into()));
    };
    let names = Names::new(input);
    SqlToRel::new(&names).statement_to_plan(statement)
}

/// Coerces the types of a plan and optimizes it.
///
/// # Errors
/// Types that can't be brought together.
pub(super) fn optimize(plan: LogicalPlan) -> Result<LogicalPlan> {
    let analyzed = Analyzer::new().execute_and_check(plan, &ConfigOptions::default(), |_, _| {})?;
    Optimizer::new().optimize(analyzed, &OptimizerContext::new(), |_, _| {})
}

/// The names that a query can use: one table, and DataFusion's scalar and aggregate functions.
struct Names {
    input: Arc<dyn TableSource>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    functions: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    options: ConfigOptions,
}

impl Names {
    fn new(input: SchemaRef) -> Self {
        let mut functions = HashMap::new();
        for function in datafusion_functions::all_default_functions() {
            for alias in function.aliases() {
                functions.insert(alias.clone(), function.clone());
            }
            functions.insert(function.name().to_owned(), function);
        }
        let mut aggregates = HashMap::new();
        for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
            for alias in function.aliases() {
                aggregates.insert(alias.clone(), function.clone());
            }
            aggregates.insert(function.name().to_owned(), function);
        }
        Self {
            input: Arc::new(Input(input)),
            planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            ],
            functions,
            aggregates,
            options: ConfigOptions::default(),
        }
    }
}

/// The table, which filters nothing by itself: conditions stay in the plan.
struct Input(SchemaRef);

impl TableSource for Input {
    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }
}

impl ContextProvider for Names {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if name == TableReference::bare(INPUT) {
            return Ok(self.input.clone());
        }
        Err(DataFusionError::Plan(format!(
            "table '{name}' not found, only '{INPUT}'"
        )))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
