//! Several batches of partials become one, so that all that happened between two commits is one upsert.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use super::WindowError;
use super::columns::{check_table, partials_schema};
use crate::sink::{Merge, WindowTable};

/// Merges partials of one table: each key occurs once in the result, in ascending order of the keys (so that all
/// writers lock rows in the same order). Columns are the table's, keys first. Merging is associative and commutative;
/// merging a single batch sorts it and makes its keys unique.
///
/// A null sum counts as 0; a null least or largest value as no value. No batches at all yield a batch without rows *and
/// without columns*, since their types are not known.
///
/// # Errors
/// [`WindowError::Column`] where a batch doesn't fit the table, [`WindowError::NullKey`], [`WindowError::Overflow`].
pub fn merge_partials(table: &WindowTable, batches: &[RecordBatch]) -> Result<RecordBatch, WindowError> {
    check_table(table)?;
    let Some(first) = batches.first() else {
        return Ok(RecordBatch::new_empty(Arc::new(Schema::empty())));
    };
    let schema = partials_schema(&table.name, table, &first.schema())?;
    let batches: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| conform(&table.name, table, &schema, batch))
        .collect::<Result<_, _>>()?;
    merge_conforming(table, &schema, &batches)
}

/// Brings a batch into the schema of the table's partials: order and types of the columns, no null key, no null sum.
pub(super) fn conform(
    query: &str,
    table: &WindowTable,
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, WindowError> {
    if partials_schema(query, table, &batch.schema())? != *schema {
        let expected: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.data_type().to_string())
            .collect();
        return Err(WindowError::Column {
            query: query.to_owned(),
            column: "types".into(),
            expected: expected.join(", "),
            got: batch.schema().to_string(),
        });
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (at, field) in schema.fields().iter().enumerate() {
        let found = batch.column_by_name(field.name()).expect("checked by partials_schema");
        let column = cast(found, field.data_type()).map_err(|e| arrow_error(query, &e))?;
        columns.push(match column.logical_null_count() {
            0 => column,
            _ if field.is_nullable() => column,
            rows if at < table.keys.len() => {
                let (query, column) = (query.to_owned(), field.name().clone());
                return Err(WindowError::NullKey { query, column, rows });
            }
            _ => Arc::new(Int64Array::from_iter_values(
                column.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default),
            )),
        });
    }
    RecordBatch::try_new(schema.clone(), columns).map_err(|e| arrow_error(query, &e))
}

fn merge_conforming(
    table: &WindowTable,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<RecordBatch, WindowError> {
    let columns: Vec<ArrayRef> = (0..schema.fields().len())
        .map(|at| concat(&batches.iter().map(|batch| &**batch.column(at)).collect::<Vec<_>>()))
        .collect::<Result<_, _>>()
        .map_err(|e| arrow_error(&table.name, &e))?;
    let (keys, measures) = columns.split_at(table.keys.len());
    let groups = Groups::of(keys).map_err(|e| arrow_error(&table.name, &e))?;
    let mut merged: Vec<ArrayRef> = keys
        .iter()
        .map(|key| take(key, &groups.first, None))
        .collect::<Result<_, _>>()
        .map_err(|e| arrow_error(&table.name, &e))?;
    for (measure, (name, merge)) in measures.iter().zip(&table.measures) {
        let values = groups
            .merge(&integers(measure), *merge)
            .ok_or_else(|| WindowError::Overflow {
                table: table.name.clone(),
                column: name.clone(),
            })?;
        merged.push(from_integers(&values, measure.data_type()).map_err(|e| arrow_error(&table.name, &e))?);
    }
    RecordBatch::try_new(schema.clone(), merged).map_err(|e| arrow_error(&table.name, &e))
}

/// Rows with the same key.
struct Groups {
    /// Row numbers in ascending order of their keys.
    order: Vec<u32>,
    /// For each of `order`: the number of its group.
    group: Vec<usize>,
    /// A row of each group.
    first: UInt32Array,
}

impl Groups {
    fn of(keys: &[ArrayRef]) -> Result<Self, ArrowError> {
        let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(keys)?;
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_unstable_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
        let (mut group, mut first) = (Vec::with_capacity(order.len()), Vec::<u32>::new());
        for &row in &order {
            let same = first
                .last()
                .is_some_and(|last| rows.row(*last as usize) == rows.row(row as usize));
            if !same {
                first.push(row);
            }
            group.push(first.len() - 1);
        }
        Ok(Self {
            order,
            group,
            first: first.into(),
        })
    }

    /// The measure of each group; none where a sum overflows.
    fn merge(&self, values: &Int64Array, merge: Merge) -> Option<Int64Array> {
        let mut merged: Vec<Option<i64>> = vec![None; self.first.len()];
        for (&row, &group) in self.order.iter().zip(&self.group) {
            let row = row as usize;
            if values.is_null(row) {
                continue;
            }
            let (value, slot) = (values.value(row), &mut merged[group]);
            *slot = Some(match (*slot, merge) {
                (None, _) => value,
                (Some(sum), Merge::Sum) => sum.checked_add(value)?,
                (Some(least), Merge::Min) => least.min(value),
                (Some(largest), Merge::Max) => largest.max(value),
            });
        }
        Some(merged.into())
    }
}

/// Every measure is an integer underneath: a number, days or ticks.
fn integers(measure: &ArrayRef) -> Int64Array {
    let integers = cast(measure, &DataType::Int64).expect("Int64, Date32 and timestamps are integers");
    integers.as_primitive::<Int64Type>().clone()
}

fn from_integers(values: &Int64Array, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    match data_type {
        DataType::Date32 => cast(&cast(values, &DataType::Int32)?, data_type),
        _ => cast(values, data_type),
    }
}

fn arrow_error(query: &str, error: &ArrowError) -> WindowError {
    WindowError::Execution {
        query: query.to_owned(),
        reason: error.to_string(),
    }
}
