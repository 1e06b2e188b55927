//! The results of the demonstration, for programs; `table` draws them for people.

use std::time::Duration;

use anyhow::Context as _;
use interlock_loadgen::run::{Measured, SLICE};
use interlock_loadgen::{Outcomes, Percentiles};
use interlock_sinks::sqlite::SqliteSink;
use serde::Serialize;
use sqlx::Row as _;

use super::opening::Opening;
use interlock_audit::AuditReport;

/// Number of trains listed as the fullest.
const FULLEST: i64 = 8;
/// Most points of the selling pace.
const PACE_POINTS: usize = 60;

/// The results of the demonstration.
#[derive(Serialize)]
pub(super) struct Summary {
    pub(super) opening: Opening,
    /// Number of requests sent before this process began.
    pub(super) sent_before: u64,
    /// Number of answered requests, including those.
    pub(super) answered: u64,
    /// Time from the first request of this process to the last answer, in seconds.
    pub(super) elapsed_s: f64,
    /// Requests decided by this process per second.
    pub(super) decided_per_s: f64,
    /// Time from the start of the process to its first decision, in seconds.
    pub(super) first_decision_s: Option<f64>,
    /// Time from the sending of a request (with a rate: its intended sending) to its answer.
    pub(super) latency: Percentiles,
    /// The outcomes of all requests.
    pub(super) outcomes: Outcomes,
    /// The train-dates and classes with the highest load factor.
    pub(super) fullest: Vec<Load>,
    /// The pace of the sale.
    pub(super) pace: Pace,
    /// The report of the audit.
    pub(super) audit: AuditReport,
}

/// The load of a class of a train-date.
#[derive(Serialize)]
pub(super) struct Load {
    pub(super) train_id: String,
    pub(super) travel_date: String,
    pub(super) travel_class: String,
    pub(super) seats: i64,
    /// Number of passengers with a seat; several may have the same seat on different legs.
    pub(super) seats_sold: i64,
    /// Seat-kilometres sold, in per cent of those offered.
    pub(super) load_percent: f64,
}

/// Number of passengers who got seats, in intervals of equal length.
#[derive(Serialize)]
pub(super) struct Pace {
    /// Length of an interval, in seconds.
    pub(super) interval_s: f64,
    pub(super) seated: Vec<u64>,
}

impl Summary {
    /// Creates the summary. `up` is the age of the process when the load began.
    pub(super) async fn new(
        opening: &Opening,
        measured: &Measured,
        windows: &SqliteSink,
        audit: AuditReport,
        up: Duration,
    ) -> anyhow::Result<Summary> {
        let followed = measured.followed.as_ref().context("nobody followed the outcomes")?;
        let first = followed.first_answer;
        let elapsed_s = followed.last_answer.as_secs_f64();
        let decided = followed.latencies.count();
        Ok(Summary {
            opening: opening.clone(),
            sent_before: followed.answered.saturating_sub(decided),
            answered: followed.answered,
            elapsed_s,
            decided_per_s: if elapsed_s > 0.0 {
                decided as f64 / elapsed_s
            } else {
                0.0
            },
            first_decision_s: first.map(|first| (up + first).as_secs_f64()),
            latency: followed.latencies.percentiles(),
            outcomes: followed.outcomes.clone(),
            fullest: fullest(windows).await.context("read the window tables")?,
            pace: Pace::of(&followed.seated),
            audit,
        })
    }
}

async fn fullest(windows: &SqliteSink) -> Result<Vec<Load>, sqlx::Error> {
    let query = sqlx::query(
        "SELECT train_id, travel_date, travel_class, seats, seats_sold, coalesce(load_percent, 0.0) FROM load_factor \
         ORDER BY 6 DESC, seats_sold DESC, train_id, travel_date LIMIT ?",
    );
    let rows = query
        .bind(FULLEST)
        .fetch_all(&mut *windows.connection().lock().await)
        .await?;
    let load = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Load {
            train_id: row.try_get(0)?,
            travel_date: row.try_get(1)?,
            travel_class: row.try_get(2)?,
            seats: row.try_get(3)?,
            seats_sold: row.try_get(4)?,
            load_percent: row.try_get(5)?,
        })
    };
    rows.iter().map(load).collect()
}

impl Pace {
    /// Joins slices so that the number of points fits.
    fn of(slices: &[u64]) -> Pace {
        let joined = slices.len().div_ceil(PACE_POINTS).max(1);
        Pace {
            interval_s: SLICE.as_secs_f64() * joined as f64,
            seated: slices.chunks(joined).map(|slices| slices.iter().sum()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_has_few_points_and_loses_nobody() {
        let slices: Vec<u64> = (0..1_000).collect();
        let pace = Pace::of(&slices);
        assert_eq!(pace.seated.iter().sum::<u64>(), slices.iter().sum::<u64>());
        assert!(pace.seated.len() <= PACE_POINTS);
        assert!((pace.interval_s - 0.17).abs() < 1e-9, "17 slices of 10 ms");
        assert!(Pace::of(&[]).seated.is_empty());
    }
}
