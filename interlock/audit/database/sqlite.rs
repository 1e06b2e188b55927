//! Window tables in SQLite, in the process that writes them.

use anyhow::Context;
use async_trait::async_trait;
use futures::TryStreamExt;
use interlock_sinks::sqlite::SqliteSink;
use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::sync::MutexGuard;

use super::super::windows::Table;
use super::rows::{POSITIONS, WindowRow, select, task_position, window_row};
use super::{TaskPosition, WindowTables};

/// Window tables in SQLite. A snapshot is that nobody else has the connection.
pub(crate) struct SqliteTables<'a> {
    sink: &'a SqliteSink,
    snapshot: Option<MutexGuard<'a, SqliteConnection>>,
}

impl<'a> SqliteTables<'a> {
    /// The tables of a sink.
    pub(crate) fn of(sink: &'a SqliteSink) -> SqliteTables<'a> {
        SqliteTables { sink, snapshot: None }
    }
}

#[async_trait]
impl WindowTables for SqliteTables<'_> {
    async fn begin(&mut self) -> anyhow::Result<Vec<TaskPosition>> {
        let connection = self.snapshot.insert(self.sink.lock().await);
        let rows = sqlx::query(POSITIONS).fetch_all(&mut **connection).await;
        rows.context("the positions of the window tables can't be read")?
            .iter()
            .map(task_position)
            .collect()
    }

    async fn rows(&mut self, table: Table, each: &mut (dyn FnMut(WindowRow) + Send)) -> anyhow::Result<()> {
        let connection = self.snapshot.as_mut().context("no snapshot was begun")?;
        let select = select(table, str::to_owned, str::to_owned);
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut **connection);
        while let Some(row) = rows.try_next().await? {
            each(window_row(table, &row)?);
        }
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        self.snapshot = None;
        Ok(())
    }
}
