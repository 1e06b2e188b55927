//! Rows of the window tables, the same from every database: instants as milliseconds, dates as days, nothing null.

use sqlx::{ColumnIndex, Decode, Row, Type};

use super::TaskPosition;
use crate::AuditError;
use crate::windows::{Dimensions, Measures, Table};

/// All positions.
pub(super) const POSITIONS: &str = "SELECT task, topic, partition, next_offset FROM sink_offsets";

/// A row of a window table.
pub(crate) struct WindowRow {
    /// The beginning of the minute, in milliseconds since the Unix epoch; 0 for rows without a minute.
    pub(crate) minute: i64,
    pub(crate) dimensions: Dimensions,
    pub(crate) measures: Measures,
}

/// Selects what [`window_row`] reads; `millis` and `days` say how the database turns an instant and a date into a
/// number.
pub(super) fn select(table: Table, millis: fn(&str) -> String, days: fn(&str) -> String) -> String {
    let whole = |value: &str| format!("CAST(coalesce({value}, 0) AS bigint)");
    let minute = if table.by_minute() {
        millis("minute")
    } else {
        "0".to_owned()
    };
    let mut columns = vec![
        whole(&minute),
        "train_id".to_owned(),
        whole(&days("travel_date")),
        "travel_class".to_owned(),
    ];
    columns.extend(table.labels().iter().map(|label| (*label).to_owned()));
    columns.extend(table.measures().iter().map(|measure| match measure.ends_with("_time") {
        true => whole(&millis(measure)),
        false => whole(measure),
    }));
    format!("SELECT {} FROM {}", columns.join(", "), table.name())
}

/// Reads a row of [`select`].
pub(super) fn window_row<'r, R>(table: Table, row: &'r R) -> sqlx::Result<WindowRow>
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    let mut labels: [String; 2] = Default::default();
    for (at, label) in labels.iter_mut().enumerate().take(table.labels().len()) {
        *label = row.try_get(4 + at)?;
    }
    let mut measures = Measures::default();
    for (at, measure) in measures.iter_mut().enumerate().take(table.measures().len()) {
        *measure = row.try_get(4 + table.labels().len() + at)?;
    }
    let days: i64 = row.try_get(2)?;
    let dimensions = Dimensions {
        train_id: row.try_get(1)?,
        travel_date: days.try_into().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        travel_class: row.try_get(3)?,
        labels,
    };
    Ok(WindowRow {
        minute: row.try_get(0)?,
        dimensions,
        measures,
    })
}

/// Reads the rows of [`POSITIONS`].
pub(super) fn positions<R>(rows: &[R]) -> crate::Result<Vec<TaskPosition>>
where
    R: Row,
    usize: ColumnIndex<R>,
    for<'r> i32: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
{
    let read: sqlx::Result<Vec<TaskPosition>> = rows.iter().map(task_position).collect();
    read.map_err(AuditError::database("the positions of the window tables can't be read"))
}

/// Reads a row of [`POSITIONS`].
fn task_position<'r, R>(row: &'r R) -> sqlx::Result<TaskPosition>
where
    R: Row,
    usize: ColumnIndex<R>,
    i32: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
    Ok(TaskPosition {
        task: row.try_get(0)?,
        topic: row.try_get(1)?,
        partition: row.try_get(2)?,
        next_offset: row.try_get(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_read_is_null() {
        let select = select(Table::Capacity, |at| format!("ms({at})"), |on| format!("days({on})"));
        assert_eq!(
            select,
            "SELECT CAST(coalesce(0, 0) AS bigint), train_id, CAST(coalesce(days(travel_date), 0) AS bigint), \
             travel_class, CAST(coalesce(seats, 0) AS bigint), CAST(coalesce(seat_metres_offered, 0) AS bigint), \
             CAST(coalesce(ms(departure_time), 0) AS bigint) FROM capacity"
        );
    }
}
