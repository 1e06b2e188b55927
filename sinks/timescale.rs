//! Windows in TimescaleDB, or in plain PostgreSQL without that extension.
//!
//! ```text
//!  write ─> BEGIN ─> sink_tasks: my token?   (locks the task's row: two writers of one task take turns)
//!                 ─> sink_offsets: from → to (only where next_offset is still `from`)
//!                 ─> each table: INSERT … SELECT FROM UNNEST … ON CONFLICT DO UPDATE SET x = stored.x + excluded.x
//!                 ─> COMMIT
//! ```
//!
//! Position and effect are one transaction, so the tables count every event once. A lost answer is
//! [`SinkError::Unavailable`], and the writer starts over from the stored positions. `timescale/migrations/` creates
//! the tables and the views for dashboards; `README.md` of this crate lists them.

mod connections;
mod errors;
mod restart;
mod upsert;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use interlock_streams::ledger::Token;
use interlock_streams::record::TopicPartition;
use interlock_streams::sink::{Advance, Partials, Sink, SinkError, WindowTable, Writer};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Acquire, AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row};

pub use restart::{Restart, TaskPosition};

use connections::{Connections, bounded, place};
use upsert::upsert;

use crate::doing::{AT_START, Doing};
use crate::migrations;
use crate::sql::{quoted, select_nothing};

/// Options of a [`TimescaleSink`]. The defaults suit a worker.
#[derive(Clone, Debug)]
pub struct TimescaleOptions {
    /// Schema of the tables, which must exist; `None` leaves it to the role's `search_path`.
    pub schema: Option<String>,
    /// Maximum number of connections; further calls wait.
    pub connections_max: usize,
    /// Longest duration of a call, including connecting.
    pub deadline: Duration,
    /// True to bring the tables up to date when connecting. Otherwise the tables must exist, and the role needs no
    /// right to create anything.
    pub migrate: bool,
    /// Longest duration of a migration, including the wait for other workers that migrate.
    pub migration_deadline: Duration,
}

impl Default for TimescaleOptions {
    fn default() -> Self {
        Self {
            schema: None,
            connections_max: 2,
            deadline: Duration::from_secs(30),
            migrate: true,
            migration_deadline: Duration::from_secs(300),
        }
    }
}

/// Window tables in TimescaleDB.
#[derive(Debug)]
pub struct TimescaleSink {
    connections: Connections,
}

impl TimescaleSink {
    /// Connects, and brings the tables up to date. If several workers start at once, one of them migrates and the
    /// others wait.
    ///
    /// `url` is `postgres://role:password@host:port/database`, with libpq's parameters (`sslmode`, …).
    ///
    /// # Errors
    /// [`SinkError::Unavailable`] if the database can't be reached, [`SinkError::Fatal`] if it can't be used. Neither
    /// contains the password.
    pub async fn connect(url: &str, options: &TimescaleOptions) -> Result<Self, SinkError> {
        let mut address: PgConnectOptions = url.parse().map_err(|_| SinkError::Fatal {
            task: AT_START.into(),
            // The parser's own message may quote the address, including the password.
            reason: "the database's address can't be read: write postgres://role:password@host:5432/database".into(),
        })?;
        if let Some(schema) = &options.schema {
            address = address.options([("search_path", quoted(schema))]);
        }
        if options.migrate {
            migrate(&address, options.migration_deadline).await?;
        }
        let sink = Self {
            connections: Connections::new(&address, options.connections_max, options.deadline),
        };
        sink.check(&[]).await?;
        Ok(sink)
    }

    /// Checks that the tables exist with the columns that their windows need, so that a worker fails at the start and
    /// not at the first event.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] naming the table and column.
    pub async fn check(&self, tables: &[WindowTable]) -> Result<(), SinkError> {
        let connections = &self.connections;
        let doing = self.doing(AT_START, "checking the tables");
        let own = [
            "SELECT task, token FROM sink_tasks LIMIT 0",
            "SELECT task, topic, partition, next_offset FROM sink_offsets LIMIT 0",
        ];
        let windows = tables.iter().map(select_nothing);
        let selects: Vec<String> = own.map(str::to_owned).into_iter().chain(windows).collect();
        let checked = connections.within_deadline(doing, async {
            let mut lease = connections.lease(doing).await?;
            for select in selects {
                let nothing = sqlx::query(AssertSqlSafe(select));
                nothing
                    .execute(&mut lease.connection)
                    .await
                    .map_err(|e| doing.failed(&e))?;
            }
            connections.give_back(lease);
            Ok(())
        });
        checked.await
    }

    /// Takes the tables for an application, whose groups these are. Refuses tables into which another application
    /// writes: both would add the same events. Of two that start at the same moment, one gets the tables.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] naming a task of the other application.
    pub async fn take_for_application(&self, groups: &[String]) -> Result<(), SinkError> {
        let connections = &self.connections;
        let doing = self.doing(AT_START, "checking who writes into the tables");
        let checked = connections.within_deadline(doing, async {
            let mut lease = connections.lease(doing).await?;
            let mut transaction = lease.connection.begin().await.map_err(|e| doing.failed(&e))?;
            let lock = transaction.execute(include_str!("timescale/lock_application.sql"));
            lock.await.map_err(|e| doing.failed(&e))?;
            let foreign = sqlx::query_scalar::<_, String>(include_str!("timescale/restart_foreign.sql")).bind(groups);
            let foreign = foreign.fetch_optional(&mut *transaction).await;
            if let Some(task) = foreign.map_err(|e| doing.failed(&e))? {
                return Err(doing.fatal(&format!(
                    "task {task} of another application writes into this database, and its events would count twice; is \
                     application.id right? Otherwise give this application a database or schema of its own. If nobody \
                     needs that task any more, delete it from sink_offsets and sink_tasks"
                )));
            }
            let reserve = sqlx::query(include_str!("timescale/reserve_tables.sql")).bind(groups);
            reserve.execute(&mut *transaction).await.map_err(|e| doing.failed(&e))?;
            transaction.commit().await.map_err(|e| doing.failed(&e))?;
            connections.give_back(lease);
            Ok(())
        });
        checked.await
    }

    fn doing<'a>(&'a self, task: &'a str, what: &'a str) -> Doing<'a> {
        let place = self.connections.place();
        Doing { task, what, place }
    }
}

#[async_trait]
impl Sink for TimescaleSink {
    async fn acquire(
        &self,
        task: &str,
        token: &Token,
        initial: &[(TopicPartition, i64)],
    ) -> Result<Vec<(TopicPartition, i64)>, SinkError> {
        let connections = &self.connections;
        let doing = self.doing(task, "taking the task");
        let taken = connections.within_deadline(doing, async {
            let mut lease = connections.lease(doing).await?;
            let stored = take(&mut lease.connection, task, token, initial).await;
            let stored = stored.map_err(|e| doing.failed(&e))?;
            connections.give_back(lease);
            Ok(stored)
        });
        taken.await
    }

    async fn write_together(&self, writers: &[Writer<'_>], partials: &[Partials]) -> Result<(), SinkError> {
        let connections = &self.connections;
        let doing = self.doing(writers.first().map_or(AT_START, |writer| writer.task), "writing");
        let mut filled: Vec<&Partials> = partials
            .iter()
            .filter(|partials| partials.rows.num_rows() > 0)
            .collect();
        filled.sort_by(|a, b| a.table.name.cmp(&b.table.name)); // the same order of locks for all writers
        let written = connections.within_deadline(doing, async {
            let mut lease = connections.lease(doing).await?;
            let mut transaction = lease.connection.begin().await.map_err(|e| doing.failed(&e))?;
            compare_tokens(&mut transaction, doing, writers).await?;
            advance(&mut transaction, doing, writers).await?;
            for partials in filled {
                let what = format!("merging {} rows into {}", partials.rows.num_rows(), partials.table.name);
                upsert(&mut transaction, Doing { what: &what, ..doing }, partials).await?;
            }
            transaction.commit().await.map_err(|e| doing.failed(&e))?;
            connections.give_back(lease);
            Ok(())
        });
        written.await
    }
}

async fn take(
    connection: &mut PgConnection,
    task: &str,
    token: &Token,
    initial: &[(TopicPartition, i64)],
) -> Result<Vec<(TopicPartition, i64)>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let claim = sqlx::query(include_str!("timescale/claim_task.sql"))
        .bind(task)
        .bind(&token.0);
    claim.execute(&mut *transaction).await?;
    let topics: Vec<&str> = initial.iter().map(|(source, _)| &*source.topic).collect();
    let partitions: Vec<i32> = initial.iter().map(|(source, _)| source.partition).collect();
    let offsets: Vec<i64> = initial.iter().map(|(_, offset)| *offset).collect();
    let begin = sqlx::query(include_str!("timescale/begin_offsets.sql"));
    let begin = begin.bind(task).bind(topics).bind(partitions).bind(offsets);
    begin.execute(&mut *transaction).await?;
    let stored = sqlx::query(include_str!("timescale/read_offsets.sql")).bind(task);
    let stored = stored.fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    let positions = stored.iter().map(|row| {
        let source = TopicPartition::new(row.try_get::<String, _>("topic")?, row.try_get("partition")?);
        Ok((source, row.try_get("next_offset")?))
    });
    positions.collect()
}

/// Locks the tasks until the end of the transaction. Refuses unless the stated tokens are those of their holders.
async fn compare_tokens(
    connection: &mut PgConnection,
    doing: Doing<'_>,
    writers: &[Writer<'_>],
) -> Result<(), SinkError> {
    let tasks: Vec<&str> = writers.iter().map(|writer| writer.task).collect();
    let held = sqlx::query_as::<_, (String, String)>(include_str!("timescale/lock_tasks.sql")).bind(tasks);
    let held = held.fetch_all(connection).await.map_err(|e| doing.failed(&e))?;
    let held: HashMap<String, String> = held.into_iter().collect();
    writers.iter().try_for_each(|writer| {
        let token = held.get(writer.task).map(String::as_str);
        doing.of(writer).compare_token(token, &writer.token.0)
    })
}

/// Advances the positions. Refuses unless all of them equal those at which the write begins.
async fn advance(connection: &mut PgConnection, doing: Doing<'_>, writers: &[Writer<'_>]) -> Result<(), SinkError> {
    doing.check_direction(writers)?;
    let (mut tasks, mut topics, mut partitions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for writer in writers {
        for Advance { source, from, to } in writer.advances {
            tasks.push(writer.task);
            topics.push(&*source.topic);
            partitions.push(source.partition);
            starts.push(*from);
            ends.push(*to);
        }
    }
    let update = sqlx::query(include_str!("timescale/advance_offsets.sql"));
    let update = update.bind(tasks).bind(topics).bind(partitions).bind(starts).bind(ends);
    let advanced = update.execute(&mut *connection).await.map_err(|e| doing.failed(&e))?;
    doing.check_advanced(writers, advanced.rows_affected())
}

/// Brings the tables up to date, under a lock for one worker at a time, and creates hypertables if the extension
/// exists.
async fn migrate(address: &PgConnectOptions, deadline: Duration) -> Result<(), SinkError> {
    let place = place(address);
    let doing = Doing {
        task: AT_START,
        what: "bringing the tables up to date",
        place: &place,
    };
    let migrated = tokio::time::timeout(deadline, async {
        let connected = bounded(address, deadline).connect().await;
        let mut connection = connected.map_err(|e| doing.failed(&e))?;
        let mut migrator = migrations::migrator(migrations::TIMESCALE);
        // Migrations only add, so an older worker can run beside a newer one.
        let migrator = migrator.set_ignore_missing(true);
        migrator
            // This repeats Migrator::run, because the compiler can't see that `run` itself may move between threads.
            .run_direct(None, &mut connection, false)
            .await
            .map_err(|e| doing.migration_failed(&e))?;
        let hypertables = connection.execute(include_str!("timescale/hypertables.sql"));
        hypertables.await.map_err(|e| doing.failed(&e))?;
        let version =
            sqlx::query_scalar::<_, String>("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'");
        version
            .fetch_optional(&mut connection)
            .await
            .map_err(|e| doing.failed(&e))
    });
    let late = |_| Err(doing.unavailable(&format!("not done within {deadline:?}")));
    match migrated.await.unwrap_or_else(late)? {
        Some(version) => tracing::info!(
            database = place,
            version,
            "window tables are hypertables of TimescaleDB"
        ),
        None => tracing::warn!(
            database = place,
            "the extension timescaledb is not installed: window tables are plain tables, exact but slower over long \
             times; CREATE EXTENSION timescaledb as a superuser and start again, rows move along"
        ),
    }
    Ok(())
}
