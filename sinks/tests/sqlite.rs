//! [`SqliteSink`], in memory and in a file, passes the suite; and what only a file can do.

use std::sync::Arc;

use async_trait::async_trait;
use interlock_sinks::sqlite::SqliteSink;
use interlock_streams::ledger::Token;
use interlock_streams::record::TopicPartition;
use interlock_streams::sink::{Advance, Sink, SinkError, WindowTable};
use interlock_streams::testing::conformance::sink::{SinkUnderTest, tables};
use sqlx::AssertSqlSafe;

struct UnderTest {
    sink: SqliteSink,
    /// Keeps the file's folder until the end of the case.
    _folder: Option<tempfile::TempDir>,
}

#[async_trait]
impl SinkUnderTest for UnderTest {
    fn sink(&self) -> &dyn Sink {
        &self.sink
    }

    async fn rows(&self, table: &WindowTable) -> Vec<String> {
        let columns = table.keys.iter().chain(table.measures.iter().map(|(name, _)| name));
        let text = |column: &String| match column.as_str() {
            "day" => "date(day * 86400, 'unixepoch')".to_owned(),
            _ => format!("coalesce(cast({column} AS TEXT), '')"),
        };
        let columns: Vec<_> = columns.map(text).collect();
        let query = format!("SELECT {} FROM {}", columns.join(" || '|' || "), table.name);
        let rows = sqlx::query_scalar(AssertSqlSafe(query));
        rows.fetch_all(&mut *self.sink.connection().lock().await)
            .await
            .expect("rows")
    }
}

async fn under_test(sink: SqliteSink, folder: Option<tempfile::TempDir>) -> Option<Arc<UnderTest>> {
    for table in [
        "CREATE TABLE conformance_sales (minute INTEGER, day INTEGER, shop TEXT, total INTEGER NOT NULL, least INTEGER, \
         most INTEGER, last_at INTEGER, PRIMARY KEY (minute, day, shop)) STRICT",
        "CREATE TABLE conformance_visits (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT",
    ] {
        sqlx::query(table)
            .execute(&mut *sink.connection().lock().await)
            .await
            .expect("a table");
    }
    sink.check(&tables()).await.expect("the tables of the suite");
    Some(Arc::new(UnderTest { sink, _folder: folder }))
}

mod in_memory {
    use super::*;

    interlock_streams::sink_conformance!(under_test(SqliteSink::in_memory().await.expect("memory"), None).await);
}

mod in_a_file {
    use super::*;

    async fn fresh() -> Option<Arc<UnderTest>> {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = SqliteSink::open(&folder.path().join("windows.sqlite"))
            .await
            .expect("open");
        under_test(sink, Some(folder)).await
    }

    interlock_streams::sink_conformance!(fresh().await);
}

#[tokio::test]
async fn positions_are_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("windows.sqlite");
    let source = TopicPartition::new("orders", 0);
    let advance = [Advance {
        source: source.clone(),
        from: 3,
        to: 9,
    }];
    let sink = SqliteSink::open(&file).await.expect("open");
    let token = Token("a".into());
    sink.acquire("t", &token, &[(source.clone(), 3)])
        .await
        .expect("acquire");
    sink.write("t", &token, &advance, &[]).await.expect("write");
    drop(sink);
    let sink = SqliteSink::open(&file).await.expect("open again");
    let stored = sink.acquire("t", &Token("b".into()), &[(source.clone(), 0)]).await;
    assert_eq!(stored.expect("acquire"), [(source, 9)]);
}

#[tokio::test]
async fn what_is_no_database_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("windows.sqlite");
    std::fs::write(&file, "hello, this is no database at all, only a letter").expect("a file");
    let refused = SqliteSink::open(&file).await.expect_err("no database");
    assert!(
        matches!(&refused, SinkError::Fatal { reason, .. } if reason.contains("move the file away")),
        "{refused}"
    );
    let refused = SqliteSink::open(&folder.path().join("no/such/folder.sqlite"))
        .await
        .expect_err("no folder");
    assert!(
        matches!(&refused, SinkError::Fatal { reason, .. } if reason.contains("writable")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_sum_past_64_bits_is_refused() {
    let test = under_test(SqliteSink::in_memory().await.expect("memory"), None)
        .await
        .expect("a sink");
    let (source, token) = (TopicPartition::new("orders", 0), Token("a".into()));
    test.sink
        .acquire("t", &token, &[(source.clone(), 0)])
        .await
        .expect("acquire");
    let [_, table] = tables();
    let columns = [("id", vec![1]), ("n", vec![i64::MAX])].map(|(name, values)| {
        (
            name,
            Arc::new(arrow::array::Int64Array::from(values)) as arrow::array::ArrayRef,
        )
    });
    let rows = arrow::array::RecordBatch::try_from_iter(columns).expect("rows");
    let partials = [interlock_streams::sink::Partials { table, rows }];
    for (from, fits) in [(0, true), (1, false)] {
        let advance = [Advance {
            source: source.clone(),
            from,
            to: from + 1,
        }];
        let written = test.sink.write("t", &token, &advance, &partials).await;
        assert_eq!(written.is_ok(), fits, "{written:?}");
    }
}
