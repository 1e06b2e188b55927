//! The behaviour that every [`Sink`] must have.
//!
//! A sink passes it by one line in a test file; the expression yields an `Arc` of a [`SinkUnderTest`] with the empty
//! tables of [`tables`], or `None` where the service it needs isn't there (it says so aloud):
//!
//! ```ignore
//! interlock_streams::sink_conformance!(Some(Arc::new(InMemory::default())));
//! ```

pub mod merging;
pub mod positions;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::array_value_to_string;
use async_trait::async_trait;

use crate::ledger::Token;
use crate::record::TopicPartition;
use crate::sink::{Advance, Merge, Partials, Sink, SinkError, WindowTable};

/// A sink, and a way to see what it holds.
#[async_trait]
pub trait SinkUnderTest: Send + Sync {
    /// The sink.
    fn sink(&self) -> &dyn Sink;

    /// The rows of a table as [`text_rows`] writes them, in any order.
    async fn rows(&self, table: &WindowTable) -> Vec<String>;

    /// Leaves nothing behind; called after each case, also where it failed.
    async fn clean_up(&self) {}
}

/// Makes one test of each case of the suite for the sink that the (asynchronous) expression yields.
#[macro_export]
macro_rules! sink_conformance {
    ($sink:expr) => {
        $crate::sink_conformance!(@cases $sink;
            positions::fresh_task_begins_where_it_is_told,
            positions::stored_positions_outlive_their_writer,
            positions::tasks_have_positions_of_their_own,
            merging::merges_sums_least_and_largest,
            merging::columns_go_by_name,
            merging::the_same_rows_again_are_added_again,
            merging::two_tasks_add_to_one_row,
            merging::many_rows_and_large_numbers,
            merging::any_text_is_a_key,
            positions::without_rows_positions_advance,
            positions::position_elsewhere_is_refused_and_changes_nothing,
            positions::one_wrong_position_of_several_refuses_all,
            positions::tasks_write_together_or_not_at_all,
            positions::unknown_partition_is_refused,
            positions::old_token_is_refused,
            positions::a_write_of_nothing_is_refused_to_a_zombie,
            positions::task_never_acquired_is_refused,
            merging::rows_that_do_not_fit_change_nothing,
            merging::tables_and_positions_move_together,
        );
    };
    (@cases $sink:expr; $($module:ident :: $case:ident),+ $(,)?) => {
        $(
            #[::tokio::test]
            async fn $case() {
                if let Some(sink) = $sink {
                    let under_test = sink.clone();
                    let case = ::tokio::spawn(async move {
                        $crate::testing::conformance::sink::$module::$case(&*under_test).await;
                    });
                    let ended = case.await;
                    $crate::testing::conformance::sink::SinkUnderTest::clean_up(&*sink).await;
                    if let Err(failed) = ended {
                        ::std::panic::resume_unwind(failed.into_panic());
                    }
                }
            }
        )+
    };
}

/// The tables of the suite: `conformance_sales` with the columns of `sales`, `conformance_visits` with `id` (integer
/// key) and `n` (integer, a sum).
pub fn tables() -> [WindowTable; 2] {
    let table = |name: &str, keys: &[&str], measures: &[(&str, Merge)]| WindowTable {
        name: name.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        measures: measures
            .iter()
            .map(|(name, merge)| ((*name).to_owned(), *merge))
            .collect(),
    };
    let measures = [
        ("total", Merge::Sum),
        ("least", Merge::Min),
        ("most", Merge::Max),
        ("last_at", Merge::Max),
    ];
    [
        table("conformance_sales", &["minute", "day", "shop"], &measures),
        table("conformance_visits", &["id"], &[("n", Merge::Sum)]),
    ]
}

/// Each row as its columns in the table's order, separated by `|`: dates as `2026-12-01`, instants as milliseconds
/// since the Unix epoch, null as nothing.
pub fn text_rows(table: &WindowTable, rows: &RecordBatch) -> Vec<String> {
    let names = table.keys.iter().chain(table.measures.iter().map(|(name, _)| name));
    let columns: Vec<ArrayRef> = names
        .map(|name| {
            let column = rows.column_by_name(name).expect("a column of the table");
            match column.data_type() {
                DataType::Timestamp(..) => {
                    let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
                    let instants = cast(column, &milliseconds).expect("instants have milliseconds");
                    cast(&instants, &DataType::Int64).expect("instants are integers")
                }
                _ => column.clone(),
            }
        })
        .collect();
    let cell = |column: &ArrayRef, row| match column.is_null(row) {
        true => String::new(),
        false => array_value_to_string(column, row).expect("a printable value"),
    };
    let row = |row| {
        columns
            .iter()
            .map(|column| cell(column, row))
            .collect::<Vec<_>>()
            .join("|")
    };
    (0..rows.num_rows()).map(row).collect()
}

const MINUTE: i64 = 60_000;
const DAY: i32 = 20_788; // 2026-12-01

/// Rows for `conformance_sales`: shop, total, least, most; `minute` (instant) and `day` (date) are keys like the shop,
/// `last_at` (instant) merges by the larger.
fn sales(rows: &[(&str, i64, Option<i64>, i64)]) -> Partials {
    let minute = TimestampMillisecondArray::from(vec![MINUTE; rows.len()]).with_timezone("UTC");
    let last_at = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| MINUTE + row.3));
    let columns: [(&str, ArrayRef); 7] = [
        ("minute", Arc::new(minute)),
        ("day", Arc::new(Date32Array::from(vec![DAY; rows.len()]))),
        (
            "shop",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        ),
        (
            "total",
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
        ),
        ("least", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2)))),
        (
            "most",
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3))),
        ),
        ("last_at", Arc::new(last_at.with_timezone("UTC"))),
    ];
    let [table, _] = tables();
    Partials {
        table,
        rows: RecordBatch::try_from_iter(columns).expect("columns of one length"),
    }
}

fn visits(rows: &[(i64, i64)]) -> Partials {
    let columns: [(&str, ArrayRef); 2] = [
        (
            "id",
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        ),
        (
            "n",
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
        ),
    ];
    let [_, table] = tables();
    Partials {
        table,
        rows: RecordBatch::try_from_iter(columns).expect("columns of one length"),
    }
}

/// The stored sales as `shop|total|least|most|last_at`, sorted, without the keys that are the same in all rows.
async fn sold(test: &dyn SinkUnderTest) -> Vec<String> {
    let mut rows = test.rows(&tables()[0]).await;
    for row in &mut rows {
        *row = row
            .strip_prefix("60000|2026-12-01|")
            .expect("the keys of sales()")
            .to_owned();
    }
    rows.sort();
    rows
}

async fn visited(test: &dyn SinkUnderTest) -> Vec<String> {
    let mut rows = test.rows(&tables()[1]).await;
    rows.sort();
    rows
}

fn partition(partition: i32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn token(text: &str) -> Token {
    Token(text.to_owned())
}

fn advance(from: i64, to: i64) -> Advance {
    Advance {
        source: partition(0),
        from,
        to,
    }
}

/// Takes the task `t` under the token `a`, with partition 0 at 0.
async fn acquire(test: &dyn SinkUnderTest) {
    let stored = test
        .sink()
        .acquire("t", &token("a"), &[(partition(0), 0)])
        .await
        .expect("acquire");
    assert_eq!(stored, [(partition(0), 0)]);
}

/// Writes for the task `t` under the token `a`.
async fn write(test: &dyn SinkUnderTest, advances: &[Advance], partials: &[Partials]) -> Result<(), SinkError> {
    test.sink().write("t", &token("a"), advances, partials).await
}

/// Returns the position of the task `t`; acquires it again under its token to read it.
async fn positions(test: &dyn SinkUnderTest) -> Vec<(TopicPartition, i64)> {
    let mut stored = test.sink().acquire("t", &token("a"), &[]).await.expect("acquire");
    stored.sort();
    stored
}

fn assert_fenced(result: &Result<(), SinkError>) {
    assert!(
        matches!(result, Err(SinkError::Fenced { task, .. }) if !task.is_empty()),
        "{result:?}"
    );
}
