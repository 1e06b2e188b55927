//! Window tables in TimescaleDB.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use super::super::windows::Table;
use super::rows::{POSITIONS, WindowRow, select, task_position, window_row};
use super::{TaskPosition, WindowTables};

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Window tables in TimescaleDB.
pub(crate) struct TimescaleTables {
    connection: PgConnection,
}

impl TimescaleTables {
    /// Connects; the error names server and setting, and no password.
    pub(crate) async fn connect(url: &str) -> anyhow::Result<TimescaleTables> {
        let setting = "database.url (INTERLOCK_DATABASE_URL)";
        let options: PgConnectOptions = url.parse().map_err(|_| {
            anyhow::anyhow!("{setting} can't be read: write postgres://role:password@host:5432/database")
        })?;
        let place = format!("{}:{}", options.get_host(), options.get_port());
        let options = options
            .application_name("interlock-audit")
            .options([("timezone", "UTC")]);
        let connected = tokio::time::timeout(CONNECT_MAX, options.connect()).await;
        let connection = connected
            .with_context(|| {
                format!("TimescaleDB at {place} doesn't answer within {CONNECT_MAX:?}; is {setting} right?")
            })?
            .with_context(|| format!("TimescaleDB at {place} can't be used; is {setting} right?"))?;
        Ok(TimescaleTables { connection })
    }
}

#[async_trait]
impl WindowTables for TimescaleTables {
    async fn begin(&mut self) -> anyhow::Result<Vec<TaskPosition>> {
        self.connection
            .execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let rows = sqlx::query(POSITIONS).fetch_all(&mut self.connection).await.context(
            "the positions of the window tables can't be read; were the window topologies ever started with this \
             database? --skip-windows audits the rest",
        )?;
        rows.iter().map(task_position).collect()
    }

    async fn rows(&mut self, table: Table, each: &mut (dyn FnMut(WindowRow) + Send)) -> anyhow::Result<()> {
        let select = select(
            table,
            |at| format!("extract(epoch FROM {at}) * 1000"),
            |on| format!("{on} - date '1970-01-01'"),
        );
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await? {
            each(window_row(table, &row)?);
        }
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        self.connection.execute("ROLLBACK").await?;
        Ok(())
    }
}
