//! What users of the engine write: processors without state, and processors whose state lives in a ledger.

use bytes::Bytes;

use crate::dsl::message::Message;
use crate::ledger::{FieldName, FieldWrite, Fields};

/// Collects what a processor makes of a batch.
#[derive(Debug)]
pub struct Collector<U> {
    pub(crate) messages: Vec<Message<U>>,
    pub(crate) refused: Vec<(i64, String)>,
}

impl<U> Default for Collector<U> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            refused: Vec::new(),
        }
    }
}

impl<U> Collector<U> {
    /// Sends a message downstream.
    pub fn emit(&mut self, message: Message<U>) {
        self.messages.push(message);
    }

    /// Refuses the input record at this offset: it is treated as the source's error policy says.
    pub fn refuse(&mut self, offset: i64, reason: impl Into<String>) {
        self.refused.push((offset, reason.into()));
    }
}

/// A processor of batches that keeps nothing it can't lose.
pub trait Processor<T>: Send + 'static {
    /// What comes out.
    type Out: Send + 'static;

    /// Processes one batch, in order.
    fn process(&mut self, batch: Vec<Message<T>>, out: &mut Collector<Self::Out>);
}

/// Where and when a command stands, and under whose authority it is decided.
#[derive(Clone, Copy, Debug)]
pub struct CommandContext<'a> {
    /// The ledger: the input partition.
    pub ledger: i32,
    /// How many ledgers there are: the number of input partitions.
    pub ledgers: i32,
    /// The number that the next event must carry; one more for each event after it.
    pub next_sequence: i64,
    /// Offset of the command.
    pub offset: i64,
    /// Time of the command in milliseconds: its record's timestamp.
    pub timestamp: i64,
    /// Token of the acquisition that decides it.
    pub token: &'a str,
}

/// What the engine must know of an event to number, compare and fold it.
pub trait LedgerEvent: Send + 'static {
    /// Its number within its ledger, from 1.
    fn sequence(&self) -> i64;
    /// Offset of the command that caused it.
    fn source_offset(&self) -> i64;
    /// Token of the acquisition that decided it.
    fn token(&self) -> &str;
}

/// Why a document or an event can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

/// A processor whose state lives in a ledger, as documents. The processor holds a cache of them: what `decide` needs is
/// loaded before it is called, so that nothing in it waits, and dropping the cache costs no more than a read.
///
/// A document may have fields that are seldom needed. Those whose names begin with [`LedgerProcessor::lazy_fields`] come without
/// their values, and are loaded one by one where a command or an event needs them.
///
/// `decide` must be a function of the commands before it alone: no clock, no randomness.
pub trait LedgerProcessor: Send + 'static {
    /// Commands.
    type Command: Send + 'static;
    /// Events.
    type Event: LedgerEvent;

    /// Names the documents that a command needs.
    fn documents(&self, command: &Message<Self::Command>) -> Vec<Bytes>;

    /// Names the documents that folding an event needs.
    fn event_documents(&self, event: &Self::Event) -> Vec<Bytes>;

    /// Is the document in the cache?
    fn is_cached(&self, document: &[u8]) -> bool;

    /// Puts a document into the cache; no fields: it doesn't exist yet. The values of lazy fields are empty.
    fn insert(&mut self, document: &Bytes, fields: Fields) -> Result<(), Corrupt>;

    /// What the names of fields begin with that aren't loaded with their document; none: there are no such fields.
    fn lazy_fields(&self) -> Option<&'static [u8]> {
        None
    }

    /// Adds the lazy fields that a command needs and that aren't in the cache. Its documents are.
    fn fields(&self, _command: &Message<Self::Command>, _missing: &mut Vec<FieldName>) {}

    /// Adds the lazy fields that folding an event needs and that aren't in the cache. Its documents are.
    fn event_fields(&self, _event: &Self::Event, _missing: &mut Vec<FieldName>) {}

    /// Puts a lazy field into the cache.
    fn insert_field(&mut self, _name: &FieldName, _value: Bytes) -> Result<(), Corrupt> {
        Ok(())
    }

    /// Decides a command and applies its events to the cached documents. At least one event is its answer.
    fn decide(&mut self, command: Message<Self::Command>, at: &CommandContext<'_>, events: &mut Vec<Self::Event>);

    /// Applies an event of the log to the cached documents, when a ledger is rebuilt.
    fn evolve(&mut self, event: &Self::Event) -> Result<(), Corrupt>;

    /// There are more ledgers than before: what they number together, each for itself and never twice (such as `counter ·
    /// ledgers + ledger`), goes on from this count in all of them. Called once, between the last event before and the first after.
    fn renumber(&mut self, _first: i64) {}

    /// What changed in the cached documents since the last call.
    fn take_changes(&mut self) -> Vec<FieldWrite>;

    /// Lets go of cached documents beyond its budget. Called when all changes are written.
    fn shrink(&mut self);

    /// Drops the whole cache.
    fn clear(&mut self);
}
