//! Golden windows: a `.sql` file, input rows and output rows, run whole and in pieces.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::{WindowError, WindowQuery, merge_partials};
use crate::sink::Merge::{Max, Min, Sum};
use crate::sink::{Merge, WindowTable};

struct Golden {
    name: &'static str,
    sql: &'static str,
    rows: &'static str,
    keys: &'static [&'static str],
    measures: &'static [(&'static str, Merge)],
}

const GOLDEN: [Golden; 3] = [
    Golden {
        name: "tumbling.sql",
        sql: include_str!("golden/tumbling.sql"),
        rows: include_str!("golden/tumbling.txt"),
        keys: &["minute", "shop"],
        measures: &[
            ("sales", Sum),
            ("net", Sum),
            ("given_back", Sum),
            ("least", Min),
            ("last_at", Max),
        ],
    },
    Golden {
        name: "hopping.sql",
        sql: include_str!("golden/hopping.sql"),
        rows: include_str!("golden/hopping.txt"),
        keys: &["minute"],
        measures: &[("total", Sum)],
    },
    Golden {
        name: "union.sql",
        sql: include_str!("golden/union.sql"),
        rows: include_str!("golden/union.txt"),
        keys: &["day", "who"],
        measures: &[("total", Sum)],
    },
];

impl Golden {
    fn query(&self) -> WindowQuery {
        let table = table(self.keys, self.measures);
        WindowQuery::new(self.name, self.sql, input_schema(), table).unwrap()
    }
}

type Row = (i64, String, Option<i64>, bool);

#[test]
fn golden_rows() {
    for golden in &GOLDEN {
        let (input, expected) = golden.rows.split_once("output: ").unwrap();
        let rows: Vec<Row> = input.lines().skip(1).map(parse).collect();
        assert_eq!(
            text(&whole(&mut golden.query(), &rows)),
            expected.trim_end(),
            "{}",
            golden.name
        );
        for pieces in 1..=rows.len() {
            let merged = in_pieces(&mut golden.query(), &rows, |row| row % pieces);
            assert_eq!(text(&merged), expected.trim_end(), "{} in {pieces} pieces", golden.name);
        }
    }
}

fn row() -> impl Strategy<Value = Row> {
    let at = prop_oneof![-200_000..200_000_i64, any::<i32>().prop_map(|s| i64::from(s) * 1_000)];
    let shop = prop_oneof![
        Just("ada"),
        Just("bo"),
        Just("a shop with a name longer than twelve bytes"),
        Just("")
    ];
    let amount = proptest::option::of(-1_000_000_000_000..1_000_000_000_000_i64);
    (at, shop.prop_map(str::to_owned), amount, any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn however_it_is_cut(rows in proptest::collection::vec((row(), 0..6_usize), 0..60)) {
        let (rows, pieces): (Vec<Row>, Vec<usize>) = rows.into_iter().unzip();
        for golden in &GOLDEN {
            let mut query = golden.query();
            let whole = whole(&mut query, &rows);
            let merged = in_pieces(&mut query, &rows, |row| pieces[row]);
            prop_assert_eq!(&whole, &merged, "{}", golden.name);
            // Merging again changes nothing, nor does merging in two steps.
            prop_assert_eq!(&merge_partials(query.table(), std::slice::from_ref(&merged)).unwrap(), &merged);
        }
    }
}

#[test]
fn refuses_other_columns() {
    let says = |sql: &str, part: &str| refused(sql, part, |e| matches!(e, WindowError::Column { .. }));
    says(
        "SELECT shop AS store, SUM(amount) AS total FROM input GROUP BY 1",
        "sales.sql: column store: expected only",
    );
    says(
        "SELECT SUM(amount) AS total FROM input",
        "sales.sql: column shop: expected a key",
    );
    says(
        "SELECT shop, SUM(amount) AS total, COUNT(*) AS n FROM input GROUP BY 1",
        "column n: expected only",
    );
    says(
        "SELECT shop, AVG(amount) AS total FROM input GROUP BY 1",
        "column total: expected a sum of type Int64",
    );
}

fn refused(sql: &str, part: &str, kind: impl Fn(&WindowError) -> bool) {
    let error = WindowQuery::new("sales.sql", sql, input_schema(), table(&["shop"], &[("total", Sum)])).unwrap_err();
    assert!(kind(&error), "{sql}: {error:?}");
    assert!(error.to_string().contains(part), "{sql}: {error}");
}

#[test]
fn refuses_what_cannot_be_planned() {
    let says = |sql: &str, part: &str| refused(sql, part, |e| matches!(e, WindowError::Plan { .. }));
    says("SELECT shop, SUM(amont) AS total FROM input GROUP BY 1", "amont");
    says("SELECT shop, SUM(amount) AS total FROM sales GROUP BY 1", "sales");
    says("SELEC shop", "sales.sql");
}

#[test]
fn refuses_what_does_not_merge() {
    let says = |sql: &str, part: &str| refused(sql, part, |e| matches!(e, WindowError::NotMergeable { .. }));
    let sum = |rest: &str| format!("SELECT shop, SUM(amount) AS total FROM input {rest}");
    says(&sum("GROUP BY 1 HAVING SUM(amount) > 3"), "HAVING");
    says(&sum("GROUP BY 1 LIMIT 3"), "LIMIT");
    says(&sum("GROUP BY 1 ORDER BY 2"), "ORDER BY");
    says(
        &sum("WHERE amount > (SELECT MAX(amount) FROM input) GROUP BY 1"),
        "subquery",
    );
    says(&sum("WHERE at < now() GROUP BY 1"), "now()");
    says(&sum("GROUP BY shop, at"), "would repeat");
    says(&sum("GROUP BY ROLLUP (shop)"), "would repeat");
    let measure = |measure: &str| format!("SELECT shop, {measure} AS total FROM input GROUP BY 1");
    says(&measure("COUNT(DISTINCT amount)"), "DISTINCT");
    says(&measure("MAX(amount)"), "not a SUM or COUNT");
    says(&measure("SUM(amount) + COUNT(*)"), "COALESCE");
    says(&measure("SUM(amount) / 2"), "not linear");
    says(&measure("COUNT(*) * COUNT(amount)"), "linear");
    says(&measure("CAST(AVG(amount) AS BIGINT)"), "linear");
    says(&measure("1"), "linear");
    says(
        "SELECT shop, SUM(amount) AS total FROM (SELECT DISTINCT shop, amount FROM input) GROUP BY 1",
        "DISTINCT",
    );
    says(
        "SELECT a.shop, SUM(a.amount) AS total FROM input a JOIN input b ON a.shop = b.shop GROUP BY 1",
        "join of input with itself",
    );
    says(
        "SELECT shop, SUM(n) AS total FROM (VALUES ('a', 1)) AS v(shop, n) GROUP BY 1",
        "does not read",
    );
    says(
        "SELECT shop, SUM(n) AS total FROM (SELECT shop, amount AS n FROM input UNION ALL SELECT 'a', 1) GROUP BY 1",
        "UNION",
    );
}

#[tokio::test]
async fn refuses_other_input_and_null_keys() {
    let sql = "SELECT NULLIF(shop, '') AS shop, SUM(amount) AS total FROM input GROUP BY 1";
    let mut query = WindowQuery::new("sales.sql", sql, input_schema(), table(&["shop"], &[("total", Sum)])).unwrap();
    let other = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert!(matches!(query.run(other).await, Err(WindowError::Input { .. })));
    let nameless = batch(&[(0, String::new(), Some(1), false)]);
    let error = query.run(nameless).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "sales.sql: key column shop is null in 1 rows: filter them out or give them a value"
    );
    // And it still runs.
    let named = query.run(batch(&[(0, "ada".into(), Some(1), false)])).await.unwrap();
    assert_eq!(text(&named), "shop | total\nada | 1");
}

#[test]
fn refuses_tables_that_are_none_and_sums_that_overflow() {
    let problem = |keys: &[&str], measures: &[(&str, Merge)]| {
        merge_partials(&table(keys, measures), &[]).unwrap_err().to_string()
    };
    assert_eq!(
        problem(&[], &[("total", Sum)]),
        "window table sales: it has no key columns"
    );
    assert_eq!(problem(&["shop"], &[]), "window table sales: it has no measures");
    assert_eq!(
        problem(&["shop"], &[("shop", Sum)]),
        "window table sales: column shop is named twice"
    );
    let sales = table(&["shop"], &[("total", Sum)]);
    assert_eq!(merge_partials(&sales, &[]).unwrap().num_columns(), 0);
    let columns: [(&str, ArrayRef); 2] = [
        ("total", Arc::new(Int64Array::from(vec![i64::MAX, 1]))),
        ("shop", Arc::new(StringArray::from(vec!["ada", "ada"]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    assert!(matches!(
        merge_partials(&sales, &[rows]),
        Err(WindowError::Overflow { .. })
    ));
}

fn table(keys: &[&str], measures: &[(&str, Merge)]) -> WindowTable {
    WindowTable {
        name: "sales".into(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        measures: measures
            .iter()
            .map(|(name, merge)| ((*name).to_owned(), *merge))
            .collect(),
    }
}

fn input_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(
            "at",
            DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            false,
        ),
        Field::new("shop", DataType::Utf8, false),
        Field::new("amount", DataType::Int64, true),
        Field::new("test", DataType::Boolean, false),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let at = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.0)).with_timezone("UTC");
    let shop = StringArray::from_iter_values(rows.iter().map(|row| &row.1));
    let amount = Int64Array::from_iter(rows.iter().map(|row| row.2));
    let test = BooleanArray::from(rows.iter().map(|row| row.3).collect::<Vec<_>>());
    let columns: Vec<ArrayRef> = vec![Arc::new(at), Arc::new(shop), Arc::new(amount), Arc::new(test)];
    RecordBatch::try_new(input_schema(), columns).unwrap()
}

fn parse(line: &str) -> Row {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let at = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(cells[0]).unwrap() / 1_000_000;
    (
        at,
        cells[1].to_owned(),
        cells[2].parse().ok(),
        cells[3].parse().unwrap(),
    )
}

/// One batch, sorted by merging it alone.
fn whole(query: &mut WindowQuery, rows: &[Row]) -> RecordBatch {
    let partials = run(query, batch(rows)).unwrap();
    let merged = merge_partials(query.table(), std::slice::from_ref(&partials)).unwrap();
    assert_eq!(merged.num_rows(), partials.num_rows(), "the keys of one run are unique");
    merged
}

fn in_pieces(query: &mut WindowQuery, rows: &[Row], piece: impl Fn(usize) -> usize) -> RecordBatch {
    let last = (0..rows.len()).map(&piece).max().unwrap_or(0);
    let mut partials: Vec<RecordBatch> = (0..=last)
        .map(|number| {
            let rows: Vec<Row> = (0..rows.len())
                .filter(|row| piece(*row) == number)
                .map(|row| rows[row].clone())
                .collect();
            run(query, batch(&rows)).unwrap()
        })
        .collect();
    partials.reverse(); // in any order
    merge_partials(query.table(), &partials).unwrap()
}

fn run(query: &mut WindowQuery, batch: RecordBatch) -> Result<RecordBatch, WindowError> {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(query.run(batch))
}

fn text(rows: &RecordBatch) -> String {
    let rows = concat_batches(&rows.schema(), [rows]).unwrap();
    let options = FormatOptions::default();
    let columns: Result<Vec<_>, ArrowError> = rows
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect();
    let columns = columns.unwrap();
    let header: Vec<_> = rows
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let mut lines = vec![header.join(" | ")];
    for row in 0..rows.num_rows() {
        let cells: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
        lines.push(cells.join(" | ").replace("|  |", "| |"));
    }
    lines.join("\n")
}
