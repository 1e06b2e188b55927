//! State by key without the bookkeeping: a value for each key, kept in the ledger as one JSON document.
//!
//! A [`Decider`] decides commands and applies events to the value. This module keeps the cache, tracks changes, and
//! numbers and encodes the events. Values that are large and change in small parts, or commands that concern several
//! keys, need a [`LedgerProcessor`].

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dsl::message::Message;
use crate::dsl::processor::{Collector, CommandContext, Corrupt, LedgerEvent, LedgerProcessor, Processor};
use crate::dsl::serde::{DeserializeError, Deserializer, Json, Serializer as _};
use crate::ledger::{FieldWrite, Fields};
use crate::record::Record;

/// Values that a task keeps in memory between batches; dropping one costs a read when its key is next asked for.
const CACHED_VALUES_MAX: usize = 10_000;
/// The one field of a value's document.
const VALUE: Bytes = Bytes::from_static(b"value");

/// A value that commands of its key are decided on, and that events change.
pub trait Decider: Default + Serialize + DeserializeOwned + Send + 'static {
    /// A request to change the value.
    type Command: Send + 'static;
    /// A change of the value; written to the event topic as JSON, within an [`Event`].
    type Event: Serialize + DeserializeOwned + Send + 'static;

    /// Returns the events of a command; at least one, which is its answer. This is a function of the value and the
    /// command alone: no clock, no randomness.
    fn decide(&self, command: &Message<Self::Command>) -> Vec<Self::Event>;

    /// Applies an event. Decides nothing: it is called again when the ledger is rebuilt.
    fn evolve(&mut self, event: &Self::Event);
}

/// An event as it is written: numbered within its ledger, with the command that caused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Event<E> {
    /// Its number within its ledger, from 1.
    pub sequence: i64,
    /// Offset of the command that caused it.
    pub source_offset: i64,
    /// Token of the acquisition that decided it.
    pub token: String,
    pub event: E,
    /// The key, which is the record's own.
    #[serde(skip)]
    key: Bytes,
}

impl<E: Send + 'static> LedgerEvent for Event<E> {
    fn sequence(&self) -> i64 {
        self.sequence
    }

    fn source_offset(&self) -> i64 {
        self.source_offset
    }

    fn token(&self) -> &str {
        &self.token
    }
}

/// Reads events back, with their keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events;

impl<E: DeserializeOwned> Deserializer<Event<E>> for Events {
    fn deserialize(&mut self, record: &Record) -> Result<Event<E>, DeserializeError> {
        let event: Event<E> = Json.deserialize(record)?;
        let key = record
            .key
            .clone()
            .ok_or_else(|| DeserializeError::Malformed("the event has no key".into()))?;
        Ok(Event { key, ..event })
    }
}

/// Refuses records without a key: they belong to no value.
pub(crate) struct KeyCheck;

impl<T: Send + 'static> Processor<T> for KeyCheck {
    type Out = T;

    fn process(&mut self, batch: Vec<Message<T>>, out: &mut Collector<T>) {
        for message in batch {
            if message.key.is_some() {
                out.emit(message);
            } else {
                out.refuse(message.offset, "the record has no key, so it belongs to no value");
            }
        }
    }
}

/// The cached values of a task's ledger. [`Stream::decide`](crate::Stream::decide) runs this processor. It is public
/// for a [`LedgerSpec`](crate::LedgerSpec) whose events go to several topics or in another encoding.
#[derive(Debug)]
pub struct Deciders<A> {
    values: FxHashMap<Bytes, A>,
    changed: FxHashSet<Bytes>,
}

impl<A> Default for Deciders<A> {
    fn default() -> Self {
        Self {
            values: FxHashMap::default(),
            changed: FxHashSet::default(),
        }
    }
}

impl<A: Decider> Deciders<A> {
    fn apply(&mut self, key: &Bytes, event: &A::Event) {
        self.values.entry(key.clone()).or_default().evolve(event);
        self.changed.insert(key.clone());
    }
}

impl<A: Decider> LedgerProcessor for Deciders<A> {
    type Command = A::Command;
    type Event = Event<A::Event>;

    fn documents(&self, command: &Message<A::Command>) -> Vec<Bytes> {
        command.key.clone().into_iter().collect()
    }

    fn event_documents(&self, event: &Event<A::Event>) -> Vec<Bytes> {
        vec![event.key.clone()]
    }

    fn is_cached(&self, document: &[u8]) -> bool {
        self.values.contains_key(document)
    }

    fn insert(&mut self, document: &Bytes, fields: Fields) -> Result<(), Corrupt> {
        let value = match fields.first() {
            None => A::default(),
            Some((_, json)) => serde_json::from_slice(json)
                .map_err(|error| Corrupt(format!("the value is not what this program keeps: {error}")))?,
        };
        self.values.insert(document.clone(), value);
        Ok(())
    }

    fn decide(&mut self, command: Message<A::Command>, at: &CommandContext<'_>, events: &mut Vec<Event<A::Event>>) {
        // `KeyCheck` let only records with a key pass.
        let key = command.key.clone().unwrap_or_default();
        let decided = self.values.entry(key.clone()).or_default().decide(&command);
        for (sequence, event) in (at.next_sequence..).zip(decided) {
            self.apply(&key, &event);
            events.push(Event {
                sequence,
                source_offset: at.offset,
                token: at.token.to_owned(),
                event,
                key: key.clone(),
            });
        }
    }

    fn evolve(&mut self, event: &Event<A::Event>) -> Result<(), Corrupt> {
        self.apply(&event.key, &event.event);
        Ok(())
    }

    fn take_changes(&mut self) -> Vec<FieldWrite> {
        let mut documents: Vec<Bytes> = self.changed.drain().collect();
        documents.sort_unstable();
        let write = |document: Bytes| FieldWrite {
            value: Some(Json.to_bytes(&self.values[&document])),
            document,
            field: VALUE,
        };
        documents.into_iter().map(write).collect()
    }

    fn shrink(&mut self) {
        if self.values.len() > CACHED_VALUES_MAX {
            self.values.clear();
        }
    }

    fn clear(&mut self) {
        self.values.clear();
        self.changed.clear();
    }
}
