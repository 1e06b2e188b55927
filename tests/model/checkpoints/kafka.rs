//! The model's Kafka: transactions whose markers reach each topic, the input and the offsets in any order, offsets with
//! metadata, and producers that are fenced by their `transactional.id`.

use super::WORKERS;
use super::record::{ASIDE, Output, Record};

/// The event topics, as bits of markers.
const EVENT_TOPICS: u8 = 0b00011;
/// The group's offsets, as a bit of markers.
const OFFSETS: u8 = 0b01000;
/// The input topic, as a bit of markers.
const INPUT: u8 = 0b10000;
const MARKERS: u8 = 5;

/// A committed offset and its metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Committed {
    /// C.
    pub offset: u8,
    /// The last sequence below C.
    pub sequence: u8,
    /// Token that decided this sequence.
    pub token: u8,
    /// `transactional.id` of the committer.
    pub id: u8,
}

/// The visibility of an input record to those who read only committed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Visibility {
    Committed,
    /// The transaction of this id is open, or its marker has not arrived.
    Open(usize),
    Aborted,
}

/// A transaction that is open, or decided but without all its markers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Transaction {
    is_decided: bool,
    /// Topics and offsets that its marker has not reached.
    unmarked: u8,
    offset: Option<Committed>,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Kafka {
    input: Vec<(Record, Visibility)>,
    /// Outputs in order of writing, with the `transactional.id` until the marker has arrived.
    outputs: Vec<(Output, Option<usize>)>,
    /// One for each `transactional.id` at most, as the next one waits for the last marker.
    transactions: [Option<Transaction>; WORKERS],
    /// True if the worker's producer is the newest of its id.
    is_valid: [bool; WORKERS],
    /// The committed offset that the group's offsets show.
    pub committed: Option<Committed>,
}

impl Kafka {
    /// Makes a new producer of this id: earlier ones are fenced, and their open transaction is aborted.
    pub(super) fn init(&mut self, id: usize, is_own: bool) {
        self.abort(id);
        self.is_valid[id] = is_own;
    }

    /// Returns whether the worker's producer is the newest of its id.
    pub(super) fn is_valid(&self, id: usize) -> bool {
        self.is_valid[id]
    }

    /// Returns whether markers of this id are still missing: its next transaction, and its next producer, wait for
    /// them.
    pub(super) fn is_completing(&self, id: usize) -> bool {
        self.transactions[id].is_some_and(|open| open.is_decided)
    }

    /// Appends an input record outside of transactions.
    pub(super) fn arrive(&mut self, record: Record) {
        self.input.push((record, Visibility::Committed));
    }

    /// Appends a timer within the transaction of this id.
    pub(super) fn send_timer(&mut self, id: usize, timer: Record) {
        self.transactions[id].get_or_insert_default().unmarked |= INPUT;
        self.input.push((timer, Visibility::Open(id)));
    }

    /// Returns the first readable record from an offset on, and its offset.
    pub(super) fn readable(&self, from: u8) -> Option<(Record, u8)> {
        let mut rest = self.input.iter().enumerate().skip(usize::from(from));
        let (offset, (record, visibility)) = rest.find(|(_, (_, visibility))| *visibility != Visibility::Aborted)?;
        (*visibility == Visibility::Committed).then_some((*record, offset as u8))
    }

    /// Returns all records that are not aborted, with their offsets.
    pub(super) fn input(&self) -> impl Iterator<Item = (Record, u8)> {
        let indexed = self.input.iter().enumerate();
        indexed
            .filter(|(_, (_, visibility))| *visibility != Visibility::Aborted)
            .map(|(offset, (record, _))| (*record, offset as u8))
    }

    /// Writes within the transaction of this id.
    pub(super) fn send(&mut self, id: usize, outputs: &[Output]) {
        let open = self.transactions[id].get_or_insert_default();
        for output in outputs {
            open.unmarked |= 1 << output.topic();
            self.outputs.push((*output, Some(id)));
        }
    }

    /// Decides to commit. No one reads the topic without events, so its marker arrives at once.
    pub(super) fn commit(&mut self, id: usize, offset: Committed) {
        let open = self.transactions[id].get_or_insert_default();
        open.is_decided = true;
        open.offset = Some(offset);
        open.unmarked |= OFFSETS;
        self.mark(id, 1 << ASIDE);
    }

    /// Removes the records of the open transaction.
    pub(super) fn abort(&mut self, id: usize) {
        if self.is_completing(id) {
            return;
        }
        self.transactions[id] = None;
        self.outputs.retain(|(_, writer)| *writer != Some(id));
        for (_, visibility) in &mut self.input {
            if *visibility == Visibility::Open(id) {
                *visibility = Visibility::Aborted;
            }
        }
    }

    /// Returns the markers that may arrive next.
    pub(super) fn markers(&self) -> impl Iterator<Item = (usize, u8)> {
        let unmarked = |id: usize| {
            self.transactions[id]
                .filter(|open| open.is_decided)
                .map_or(0, |open| open.unmarked)
        };
        (0..WORKERS).flat_map(move |id| {
            let unmarked = unmarked(id);
            (0..MARKERS)
                .map(|bit| 1 << bit)
                .filter(move |marker| unmarked & marker != 0)
                .map(move |marker| (id, marker))
        })
    }

    /// A marker arrives.
    pub(super) fn mark(&mut self, id: usize, marker: u8) {
        let Some(open) = &mut self.transactions[id] else { return };
        open.unmarked &= !marker;
        if marker == OFFSETS {
            self.committed = open.offset;
        }
        if open.unmarked == 0 {
            self.transactions[id] = None;
        }
        for (output, writer) in &mut self.outputs {
            if *writer == Some(id) && marker == 1 << output.topic() {
                *writer = None;
            }
        }
        for (_, visibility) in &mut self.input {
            if *visibility == Visibility::Open(id) && marker == INPUT {
                *visibility = Visibility::Committed;
            }
        }
    }

    /// All markers of this id arrive.
    pub(super) fn mark_all(&mut self, id: usize) {
        let unmarked = self.transactions[id].map_or(0, |open| open.unmarked);
        for marker in (0..MARKERS).map(|bit| 1 << bit).filter(|marker| unmarked & marker != 0) {
            self.mark(id, marker);
        }
    }

    /// Returns whether no transaction can still change the offsets.
    pub(super) fn are_offsets_stable(&self) -> bool {
        let mut transactions = self.transactions.iter().flatten();
        transactions.all(|open| open.unmarked & OFFSETS == 0)
    }

    /// Returns whether the event topics can be read up to their high watermarks.
    pub(super) fn are_events_stable(&self) -> bool {
        let mut outputs = self.outputs.iter();
        outputs.all(|(output, writer)| writer.is_none() || 1 << output.topic() & EVENT_TOPICS == 0)
    }

    /// Returns the events, in order of sequence. They can be read only when they are stable.
    pub(super) fn events(&self) -> Vec<Output> {
        let outputs = self.outputs.iter().map(|(output, _)| *output);
        let mut events: Vec<Output> = outputs.filter(Output::is_event).collect();
        events.sort_unstable_by_key(|event| event.sequence);
        events
    }

    /// Returns all outputs that are decided to be committed, in order of records, and the decided offset.
    pub(super) fn decided(&self) -> (Vec<Output>, u8) {
        let is_decided = |writer: Option<usize>| writer.is_none_or(|id| self.is_completing(id));
        let decided = self.outputs.iter().filter(|(_, writer)| is_decided(*writer));
        let mut outputs: Vec<Output> = decided.map(|(output, _)| *output).collect();
        outputs.sort_unstable_by_key(|output| (output.record, output.sequence));
        let pending = self.transactions.iter().flatten().filter(|open| open.is_decided);
        let offsets = pending.filter_map(|open| open.offset).chain(self.committed);
        (outputs, offsets.map(|committed| committed.offset).max().unwrap_or(0))
    }
}
