//! The model's Kafka: transactions whose markers reach each topic and the offsets in any order, offsets with metadata,
//! and producers that fence each other by `transactional.id`.

/// The event topics, as bits of markers.
const EVENT_TOPICS: u8 = 0b0011;
/// The topic of records without an event: dead letters and forwarded records.
pub(super) const ASIDE: u8 = 2;
/// The group's offsets, as a bit of markers.
const OFFSETS: u8 = 0b1000;

/// The output of a record in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// Offset of the input record that caused it.
    pub record: u8,
    /// The topic that it is written to.
    pub topic: u8,
    /// Sequence; 0 if it is not an event.
    pub sequence: u8,
    /// Token of the acquisition that decided it.
    pub token: u8,
    /// The document that it was decided on, see [`after`].
    pub before: u32,
}

/// Returns a document after an event; the document's digits are the events of which it is the fold.
pub(super) fn after(before: u32, output: Output) -> u32 {
    before << 8 | u32::from(output.record + 1) << 4 | u32::from(output.token)
}

/// A committed offset and its metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Committed {
    /// C.
    pub offset: u8,
    /// The last sequence below C.
    pub sequence: u8,
    /// Token that decided this sequence.
    pub token: u8,
    /// `transactional.id` of the committer.
    pub id: usize,
}

/// A transaction that is open, or decided but without all its markers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Transaction {
    is_decided: bool,
    /// Topics and offsets that its marker has not reached.
    unmarked: u8,
    offset: Option<Committed>,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kafka {
    /// Entries in order of writing, with the `transactional.id` until the marker has arrived.
    entries: Vec<(Output, Option<usize>)>,
    /// One for each `transactional.id` at most, as the next one waits for the last marker.
    transactions: [Option<Transaction>; super::WORKERS],
    /// The newest producer's epoch for each id.
    epochs: [u8; super::WORKERS],
    /// The committed offset that the group's offsets show.
    pub committed: Option<Committed>,
}

impl Kafka {
    /// Makes a new producer of this id: earlier ones are fenced, and their open transaction is aborted.
    pub fn init(&mut self, id: usize) -> u8 {
        if self.transactions[id].as_ref().is_some_and(|open| !open.is_decided) {
            self.abort(id);
        }
        self.epochs[id] += 1;
        self.epochs[id]
    }

    /// Returns whether a producer is the newest of its id.
    pub fn is_valid(&self, id: usize, epoch: u8) -> bool {
        self.epochs[id] == epoch
    }

    /// Returns whether markers of this id are still missing: its next transaction, and its next producer, wait for
    /// them.
    pub fn is_completing(&self, id: usize) -> bool {
        self.transactions[id].as_ref().is_some_and(|open| open.is_decided)
    }

    /// Returns whether the id has an open transaction.
    pub fn is_open(&self, id: usize) -> bool {
        self.transactions[id].is_some() && !self.is_completing(id)
    }

    /// Writes within the transaction of this id.
    pub fn send(&mut self, id: usize, outputs: &[Output]) {
        let open = self.transactions[id].get_or_insert_default();
        for output in outputs {
            open.unmarked |= 1 << output.topic;
            self.entries.push((*output, Some(id)));
        }
    }

    /// Decides to commit. No one reads the topic without events, so its marker arrives at once.
    pub fn commit(&mut self, id: usize, offset: Committed) {
        let open = self.transactions[id].get_or_insert_default();
        open.is_decided = true;
        open.offset = Some(offset);
        open.unmarked |= OFFSETS;
        self.mark(id, 1 << ASIDE);
    }

    /// Removes the records of the open transaction.
    pub fn abort(&mut self, id: usize) {
        if !self.is_completing(id) {
            self.transactions[id] = None;
            self.entries.retain(|(_, writer)| *writer != Some(id));
        }
    }

    /// Returns the markers that may arrive next.
    pub fn markers(&self) -> impl Iterator<Item = (usize, u8)> {
        let decided = |id: usize| self.transactions[id].as_ref().filter(|open| open.is_decided);
        (0..super::WORKERS).flat_map(move |id| {
            let unmarked = decided(id).map_or(0, |open| open.unmarked);
            (0..4)
                .map(|bit| 1 << bit)
                .filter(move |marker| unmarked & marker != 0)
                .map(move |marker| (id, marker))
        })
    }

    /// A marker arrives.
    pub fn mark(&mut self, id: usize, marker: u8) {
        let Some(open) = &mut self.transactions[id] else { return };
        open.unmarked &= !marker;
        if marker == OFFSETS {
            self.committed = open.offset;
        }
        if open.unmarked == 0 {
            self.transactions[id] = None;
        }
        for (output, writer) in &mut self.entries {
            if *writer == Some(id) && marker == 1 << output.topic {
                *writer = None;
            }
        }
    }

    /// All markers of this id arrive.
    pub fn mark_all(&mut self, id: usize) {
        let unmarked = self.transactions[id].as_ref().map_or(0, |open| open.unmarked);
        for marker in (0..4).map(|bit| 1 << bit).filter(|marker| unmarked & marker != 0) {
            self.mark(id, marker);
        }
    }

    /// Returns whether no transaction can still change the offsets.
    pub fn are_offsets_stable(&self) -> bool {
        self.transactions
            .iter()
            .flatten()
            .all(|open| open.unmarked & OFFSETS == 0)
    }

    /// Returns whether the event topics can be read up to their high watermarks.
    pub fn are_events_stable(&self) -> bool {
        self.entries
            .iter()
            .all(|(output, writer)| writer.is_none() || 1 << output.topic & EVENT_TOPICS == 0)
    }

    /// Returns the committed events that can be read: in each topic, those before the first open one.
    pub fn read_events(&self) -> Vec<Output> {
        let mut closed = 1 << ASIDE;
        let mut events = Vec::new();
        for (output, writer) in &self.entries {
            if writer.is_some() {
                closed |= 1 << output.topic;
            } else if closed & 1 << output.topic == 0 {
                events.push(*output);
            }
        }
        events.sort_unstable_by_key(|event| event.sequence);
        events
    }

    /// Returns all outputs that are decided to be committed, in order of writing, and the decided offset.
    pub fn decided(&self) -> (Vec<Output>, u8) {
        let is_decided = |writer: Option<usize>| writer.is_none_or(|id| self.is_completing(id));
        let outputs = self
            .entries
            .iter()
            .filter(|(_, writer)| is_decided(*writer))
            .map(|(output, _)| *output);
        let pending = self
            .transactions
            .iter()
            .flatten()
            .filter(|open| open.is_decided)
            .filter_map(|open| open.offset);
        let offset = pending.chain(self.committed).map(|committed| committed.offset).max();
        (outputs.collect(), offset.unwrap_or(0))
    }
}
