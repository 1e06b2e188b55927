//! I2: the fate of every record of `booking-requests`.
//!
//! A record has exactly one of three fates: it was **answered** in its own ledger, it is **dead** (in the DLQ, byte for
//! byte), or it was **forwarded** (its copy, with a header that counts the hop, lies in the partition of its key). Of
//! each record only hashes and marks are kept, some 70 bytes, so that millions fit in memory.

use std::hash::{DefaultHasher, Hash, Hasher};

use interlock_inventory::Digest;
use interlock_schemas::{Command, Event, EventKind, topics, train_date_key};
use interlock_streams::dead_letter::{self, is_copied};
use interlock_streams::policy::was_sent_on_to;
use interlock_streams::record::{Record, TopicPartition};
use rustc_hash::FxHashMap;

use crate::findings::{Findings, Place};
use interlock_inventory::invariants::Invariant;

/// Answers that a record was seen to have, one bit for each kind.
mod seen {
    pub(super) const CONFIRMED: u8 = 1;
    pub(super) const WAITLISTED: u8 = 2;
    pub(super) const CANCELLED: u8 = 4;
    pub(super) const REJECTED: u8 = 8;
}

/// The request in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It could not be decoded.
    Undecodable,
    /// A booking, with its number of passengers.
    Booking(u32),
    /// A cancellation.
    Cancellation,
}

/// A record of `booking-requests` and what is known of its fate.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    offset: i64,
    timestamp: i64,
    asked: Asked,
    /// Hash of key and value.
    content: u64,
    /// Hash of train-date and request id.
    request: u64,
    /// Hash of the body's digest.
    digest: u64,
    /// The partition that its key belongs to, if that is another one.
    home: Option<i32>,
    /// True if the record lies where its key belongs and is marked as sent on to there, so it may be a copy. A client
    /// can set the mark, too.
    may_be_copy: bool,
    answers: u8,
    /// Passengers named by its answers, as bits.
    named: u64,
    dead: u32,
}

impl Request {
    /// Extracts the needed parts of a record. `command` is `None` if the record can't be decoded.
    pub(crate) fn new(partition: i32, record: &Record, command: Option<&Command>, home: Option<i32>) -> Request {
        let (asked, request, digest) = match command {
            None => (Asked::Undecodable, 0, 0),
            Some(command) => {
                let (asked, key, request_id) = match command {
                    Command::Book(book) => (
                        Asked::Booking(u32::try_from(book.passengers.len()).unwrap_or(u32::MAX)),
                        train_date_key(&book.train_id, book.travel_date),
                        &book.request_id,
                    ),
                    Command::Cancel(cancel) => (
                        Asked::Cancellation,
                        train_date_key(&cancel.train_id, cancel.travel_date),
                        &cancel.request_id,
                    ),
                };
                let digest = Digest::of(command).to_string();
                (asked, hash(&(key.as_str(), request_id.as_str())), hash(digest.as_str()))
            }
        };
        Request {
            offset: record.offset,
            timestamp: record.timestamp,
            asked,
            content: content(record),
            request,
            digest,
            home,
            may_be_copy: home.is_none() && was_sent_on_to(partition, &record.headers),
            answers: 0,
            named: 0,
            dead: 0,
        }
    }

    fn has_fate(&self) -> bool {
        self.answers != 0 || self.dead != 0
    }
}

/// A record of the DLQ: its stated origin, and a hash of its content.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    source: TopicPartition,
    offset: i64,
    /// Hash of key and value.
    content: u64,
}

impl DeadLetter {
    /// Reads the headers; returns `None` if they don't name the original record.
    pub(crate) fn new(record: &Record) -> Option<DeadLetter> {
        let letter = dead_letter::DeadLetter::of(record)?;
        Some(DeadLetter {
            source: letter.source,
            offset: letter.offset,
            content: content(record),
        })
    }

    /// Returns the partition of `booking-requests` that it comes from; none if it comes from another topic.
    pub(crate) fn partition(&self) -> Option<i32> {
        (*self.source.topic == *topics::BOOKING_REQUESTS).then_some(self.source.partition)
    }
}

/// The records of one partition of `booking-requests`, ascending by offset.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) partition: i32,
    /// First offset kept by the log.
    pub(crate) low: i64,
    /// Offset up to which the partition was read.
    pub(crate) end: i64,
    pub(crate) records: Vec<Request>,
}

/// Numbers of records by fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) answered: u64,
    /// In the DLQ.
    pub(crate) dead: u64,
    /// Sent on.
    pub(crate) forwarded: u64,
    /// At or past the committed offset, and nothing heard of yet.
    pub(crate) pending: u64,
}

/// Records that may be copies, by partition and content: how many no original has claimed yet. The others are requests
/// of clients that set the header; their fate is checked like that of any request.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    unclaimed: FxHashMap<(i32, u64), u32>,
}

impl Copies {
    /// Those of all partitions.
    pub(crate) fn of<'a>(partitions: impl IntoIterator<Item = &'a Requests>) -> Copies {
        let mut unclaimed: FxHashMap<(i32, u64), u32> = FxHashMap::default();
        for requests in partitions {
            for copy in requests.records.iter().filter(|record| record.may_be_copy) {
                *unclaimed.entry((requests.partition, copy.content)).or_default() += 1;
            }
        }
        Copies { unclaimed }
    }

    fn claim(&mut self, original: &Request) -> bool {
        let Some(home) = original.home else { return false };
        let unclaimed = self.unclaimed.get_mut(&(home, original.content));
        unclaimed.is_some_and(|count| match count.checked_sub(1) {
            Some(rest) => {
                *count = rest;
                true
            }
            None => false,
        })
    }
}

impl Requests {
    /// Offset after the last record; the first offset kept if there is none.
    pub(crate) fn after_last(&self) -> i64 {
        self.records.last().map_or(self.low, |record| record.offset + 1)
    }

    fn find(&mut self, offset: i64) -> Option<&mut Request> {
        let at = self
            .records
            .binary_search_by_key(&offset, |record| record.offset)
            .ok()?;
        self.records.get_mut(at)
    }

    fn place(&self, offset: i64) -> Place {
        Place::record(topics::BOOKING_REQUESTS, self.partition, offset)
    }

    /// Marks a record as dead, and checks that the DLQ has it byte for byte.
    pub(crate) fn buried(&mut self, letter: &DeadLetter, findings: &mut Findings) {
        let place = self.place(letter.offset);
        if letter.offset < self.low || letter.offset >= self.end {
            return;
        }
        match self.find(letter.offset) {
            None => findings.violation(Invariant::I2, place, "is in the DLQ, but there is no such record"),
            Some(record) => {
                record.dead += 1;
                if record.content != letter.content {
                    findings.violation(Invariant::I2, place, "is in the DLQ with another key or value");
                }
            }
        }
    }

    /// Notes which record an event follows from, and checks that it is one and that the event says the same of it.
    pub(crate) fn caused(&mut self, event: &Event, findings: &mut Findings) {
        let header = event.header();
        let record = (topics::BOOKING_REQUESTS, self.partition, header.source_offset);
        let place = Place::record_of(self.partition, Some(header.sequence), record);
        if header.source_offset < self.low || header.source_offset >= self.end {
            return; // Not kept any more, or not read: the system went on.
        }
        let Some(record) = self.find(header.source_offset) else {
            return findings.violation(
                Invariant::I2,
                place,
                "an event names this offset as its cause; there is no record",
            );
        };
        let key = train_date_key(&header.train_id, header.travel_date);
        if record.request != hash(&(key.as_str(), header.cause_request_id.as_str())) {
            let detail = format!(
                "an event names this record as request {} for {key}; it isn't",
                header.cause_request_id
            );
            return findings.violation(Invariant::I2, place, detail);
        }
        if record.timestamp != header.event_time {
            let (time, timestamp) = (header.event_time, record.timestamp);
            let detail = format!("R1: the event's time is {time}, the record's {timestamp}");
            findings.violation(Invariant::Rules, place.clone(), detail);
        }
        if header.kind == EventKind::Answer
            && let Err(detail) = record.answer(event)
        {
            findings.violation(Invariant::I2, place, detail);
        }
    }

    /// I2: each record has exactly one fate, if it lies below the committed offset; in a `settled` system each.
    pub(crate) fn check(&self, committed: i64, settled: bool, copies: &mut Copies, findings: &mut Findings) -> Fates {
        let mut fates = Fates::default();
        for record in &self.records {
            let forwarded = !record.has_fate() && copies.claim(record);
            let problem = record.problem();
            fates.answered += u64::from(record.answers != 0);
            fates.dead += u64::from(record.dead != 0);
            fates.forwarded += u64::from(forwarded);
            if !record.has_fate() && !forwarded && record.offset >= committed {
                fates.pending += 1;
                if settled {
                    findings.checked(Invariant::I2, 1);
                    let detail = format!("is pending: the workers have committed {committed} only");
                    findings.violation(Invariant::I2, self.place(record.offset), detail);
                }
                continue;
            }
            findings.checked(Invariant::I2, 1);
            if let Some(problem) = problem.filter(|_| !forwarded) {
                findings.violation(Invariant::I2, self.place(record.offset), problem);
            }
        }
        fates
    }
}

impl Request {
    /// Takes note of an answer; the error says why it can't be one to this record.
    fn answer(&mut self, event: &Event) -> Result<(), String> {
        let header = event.header();
        if self.digest != hash(header.request_digest.as_str()) {
            return Err(format!(
                "the answer to {} carries another body's digest",
                header.cause_request_id
            ));
        }
        let bit = match event {
            Event::Confirmed(_) => seen::CONFIRMED,
            Event::Waitlisted(_) => seen::WAITLISTED,
            Event::Cancelled(_) => seen::CANCELLED,
            Event::Rejected(_) => seen::REJECTED,
            Event::Opened(_) => return Err("the opening of a train-date is no answer".to_owned()),
        };
        let (earlier, kind) = (self.answers, kinds(bit));
        self.answers |= bit;
        let fits = match self.asked {
            Asked::Undecodable => false,
            Asked::Booking(_) => bit != seen::CANCELLED,
            Asked::Cancellation => bit & (seen::CONFIRMED | seen::WAITLISTED) == 0,
        };
        if !fits {
            return Err(format!("{kind} is no answer to what it asks ({:?})", self.asked));
        }
        let is_second_part = earlier | bit == seen::CONFIRMED | seen::WAITLISTED && earlier != bit;
        if earlier != 0 && !is_second_part {
            return Err(format!("is answered more than once: {} and {kind}", kinds(earlier)));
        }
        match event {
            Event::Confirmed(event) => event
                .passengers
                .iter()
                .try_for_each(|passenger| self.name(passenger.index)),
            Event::Waitlisted(event) => event
                .passengers
                .iter()
                .try_for_each(|passenger| self.name(passenger.index)),
            _ => Ok(()),
        }
    }

    fn name(&mut self, index: i32) -> Result<(), String> {
        let bit = u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index));
        match bit {
            Some(bit) if self.named & bit == 0 => {
                self.named |= bit;
                Ok(())
            }
            _ => Err(format!("its answers name passenger {index} twice, or there is none")),
        }
    }

    /// The problem with its fate.
    fn problem(&self) -> Option<String> {
        if !self.has_fate() {
            let undecodable = if self.asked == Asked::Undecodable {
                "can't be decoded and "
            } else {
                ""
            };
            return Some(format!(
                "{undecodable}has no answer, is not in the DLQ and was not sent on"
            ));
        }
        if self.dead > 1 {
            return Some(format!("is in the DLQ {} times", self.dead));
        }
        if self.dead != 0 && self.answers != 0 {
            return Some(format!("is in the DLQ and has an answer ({})", kinds(self.answers)));
        }
        match self.asked {
            Asked::Booking(passengers) if self.answers & (seen::CONFIRMED | seen::WAITLISTED) != 0 => {
                let all = 1_u64.checked_shl(passengers).unwrap_or(0).wrapping_sub(1);
                (self.named != all).then(|| {
                    let named = self.named.count_ones();
                    format!(
                        "asks for {passengers} passengers, its answers name {named} (bits {:b})",
                        self.named
                    )
                })
            }
            _ => None,
        }
    }
}

fn kinds(bits: u8) -> String {
    let names = [
        (seen::CONFIRMED, "confirmed"),
        (seen::WAITLISTED, "waitlisted"),
        (seen::CANCELLED, "cancelled"),
        (seen::REJECTED, "rejected"),
    ];
    let named = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name);
    named.collect::<Vec<_>>().join(" + ")
}

/// Returns the hash of key and value, as a dead letter has them.
fn content(record: &Record) -> u64 {
    let copied = is_copied(record).then_some(record);
    hash(&(
        copied.and_then(|record| record.key.as_deref()),
        copied.and_then(|record| record.value.as_deref()),
    ))
}

/// SipHash with fixed keys: the same in all partitions, and accidental collisions are negligible.
fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
