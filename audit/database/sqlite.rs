//! Window tables in SQLite, in the process that writes them.

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use super::rows::{POSITIONS, WindowRow, positions, select, window_row};
use super::{TaskPosition, WindowTables};
use crate::AuditError;
use crate::windows::Table;

/// Window tables in SQLite. A snapshot consists of exclusive use of the connection.
pub(crate) struct SqliteTables<'a> {
    connection: &'a Mutex<SqliteConnection>,
    snapshot: Option<MutexGuard<'a, SqliteConnection>>,
}

impl<'a> SqliteTables<'a> {
    /// Returns the tables behind a connection, which their writer shares.
    pub(crate) fn of(connection: &'a Mutex<SqliteConnection>) -> SqliteTables<'a> {
        SqliteTables {
            connection,
            snapshot: None,
        }
    }
}

#[async_trait]
impl WindowTables for SqliteTables<'_> {
    async fn begin(&mut self) -> crate::Result<Vec<TaskPosition>> {
        let connection = self.snapshot.insert(self.connection.lock().await);
        let rows = sqlx::query(POSITIONS).fetch_all(&mut **connection).await;
        let rows = rows.map_err(AuditError::database("the positions of the window tables can't be read"))?;
        positions(&rows)
    }

    async fn rows(&mut self, table: Table, each: &mut (dyn FnMut(WindowRow) + Send)) -> crate::Result<()> {
        let connection = match &mut self.snapshot {
            Some(connection) => connection,
            None => self.snapshot.insert(self.connection.lock().await),
        };
        let select = select(table, str::to_owned, str::to_owned);
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut **connection);
        let unreadable = || AuditError::database(format!("table {} can't be read", table.name()));
        while let Some(row) = rows.try_next().await.map_err(unreadable())? {
            each(window_row(table, &row).map_err(unreadable())?);
        }
        Ok(())
    }

    async fn end(&mut self) -> crate::Result<()> {
        self.snapshot = None;
        Ok(())
    }
}
