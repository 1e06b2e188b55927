//! Merges any number of rows into a table by one statement, which is built from the table's description and the rows'
//! types:
//!
//! ```sql
//! INSERT INTO "t" AS stored ("k", "total", "largest")
//! SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bigint[])
//! ON CONFLICT ("k") DO UPDATE SET
//!     "total" = stored."total" + excluded."total", "largest" = GREATEST(stored."largest", excluded."largest")
//! ```

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Days, NaiveDate, Utc};
use interlock_streams::sink::{Merge, Partials, SinkError, WindowTable};
use interlock_streams::window::merge_partials;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, PgConnection};

use crate::doing::Doing;
use crate::sql::{insert_into, on_conflict};

/// Merges rows into their table.
pub(super) async fn upsert(
    connection: &mut PgConnection,
    doing: Doing<'_>,
    partials: &Partials,
) -> Result<(), SinkError> {
    let table = &partials.table;
    let rows = presentable(&partials.rows).map_err(|reason| doing.fatal(&reason))?;
    // Keys are unique, because a statement can update a row only once, and ascending, because writers that lock in the
    // same order don't deadlock.
    let rows = merge_partials(table, &[rows]).map_err(|e| doing.fatal(&e.to_string()))?;
    let (sql, arguments) = statement(table, &rows).map_err(|reason| doing.fatal(&reason))?;
    let statement = sqlx::query_with(AssertSqlSafe(sql), arguments);
    statement.execute(connection).await.map_err(|e| doing.failed(&e))?;
    Ok(())
}

/// Replaces NUL, the only character that PostgreSQL's text cannot hold; keys come from outside.
fn presentable(rows: &RecordBatch) -> Result<RecordBatch, String> {
    let columns = rows.columns().iter().map(|column| match column.as_string_opt::<i32>() {
        Some(text) if text.value_data().contains(&0) => {
            let replaced = text.iter().map(|text| text.map(|text| text.replace('\0', "\u{fffd}")));
            std::sync::Arc::new(replaced.collect::<arrow::array::StringArray>()) as ArrayRef
        }
        _ => column.clone(),
    });
    RecordBatch::try_new(rows.schema(), columns.collect()).map_err(|e| e.to_string())
}

/// Returns the statement for rows that have the table's columns, keys first.
fn statement(table: &WindowTable, rows: &RecordBatch) -> Result<(String, PgArguments), String> {
    let mut arguments = PgArguments::default();
    let mut types = Vec::new();
    for (column, field) in rows.columns().iter().zip(rows.schema().fields()) {
        let sql_type = bind(&mut arguments, column).map_err(|e| format!("column {}: {e}", field.name()))?;
        types.push(format!("${}::{sql_type}[]", types.len() + 1));
    }
    let (insert, merge) = (insert_into(table), on_conflict(table, extreme));
    let sql = format!("{insert} SELECT * FROM UNNEST({}) {merge}", types.join(", "));
    Ok((sql, arguments))
}

/// Returns the expression for the smaller or larger value; PostgreSQL's functions ignore nulls.
fn extreme(merge: Merge, name: &str) -> String {
    let function = if merge == Merge::Min { "LEAST" } else { "GREATEST" };
    format!("{function}(stored.{name}, excluded.{name})")
}

/// Binds a column as an array, and returns the array's type.
fn bind(arguments: &mut PgArguments, column: &ArrayRef) -> Result<&'static str, String> {
    let (added, sql_type) = match column.data_type() {
        DataType::Int64 => {
            let values: Vec<Option<i64>> = column.as_primitive::<Int64Type>().iter().collect();
            (arguments.add(values), "bigint")
        }
        DataType::Utf8 => {
            let values: Vec<Option<&str>> = column.as_string::<i32>().iter().collect();
            (arguments.add(values), "text")
        }
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().iter();
            let values: Option<Vec<Option<NaiveDate>>> = days
                .map(|day| day.map_or(Some(None), |day| date(day).map(Some)))
                .collect();
            (arguments.add(values.ok_or("a date out of range")?), "date")
        }
        DataType::Timestamp(_, Some(_)) => {
            let microseconds = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            let column = cast(column, &microseconds).map_err(|e| e.to_string())?;
            let instants = column.as_primitive::<TimestampMicrosecondType>().iter();
            let values: Option<Vec<Option<DateTime<Utc>>>> = instants
                .map(|at| at.map_or(Some(None), |at| DateTime::from_timestamp_micros(at).map(Some)))
                .collect();
            (arguments.add(values.ok_or("an instant out of range")?), "timestamptz")
        }
        other => return Err(format!("{other} has no counterpart in the database")),
    };
    added.map(|()| sql_type).map_err(|e| e.to_string())
}

fn date(days: i32) -> Option<NaiveDate> {
    let (epoch, distance) = (NaiveDate::default(), Days::new(days.unsigned_abs().into()));
    if days < 0 {
        epoch.checked_sub_days(distance)
    } else {
        epoch.checked_add_days(distance)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, StringArray, TimestampMillisecondArray};

    use super::*;

    fn table() -> WindowTable {
        WindowTable {
            name: "a \"table\"".into(),
            keys: vec!["shop".into(), "day".into(), "minute".into()],
            measures: vec![
                ("total".into(), Merge::Sum),
                ("least".into(), Merge::Min),
                ("most".into(), Merge::Max),
            ],
        }
    }

    fn rows(day: i32) -> RecordBatch {
        let minute = TimestampMillisecondArray::from(vec![60_000]).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 6] = [
            ("shop", Arc::new(StringArray::from(vec!["a\0da"]))),
            ("day", Arc::new(Date32Array::from(vec![day]))),
            ("minute", Arc::new(minute)),
            ("total", Arc::new(Int64Array::from(vec![5]))),
            ("least", Arc::new(Int64Array::from(vec![None]))),
            ("most", Arc::new(Int64Array::from(vec![7]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn sql_is_made_from_the_table() {
        let (sql, arguments) = statement(&table(), &rows(20_000)).unwrap();
        assert_eq!(arguments.len(), 6);
        assert_eq!(
            sql,
            "INSERT INTO \"a \"\"table\"\"\" AS stored (\"shop\", \"day\", \"minute\", \"total\", \"least\", \"most\") \
             SELECT * FROM UNNEST($1::text[], $2::date[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[]) \
             ON CONFLICT (\"shop\", \"day\", \"minute\") DO UPDATE SET \"total\" = stored.\"total\" + \
             excluded.\"total\", \"least\" = LEAST(stored.\"least\", excluded.\"least\"), \"most\" = \
             GREATEST(stored.\"most\", excluded.\"most\")"
        );
        assert_eq!(
            statement(&table(), &rows(i32::MAX)).err().unwrap(),
            "column day: a date out of range"
        );
    }

    #[test]
    fn text_without_nul() {
        let shown = presentable(&rows(0)).unwrap();
        assert_eq!(shown.column(0).as_string::<i32>().value(0), "a\u{fffd}da");
    }

    #[test]
    fn dates_before_and_after_the_epoch() {
        assert_eq!(date(-1), NaiveDate::from_ymd_opt(1969, 12, 31));
        assert_eq!(date(20_788), NaiveDate::from_ymd_opt(2026, 12, 1));
        assert_eq!(date(i32::MIN), None);
    }
}
