//! Converts a train-date to the small binary fields that a store keeps, and back.
//!
//! | field | value, after the format byte |
//! | --- | --- |
//! | `p` | the plan, as postcard |
//! | `s\|S1` | a coach's seats: for each its taken legs, `ceil(legs / 8)` bytes, little end first, without the zeros at the end |
//! | `w\|SL\|GN` | a waitlist: the last first position that was issued, as postcard |
//! | `q\|<request id>` | a booking with a waiting passenger, as postcard |
//! | `r\|<request id>` | any other outcome of a request, as postcard |
//! | `bookings` (document `""`) | the booking counter, as postcard |
//!
//! A request id that is a UUID is packed (`fields/name.rs`).
//!
//! The entries of a waitlist are not written separately: the waiting passengers of the bookings, in the order of their
//! first positions, *are* the list (R15: it is never reordered). A new waiter therefore costs one small field,
//! regardless of the length of the list. Seats are written although they follow from the bookings too: a reader of seat
//! maps then needs no bookings, and reading back compares the two (I1).
//!
//! Most outcomes are never needed again. Outcomes without a waiting passenger therefore have names of their own, and
//! may stay in the store when a train-date is read (`TrainDate::stored`).

mod name;
mod write;

use std::collections::BTreeMap;

use bytes::Bytes;
use interlock_schemas::Text;
use serde::de::DeserializeOwned;

use crate::key::TrainDateKey;
use crate::ledger::Touched;
use crate::outcome::{Booking, Outcome, Place};
use crate::outcomes::RequestId;
use crate::party::Party;
use crate::plan::Plans;
use crate::train_date::{Open, TrainDate, first_position};
use crate::waitlist::entries_of;

pub use name::readable_field;
pub(crate) use write::Changes;

/// First byte of every value: its format.
pub const FIELD_FORMAT: u8 = 3;

/// Prefix of the fields of settled outcomes, which have no waiting passenger.
pub const SETTLED: &str = "r|";

const PLAN: &str = "p";
const SEATS: &str = "s|";
const WAITLIST: &str = "w|";
const QUEUED: &str = "q|";
const BOOKINGS: &str = "bookings";

/// The reason why a stored train-date cannot be read. The ledger must be rebuilt from its events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document `{document}`, field `{field}`: {problem}")]
pub struct FieldError {
    /// Key of the train-date; empty for the ledger's own fields.
    pub document: String,
    /// Name of the field.
    pub field: String,
    /// The error.
    pub problem: String,
}

impl TrainDate {
    /// Reads a train-date. Without any field it is an unknown one.
    pub fn from_fields<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        key: &str,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Result<TrainDate, FieldError> {
        read(key, fields, &mut Plans::default())
    }

    /// Returns all fields in a fixed order, as a store must hold them (I5).
    pub fn to_fields(&self) -> Vec<(Bytes, Bytes)> {
        let open = self.open.as_ref();
        let mut whole = Touched {
            plan: open.is_some(),
            coaches: open
                .map_or(0..0, |open| 0..open.plan.service().coaches.len() as u16)
                .collect(),
            waitlists: open.map_or(0..0, |open| 0..open.allotments.len() as u16).collect(),
            outcomes: self.outcomes.iter().map(|(id, _)| id.clone()).collect(),
            ..Touched::default()
        };
        whole.outcomes.sort_unstable();
        let mut changes = Changes::default();
        changes.train_date(&Text::default(), self, &whole);
        let empty = |value: &Bytes| value[1..].iter().all(|byte| *byte == 0);
        let untouched = |field: &[u8]| field.starts_with(SEATS.as_bytes()) || field.starts_with(WAITLIST.as_bytes());
        changes
            .finish()
            .into_iter()
            .filter_map(|change| Some((change.field, change.value?)))
            .filter(|(field, value)| !(untouched(field) && empty(value)))
            .collect()
    }
}

/// Reads a train-date.
pub(crate) fn read<F: AsRef<[u8]>, V: AsRef<[u8]>>(
    key: &str,
    fields: impl IntoIterator<Item = (F, V)>,
    plans: &mut Plans,
) -> Result<TrainDate, FieldError> {
    let fields: Vec<(F, V)> = fields.into_iter().collect();
    let mut reader = Reader {
        document: key,
        train_date: TrainDate::default(),
        plans,
    };
    // The plan comes first, because the others need it.
    for (field, value) in fields.iter().filter(|(field, _)| field.as_ref() == PLAN.as_bytes()) {
        reader.field(field.as_ref(), value.as_ref())?;
    }
    for (field, value) in fields.iter().filter(|(field, _)| field.as_ref() != PLAN.as_bytes()) {
        reader.field(field.as_ref(), value.as_ref())?;
    }
    reader.finish()
}

/// Returns the field of an outcome that stays in the store.
pub fn settled_field(request_id: &str) -> Vec<u8> {
    let mut field = SETTLED.as_bytes().to_vec();
    name::append_id(request_id, &mut field);
    field
}

/// Reads a settled outcome into its train-date, and returns its request id.
pub(crate) fn read_outcome(
    key: &str,
    train_date: &mut TrainDate,
    plans: &mut Plans,
    field: &[u8],
    value: &[u8],
) -> Result<RequestId, FieldError> {
    let mut reader = Reader {
        document: key,
        train_date: std::mem::take(train_date),
        plans,
    };
    let read = reader.field(field, value);
    *train_date = reader.train_date;
    read?;
    Ok(request_of(field, SETTLED).unwrap_or_else(|| RequestId::new(Text::default())))
}

/// Reads the booking counter from the ledger's own fields; 0 if it was never written.
pub(crate) fn read_bookings<F: AsRef<[u8]>, V: AsRef<[u8]>>(
    fields: impl IntoIterator<Item = (F, V)>,
) -> Result<i64, FieldError> {
    let mut bookings = 0;
    for (field, value) in fields {
        let error = |problem: String| FieldError {
            document: String::new(),
            field: lossy(field.as_ref()),
            problem,
        };
        if field.as_ref() != BOOKINGS.as_bytes() {
            return Err(error("is not known to this version".to_owned()));
        }
        bookings = read_value(value.as_ref()).map_err(error)?;
    }
    Ok(bookings)
}

fn content(value: &[u8]) -> Result<&[u8], String> {
    match value.split_first() {
        Some((&FIELD_FORMAT, content)) => Ok(content),
        Some((format, _)) => Err(format!("has format {format}; this version reads {FIELD_FORMAT}")),
        None => Err("is empty".to_owned()),
    }
}

fn read_value<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(content(value)?) {
        Ok((read, [])) => Ok(read),
        Ok((_, rest)) => Err(format!("has {} bytes too many", rest.len())),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// Returns the request whose outcome a field holds.
fn request_of(field: &[u8], prefix: &str) -> Option<RequestId> {
    let request_id = field.strip_prefix(prefix.as_bytes()).and_then(name::read_id);
    request_id.map(RequestId::new)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Reader<'a> {
    document: &'a str,
    train_date: TrainDate,
    plans: &'a mut Plans,
}

impl Reader<'_> {
    fn error(&self, field: &str, problem: impl Into<String>) -> FieldError {
        FieldError {
            document: self.document.to_owned(),
            field: field.to_owned(),
            problem: problem.into(),
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let read = match (request_of(name, SETTLED), request_of(name, QUEUED)) {
            (Some(request_id), _) => self.outcome(request_id, value, false),
            (_, Some(request_id)) => self.outcome(request_id, value, true),
            (None, None) => self.other(name, value),
        };
        read.map_err(|problem| self.error(&readable_field(name), problem))
    }

    fn other(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        let field = std::str::from_utf8(name).map_err(|_| "has a name that is no text")?;
        if field == PLAN {
            self.plan(value)
        } else if let Some(coach) = field.strip_prefix(SEATS) {
            self.seats(coach, value)
        } else if let Some(allotment) = field.strip_prefix(WAITLIST) {
            self.waitlist(allotment, value)
        } else {
            Err("is not known to this version".to_owned())
        }
    }

    fn plan(&mut self, value: &[u8]) -> Result<(), String> {
        let plan = self
            .plans
            .compile(&read_value(value)?)
            .map_err(|error| error.to_string())?;
        let key = TrainDateKey::parse(self.document).map_err(|error| error.to_string())?;
        self.train_date.open = Some(Open::new(plan, key.travel_date));
        Ok(())
    }

    fn open(&mut self) -> Result<&mut Open, String> {
        self.train_date
            .open
            .as_mut()
            .ok_or_else(|| "there is no plan beside it".to_owned())
    }

    fn seats(&mut self, coach: &str, value: &[u8]) -> Result<(), String> {
        let open = self.open()?;
        let coach = open.plan.coach_index(coach).ok_or("the plan has no such coach")?;
        let (seats, width) = (open.plan.seats_of_coach(coach), open.plan.legs().div_ceil(8));
        let masks = content(value)?;
        if masks.len() > seats.len() * width {
            return Err(format!("has {} bytes for {} seats", masks.len(), seats.len()));
        }
        for (seat, packed) in seats.zip(masks.chunks(width)) {
            let mut bytes = [0; 16];
            bytes[..packed.len()].copy_from_slice(packed);
            let mask = u128::from_le_bytes(bytes);
            if mask >> open.plan.legs() != 0 {
                return Err("has legs that the route doesn't have".to_owned());
            }
            let (block, local) = open.block_of(seat as u16);
            block.set_mask(local, mask);
        }
        Ok(())
    }

    fn waitlist(&mut self, allotment: &str, value: &[u8]) -> Result<(), String> {
        let open = self.open()?;
        let (class, quota) = allotment.split_once('|').ok_or("names no class and quota")?;
        let allotment = open
            .plan
            .allotment_index(class, quota)
            .ok_or("the plan has no such class and quota")?;
        open.allotments[allotment].waitlist.issued = read_value(value)?;
        Ok(())
    }

    fn outcome(&mut self, request_id: RequestId, value: &[u8], is_waiting: bool) -> Result<(), String> {
        if value.is_empty() && !is_waiting {
            self.train_date.outcomes.mark_stored(&request_id);
            return Ok(());
        }
        let outcome: Outcome = read_value(value)?;
        if outcome.is_waiting() != is_waiting {
            return Err(format!("somebody waits: {}", outcome.is_waiting()));
        }
        if !matches!(outcome, Outcome::Rejection(_)) {
            self.is_possible(&outcome)?;
        }
        self.train_date.outcomes.insert(request_id, outcome);
        Ok(())
    }

    /// Returns whether an outcome refers only to parts of the plan, so that no later index is out of range.
    fn is_possible(&mut self, outcome: &Outcome) -> Result<(), String> {
        let plan = &self.open()?.plan;
        let seat_exists = |seat: u16| usize::from(seat) < plan.seat_count();
        let possible = match outcome {
            Outcome::Booking(booking) => {
                let sold_in_allotment = |seat: u16| seat_exists(seat) && plan.seat(seat).allotment == booking.allotment;
                let places = booking
                    .travellers
                    .iter()
                    .all(|traveller| match (traveller.place, traveller.answer) {
                        (Place::Seat(seat) | Place::Cancelled(Some(seat)), _) => sold_in_allotment(seat),
                        (Place::Waiting | Place::Cancelled(None), _) => true,
                    });
                let answers = booking.travellers.iter().all(|traveller| match traveller.answer {
                    crate::outcome::Answer::Seat(seat) => sold_in_allotment(seat),
                    crate::outcome::Answer::Waiting { .. } => true,
                });
                let indices = booking
                    .travellers
                    .iter()
                    .all(|traveller| traveller.index <= Party::INDEX_MAX);
                let segment = booking.segment.from() < booking.segment.to() && booking.segment.to() <= plan.legs();
                places && answers && indices && segment && usize::from(booking.allotment) < plan.allotments().len()
            }
            Outcome::Cancellation(cancellation) => cancellation
                .passengers
                .iter()
                .all(|given| given.seat.is_none_or(seat_exists)),
            Outcome::Rejection(_) => true,
        };
        possible
            .then_some(())
            .ok_or_else(|| "names what the plan doesn't have".to_owned())
    }

    fn finish(mut self) -> Result<TrainDate, FieldError> {
        let Some(open) = &mut self.train_date.open else {
            return Ok(self.train_date);
        };
        let mut entries: BTreeMap<(u16, u32), _> = BTreeMap::new();
        let mut held: BTreeMap<u16, u128> = BTreeMap::new();
        for (request_id, outcome) in self.train_date.outcomes.iter() {
            let Some(booking) = outcome.booking() else { continue };
            for entry in entries_of(request_id, booking) {
                let first = entry
                    .party
                    .indices()
                    .next()
                    .map_or(0, |index| first_position(booking, index));
                entries.insert((booking.allotment, first), entry);
            }
            hold(&mut held, booking);
        }
        for ((allotment, _), entry) in entries {
            open.allotments[usize::from(allotment)].waitlist.entries.push(entry);
        }
        if self.train_date.outcomes.counts().1 > 0 {
            // The bookings that hold the seats are not loaded.
            return Ok(self.train_date);
        }
        let differs = (0..open.plan.seat_count() as u16).find(|seat| {
            let (block, local) = open.block_of(*seat);
            block.mask(local) != held.get(seat).copied().unwrap_or(0)
        });
        match differs.map(|seat| open.plan.seat(seat)) {
            None => Ok(self.train_date),
            Some(seat) => {
                let coach = open.plan.coach_name(seat.coach).to_owned();
                let problem = format!("seat {} is taken on other legs than the bookings say (I1)", seat.number);
                Err(self.error(&format!("{SEATS}{coach}"), problem))
            }
        }
    }
}

fn hold(held: &mut BTreeMap<u16, u128>, booking: &Booking) {
    for traveller in &booking.travellers {
        if let Place::Seat(seat) = traveller.place {
            *held.entry(seat).or_default() |= booking.segment.mask();
        }
    }
}
