//! Counts the outcomes of the requests from the events.

use std::collections::BTreeMap;

use interlock_schemas::{Event, EventKind, Text};
use serde::{Deserialize, Serialize};

/// Counts of events by what they say. A repeated answer counts as a replay only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Bookings answered with seats (with `partial_confirmation` a booking may also count as waitlisted).
    pub confirmed: u64,
    /// Bookings answered with a place on a waitlist.
    pub waitlisted: u64,
    /// Cancellations carried out.
    pub cancelled: u64,
    /// Waiters who got seats later.
    pub promoted: u64,
    /// Requests refused, by code.
    pub rejected: BTreeMap<Text, u64>,
    /// Answers given again to a repeated request.
    pub replays: u64,
    /// Train-dates opened.
    pub opened: u64,
    /// Times that a waitlist moved up.
    pub moves: u64,
    /// Passengers who got seats, at once or later.
    pub passengers_seated: u64,
    /// Fares collected less refunds, by currency, in minor units.
    pub revenue_minor: BTreeMap<Text, i64>,
}

impl Outcomes {
    /// Counts an event.
    pub fn record(&mut self, event: &Event) {
        let header = event.header();
        if header.replay {
            self.replays += 1;
            return;
        }
        if header.amount_minor != 0 {
            let sum = self.revenue_minor.entry(header.currency.clone()).or_default();
            *sum = sum.saturating_add(header.amount_minor);
        }
        match event {
            Event::Confirmed(confirmed) => {
                self.passengers_seated += confirmed.passengers.len() as u64;
                match header.kind {
                    EventKind::Promotion => self.promoted += 1,
                    _ => self.confirmed += 1,
                }
            }
            Event::Waitlisted(_) => match header.kind {
                EventKind::Position => self.moves += 1,
                _ => self.waitlisted += 1,
            },
            Event::Cancelled(_) => self.cancelled += 1,
            Event::Rejected(rejected) => match self.rejected.get_mut(&rejected.code) {
                Some(count) => *count += 1,
                None => {
                    self.rejected.insert(rejected.code.clone(), 1);
                }
            },
            Event::Opened(_) => self.opened += 1,
        }
    }

    /// Adds what another thread or process counted.
    pub fn merge(&mut self, other: &Outcomes) {
        for (mine, theirs) in [
            (&mut self.confirmed, other.confirmed),
            (&mut self.waitlisted, other.waitlisted),
            (&mut self.cancelled, other.cancelled),
            (&mut self.promoted, other.promoted),
            (&mut self.replays, other.replays),
            (&mut self.opened, other.opened),
            (&mut self.moves, other.moves),
            (&mut self.passengers_seated, other.passengers_seated),
        ] {
            *mine += theirs;
        }
        for (code, count) in &other.rejected {
            *self.rejected.entry(code.clone()).or_default() += count;
        }
        for (currency, amount) in &other.revenue_minor {
            let sum = self.revenue_minor.entry(currency.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Requests refused, of all codes.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}
