//! I6: reads the window tables in one snapshot, together with the positions up to which they were computed.
//!
//! A table and its positions are written in one database transaction, so the tables of a snapshot contain exactly the
//! events below its positions, even while the workers continue. Events beyond those read before, but below the
//! positions, are read now.

mod rows;
mod sqlite;
#[cfg(feature = "timescale")]
mod timescale;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use interlock_schemas::Decoder;
use interlock_schemas::registry::Registry;
use interlock_streams::log::Log;
use interlock_streams::record::TopicPartition;
use rustc_hash::FxHashMap;
use sqlx::SqliteConnection;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::findings::{Findings, Place};
use crate::reading::{Reached, decode};
use crate::windows::{Table, WindowSums, Writer};
use interlock_inventory::invariants::Invariant;
use interlock_streams::log::partition_reader::PartitionReader;
use rows::WindowRow;
use sqlite::SqliteTables;
#[cfg(feature = "timescale")]
use timescale::TimescaleTables;

/// Pause between two looks at the positions.
const POSITION_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Positions of one writer: topic and partition to the offset of the next event.
pub(super) type Positions = FxHashMap<(String, i32), i64>;

/// The window tables of some database.
#[async_trait]
pub(crate) trait WindowTables: Send {
    /// Begins a snapshot, and returns the positions of all tasks in it.
    async fn begin(&mut self) -> crate::Result<Vec<TaskPosition>>;

    /// Calls `row` with every row of a table in the snapshot.
    async fn rows(&mut self, table: Table, row: &mut (dyn FnMut(WindowRow) + Send)) -> crate::Result<()>;

    /// Ends the snapshot.
    async fn end(&mut self) -> crate::Result<()>;
}

/// The window tables to audit.
pub struct Tables<'a>(pub(crate) Box<dyn WindowTables + 'a>);

impl<'a> Tables<'a> {
    /// Connects to the tables in TimescaleDB. An error names the server and the setting, and no password.
    #[cfg(feature = "timescale")]
    pub async fn timescale(url: &str) -> crate::Result<Tables<'static>> {
        Ok(Tables(Box::new(TimescaleTables::connect(url).await?)))
    }

    /// Returns the tables in SQLite behind a connection, which their writer shares.
    pub fn sqlite(connection: &'a Mutex<SqliteConnection>) -> Tables<'a> {
        Tables(Box::new(SqliteTables::of(connection)))
    }
}

/// The position up to which a task has counted a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskPosition {
    task: String,
    topic: String,
    partition: i32,
    next_offset: i64,
}

/// The inputs of the check besides the database.
pub(crate) struct Reading<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) registry: &'a Arc<dyn Registry>,
    /// Prefix of the tasks' names.
    pub(crate) application: &'a str,
    /// The positions up to which the event topics were read.
    pub(crate) reached: &'a [Reached],
    /// Longest time without progress in a partition.
    pub(crate) patience: Duration,
}

/// Waits until the tables contain everything that was read, then compares them with the sums.
pub(crate) async fn check(
    tables: &mut dyn WindowTables,
    reading: &Reading<'_>,
    mut windows: WindowSums,
    wait: Duration,
    findings: &mut Findings,
) -> crate::Result<()> {
    let until = Instant::now() + wait;
    loop {
        let tasks = tables.begin().await?;
        let foreign = foreign(&tasks, reading.application);
        let mut positions = positions(tasks, reading.application);
        let behind = behind(reading.reached, &positions);
        if behind.is_empty() {
            for application in foreign {
                let detail = format!(
                    "topologies of application {application} write to these tables, too: every event is counted twice"
                );
                findings.violation(Invariant::I6, Place::positions(&application), detail);
            }
            for (writer, positions) in Writer::ALL.iter().zip(&mut positions) {
                within_topics(reading, *writer, positions, findings).await?;
            }
            for (writer, positions) in Writer::ALL.iter().zip(&positions) {
                read_on(reading, *writer, positions, &mut windows).await?;
            }
            for table in Table::ALL {
                let mut compare =
                    |row: WindowRow| windows.compare(table, row.minute, &row.dimensions, &row.measures, findings);
                tables.rows(table, &mut compare).await?;
            }
            windows.compare_rest(findings);
            return tables.end().await;
        }
        tables.end().await?;
        if Instant::now() >= until {
            for reason in behind {
                findings.inconclusive(Invariant::I6, reason);
            }
            return Ok(());
        }
        sleep(POSITION_CHECK_INTERVAL).await;
    }
}

/// Returns the positions of each of [`Writer::ALL`]. If several tasks keep a partition, the one furthest behind counts.
fn positions(tasks: Vec<TaskPosition>, application: &str) -> [Positions; Writer::ALL.len()] {
    let mut positions: [Positions; Writer::ALL.len()] = Default::default();
    for task in tasks {
        let prefix = |writer: &Writer| format!("{application}-{}/", writer.topology());
        let Some(writer) = Writer::ALL
            .iter()
            .position(|writer| task.task.starts_with(&prefix(writer)))
        else {
            continue;
        };
        let offset = task.next_offset;
        let known = positions[writer].entry((task.topic, task.partition)).or_insert(offset);
        *known = offset.min(*known);
    }
    positions
}

/// Returns the other applications whose windows are kept in the same tables.
fn foreign(tasks: &[TaskPosition], application: &str) -> BTreeSet<String> {
    let group = |task: &TaskPosition| Some(task.task.split_once('/')?.0.to_owned());
    let of_windows = |group: String| {
        let names = Writer::ALL.iter().map(|writer| writer.topology());
        let mut owners = names.filter_map(|name| group.strip_suffix(name)?.strip_suffix('-'));
        owners.next().map(str::to_owned)
    };
    let owners = tasks.iter().filter_map(group).filter_map(of_windows);
    owners.filter(|owner| owner != application).collect()
}

/// Checks that a writer's positions lie within their topics, and sets those that don't to the topic's end: what lies
/// beyond will never be there to be read.
pub(crate) async fn within_topics(
    reading: &Reading<'_>,
    writer: Writer,
    positions: &mut Positions,
    findings: &mut Findings,
) -> crate::Result<()> {
    for reached in reading.reached {
        let source = TopicPartition::new(reached.topic, reached.partition);
        let Some(position) = positions.get_mut(&(reached.topic.to_owned(), reached.partition)) else {
            continue;
        };
        let (_, end) = reading.log.watermarks(&source).await?;
        if *position > end {
            let detail = format!(
                "the tables of topology {} are at offset {position} of {source}, which ends at {end}: the topic was made \
                 again, or its end was lost",
                writer.topology()
            );
            findings.violation(Invariant::I6, Place::positions(&source.to_string()), detail);
            *position = end;
        }
    }
    Ok(())
}

/// Returns the writers that lack events that were read, a line each.
fn behind(reached: &[Reached], positions: &[Positions]) -> Vec<String> {
    let mut reasons = Vec::new();
    for (writer, positions) in Writer::ALL.iter().zip(positions) {
        let lacking: Vec<String> = reached
            .iter()
            .filter(|reached| writer.topics().contains(&reached.topic) && reached.after_last > reached.low)
            .filter_map(
                |Reached {
                     topic,
                     partition,
                     after_last,
                     ..
                 }| {
                    let position = positions.get(&((*topic).to_owned(), *partition)).copied();
                    let at = position.map_or("nowhere".to_owned(), |position| position.to_string());
                    (position.unwrap_or(-1) < *after_last)
                        .then(|| format!("{topic}[{partition}] at {at} of {after_last}"))
                },
            )
            .collect();
        if let Some(first) = lacking.first() {
            reasons.push(format!(
                "the tables of topology {} lack events of {} partitions ({first}); is a worker running? \
                 --wait waits longer, --skip-windows doesn't look",
                writer.topology(),
                lacking.len()
            ));
        }
    }
    reasons
}

/// Adds the events that a writer has counted beyond those read before.
pub(super) async fn read_on(
    reading: &Reading<'_>,
    writer: Writer,
    positions: &Positions,
    windows: &mut WindowSums,
) -> crate::Result<()> {
    let mut decoder = Decoder::new(Arc::clone(reading.registry));
    for Reached {
        topic,
        partition,
        after_last,
        ..
    } in reading.reached
    {
        let position = positions.get(&((*topic).to_owned(), *partition)).copied();
        let Some(position) = position.filter(|position| position > after_last) else {
            continue;
        };
        let mut reader = PartitionReader::between(reading.log, topic, *partition, (*after_last, position))
            .await?
            .patient_for(reading.patience);
        while let Some(records) = reader.next().await? {
            for record in records {
                if let Ok(event) = decode(&mut decoder, &record).await? {
                    windows.add(&event, &[writer]);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_application_in_the_same_tables_is_named() {
        let task = |task: &str| TaskPosition {
            task: task.to_owned(),
            topic: "confirmed".to_owned(),
            partition: 0,
            next_offset: 7,
        };
        let tasks = [task("app-occupancy/0"), task("test-app-revenue/0"), task("theirs/0")];
        assert_eq!(foreign(&tasks, "app"), BTreeSet::from(["test-app".to_owned()]));
        assert_eq!(foreign(&tasks[..1], "app"), BTreeSet::new());
    }

    #[test]
    fn tables_that_lack_events_are_named() {
        let reached = |topic, after_last| Reached {
            topic,
            partition: 3,
            low: 0,
            after_last,
        };
        let reached = [reached("confirmed", 7), reached("rejected", 5), reached("waitlist", 0)];
        let at = |confirmed: i64| {
            Positions::from_iter([
                (("confirmed".to_owned(), 3), confirmed),
                (("rejected".to_owned(), 3), 5),
            ])
        };
        assert_eq!(behind(&reached, &[at(7), at(9)]), [""; 0]);
        let lacking = behind(&reached, &[at(6), Positions::default()]);
        assert!(lacking[0].contains("topology occupancy lack events of 1 partitions (confirmed[3] at 6 of 7)"));
        assert!(lacking[1].contains("topology revenue lack events of 1 partitions (confirmed[3] at nowhere of 7)"));
    }
}
