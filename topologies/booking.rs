//! `booking-requests` → `confirmed`, `waitlist`, `cancelled`, `rejected`, `train-dates`: the topology that sells seats.

use std::sync::Arc;

use bytes::Bytes;
use interlock_inventory::{Decision, Ledger, Plan, SETTLED, TrainDate, apply, evolve, settled_field};
use interlock_schemas::{Command, Encoder, Event, Text, topics, train_date_key};
use interlock_streams::ledger::{FieldName, FieldWrite, Fields};
use interlock_streams::{
    CommandContext, Corrupt, GlobalTable, LedgerProcessor, LedgerSpec, Message, StreamsBuilder, Topology,
};
use rustc_hash::FxHashMap;

use crate::avro::{Avro, Events};
use crate::past::Decided;
use crate::{Context, TopologyError};

/// Bytes of train-dates that a task keeps in memory between batches, about. Letting go of a train-date costs a read
/// when it is next asked for.
const CACHE_BYTES_MAX: usize = 24 << 20;

/// Bytes that a command adds to its train-date at most, about: a party that waits.
const COMMAND_BYTES_MAX: usize = 1_000;

/// Builds the topology.
pub(crate) fn build(context: &Context) -> Result<Topology, TopologyError> {
    let builder = StreamsBuilder::new("booking");
    let registry = context.registry.clone();
    let plans = builder.global_table(topics::TRAIN_SERVICES, move || Avro::new(registry.clone()));
    let (commands, past) = (context.registry.clone(), context.registry.clone());
    let topics: [Arc<str>; 5] = topics::EVENTS.map(Arc::from);
    builder
        .stream::<Command, _>(topics::BOOKING_REQUESTS, move || Avro::<Command>::new(commands.clone()))
        .process_ledger(LedgerSpec {
            name: "seats".to_owned(),
            event_topics: topics::EVENTS.map(str::to_owned).to_vec(),
            processor: move || Seats::new(plans.clone(), CACHE_BYTES_MAX),
            events: move || Decided(Avro::new(past.clone())),
        })
        .to_ledger_topics(
            topics::EVENTS.map(str::to_owned).to_vec(),
            move |Decided(event)| topics[topic_index(event)].clone(),
            Events(Encoder::new(context.ids)),
        );
    Ok(builder.build()?)
}

/// Index into [`topics::EVENTS`].
fn topic_index(event: &Event) -> usize {
    match event {
        Event::Confirmed(_) => 0,
        Event::Waitlisted(_) => 1,
        Event::Cancelled(_) => 2,
        Event::Rejected(_) => 3,
        Event::Opened(_) => 4,
    }
}

fn bytes_of(key: &Text) -> Bytes {
    Bytes::copy_from_slice(key.as_bytes())
}

/// Decides commands on a ledger of train-dates.
struct Seats {
    plans: GlobalTable<Arc<Plan>>,
    ledger: Ledger,
    /// The ledger-wide document is loaded.
    restored: bool,
    /// Token of the acquisition, as events share it.
    token: Text,
    /// When each cached train-date was last asked for, in batches.
    used: FxHashMap<String, u64>,
    batch: u64,
    bytes_max: usize,
    /// Bytes kept, at most: most commands add less. Counted again only when it may be too many, not at every batch.
    bytes_at_most: usize,
}

impl Seats {
    fn new(plans: GlobalTable<Arc<Plan>>, bytes_max: usize) -> Self {
        Self {
            plans,
            bytes_max,
            ledger: Ledger::default(),
            restored: false,
            token: Text::default(),
            used: FxHashMap::default(),
            batch: 0,
            bytes_at_most: 0,
        }
    }

    /// Bytes of a train-date that is kept.
    fn weight(&self, key: &str) -> usize {
        self.ledger.get(key).map_or(0, TrainDate::memory)
    }
}

impl LedgerProcessor for Seats {
    type Command = Command;
    type Event = Decided<Event>;

    fn documents(&self, command: &Message<Command>) -> Vec<Bytes> {
        // The key was found to be the train-date's when the record was decoded.
        std::iter::once(Bytes::new()).chain(command.key.clone()).collect()
    }

    fn event_documents(&self, event: &Decided<Event>) -> Vec<Bytes> {
        let header = event.0.header();
        vec![
            Bytes::new(),
            bytes_of(&train_date_key(&header.train_id, header.travel_date)),
        ]
    }

    fn is_cached(&self, document: &[u8]) -> bool {
        match std::str::from_utf8(document) {
            Ok("") => self.restored,
            Ok(key) => self.ledger.contains(key),
            Err(_) => false,
        }
    }

    fn insert(&mut self, document: &Bytes, fields: Fields) -> Result<(), Corrupt> {
        let corrupt = |error: &dyn std::fmt::Display| Corrupt(error.to_string());
        let key = std::str::from_utf8(document).map_err(|error| corrupt(&error))?;
        if key.is_empty() {
            self.ledger.bookings = Ledger::restore(0, 1, fields).map_err(|error| corrupt(&error))?.bookings;
            self.restored = true;
        } else {
            self.ledger.load(key, fields).map_err(|error| corrupt(&error))?;
            self.used.insert(key.to_owned(), self.batch);
            self.bytes_at_most += self.weight(key);
        }
        Ok(())
    }

    /// A request's outcome is needed again only if the request is repeated or its booking cancelled.
    fn lazy_fields(&self) -> Option<&'static [u8]> {
        Some(SETTLED.as_bytes())
    }

    fn fields(&self, command: &Message<Command>, missing: &mut Vec<FieldName>) {
        let Some(document) = &command.key else { return };
        let key = std::str::from_utf8(document).unwrap_or_default();
        let needed = self.ledger.outcomes_of_command(key, &command.value);
        missing.extend(needed.map(|request_id| FieldName {
            document: document.clone(),
            field: settled_field(request_id).into(),
        }));
    }

    fn event_fields(&self, event: &Decided<Event>, missing: &mut Vec<FieldName>) {
        let header = event.0.header();
        let key = train_date_key(&header.train_id, header.travel_date);
        let needed = self.ledger.outcomes_of_event(&key, &event.0);
        missing.extend(needed.map(|request_id| FieldName {
            document: bytes_of(&key),
            field: settled_field(request_id).into(),
        }));
    }

    fn insert_field(&mut self, name: &FieldName, value: Bytes) -> Result<(), Corrupt> {
        let key = std::str::from_utf8(&name.document).map_err(|error| Corrupt(error.to_string()))?;
        let loaded = self.ledger.load_outcome(key, &name.field, &value);
        loaded.map_err(|error| Corrupt(error.to_string()))
    }

    fn decide(&mut self, message: Message<Command>, at: &CommandContext<'_>, events: &mut Vec<Decided<Event>>) {
        let command = message.value;
        let (Command::Book(interlock_schemas::BookingRequest { train_id, .. })
        | Command::Cancel(interlock_schemas::CancellationRequest { train_id, .. })) = &command;
        // The key was found to be the train-date's when the record was decoded.
        let key = message.key.as_deref().map(std::str::from_utf8);
        let key = key.and_then(Result::ok).unwrap_or_default();
        let plan = || self.plans.get(train_id.as_bytes());
        self.ledger.number = at.ledger;
        self.ledger.ledgers = at.ledgers;
        if self.token != at.token {
            self.token = at.token.into();
        }
        let context = interlock_inventory::CommandContext {
            ledger: at.ledger,
            next_sequence: at.next_sequence,
            source_offset: at.offset,
            time: at.timestamp,
            token: &self.token,
        };
        let decision = Decision::of(&self.ledger, key, &command, plan, &context);
        let decided = apply(&mut self.ledger, decision);
        if let Some(used) = self.used.get_mut(key) {
            *used = self.batch;
        }
        self.bytes_at_most += COMMAND_BYTES_MAX;
        events.extend(decided.into_iter().map(Decided));
    }

    fn evolve(&mut self, event: &Decided<Event>) -> Result<(), Corrupt> {
        evolve(&mut self.ledger, &event.0);
        self.bytes_at_most += COMMAND_BYTES_MAX;
        Ok(())
    }

    fn renumber(&mut self, first: i64) {
        self.ledger.renumber(first);
        // The store's ledger-wide document is that of the earlier layout.
        self.restored = true;
    }

    fn take_changes(&mut self) -> Vec<FieldWrite> {
        let (mut key, mut document) = (Text::default(), Bytes::new());
        let write = |change: interlock_inventory::Change| {
            if key != change.document {
                document = bytes_of(&change.document);
                key = change.document;
            }
            FieldWrite {
                document: document.clone(),
                field: change.field,
                value: change.value,
            }
        };
        self.ledger.take_changes().into_iter().map(write).collect()
    }

    fn shrink(&mut self) {
        self.batch += 1;
        self.ledger.leave_in_store();
        if self.bytes_at_most <= self.bytes_max {
            return;
        }
        let mut kept: usize = self.used.keys().map(|key| self.weight(key)).sum();
        self.bytes_at_most = kept;
        if kept <= self.bytes_max {
            return;
        }
        let mut by_age: Vec<(u64, String)> = self.used.iter().map(|(key, used)| (*used, key.clone())).collect();
        by_age.sort_unstable();
        for (_, key) in by_age {
            // Down to three quarters at once, so that a full cache is not sorted at every batch.
            if kept <= self.bytes_max / 4 * 3 {
                break;
            }
            kept -= self.weight(&key);
            self.ledger.remove(&key);
            self.used.remove(&key);
        }
        self.bytes_at_most = kept;
    }

    fn clear(&mut self) {
        self.ledger = Ledger::default();
        self.restored = false;
        self.used.clear();
        self.bytes_at_most = 0;
    }
}

#[cfg(test)]
mod tests;
