//! Restarts windows: empties tables and removes the positions of their writers, in one transaction.
//!
//! ```text
//!  BEGIN ─> LOCK sink_tasks      (waits for running writes; holds back further ones, and new tasks)
//!        ─> fresh tokens ─> positions removed ─> tables emptied
//!  COMMIT
//! ```
//!
//! Afterwards each writer is refused at its next write or idle check. It acquires its tasks again, finds no position,
//! and begins with the first event that its topics keep, as at its very first start. If the transaction is interrupted,
//! nothing has changed.

use interlock_streams::ledger::Token;
use interlock_streams::record::TopicPartition;
use interlock_streams::sink::SinkError;
use sqlx::postgres::PgRow;
use sqlx::{Acquire, AssertSqlSafe, Executor, Row};

use super::TimescaleSink;
use crate::sql::quoted;

/// Stands for a task's name in errors.
const ALL_TASKS: &str = "(all)";

/// The position of a task in one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct TaskPosition {
    pub task: String,
    /// The partition.
    pub source: TopicPartition,
    /// Offset of the next record to apply.
    pub next_offset: i64,
}

/// The windows to restart.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Restart<'a> {
    pub tables: &'a [String],
    /// The groups whose tasks write into them.
    pub groups: &'a [String],
    /// All groups of the application. Rows of another application could not be told apart and would be lost.
    pub known: &'a [String],
    /// A fresh token.
    pub token: &'a Token,
}

impl TimescaleSink {
    /// Empties the tables, and makes their writers begin with the first event. Returns their positions before.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] if tasks of unknown groups write into this database too. On an error nothing has changed.
    pub async fn restart(&self, restart: &Restart<'_>) -> Result<Vec<TaskPosition>, SinkError> {
        let connections = &self.connections;
        let doing = self.doing(ALL_TASKS, "beginning the windows anew");
        let restarted = connections.within_deadline(doing, async {
            let mut lease = connections.lease(doing).await?;
            let mut transaction = lease.connection.begin().await.map_err(|e| doing.failed(&e))?;
            let lock = transaction.execute("LOCK TABLE sink_tasks IN EXCLUSIVE MODE");
            lock.await.map_err(|e| doing.failed(&e))?;
            let foreign = sqlx::query_scalar::<_, String>(include_str!("restart_foreign.sql")).bind(restart.known);
            let foreign = foreign.fetch_optional(&mut *transaction).await;
            if let Some(task) = foreign.map_err(|e| doing.failed(&e))? {
                return Err(doing.fatal(&format!(
                    "task {task} of another application writes into this database too, and its rows would be lost; is \
                     application.id right? If nobody needs that task any more, delete it from sink_offsets and sink_tasks"
                )));
            }
            let tasks = sqlx::query(include_str!("restart_tasks.sql"));
            let tasks = tasks.bind(restart.groups).bind(&restart.token.0);
            tasks.execute(&mut *transaction).await.map_err(|e| doing.failed(&e))?;
            let offsets = sqlx::query(include_str!("restart_offsets.sql")).bind(restart.groups);
            let offsets = offsets.fetch_all(&mut *transaction).await;
            let before = offsets.and_then(|rows| rows.iter().map(position).collect());
            let before = before.map_err(|e| doing.failed(&e))?;
            let tables: Vec<String> = restart.tables.iter().map(|table| quoted(table)).collect();
            let truncate = AssertSqlSafe(format!("TRUNCATE {}", tables.join(", ")));
            let truncate = sqlx::query(truncate).execute(&mut *transaction);
            truncate.await.map_err(|e| doing.failed(&e))?;
            transaction.commit().await.map_err(|e| doing.failed(&e))?;
            connections.give_back(lease);
            Ok(before)
        });
        restarted.await
    }

    /// Returns the positions of the tasks of some groups.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn progress(&self, groups: &[String]) -> Result<Vec<TaskPosition>, SinkError> {
        let connections = &self.connections;
        let doing = self.doing(ALL_TASKS, "asking for the positions");
        let asked = connections.within_deadline(doing, async {
            let mut lease = connections.lease(doing).await?;
            let rows = sqlx::query(include_str!("restart_progress.sql")).bind(groups);
            let rows = rows.fetch_all(&mut lease.connection).await;
            let positions = rows.and_then(|rows| rows.iter().map(position).collect());
            let positions = positions.map_err(|e| doing.failed(&e))?;
            connections.give_back(lease);
            Ok(positions)
        });
        asked.await
    }
}

fn position(row: &PgRow) -> Result<TaskPosition, sqlx::Error> {
    Ok(TaskPosition {
        task: row.try_get("task")?,
        source: TopicPartition::new(row.try_get::<String, _>("topic")?, row.try_get("partition")?),
        next_offset: row.try_get("next_offset")?,
    })
}
