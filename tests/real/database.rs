//! Makes a database for each test.

use anyhow::{Context as _, Result, bail};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};

use super::{PATIENCE, say, wait_for};

/// The database of a test; removed when dropped.
#[derive(Debug)]
pub(super) struct Database {
    server: String,
    name: String,
    /// The address of the database.
    pub(super) url: String,
}

impl Database {
    /// Creates an empty database, with TimescaleDB if the server has it and permits its use.
    pub(super) async fn create(server: &str, name: &str) -> Result<Self> {
        execute(server, &format!("CREATE DATABASE {name}")).await?;
        let url = with_database(server, name)?;
        let extension = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS timescaledb";
        let superuser = url.replacen("://interlock@", "://postgres@", 1);
        if let Err(error) = execute(&superuser, extension).await {
            say(format_args!("{name} has plain tables: no TimescaleDB: {error:#}"));
        }
        Ok(Self {
            server: server.to_owned(),
            name: name.to_owned(),
            url,
        })
    }

    pub(super) async fn connect(&self) -> Result<PgConnection> {
        connect(&self.url).await
    }

    pub(super) async fn remove(self) -> Result<()> {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // Only a superuser may end the sessions of TimescaleDB's own workers, which end by themselves.
        let is_in_use = |error: &anyhow::Error| format!("{error:#}").contains("permission denied to terminate");
        wait_for("the database is dropped", PATIENCE, async || {
            match execute(&self.server, &drop).await {
                Err(error) if is_in_use(&error) => Ok(None),
                result => result.map(Some),
            }
        })
        .await
    }
}

/// Returns the address of another database on the same server.
fn with_database(server: &str, name: &str) -> Result<String> {
    let (address, query) = server
        .split_once('?')
        .map_or((server, None), |(address, query)| (address, Some(query)));
    let (host, _) = address
        .rsplit_once('/')
        .context("the database's address names no database")?;
    Ok(query.map_or(format!("{host}/{name}"), |query| format!("{host}/{name}?{query}")))
}

async fn connect(url: &str) -> Result<PgConnection> {
    let Ok(options) = url.parse::<PgConnectOptions>() else {
        bail!("the database's address can't be read");
    };
    options.connect().await.context("connect to the database")
}

/// Executes statements as the role that the address names.
pub(crate) async fn execute(url: &str, sql: &str) -> Result<()> {
    let mut connection = connect(url).await?;
    let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await;
    done.with_context(|| sql.to_owned()).map(drop)
}
