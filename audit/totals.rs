//! Sums over everything that was read, for the end of the report.

use std::collections::BTreeMap;

use interlock_inventory::{Ledger, Outcome, Place};
use interlock_schemas::{Event, EventKind};
use serde::Serialize;

use super::requests::Fates;

/// The amounts collected and refunded in one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Money {
    /// Fares.
    pub collected_minor: i64,
    /// Refunds, positive.
    pub refunded_minor: i64,
    /// The difference.
    pub net_minor: i64,
}

/// Counts. Those of passengers leave repeated answers out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Totals {
    /// Partitions of the requests.
    pub ledgers: u64,
    /// Records of `booking-requests`, copies that were sent on included.
    pub records: u64,
    /// Records with an answer.
    pub answered: u64,
    /// Records in the DLQ.
    pub dead_letters: u64,
    /// Records that were sent on to the partition of their key.
    pub forwarded: u64,
    /// Records that the workers have not come to.
    pub pending: u64,
    pub events: u64,
    /// Bookings that hold seats or wait.
    pub bookings: u64,
    /// Train-dates opened.
    pub train_dates: u64,
    /// Passengers confirmed at once.
    pub confirmed: u64,
    /// Passengers waitlisted.
    pub waitlisted: u64,
    /// Passengers promoted from a waitlist.
    pub promoted: u64,
    /// Passengers who gave a seat or a place on a list back.
    pub cancelled: u64,
    /// Refused requests, by code.
    pub rejected: BTreeMap<String, u64>,
    /// Answers given again.
    pub replays: u64,
    /// By currency.
    pub money: BTreeMap<String, Money>,
}

impl Totals {
    /// Counts an event.
    pub(crate) fn count(&mut self, event: &Event) {
        let header = event.header();
        self.events += 1;
        if header.replay {
            self.replays += 1;
            return;
        }
        match event {
            Event::Confirmed(event) if header.kind == EventKind::Promotion => {
                self.promoted += event.passengers.len() as u64;
            }
            Event::Confirmed(event) => self.confirmed += event.passengers.len() as u64,
            Event::Waitlisted(event) => self.waitlisted += event.passengers.len() as u64,
            Event::Cancelled(event) => {
                let gone = event.passengers.iter().filter(|passenger| !passenger.already_cancelled);
                self.cancelled += gone.count() as u64;
            }
            Event::Rejected(event) => *self.rejected.entry(event.code.to_string()).or_default() += 1,
            Event::Opened(_) => self.train_dates += 1,
        }
        if header.amount_minor != 0 {
            self.move_money(
                &header.currency,
                header.amount_minor.max(0),
                (-header.amount_minor).max(0),
            );
        }
    }

    /// Counts what became of a ledger's records.
    pub(crate) fn count_fates(&mut self, records: usize, fates: Fates) {
        self.records += records as u64;
        self.answered += fates.answered;
        self.dead_letters += fates.dead;
        self.forwarded += fates.forwarded;
        self.pending += fates.pending;
    }

    /// Counts the bookings with a passenger who travels or waits.
    pub(crate) fn count_bookings(&mut self, ledger: &Ledger) {
        let lives = |outcome: &Outcome| match outcome {
            Outcome::Booking(booking) => booking
                .travellers
                .iter()
                .any(|traveller| !matches!(traveller.place, Place::Cancelled(_))),
            _ => false,
        };
        let train_dates = ledger.keys().filter_map(|key| ledger.get(key));
        self.bookings += train_dates
            .flat_map(|train_date| train_date.outcomes())
            .filter(|(_, outcome)| lives(outcome))
            .count() as u64;
    }

    /// Adds another ledger's.
    pub(crate) fn merge(&mut self, other: Totals) {
        for (sum, more) in [
            (&mut self.ledgers, other.ledgers),
            (&mut self.records, other.records),
            (&mut self.answered, other.answered),
            (&mut self.dead_letters, other.dead_letters),
            (&mut self.forwarded, other.forwarded),
            (&mut self.pending, other.pending),
            (&mut self.events, other.events),
            (&mut self.bookings, other.bookings),
            (&mut self.train_dates, other.train_dates),
            (&mut self.confirmed, other.confirmed),
            (&mut self.waitlisted, other.waitlisted),
            (&mut self.promoted, other.promoted),
            (&mut self.cancelled, other.cancelled),
            (&mut self.replays, other.replays),
        ] {
            *sum += more;
        }
        for (code, count) in other.rejected {
            *self.rejected.entry(code).or_default() += count;
        }
        for (currency, money) in other.money {
            self.move_money(&currency, money.collected_minor, money.refunded_minor);
        }
    }

    fn move_money(&mut self, currency: &str, collected: i64, refunded: i64) {
        if !self.money.contains_key(currency) {
            self.money.insert(currency.to_owned(), Money::default());
        }
        if let Some(money) = self.money.get_mut(currency) {
            money.collected_minor += collected;
            money.refunded_minor += refunded;
            money.net_minor += collected - refunded;
        }
    }
}
