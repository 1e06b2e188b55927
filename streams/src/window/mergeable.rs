//! Checks that a query can be computed batch by batch: for any two batches, the query over both together must be the
//! merge of the query over each. The rules are sufficient, not necessary; a refused query can be written differently.
//!
//! 1. The outermost SELECT groups: its keys are exactly the GROUP BY expressions, its measures are made of `SUM`,
//!    `COUNT`, `MIN`, `MAX` (without DISTINCT; FILTER is welcome).
//! 2. A measure that merges by [`Merge::Min`] is a `MIN`, by [`Merge::Max`] a `MAX`, by [`Merge::Sum`] a linear
//!    expression of `SUM`s and `COUNT`s. In an expression of several, each `SUM` stands in `COALESCE(…, 0)`: a sum over
//!    no rows is null, and null + 1 is null.
//! 3. What is grouped is computed row by row from `input`: projections, filters, UNION ALL of such, and joins with
//!    constants. No HAVING, LIMIT, DISTINCT, ORDER BY, window functions, subqueries, nor a join of `input` with itself.
//! 4. No function that depends on anything but its arguments, such as `now()`: a batch that is computed again must
//!    yield the same partials.

use std::collections::HashSet;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Aggregate, Expr, ExprSchemable, JoinType, LogicalPlan, Operator, Volatility};

use super::WindowError;
use crate::sink::{Merge, WindowTable};

/// Refuses a plan that breaks one of the rules. The error names the rule and a remedy.
///
/// # Errors
/// [`WindowError::NotMergeable`].
pub fn check(query: &str, table: &WindowTable, plan: &LogicalPlan) -> Result<(), WindowError> {
    mergeable(table, plan).map_err(|reason| WindowError::NotMergeable {
        query: query.to_owned(),
        reason,
    })
}

fn mergeable(table: &WindowTable, plan: &LogicalPlan) -> Result<(), String> {
    let LogicalPlan::Projection(projection) = plan else {
        return Err(format!("{} around the grouping SELECT", keyword(plan)));
    };
    let LogicalPlan::Aggregate(aggregate) = &*projection.input else {
        return Err(format!(
            "the outermost SELECT must be the one that groups, not {}",
            keyword(&projection.input)
        ));
    };
    check_functions(plan)?;
    let mut grouped = HashSet::new();
    for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let name = field.name();
        match table.measures.iter().find(|(measure, _)| measure == name) {
            Some((_, merge)) => check_measure(aggregate, name, expr, *merge)?,
            None => {
                let group = match strip(expr) {
                    Expr::Column(column) => aggregate.schema.maybe_index_of_column(column),
                    _ => None,
                };
                match group.filter(|at| *at < key_count(aggregate)) {
                    Some(at) => grouped.insert(at),
                    None => return Err(format!("key {name} is not a GROUP BY expression")),
                };
            }
        }
    }
    if grouped.len() != key_count(aggregate) {
        return Err("a GROUP BY expression is not among the keys, so keys would repeat".into());
    }
    match source(&aggregate.input)? {
        Source::Rows => Ok(()),
        Source::Constant => Err("it does not read the table input".into()),
    }
}

/// The kind of value that a plan yields for a batch.
enum Source {
    /// Each row of the batch contributes on its own.
    Rows,
    /// The batch does not matter: the result is constant.
    Constant,
}

fn source(plan: &LogicalPlan) -> Result<Source, String> {
    match plan {
        LogicalPlan::TableScan(_) => Ok(Source::Rows),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => Ok(Source::Constant),
        LogicalPlan::Projection(p) => source(&p.input),
        LogicalPlan::Filter(p) => source(&p.input),
        LogicalPlan::SubqueryAlias(p) => source(&p.input),
        LogicalPlan::Union(union) => {
            for input in &union.inputs {
                if let Source::Constant = source(input)? {
                    return Err("UNION with rows that don't come from input: they would count for every batch".into());
                }
            }
            Ok(Source::Rows)
        }
        LogicalPlan::Join(join) => match (source(&join.left)?, source(&join.right)?, join.join_type) {
            (Source::Rows, Source::Rows, _) => Err("a join of input with itself sees only one batch of it".into()),
            (Source::Constant, Source::Constant, _) => Ok(Source::Constant),
            (_, _, JoinType::Inner) => Ok(Source::Rows),
            (_, _, other) => Err(format!("{other} join: only inner and cross joins with constants")),
        },
        other => Err(format!("{} below the grouping", keyword(other))),
    }
}

fn check_measure(aggregate: &Aggregate, name: &str, expr: &Expr, merge: Merge) -> Result<(), String> {
    let expr = strip(expr);
    match merge {
        Merge::Sum => additive(aggregate, expr, false).map_err(|reason| format!("measure {name}: {reason}")),
        Merge::Min | Merge::Max => {
            let wanted = if merge == Merge::Min { "min" } else { "max" };
            match aggregate_name(aggregate, expr)? {
                Some(found) if found == wanted => Ok(()),
                _ => Err(format!(
                    "measure {name} merges by {merge:?} and must be {wanted}(…), not {expr}"
                )),
            }
        }
    }
}

/// Returns whether an expression of aggregates is linear; `within` a sum of several, none of them may be null.
fn additive(aggregate: &Aggregate, expr: &Expr, within: bool) -> Result<(), String> {
    let recurse = |part: &Expr| additive(aggregate, part, true);
    match expr {
        Expr::Alias(alias) => additive(aggregate, &alias.expr, within),
        Expr::Negative(part) => additive(aggregate, part, within),
        Expr::Cast(cast) if is_integer(aggregate, &cast.expr) && cast.field.data_type().is_integer() => {
            additive(aggregate, &cast.expr, within)
        }
        Expr::BinaryExpr(binary) => match (binary.op, &*binary.left, &*binary.right) {
            (Operator::Plus | Operator::Minus, left, right) => recurse(left).and_then(|()| recurse(right)),
            (Operator::Multiply, Expr::Literal(..), part) | (Operator::Multiply, part, Expr::Literal(..)) => {
                additive(aggregate, part, within)
            }
            _ => Err(format!("{expr} is not linear: a sum merges only by adding")),
        },
        Expr::ScalarFunction(call) if call.name() == "coalesce" => match call.args.as_slice() {
            [part, Expr::Literal(zero, _)] if zero.to_string() == "0" => additive(aggregate, part, false),
            _ => Err(format!("{expr}: only COALESCE(…, 0)")),
        },
        Expr::Column(_) => match aggregate_name(aggregate, expr)?.as_deref() {
            Some("count") => Ok(()),
            Some("sum") if within => Err(format!("{expr} is null where no row counts: write COALESCE({expr}, 0)")),
            Some("sum") => Ok(()),
            _ => Err(format!("{expr} is not a SUM or COUNT")),
        },
        _ => Err(format!("{expr} is not a linear expression of SUMs and COUNTs")),
    }
}

/// The aggregate function that a column of the grouping is; none where it is a key.
fn aggregate_name(aggregate: &Aggregate, expr: &Expr) -> Result<Option<String>, String> {
    let Expr::Column(column) = expr else { return Ok(None) };
    let at = aggregate.schema.maybe_index_of_column(column);
    let Some(expr) = at
        .and_then(|at| at.checked_sub(key_count(aggregate)))
        .and_then(|at| aggregate.aggr_expr.get(at))
    else {
        return Ok(None);
    };
    match strip(expr) {
        Expr::AggregateFunction(call) if call.params.distinct => Err(format!("{expr}: DISTINCT can't be merged")),
        Expr::AggregateFunction(call) => Ok(Some(call.func.name().to_owned())),
        _ => Ok(None),
    }
}

/// Columns of the grouping that are keys; they come first.
fn key_count(aggregate: &Aggregate) -> usize {
    aggregate.schema.fields().len() - aggregate.aggr_expr.len()
}

fn is_integer(aggregate: &Aggregate, expr: &Expr) -> bool {
    expr.get_type(&*aggregate.schema)
        .is_ok_and(|data_type| data_type.is_integer())
}

fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => strip(&alias.expr),
        other => other,
    }
}

/// Rule 4, and the subqueries of rule 3, in all expressions of the plan.
fn check_functions(plan: &LogicalPlan) -> Result<(), String> {
    let mut problem = None;
    let walked = plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                problem = match part {
                    Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                        Some(format!("{}() is not a function of its arguments alone", call.name()))
                    }
                    Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) => Some("a subquery".into()),
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                Ok(TreeNodeRecursion::Stop)
            })
        })
    });
    match (problem, walked) {
        (Some(problem), _) => Err(problem),
        (None, Ok(_)) => Ok(()),
        (None, Err(e)) => Err(e.to_string()),
    }
}

/// The word by which the author of a query knows a node of its plan.
fn keyword(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::Sort(_) => "ORDER BY".into(),
        LogicalPlan::Limit(_) => "LIMIT".into(),
        LogicalPlan::Distinct(_) => "DISTINCT".into(),
        LogicalPlan::Filter(_) => "HAVING".into(),
        LogicalPlan::Union(_) => "UNION".into(),
        LogicalPlan::Window(_) => "a window function".into(),
        LogicalPlan::Aggregate(_) => "a second GROUP BY".into(),
        other => other.display().to_string(),
    }
}
