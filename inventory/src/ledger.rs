//! The ledger: the train-dates that are loaded, the booking counter, and what has changed since it was last written.

use std::sync::Arc;

use bytes::Bytes;
use interlock_schemas::{Command, Event, Text};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::fields::{self, Changes, FieldError};
use crate::plan::{Plan, Plans};
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
    train_dates: FxHashMap<Text, Loaded>,
    /// Train-dates of which something changed, in the order in which they were touched.
    touched: Vec<Text>,
    /// Outcomes that the store has: those of changes that were taken, and those that were loaded one by one.
    written: Vec<(Text, RequestIds)>,
    plans: Plans,
}

/// A train-date, and what of it the store doesn't have.
#[derive(Clone, Debug, Default)]
struct Loaded {
    train_date: TrainDate,
    /// It is in the list of those that were touched.
    is_listed: bool,
    touched: Touched,
}

/// Most batches bring a train-date one request.
type RequestIds = SmallVec<[Text; 1]>;

/// What of a train-date has changed since it was last written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) plan: bool,
    pub(crate) coaches: SmallVec<[u16; 8]>,
    pub(crate) waitlists: SmallVec<[u16; 8]>,
    /// One may be there twice.
    pub(crate) outcomes: RequestIds,
    /// Those of the outcomes of which nobody waits any more.
    pub(crate) settled: RequestIds,
}

impl Touched {
    /// Seats of a coach were taken or released.
    pub(crate) fn coach(&mut self, coach: u16) {
        if !self.coaches.contains(&coach) {
            self.coaches.push(coach);
        }
    }

    /// Positions of an allotment's waitlist were issued.
    pub(crate) fn waitlist(&mut self, allotment: u16) {
        if !self.waitlists.contains(&allotment) {
            self.waitlists.push(allotment);
        }
    }

    /// Each once, in a fixed order.
    fn sorted(mut self) -> Touched {
        self.coaches.sort_unstable();
        self.waitlists.sort_unstable();
        for ids in [&mut self.outcomes, &mut self.settled] {
            ids.sort_unstable();
            ids.dedup();
        }
        self
    }
}

/// A field of a document to be written, or to be deleted if there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Key of the train-date; empty for what belongs to the whole ledger.
    pub document: Text,
    /// Name of the field.
    pub field: Bytes,
    /// Its new value.
    pub value: Option<Bytes>,
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

    /// There are more ledgers than before: all count bookings from here on, so that no PNR is given twice
    /// ([`crate::first_booking`]).
    pub fn renumber(&mut self, bookings: i64) {
        self.bookings = bookings;
        self.bookings_touched = true;
    }

    /// Whether a train-date is loaded.
    pub fn contains(&self, key: &str) -> bool {
        self.train_dates.contains_key(key)
    }

    /// A loaded train-date.
    pub fn get(&self, key: &str) -> Option<&TrainDate> {
        self.train_dates.get(key).map(|loaded| &loaded.train_date)
    }

    /// Loads a train-date.
    pub fn insert(&mut self, key: impl Into<Text>, train_date: TrainDate) {
        self.train_dates.entry(key.into()).or_default().train_date = train_date;
    }

    /// A train-date that is about to change, the list of what changes in it, and the plans that are known.
    pub(crate) fn touch(&mut self, key: Text) -> (&mut TrainDate, &mut Touched, &mut Plans) {
        let loaded = self.train_dates.entry(key.clone()).or_default();
        if !loaded.is_listed {
            loaded.is_listed = true;
            self.touched.push(key);
        }
        (&mut loaded.train_date, &mut loaded.touched, &mut self.plans)
    }

    /// Loads a train-date from its fields. Those of settled outcomes ([`crate::SETTLED`]) may come without their values: then
    /// what a command needs of them must be loaded, too.
    pub fn load<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        key: &str,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Result<(), FieldError> {
        let train_date = fields::read(key, fields, &mut self.plans)?;
        self.insert(key, train_date);
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

    fn to_be_loaded<'a>(&self, key: &str, ids: [Option<&'a Text>; 2]) -> impl Iterator<Item = &'a str> {
        let train_date = self.get(key);
        let wanted = ids.map(|id| {
            let id = id?.as_str();
            train_date?.is_to_be_loaded(id).then_some(id)
        });
        wanted.into_iter().flatten()
    }

    /// Loads an outcome that is left in the store.
    pub fn load_outcome(&mut self, key: &str, field: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let Some(loaded) = self.train_dates.get_mut(key) else {
            return Ok(());
        };
        let request_id = fields::read_outcome(key, &mut loaded.train_date, &mut self.plans, field, value)?;
        self.written.push((key.into(), RequestIds::from_iter([request_id])));
        Ok(())
    }

    /// Lets go of the outcomes that the store has: to be called when the changes taken last are written there.
    pub fn leave_in_store(&mut self) {
        for (key, request_ids) in self.written.drain(..) {
            if let Some(Loaded { train_date, .. }) = self.train_dates.get_mut(&key) {
                request_ids.iter().for_each(|id| train_date.leave_in_store(id));
            }
        }
    }

    /// Tells of a plan by which train-dates may be opened, so that it isn't compiled once more when they are.
    pub fn know(&mut self, plan: &Arc<Plan>) {
        self.plans.know(plan);
    }

    /// Unloads a train-date, with what was changed and not yet taken by [`Ledger::take_changes`].
    pub fn remove(&mut self, key: &str) -> Option<TrainDate> {
        self.train_dates.remove(key).map(|loaded| loaded.train_date)
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
        self.train_dates.keys().map(Text::as_str)
    }

    /// Every field that changed since the last call, with its present value, in a fixed order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Changes::default();
        if std::mem::take(&mut self.bookings_touched) {
            changes.bookings(self.bookings);
        }
        for document in self.touched.drain(..) {
            if let Some(loaded) = self.train_dates.get_mut(&document) {
                loaded.is_listed = false;
                let touched = std::mem::take(&mut loaded.touched).sorted();
                changes.train_date(&document, &loaded.train_date, &touched);
                self.written.push((document, touched.outcomes));
            }
        }
        changes.finish()
    }
}
