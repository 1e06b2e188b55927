//! Window tables in TimescaleDB.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use super::rows::{POSITIONS, WindowRow, positions, select, window_row};
use super::{TaskPosition, WindowTables};
use crate::AuditError;
use crate::windows::Table;

/// Longest time for connecting.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Opens a snapshot that no write of the workers changes.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Window tables in TimescaleDB.
pub(crate) struct TimescaleTables {
    connection: PgConnection,
}

impl TimescaleTables {
    /// Connects; the error names server and setting, and no password.
    pub(crate) async fn connect(url: &str) -> crate::Result<TimescaleTables> {
        let options: PgConnectOptions = url.parse().map_err(|_| AuditError::DatabaseUrl)?;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        let options = options
            .application_name("interlock-audit")
            .options([("timezone", "UTC")]);
        let connected = tokio::time::timeout(CONNECT_MAX, options.connect()).await;
        let connected = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let doing = format!("TimescaleDB at {place} can't be reached; is database.url (INTERLOCK_DATABASE_URL) right?");
        let connection = connected.map_err(AuditError::database(doing))?;
        Ok(TimescaleTables { connection })
    }
}

#[async_trait]
impl WindowTables for TimescaleTables {
    async fn begin(&mut self) -> crate::Result<Vec<TaskPosition>> {
        let unreadable = || {
            AuditError::database(
                "the positions of the window tables can't be read; were the window topologies ever started with this \
                 database? --skip-windows audits the rest",
            )
        };
        let begun = self.connection.execute(BEGIN).await;
        begun.map_err(unreadable())?;
        let rows = sqlx::query(POSITIONS).fetch_all(&mut self.connection).await;
        positions(&rows.map_err(unreadable())?)
    }

    async fn rows(&mut self, table: Table, each: &mut (dyn FnMut(WindowRow) + Send)) -> crate::Result<()> {
        let select = select(
            table,
            |at| format!("extract(epoch FROM {at}) * 1000"),
            |on| format!("{on} - date '1970-01-01'"),
        );
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut self.connection);
        let unreadable = || AuditError::database(format!("table {} can't be read", table.name()));
        while let Some(row) = rows.try_next().await.map_err(unreadable())? {
            each(window_row(table, &row).map_err(unreadable())?);
        }
        Ok(())
    }

    async fn end(&mut self) -> crate::Result<()> {
        let ended = self.connection.execute("ROLLBACK").await;
        ended
            .map(drop)
            .map_err(AuditError::database("the snapshot of the window tables can't be ended"))
    }
}
