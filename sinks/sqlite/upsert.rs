//! Merges rows into a table, as many per statement as SQLite accepts. The statement is built from the table's
//! description:
//!
//! ```sql
//! INSERT INTO "t" AS stored ("k", "total", "largest") VALUES (?, ?, ?), (?, ?, ?)
//! ON CONFLICT ("k") DO UPDATE SET "total" = stored."total" + excluded."total", "largest" = max(…)
//! ```

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit};
use arrow::record_batch::RecordBatch;
use interlock_streams::sink::{Merge, Partials, SinkError};
use interlock_streams::window::merge_partials;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, SqliteConnection};

use super::failed;
use crate::doing::Doing;
use crate::sql::{insert_into, on_conflict};

/// SQLite's limit of values in one statement (`SQLITE_MAX_VARIABLE_NUMBER`).
const VALUES_MAX: usize = 32_766;

/// Merges rows into their table.
pub(super) async fn upsert(
    connection: &mut SqliteConnection,
    doing: Doing<'_>,
    partials: &Partials,
) -> Result<(), SinkError> {
    let table = &partials.table;
    // The columns are taken in the table's order, so that an error names a missing one.
    let rows = merge_partials(table, std::slice::from_ref(&partials.rows)).map_err(|e| doing.fatal(&e.to_string()))?;
    let columns = columns(&rows).map_err(|reason| doing.fatal(&reason))?;
    let (insert, merge) = (insert_into(table), on_conflict(table, extreme));
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    let rows_max = VALUES_MAX / columns.len().max(1);
    for first in (0..rows.num_rows()).step_by(rows_max) {
        let range = first..rows.num_rows().min(first + rows_max);
        let sql = format!("{insert} VALUES {} {merge}", vec![row.as_str(); range.len()].join(", "));
        let mut arguments = SqliteArguments::default();
        for at in range {
            for column in &columns {
                bind(&mut arguments, column, at).map_err(|e| doing.fatal(&e.to_string()))?;
            }
        }
        let statement = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(false);
        statement
            .execute(&mut *connection)
            .await
            .map_err(|e| failed(doing, &e))?;
    }
    Ok(())
}

/// Converts columns to SQLite's types: text, or integers (instants in milliseconds, dates in days).
fn columns(rows: &RecordBatch) -> Result<Vec<ArrayRef>, String> {
    let columns = rows.columns().iter().zip(rows.schema_ref().fields());
    let columns = columns.map(|(column, field)| {
        let stored = match column.data_type() {
            DataType::Int64 | DataType::Utf8 | DataType::Date32 => Ok(column.clone()),
            DataType::Timestamp(_, Some(_)) => {
                let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
                cast(column, &milliseconds).and_then(|instants| cast(&instants, &DataType::Int64))
            }
            other => return Err(format!("column {}: {other} has no counterpart in SQLite", field.name())),
        };
        stored.map_err(|e| format!("column {}: {e}", field.name()))
    });
    columns.collect()
}

fn bind(arguments: &mut SqliteArguments, column: &ArrayRef, at: usize) -> Result<(), sqlx::error::BoxDynError> {
    if column.is_null(at) {
        return arguments.add(None::<i64>);
    }
    match column.data_type() {
        DataType::Utf8 => arguments.add(column.as_string::<i32>().value(at)),
        DataType::Date32 => arguments.add(column.as_primitive::<Date32Type>().value(at)),
        _ => arguments.add(column.as_primitive::<Int64Type>().value(at)),
    }
}

/// Returns the expression for the smaller or larger value; SQLite's functions return null if either is null.
fn extreme(merge: Merge, name: &str) -> String {
    let function = if merge == Merge::Min { "min" } else { "max" };
    format!("{function}(coalesce(stored.{name}, excluded.{name}), coalesce(excluded.{name}, stored.{name}))")
}
