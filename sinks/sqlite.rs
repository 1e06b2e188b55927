//! Windows in SQLite: in memory or in a file, for one process.
//!
//! As in [`crate::timescale`], token, positions and rows are one transaction. All writers of the process share one
//! connection and take turns, which SQLite would enforce anyway.
//!
//! A file uses a write-ahead log (WAL) with `synchronous = NORMAL`. It survives any end of the process. After a power
//! cut it may lack its last moments, positions and rows together. The tasks then continue from the stored positions, so
//! nothing is lost that the log still has.

mod upsert;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use interlock_streams::ledger::Token;
use interlock_streams::record::TopicPartition;
use interlock_streams::sink::{Advance, Partials, Sink, SinkError, WindowTable, Writer};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use tokio::sync::Mutex;

use upsert::upsert;

use crate::doing::{AT_START, Doing};
use crate::migrations;
use crate::sql::select_nothing;

/// Longest wait of a write for another program that has locked the file.
const BUSY: Duration = Duration::from_secs(5);

/// Window tables in SQLite.
#[derive(Debug)]
pub struct SqliteSink {
    place: String,
    connection: Mutex<SqliteConnection>,
}

impl SqliteSink {
    /// Opens tables in memory. They last as long as this value.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] if there is no memory.
    pub async fn in_memory() -> Result<Self, SinkError> {
        let options = SqliteConnectOptions::new().in_memory(true);
        Self::connect(&options, "SQLite in memory".into()).await
    }

    /// Opens tables in a file, and creates the file if it is missing.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] if the file can't be used, [`SinkError::Unavailable`] if another program has locked it.
    pub async fn open(file: &Path) -> Result<Self, SinkError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal);
        Self::connect(&options, file.display().to_string()).await
    }

    async fn connect(options: &SqliteConnectOptions, place: String) -> Result<Self, SinkError> {
        let doing = Doing {
            task: AT_START,
            what: "opening the window tables",
            place: &place,
        };
        let connected = options.clone().busy_timeout(BUSY).connect().await;
        let mut connection = connected.map_err(|e| failed(doing, &e))?;
        let migrator = migrations::migrator(migrations::SQLITE);
        let migrated = migrator.run_direct(None, &mut connection, false).await;
        migrated.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(doing, &error),
            other => doing.fatal(&format!("{other}; the file belongs to another version of Interlock")),
        })?;
        Ok(Self {
            place,
            connection: Mutex::new(connection),
        })
    }

    /// Checks that the tables exist with the columns that their windows need.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] naming the table and column.
    pub async fn check(&self, tables: &[WindowTable]) -> Result<(), SinkError> {
        let doing = self.doing(AT_START, "checking the tables");
        let mut connection = self.connection.lock().await;
        for table in tables {
            let nothing = sqlx::query(AssertSqlSafe(select_nothing(table)));
            let selected = nothing.execute(&mut *connection).await;
            selected.map_err(|e| failed(doing, &e))?;
        }
        Ok(())
    }

    /// Returns the connection for reading. Nothing is written while it is locked, so that all reads see the same state.
    pub fn connection(&self) -> &Mutex<SqliteConnection> {
        &self.connection
    }

    fn doing<'a>(&'a self, task: &'a str, what: &'a str) -> Doing<'a> {
        let place = &self.place;
        Doing { task, what, place }
    }
}

#[async_trait]
impl Sink for SqliteSink {
    async fn acquire(
        &self,
        task: &str,
        token: &Token,
        initial: &[(TopicPartition, i64)],
    ) -> Result<Vec<(TopicPartition, i64)>, SinkError> {
        let mut connection = self.connection.lock().await;
        let taken = take(&mut connection, task, token, initial).await;
        taken.map_err(|e| failed(self.doing(task, "taking the task"), &e))
    }

    async fn write_together(&self, writers: &[Writer<'_>], partials: &[Partials]) -> Result<(), SinkError> {
        let doing = self.doing(writers.first().map_or(AT_START, |writer| writer.task), "writing");
        let mut connection = self.connection.lock().await;
        let begun = connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(|e| failed(doing, &e))?;
        for writer in writers {
            compare_token(&mut transaction, doing.of(writer), writer.token).await?;
        }
        advance(&mut transaction, doing, writers).await?;
        for partials in partials.iter().filter(|partials| partials.rows.num_rows() > 0) {
            let what = format!("merging {} rows into {}", partials.rows.num_rows(), partials.table.name);
            upsert(&mut transaction, Doing { what: &what, ..doing }, partials).await?;
        }
        transaction.commit().await.map_err(|e| failed(doing, &e))
    }
}

async fn take(
    connection: &mut SqliteConnection,
    task: &str,
    token: &Token,
    initial: &[(TopicPartition, i64)],
) -> Result<Vec<(TopicPartition, i64)>, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let claim = sqlx::query(
        "INSERT INTO sink_tasks (task, token) VALUES (?, ?) ON CONFLICT (task) DO UPDATE SET token = excluded.token",
    );
    let claim = claim.bind(task).bind(&token.0);
    claim.execute(&mut *transaction).await?;
    for (source, offset) in initial {
        let begin = sqlx::query(
            "INSERT INTO sink_offsets (task, topic, partition, next_offset) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        );
        let begin = begin
            .bind(task)
            .bind(&*source.topic)
            .bind(source.partition)
            .bind(offset);
        begin.execute(&mut *transaction).await?;
    }
    let stored = sqlx::query("SELECT topic, partition, next_offset FROM sink_offsets WHERE task = ? ORDER BY 1, 2");
    let stored = stored.bind(task).fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    let positions = stored.iter().map(|row| {
        let source = TopicPartition::new(row.try_get::<String, _>(0)?, row.try_get(1)?);
        Ok((source, row.try_get(2)?))
    });
    positions.collect()
}

async fn compare_token(connection: &mut SqliteConnection, doing: Doing<'_>, token: &Token) -> Result<(), SinkError> {
    let held = sqlx::query_scalar::<_, String>("SELECT token FROM sink_tasks WHERE task = ?").bind(doing.task);
    let held = held.fetch_optional(connection).await.map_err(|e| failed(doing, &e))?;
    doing.compare_token(held.as_deref(), &token.0)
}

/// Advances the positions. Refuses unless all of them equal those at which the write begins.
async fn advance(connection: &mut SqliteConnection, doing: Doing<'_>, writers: &[Writer<'_>]) -> Result<(), SinkError> {
    doing.check_direction(writers)?;
    let mut advanced = 0;
    for Writer { task, advances, .. } in writers {
        for Advance { source, from, to } in *advances {
            let update = sqlx::query(
                "UPDATE sink_offsets SET next_offset = ? WHERE task = ? AND topic = ? AND partition = ? AND next_offset = ?",
            );
            let update = update.bind(to).bind(task).bind(&*source.topic);
            let update = update.bind(source.partition).bind(from);
            let updated = update.execute(&mut *connection).await.map_err(|e| failed(doing, &e))?;
            advanced += updated.rows_affected();
        }
    }
    doing.check_advanced(writers, advanced)
}

/// Sorts an error of the driver or the database. The lowest byte of a code is the primary one:
/// <https://www.sqlite.org/rescode.html>.
fn failed(doing: Doing<'_>, error: &sqlx::Error) -> SinkError {
    let sqlx::Error::Database(said) = error else {
        return doing.fatal(&error.to_string());
    };
    let code: i32 = said.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    let reason = format!("{} [SQLite {code}]", said.message());
    match code & 0xff {
        5 | 6 => doing.unavailable(&format!("{reason}; another program has the file locked")),
        8 | 14 => doing.fatal(&format!("{reason}; the file and its folder must be writable")),
        13 => doing.fatal(&format!("{reason}; make room on the disk")),
        11 | 26 => doing.fatal(&format!(
            "{reason}; move the file away: the tables are computed anew from the log"
        )),
        _ => doing.fatal(&reason),
    }
}
