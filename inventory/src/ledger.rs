//! The ledger: the train-dates that are loaded, the booking counter, and what has changed since it was last written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use interlock_schemas::{Command, Event};
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
    /// Outcomes that the store has: those of changes that were taken, and those that were loaded one by one.
    written: Vec<(String, Vec<Arc<str>>)>,
    pub(crate) plans: Plans,
}

/// What of a train-date has changed since it was last written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) plan: bool,
    pub(crate) coaches: BTreeSet<u16>,
    pub(crate) waitlists: BTreeSet<u16>,
    pub(crate) outcomes: BTreeSet<Arc<str>>,
    /// Those of the outcomes of which nobody waits any more.
    pub(crate) settled: BTreeSet<Arc<str>>,
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

    /// Loads a train-date from its fields. Those of settled outcomes ([`crate::SETTLED`]) may come without their values: then
    /// what a command needs of them must be loaded, too.
    pub fn load<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        key: &str,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Result<(), FieldError> {
        let train_date = fields::read(key, fields, &mut self.plans)?;
        self.insert(key.to_owned(), train_date);
        Ok(())
    }

    /// The outcomes that a command needs and that are left in the store: train-date and request id.
    pub fn outcomes_of_command<'a>(&self, key: &str, command: &'a Command) -> impl Iterator<Item = &'a str> {
        let ids = match command {
            Command::Book(request) => [Some(&request.request_id), None],
            Command::Cancel(request) => [Some(&request.request_id), Some(&request.booking_request_id)],
        };
        self.to_be_loaded(key, ids)
    }

    /// The outcomes that folding an event needs and that are left in the store.
    pub fn outcomes_of_event<'a>(&self, key: &str, event: &'a Event) -> impl Iterator<Item = &'a str> {
        let header = event.header();
        self.to_be_loaded(key, [Some(&header.request_id), Some(&header.cause_request_id)])
    }

    fn to_be_loaded<'a>(&self, key: &str, ids: [Option<&'a String>; 2]) -> impl Iterator<Item = &'a str> {
        let train_date = self.train_dates.get(key);
        let wanted = ids.map(|id| {
            let id = id?.as_str();
            train_date?.is_to_be_loaded(id).then_some(id)
        });
        wanted.into_iter().flatten()
    }

    /// Loads an outcome that is left in the store.
    pub fn load_outcome(&mut self, key: &str, field: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let Some(train_date) = self.train_dates.get_mut(key) else {
            return Ok(());
        };
        let request_id = fields::read_outcome(key, train_date, &mut self.plans, field, value)?;
        self.written.push((key.to_owned(), vec![request_id]));
        Ok(())
    }

    /// Lets go of the outcomes that the store has: to be called when the changes taken last are written there.
    pub fn leave_in_store(&mut self) {
        for (key, request_ids) in self.written.drain(..) {
            if let Some(train_date) = self.train_dates.get_mut(&key) {
                request_ids.iter().for_each(|id| train_date.leave_in_store(id));
            }
        }
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
        self.written.clear();
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
                self.written.push((document, touched.outcomes.into_iter().collect()));
            }
        }
        changes
    }
}
