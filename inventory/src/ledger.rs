//! The ledger: the train-dates that are loaded, the booking counter, and what has changed since it was last written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::fields::{self, FieldError};
use crate::plan::Plans;
use crate::train_date::TrainDate;

/// Ledger-wide state and the train-dates that are loaded.
///
/// A train-date that isn't loaded is taken for one of which nothing is known: load it before a command about it is decided.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Which ledger: the partition of the commands.
    pub number: i32,
    /// How many ledgers there are.
    pub ledgers: i32,
    /// Bookings accepted so far; PNRs are made from it.
    pub bookings: i64,
    pub(crate) bookings_touched: bool,
    pub(crate) train_dates: FxHashMap<String, TrainDate>,
    pub(crate) touched: BTreeMap<String, Touched>,
    pub(crate) plans: Plans,
}

/// What of a train-date has changed since it was last written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) plan: bool,
    pub(crate) coaches: BTreeSet<u16>,
    pub(crate) waitlists: BTreeSet<u16>,
    pub(crate) outcomes: BTreeSet<Arc<str>>,
}

/// A field of a document to be written, or to be deleted if there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Key of the train-date; empty for what belongs to the whole ledger.
    pub document: String,
    /// Name of the field.
    pub field: Vec<u8>,
    /// Its new value.
    pub value: Option<Vec<u8>>,
}

impl Ledger {
    /// A ledger that has sold nothing.
    pub fn new(number: i32, ledgers: i32) -> Ledger {
        Ledger {
            number,
            ledgers,
            ..Ledger::default()
        }
    }

    /// A ledger without loaded train-dates, from the fields of the document `""`.
    pub fn restore<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        number: i32,
        ledgers: i32,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Result<Ledger, FieldError> {
        Ok(Ledger {
            bookings: fields::read_bookings(fields)?,
            ..Ledger::new(number, ledgers)
        })
    }

    /// Whether a train-date is loaded.
    pub fn contains(&self, key: &str) -> bool {
        self.train_dates.contains_key(key)
    }

    /// A loaded train-date.
    pub fn get(&self, key: &str) -> Option<&TrainDate> {
        self.train_dates.get(key)
    }

    /// Loads a train-date.
    pub fn insert(&mut self, key: String, train_date: TrainDate) {
        self.train_dates.insert(key, train_date);
    }

    /// Loads a train-date from its fields.
    pub fn load<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        key: &str,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Result<(), FieldError> {
        let train_date = fields::read(key, fields, &mut self.plans)?;
        self.insert(key.to_owned(), train_date);
        Ok(())
    }

    /// Unloads a train-date, with what was changed and not yet taken by [`Ledger::take_changes`].
    pub fn remove(&mut self, key: &str) -> Option<TrainDate> {
        self.touched.remove(key);
        self.train_dates.remove(key)
    }

    /// Unloads all train-dates, with what was changed and not yet taken. The booking counter stays: restore it from the store
    /// if it may be stale.
    pub fn clear(&mut self) {
        self.touched.clear();
        self.train_dates.clear();
    }

    /// Keys of the loaded train-dates, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.train_dates.keys().map(String::as_str)
    }

    /// Every field that changed since the last call, with its present value, in a fixed order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        if std::mem::take(&mut self.bookings_touched) {
            changes.push(fields::bookings_change(self.bookings));
        }
        for (document, touched) in std::mem::take(&mut self.touched) {
            if let Some(train_date) = self.train_dates.get(&document) {
                changes.extend(fields::changes(&document, train_date, &touched));
            }
        }
        changes
    }
}
