//! `booking-requests` → `confirmed`, `waitlist`, `cancelled`, `rejected`, `train-dates`: the topology that sells seats.

use std::sync::Arc;

use bytes::Bytes;
use interlock_inventory::{Ledger, Plan, decide, evolve};
use interlock_schemas::{Command, Encoder, Event, topics, train_date_key};
use interlock_streams::ledger::{FieldWrite, Fields};
use interlock_streams::{
    Corrupt, GlobalTable, LedgerProcessor, LedgerSpec, Message, Provenance, StreamsBuilder, Topology,
};
use rustc_hash::FxHashMap;

use crate::avro::{Avro, Events};
use crate::past::Decided;
use crate::{Context, TopologyError};

/// Outcomes of requests, in whole train-dates, that a task keeps in memory between batches. One takes about a kilobyte with
/// all that belongs to it. Dropping a train-date costs a read when it is next asked for.
const CACHED_OUTCOMES_MAX: usize = 60_000;

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
            processor: move || Seats::new(plans.clone()),
            events: move || Decided(Avro::new(past.clone())),
        })
        .map_values(|Decided(event)| event)
        .to_ledger_topics(
            topics::EVENTS.map(str::to_owned).to_vec(),
            move |event| topics[topic_index(event)].clone(),
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

/// Decides commands on a ledger of train-dates.
struct Seats {
    plans: GlobalTable<Arc<Plan>>,
    ledger: Ledger,
    /// The ledger-wide document is loaded.
    restored: bool,
    /// When each cached train-date was last asked for, in batches.
    used: FxHashMap<String, u64>,
    batch: u64,
    /// Outcomes kept, at most: a repeated command adds none. Counted again only when it may be too many, not at every batch.
    outcomes_at_most: usize,
}

impl Seats {
    fn new(plans: GlobalTable<Arc<Plan>>) -> Self {
        Self {
            plans,
            ledger: Ledger::default(),
            restored: false,
            used: FxHashMap::default(),
            batch: 0,
            outcomes_at_most: 0,
        }
    }

    /// Outcomes of a train-date that is kept, and one more for itself.
    fn weight(&self, key: &str) -> usize {
        self.ledger
            .get(key)
            .map_or(0, |train_date| train_date.outcomes().len() + 1)
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
            train_date_key(&header.train_id, header.travel_date).into(),
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
            self.outcomes_at_most += self.weight(key);
        }
        Ok(())
    }

    fn decide(&mut self, message: Message<Command>, at: &Provenance<'_>, events: &mut Vec<Decided<Event>>) {
        let command = message.value;
        let (Command::Book(interlock_schemas::BookingRequest { train_id, .. })
        | Command::Cancel(interlock_schemas::CancellationRequest { train_id, .. })) = &command;
        let plan = self.plans.get(train_id.as_bytes());
        self.ledger.number = at.ledger;
        self.ledger.ledgers = at.ledgers;
        let provenance = interlock_inventory::Provenance {
            ledger: at.ledger,
            next_sequence: at.next_sequence,
            source_offset: at.offset,
            time: at.timestamp,
            token: at.token,
        };
        let decided = decide(&self.ledger, &command, plan.as_ref(), &provenance);
        for event in &decided {
            evolve(&mut self.ledger, event);
        }
        let key = message.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        if let Some(used) = key.and_then(|key| self.used.get_mut(key)) {
            *used = self.batch;
        }
        self.outcomes_at_most += 1;
        events.extend(decided.into_iter().map(Decided));
    }

    fn evolve(&mut self, event: &Decided<Event>) -> Result<(), Corrupt> {
        evolve(&mut self.ledger, &event.0);
        self.outcomes_at_most += 1;
        Ok(())
    }

    fn take_changes(&mut self) -> Vec<FieldWrite> {
        let write = |change: interlock_inventory::Change| FieldWrite {
            document: change.document.into(),
            field: change.field.into(),
            value: change.value.map(Bytes::from),
        };
        self.ledger.take_changes().into_iter().map(write).collect()
    }

    fn shrink(&mut self) {
        self.batch += 1;
        if self.outcomes_at_most <= CACHED_OUTCOMES_MAX {
            return;
        }
        let mut kept: usize = self.used.keys().map(|key| self.weight(key)).sum();
        let mut by_age: Vec<(u64, String)> = self.used.iter().map(|(key, used)| (*used, key.clone())).collect();
        by_age.sort_unstable();
        for (_, key) in by_age {
            // Down to three quarters at once, so that a full cache is not sorted at every batch.
            if kept <= CACHED_OUTCOMES_MAX * 3 / 4 {
                break;
            }
            kept -= self.weight(&key);
            self.ledger.remove(&key);
            self.used.remove(&key);
        }
        self.outcomes_at_most = kept;
    }

    fn clear(&mut self) {
        self.ledger = Ledger::default();
        self.restored = false;
        self.used.clear();
        self.outcomes_at_most = 0;
    }
}

#[cfg(test)]
mod tests;
