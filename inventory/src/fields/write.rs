//! Writes changes as fields. Names and values of a whole batch share one buffer, so that a request needs none of its
//! own.

use std::ops::Range;

use bytes::Bytes;
use interlock_schemas::Text;
use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::name::append_id;
use super::{BOOKINGS, FIELD_FORMAT, PLAN, QUEUED, SEATS, SETTLED, WAITLIST};
use crate::ledger::{Change, Touched};
use crate::train_date::{Open, TrainDate};

/// Fields to be written or deleted.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    buffer: Vec<u8>,
    written: Vec<Written>,
}

/// A field: the ranges of its name and value in the buffer.
#[derive(Debug)]
struct Written {
    document: Text,
    field: Range<usize>,
    value: Option<Range<usize>>,
}

impl Changes {
    /// Begins with room for this many bytes.
    pub(crate) fn with_room(bytes: usize) -> Changes {
        Changes {
            buffer: Vec::with_capacity(bytes),
            written: Vec::new(),
        }
    }

    /// Returns the bytes of names and values.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Writes the ledger's own field.
    pub(crate) fn bookings(&mut self, bookings: i64) {
        self.put(&Text::default(), &[BOOKINGS], |value| append(&bookings, value));
    }

    /// Writes the changed fields of a train-date.
    pub(crate) fn train_date(&mut self, document: &Text, train_date: &TrainDate, touched: &Touched) {
        if let Some(open) = &train_date.open {
            if touched.plan {
                self.put(document, &[PLAN], |value| append(open.plan.service(), value));
            }
            for &coach in &touched.coaches {
                let name = open.plan.coach_name(coach);
                self.put(document, &[SEATS, name], |value| append_seats(open, coach, value));
            }
            for &index in &touched.waitlists {
                let allotment = open.plan.allotment(usize::from(index));
                let issued = open.allotments[usize::from(index)].waitlist.issued;
                let name = [WAITLIST, &allotment.class, "|", &allotment.quota];
                self.put(document, &name, |value| append(&issued, value));
            }
        }
        for request_id in &touched.outcomes {
            if let Some(outcome) = train_date.outcomes.get(request_id) {
                let prefix = if outcome.is_waiting() { QUEUED } else { SETTLED };
                let field = self.name_of_outcome(prefix, &request_id.text);
                self.put_value(document, field, |value| append(outcome, value));
            }
        }
        for request_id in &touched.settled {
            let field = self.name_of_outcome(QUEUED, &request_id.text);
            self.written.push(Written {
                document: document.clone(),
                field,
                value: None,
            });
        }
    }

    /// Iterates over the fields in the order in which they were written.
    pub(crate) fn finish(self) -> Vec<Change> {
        let buffer = Bytes::from(self.buffer);
        let change = |written: Written| Change {
            document: written.document,
            field: buffer.slice(written.field),
            value: written.value.map(|value| buffer.slice(value)),
        };
        self.written.into_iter().map(change).collect()
    }

    fn put(&mut self, document: &Text, name: &[&str], value: impl FnOnce(&mut Vec<u8>)) {
        let field = self.name(name);
        self.put_value(document, field, value);
    }

    fn put_value(&mut self, document: &Text, field: Range<usize>, value: impl FnOnce(&mut Vec<u8>)) {
        self.buffer.push(FIELD_FORMAT);
        value(&mut self.buffer);
        self.written.push(Written {
            document: document.clone(),
            value: Some(field.end..self.buffer.len()),
            field,
        });
    }

    fn name(&mut self, parts: &[&str]) -> Range<usize> {
        let start = self.buffer.len();
        parts
            .iter()
            .for_each(|part| self.buffer.extend_from_slice(part.as_bytes()));
        start..self.buffer.len()
    }

    fn name_of_outcome(&mut self, prefix: &str, request_id: &str) -> Range<usize> {
        let start = self.name(&[prefix]).start;
        append_id(request_id, &mut self.buffer);
        start..self.buffer.len()
    }
}

fn append<T: Serialize>(content: &T, value: &mut Vec<u8>) {
    // Writing to memory can't fail, and postcard can write all of the types.
    let written = postcard::serialize_with_flavor(content, Appended(value));
    debug_assert!(written.is_ok(), "{:?}", written.err());
}

/// The end of the buffer, for postcard to write to.
struct Appended<'a>(&'a mut Vec<u8>);

impl Flavor for Appended<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn append_seats(open: &Open, coach: u16, value: &mut Vec<u8>) {
    let start = value.len();
    for (allotment, seats) in open.plan.runs_of_coach(usize::from(coach)) {
        value.extend_from_slice(open.allotments[*allotment].block.packed(seats.clone()));
    }
    let (rest, words) = value[start..].as_rchunks::<8>();
    let words_taken = words.iter().rposition(|legs| *legs != [0; 8]);
    let taken = words_taken.map_or(rest.len(), |last| rest.len() + (last + 1) * 8);
    let legs = &value[start..start + taken];
    let taken = legs.iter().rposition(|legs| *legs != 0).map_or(0, |last| last + 1);
    value.truncate(start + taken);
}
