//! The ledger: the loaded train-dates, the booking counter, and the changes since they were last written.

use bytes::Bytes;
use interlock_schemas::{Command, Event, Text};
use smallvec::SmallVec;

use crate::fields::{self, Changes, FieldError};
use crate::outcomes::RequestId;
use crate::plan::Plans;
use crate::slots::{Slot, Slots};
use crate::train_date::TrainDate;

/// Ledger-wide state and the loaded train-dates.
///
/// A train-date that is not loaded counts as unknown: load it before deciding a command about it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Number of the ledger: the partition of the commands.
    pub number: i32,
    /// Number of ledgers.
    pub ledgers: i32,
    /// Number of accepted bookings; PNRs are made from it.
    pub bookings: i64,
    pub(crate) bookings_touched: bool,
    train_dates: Slots<Loaded>,
    /// Changed train-dates, in the order of their first change.
    touched: Vec<Slot>,
    /// Outcomes that the store has: those of changes that were taken, and those that were loaded individually.
    written: Vec<(Slot, RequestIds)>,
    /// Bytes of the changes taken last, which the next buffer starts with.
    room: usize,
    plans: Plans,
}

/// A train-date, and the changes that the store does not have.
#[derive(Clone, Debug, Default)]
struct Loaded {
    train_date: TrainDate,
    /// True if it is in the list of changed train-dates.
    is_listed: bool,
    touched: Touched,
}

/// Inline capacity: most batches have one request per train-date.
type RequestIds = SmallVec<[RequestId; 1]>;

/// Changes of a train-date since it was last written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touched {
    pub(crate) plan: bool,
    pub(crate) coaches: SmallVec<[u16; 8]>,
    pub(crate) waitlists: SmallVec<[u16; 8]>,
    /// Changed outcomes; one may be listed twice.
    pub(crate) outcomes: RequestIds,
    /// Outcomes that no longer have a waiting passenger.
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

    /// Sorts the changes into a fixed order, without repeats.
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

/// A field of a document to write, or to delete if it has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Key of the train-date; empty for the ledger's own document.
    pub document: Text,
    /// Name of the field.
    pub field: Bytes,
    /// New value.
    pub value: Option<Bytes>,
}

impl Ledger {
    /// Creates a ledger that has sold nothing.
    pub fn new(number: i32, ledgers: i32) -> Ledger {
        Ledger {
            number,
            ledgers,
            ..Ledger::default()
        }
    }

    /// Creates a ledger without loaded train-dates, from the fields of the document `""`.
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

    /// Continues the booking counter after the number of ledgers has grown, so that no PNR is issued twice
    /// ([`crate::first_booking`]).
    pub fn renumber(&mut self, bookings: i64) {
        self.bookings = bookings;
        self.bookings_touched = true;
    }

    /// Returns whether a train-date is loaded.
    pub fn contains(&self, key: &str) -> bool {
        self.train_dates.find(key).is_some()
    }

    /// Returns a loaded train-date.
    pub fn get(&self, key: &str) -> Option<&TrainDate> {
        self.at(self.find(key)?)
    }

    /// Returns the slot of a loaded train-date.
    pub(crate) fn find(&self, key: &str) -> Option<Slot> {
        self.train_dates.find(key)
    }

    /// Returns the train-date in a slot.
    pub(crate) fn at(&self, slot: Slot) -> Option<&TrainDate> {
        self.train_dates.get(slot).map(|loaded| &loaded.train_date)
    }

    /// Loads a train-date.
    pub fn insert(&mut self, key: impl Into<Text>, train_date: TrainDate) {
        self.train_dates.find_or_add(&key.into(), None).1.train_date = train_date;
    }

    /// Returns a train-date to be changed, the list of its changes, and the known plans. The slot saves the look-up.
    pub(crate) fn touch(&mut self, key: &Text, slot: Option<Slot>) -> (&mut TrainDate, &mut Touched, &mut Plans) {
        let (slot, loaded) = self.train_dates.find_or_add(key, slot);
        if !loaded.is_listed {
            loaded.is_listed = true;
            self.touched.push(slot);
        }
        (&mut loaded.train_date, &mut loaded.touched, &mut self.plans)
    }

    /// Counts an accepted booking.
    pub(crate) fn count_booking(&mut self) {
        self.bookings += 1;
        self.bookings_touched = true;
    }

    /// Loads a train-date from its fields. Settled outcomes ([`crate::SETTLED`]) may come without their values; those
    /// that a command needs must then be loaded separately.
    pub fn load<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        key: &str,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Result<(), FieldError> {
        let train_date = fields::read(key, fields, &mut self.plans)?;
        self.insert(key, train_date);
        Ok(())
    }

    /// Returns the outcomes in the store that a command needs: train-date and request id.
    pub fn outcomes_of_command<'a>(&self, key: &str, command: &'a Command) -> impl Iterator<Item = &'a str> {
        let ids = match command {
            Command::Book(request) => [Some(&request.request_id), None],
            Command::Cancel(request) => [Some(&request.request_id), Some(&request.booking_request_id)],
        };
        self.to_be_loaded(key, ids)
    }

    /// Returns the outcomes in the store that folding an event needs.
    pub fn outcomes_of_event<'a>(&self, key: &str, event: &'a Event) -> impl Iterator<Item = &'a str> {
        let header = event.header();
        self.to_be_loaded(key, [Some(&header.request_id), Some(&header.cause_request_id)])
    }

    fn to_be_loaded<'a>(&self, key: &str, ids: [Option<&'a Text>; 2]) -> impl Iterator<Item = &'a str> {
        let train_date = self.get(key);
        let wanted = ids.map(|id| {
            let id = id?.as_str();
            train_date?.outcomes.is_to_be_loaded(id).then_some(id)
        });
        wanted.into_iter().flatten()
    }

    /// Loads an outcome from the store.
    pub fn load_outcome(&mut self, key: &str, field: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let Some(slot) = self.find(key) else { return Ok(()) };
        let Some((_, loaded)) = self.train_dates.get_mut(slot) else {
            return Ok(());
        };
        let request_id = fields::read_outcome(key, &mut loaded.train_date, &mut self.plans, field, value)?;
        self.written.push((slot, RequestIds::from_iter([request_id])));
        Ok(())
    }

    /// Unloads the outcomes that the store has. Call it when the changes taken last have been written.
    pub fn leave_in_store(&mut self) {
        for (slot, request_ids) in self.written.drain(..) {
            if let Some((_, Loaded { train_date, .. })) = self.train_dates.get_mut(slot) {
                request_ids.iter().for_each(|id| train_date.outcomes.leave_in_store(id));
            }
        }
    }

    /// Unloads a train-date, including changes not yet taken by [`Ledger::take_changes`].
    pub fn remove(&mut self, key: &str) -> Option<TrainDate> {
        let (removed, loaded) = self.train_dates.remove(key)?;
        self.touched.retain(|slot| *slot != removed);
        self.written.retain(|(slot, _)| *slot != removed);
        Some(loaded.train_date)
    }

    /// Unloads all train-dates, including changes not yet taken. The booking counter stays: restore it from the store
    /// if it may be stale.
    pub fn clear(&mut self) {
        self.touched.clear();
        self.written.clear();
        self.train_dates.clear();
    }

    /// Iterates over the keys of the loaded train-dates, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.train_dates.keys().map(Text::as_str)
    }

    /// Returns every field that changed since the last call, with its present value, in a fixed order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = Changes::with_room(self.room);
        if std::mem::take(&mut self.bookings_touched) {
            changes.bookings(self.bookings);
        }
        for slot in self.touched.drain(..) {
            if let Some((document, loaded)) = self.train_dates.get_mut(slot) {
                loaded.is_listed = false;
                let touched = std::mem::take(&mut loaded.touched).sorted();
                changes.train_date(document, &loaded.train_date, &touched);
                self.written.push((slot, touched.outcomes));
            }
        }
        self.room = changes.bytes();
        changes.finish()
    }
}
