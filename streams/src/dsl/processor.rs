//! The traits that users of the engine implement: processors without state, and processors with state in a ledger.

use bytes::Bytes;

use crate::dsl::message::Message;
use crate::ledger::{FieldName, FieldWrite, Fields};

/// Collects the output of a processor for a batch.
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

    /// Refuses the input record at this offset, which is then handled by the source's error policy.
    pub fn refuse(&mut self, offset: i64, reason: impl Into<String>) {
        self.refused.push((offset, reason.into()));
    }
}

/// A stateless processor of batches. It may keep only data that it can lose.
pub trait Processor<T>: Send + 'static {
    /// Type of the output.
    type Out: Send + 'static;

    /// Processes one batch, in order.
    fn process(&mut self, batch: Vec<Message<T>>, out: &mut Collector<Self::Out>);
}

/// Source and time of a command, and the acquisition that decides it.
#[derive(Clone, Copy, Debug)]
pub struct CommandContext<'a> {
    /// The ledger: the input partition.
    pub ledger: i32,
    /// Number of ledgers, which is the number of input partitions.
    pub ledgers: i32,
    /// Sequence of the next event; each further event has the next number.
    pub next_sequence: i64,
    /// Offset of the command.
    pub offset: i64,
    /// Time of the command in milliseconds: its record's timestamp.
    pub timestamp: i64,
    /// Token of the acquisition that decides the command.
    pub token: &'a str,
}

/// The properties of an event that the engine needs for numbering, comparing and folding.
pub trait LedgerEvent: Send + 'static {
    /// Returns the number of the event within its ledger, from 1.
    fn sequence(&self) -> i64;
    /// Returns the offset of the command that caused the event.
    fn source_offset(&self) -> i64;
    /// Returns the token of the acquisition that decided the event.
    fn token(&self) -> &str;
}

/// The reason why a document or an event cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

/// A processor with state in a ledger, as documents. The processor holds a cache of them. The engine loads the
/// documents that `decide` needs before it calls `decide`, so that `decide` never waits. Dropping the cache costs only
/// a read.
///
/// A document may have fields that are rarely needed. Fields whose names begin with [`LedgerProcessor::lazy_fields`]
/// come without their values, and are loaded individually when a command or an event needs them.
///
/// Documents are maps of fields; the names `h` and `n` are reserved for the head of a document.
///
/// `decide` must be a function of the preceding commands only: it uses no clock and no randomness.
pub trait LedgerProcessor: Send + 'static {
    /// Type of the commands.
    type Command: Send + 'static;
    /// Type of the events.
    type Event: LedgerEvent;

    /// Names the documents that a command needs.
    fn documents(&self, command: &Message<Self::Command>) -> Vec<Bytes>;

    /// Names the documents that folding an event needs.
    fn event_documents(&self, event: &Self::Event) -> Vec<Bytes>;

    /// Returns whether the document is in the cache.
    fn is_cached(&self, document: &[u8]) -> bool;

    /// Puts a document into the cache. A document without fields does not exist yet. The values of lazy fields are
    /// empty.
    fn insert(&mut self, document: &Bytes, fields: Fields) -> Result<(), Corrupt>;

    /// Returns the prefix of the names of lazy fields; `None` if there are no lazy fields.
    fn lazy_fields(&self) -> Option<&'static [u8]> {
        None
    }

    /// Adds the lazy fields that a command needs and that are not in the cache. The command's documents are.
    /// All of them must have been among the document's fields: the ledger is rebuilt if one is missing.
    fn fields(&self, _command: &Message<Self::Command>, _missing: &mut Vec<FieldName>) {}

    /// Adds the lazy fields that folding an event needs and that are not in the cache. The event's documents are.
    fn event_fields(&self, _event: &Self::Event, _missing: &mut Vec<FieldName>) {}

    /// Puts a lazy field into the cache.
    fn insert_field(&mut self, _name: &FieldName, _value: Bytes) -> Result<(), Corrupt> {
        Ok(())
    }

    /// Decides a command, and applies its events to the cached documents. At least one event is the answer.
    fn decide(&mut self, command: Message<Self::Command>, at: &CommandContext<'_>, events: &mut Vec<Self::Event>);

    /// Applies an event of the log to the cached documents, when a ledger is rebuilt.
    fn evolve(&mut self, event: &Self::Event) -> Result<(), Corrupt>;

    /// Continues common numbers after the number of ledgers has grown. Numbers that the ledgers issue separately but
    /// never twice (such as `counter · ledgers + ledger`) continue from this count in all of them. Called once, between
    /// the last event before the growth and the first one after it.
    fn renumber(&mut self, _first: i64) {}

    /// Returns the changes of the cached documents since the last call.
    fn take_changes(&mut self) -> Vec<FieldWrite>;

    /// Removes cached documents beyond the budget. Called after all changes are written.
    fn shrink(&mut self);

    /// Drops the whole cache.
    fn clear(&mut self);
}
