//! Computes the sums of the window tables from the events, with other code than the window queries and the audit.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use interlock_schemas::{Event, EventKind};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;

/// Sums over all events or tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Fares and refunds by currency, in minor units.
    pub money: BTreeMap<String, (i64, i64)>,
    /// Passengers who got a seat at once.
    pub confirmed: i64,
    /// Passengers who got a seat from a waitlist.
    pub promoted: i64,
    /// Passengers who gave a seat back.
    pub released: i64,
    /// Passengers who began to wait.
    pub waitlisted: i64,
    /// Refused requests.
    pub rejected: i64,
}

impl Sums {
    /// Sums over the events.
    pub fn of_events(events: &[Event]) -> Self {
        let mut sums = Self::default();
        for event in events.iter().filter(|event| !event.header().replay) {
            sums.add(event);
        }
        sums
    }

    fn add(&mut self, event: &Event) {
        let header = event.header();
        if header.amount_minor != 0 {
            let (collected, refunded) = self.money.entry(header.currency.to_string()).or_default();
            *collected += header.amount_minor.max(0);
            *refunded += (-header.amount_minor).max(0);
        }
        match event {
            Event::Confirmed(event) if header.kind == EventKind::Promotion => {
                self.promoted += event.passengers.len() as i64;
            }
            Event::Confirmed(event) => self.confirmed += event.passengers.len() as i64,
            Event::Waitlisted(event) if header.kind == EventKind::Answer => {
                self.waitlisted += event.passengers.len() as i64;
            }
            Event::Waitlisted(_) | Event::Opened(_) => {}
            Event::Cancelled(event) => {
                let released =
                    |one: &&interlock_schemas::CancelledPassenger| one.was_confirmed && !one.already_cancelled;
                self.released += event.passengers.iter().filter(released).count() as i64;
            }
            Event::Rejected(_) => self.rejected += 1,
        }
    }

    /// Sums over the window tables.
    pub async fn of_tables(database: &mut PgConnection) -> Result<Self> {
        let money = "SELECT currency, sum(collected_minor)::bigint, sum(refunded_minor)::bigint FROM revenue_minute
            GROUP BY currency HAVING sum(collected_minor) <> 0 OR sum(refunded_minor) <> 0";
        let money = sqlx::query(money)
            .fetch_all(&mut *database)
            .await
            .context("revenue_minute")?;
        let counts = "SELECT coalesce(sum(confirmed), 0)::bigint, coalesce(sum(promoted), 0)::bigint,
            coalesce(sum(released), 0)::bigint, coalesce(sum(waitlisted), 0)::bigint FROM occupancy_minute";
        let counts = sqlx::query(counts)
            .fetch_one(&mut *database)
            .await
            .context("occupancy_minute")?;
        let rejected = sqlx::query("SELECT coalesce(sum(requests), 0)::bigint FROM rejections_minute");
        let rejected = rejected.fetch_one(&mut *database).await.context("rejections_minute")?;
        let money = money
            .iter()
            .map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?))));
        Ok(Self {
            money: money.collect::<Result<_, sqlx::Error>>()?,
            confirmed: counts.try_get(0)?,
            promoted: counts.try_get(1)?,
            released: counts.try_get(2)?,
            waitlisted: counts.try_get(3)?,
            rejected: rejected.try_get(0)?,
        })
    }
}
