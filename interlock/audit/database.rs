//! I6: reads the window tables, in one snapshot with the positions that they were computed up to.
//!
//! A table and its positions are of one database transaction, so the tables of a snapshot are exactly the events below its
//! positions, also while the workers go on: what the positions have beyond what was read before is read now.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::TryStreamExt;
use interlock_schemas::Decoder;
use interlock_schemas::registry::Registry;
use interlock_streams::log::Log;
use rustc_hash::FxHashMap;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tokio::time::{Instant, sleep};

use super::findings::{Findings, Invariant};
use super::reading::{PartitionReader, Reached, decode};
use super::windows::{Measures, Scope, Table, WindowSums, Writer};

/// Pause between two looks at the positions.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Positions of one writer: topic and partition to the offset of the next event.
pub(super) type Positions = FxHashMap<(String, i32), i64>;

/// Connects; the error names server and setting, and no password.
pub(crate) async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let setting = "database.url (INTERLOCK_DATABASE_URL)";
    let options: PgConnectOptions = url
        .parse()
        .map_err(|_| anyhow::anyhow!("{setting} can't be read: write postgres://role:password@host:5432/database"))?;
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let options = options
        .application_name("interlock-audit")
        .options([("timezone", "UTC")]);
    let connected = tokio::time::timeout(CONNECT_MAX, options.connect()).await;
    connected
        .with_context(|| format!("TimescaleDB at {place} doesn't answer within {CONNECT_MAX:?}; is {setting} right?"))?
        .with_context(|| format!("TimescaleDB at {place} can't be used; is {setting} right?"))
}

/// What the check needs beside the database.
pub(crate) struct Reading<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) registry: &'a Arc<dyn Registry>,
    /// First part of the tasks' names.
    pub(crate) application: &'a str,
    /// How far the event topics were read.
    pub(crate) reached: &'a [Reached],
}

/// Waits until the tables have everything that was read, then compares them with the sums.
pub(crate) async fn check(
    connection: &mut PgConnection,
    reading: &Reading<'_>,
    mut windows: WindowSums,
    wait: Duration,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let until = Instant::now() + wait;
    loop {
        let mut snapshot = connection.begin().await?;
        snapshot
            .execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        let positions = positions(&mut snapshot, reading.application).await?;
        let behind = behind(reading.reached, &positions);
        if behind.is_empty() {
            for (writer, positions) in Writer::ALL.iter().zip(&positions) {
                read_on(reading, *writer, positions, &mut windows).await?;
            }
            for table in Table::ALL {
                compare(&mut snapshot, table, &mut windows, findings).await?;
            }
            windows.compare_rest(findings);
            return Ok(());
        }
        snapshot.rollback().await?;
        if Instant::now() >= until {
            for reason in behind {
                findings.inconclusive(Invariant::I6, reason);
            }
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The positions of each of [`Writer::ALL`]. A partition that several tasks keep counts as far as the last of them is.
async fn positions(snapshot: &mut PgConnection, application: &str) -> anyhow::Result<[Positions; Writer::ALL.len()]> {
    let mut positions: [Positions; Writer::ALL.len()] = Default::default();
    let rows = sqlx::query("SELECT task, topic, partition, next_offset FROM sink_offsets").fetch_all(snapshot);
    let rows = rows.await.context(
        "the positions of the window tables can't be read; were the window topologies ever started with this database? \
         --skip-windows audits the rest",
    )?;
    for row in rows {
        let task: String = row.try_get("task")?;
        let prefix = |writer: &Writer| format!("{application}-{}/", writer.topology());
        let Some(writer) = Writer::ALL.iter().position(|writer| task.starts_with(&prefix(writer))) else {
            continue;
        };
        let (key, offset) = (
            (row.try_get("topic")?, row.try_get("partition")?),
            row.try_get("next_offset")?,
        );
        let known = positions[writer].entry(key).or_insert(offset);
        *known = offset.min(*known);
    }
    Ok(positions)
}

/// Which writers lack events that were read; one line each.
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
) -> anyhow::Result<()> {
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
        let mut reader = PartitionReader::between(reading.log, topic, *partition, (*after_last, position)).await?;
        loop {
            let records = reader.next().await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                if let Ok(event) = decode(&mut decoder, &record).await? {
                    windows.add(&event, &[writer]);
                }
            }
        }
    }
    Ok(())
}

async fn compare(
    snapshot: &mut PgConnection,
    table: Table,
    windows: &mut WindowSums,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut rows = sqlx::query(AssertSqlSafe(select(table))).fetch(snapshot);
    let reading = || format!("table {} can't be read", table.name());
    while let Some(row) = rows.try_next().await.with_context(reading)? {
        let (minute, scope, measures) = read_row(table, &row).with_context(reading)?;
        windows.compare(table, minute, &scope, &measures, findings);
    }
    Ok(())
}

/// Instants as milliseconds, dates as days, nothing null.
fn select(table: Table) -> String {
    let millis = |column: &str| format!("coalesce((extract(epoch FROM {column}) * 1000)::bigint, 0)");
    let mut columns = vec![
        if table.by_minute() {
            millis("minute")
        } else {
            "0::bigint".to_owned()
        },
        "train_id".to_owned(),
        "travel_date - date '1970-01-01'".to_owned(),
        "travel_class".to_owned(),
    ];
    columns.extend(table.labels().iter().map(|label| (*label).to_owned()));
    columns.extend(table.measures().iter().map(|measure| match measure.ends_with("_time") {
        true => millis(measure),
        false => format!("coalesce({measure}, 0)::bigint"),
    }));
    format!("SELECT {} FROM {}", columns.join(", "), table.name())
}

fn read_row(table: Table, row: &PgRow) -> anyhow::Result<(i64, Scope, Measures)> {
    let mut labels: [String; 2] = Default::default();
    for (at, label) in labels.iter_mut().enumerate().take(table.labels().len()) {
        *label = row.try_get(4 + at)?;
    }
    let mut measures = Measures::default();
    for (at, measure) in measures.iter_mut().enumerate().take(table.measures().len()) {
        *measure = row.try_get(4 + table.labels().len() + at)?;
    }
    let scope = Scope {
        train_id: row.try_get(1)?,
        travel_date: row.try_get(2)?,
        travel_class: row.try_get(3)?,
        labels,
    };
    Ok((row.try_get(0)?, scope, measures))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn nothing_that_is_read_is_null() {
        assert_eq!(
            select(Table::Capacity),
            "SELECT 0::bigint, train_id, travel_date - date '1970-01-01', travel_class, coalesce(seats, 0)::bigint, \
             coalesce(seat_metres_offered, 0)::bigint, \
             coalesce((extract(epoch FROM departure_time) * 1000)::bigint, 0) FROM capacity"
        );
    }
}
