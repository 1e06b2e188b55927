//! Tests which part of its ledger a task keeps between batches.

use std::collections::HashMap;
use std::ops::Range;

use interlock_schemas::registry::MemoryRegistry;
use interlock_schemas::{BookingRequest, TrainService};

use super::*;

/// A request that is rejected, as nothing is on sale: the cheapest outcome.
fn request(number: usize, train: usize) -> Message<Command> {
    let request = BookingRequest {
        request_id: format!("r{number}").into(),
        train_id: format!("T{train}").into(),
        travel_date: 20_750,
        user_id: "u".into(),
        from_station: "A".into(),
        to_station: "B".into(),
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: Vec::new(),
        partial_confirmation: false,
        requested_at: 0,
    };
    Message {
        key: Some(key(train)),
        value: Command::Book(request),
        timestamp: 0,
        headers: Vec::new(),
        offset: number as i64,
    }
}

fn key(train: usize) -> Bytes {
    bytes_of(&train_date_key(&format!("T{train}"), 20_750))
}

/// A processor and what its store has, driven as the engine does it.
struct Driven {
    seats: Seats,
    stored: HashMap<FieldName, Bytes>,
    /// Fields that were asked for.
    asked: usize,
}

impl Driven {
    fn new(bytes_max: usize) -> Self {
        let registry = Arc::new(MemoryRegistry::default());
        let builder = StreamsBuilder::new("test");
        let plans = builder.global_table(topics::TRAIN_SERVICES, move || {
            Avro::<TrainService>::new(registry.clone())
        });
        Self {
            seats: Seats::new(plans, bytes_max),
            stored: HashMap::new(),
            asked: 0,
        }
    }

    /// Requests for one train-date; each number is one request. True if all were repeated ones.
    fn batch(&mut self, numbers: Range<usize>, train: usize) -> bool {
        if !self.seats.is_cached(&key(train)) {
            let stored = self.stored.keys().filter(|name| name.document == key(train));
            let fields = stored.map(|name| (name.field.clone(), Bytes::new())).collect();
            self.seats.insert(&key(train), fields).unwrap();
        }
        let mut missing = Vec::new();
        for number in numbers.clone() {
            self.seats.fields(&request(number, train), &mut missing);
        }
        self.asked += missing.len();
        for name in missing {
            self.seats.insert_field(&name, self.stored[&name].clone()).unwrap();
        }
        let mut events = Vec::new();
        for number in numbers {
            let at = CommandContext {
                ledger: 0,
                ledgers: 1,
                next_sequence: number as i64 + 1,
                offset: number as i64,
                timestamp: 0,
                token: "t",
            };
            self.seats.decide(request(number, train), &at, &mut events);
        }
        for FieldWrite { document, field, value } in self.seats.take_changes() {
            self.stored.insert(FieldName { document, field }, value.unwrap());
        }
        self.seats.shrink();
        events.iter().all(|event| event.0.header().replay)
    }

    fn has(&self, train: usize) -> bool {
        self.seats.is_cached(&key(train))
    }
}

/// Returns the bytes of a train-date with this number of requests.
fn weight_of(requests: usize) -> usize {
    let mut driven = Driven::new(usize::MAX);
    driven.batch(0..requests, 1);
    driven.seats.weight(std::str::from_utf8(&key(1)).unwrap())
}

#[test]
fn what_was_not_asked_for_longest_is_let_go_of_when_there_is_too_much() {
    let mut driven = Driven::new(weight_of(100) * 9);
    for train in 0..9 {
        driven.batch(train * 100..(train + 1) * 100, train);
    }
    assert!(driven.batch(0..1, 0), "the first is asked for again: nothing is added");
    assert!((0..9).all(|train| driven.has(train)), "they fit");

    driven.batch(900..1_000, 9);
    let kept: Vec<usize> = (0..10).filter(|train| driven.has(*train)).collect();
    assert_eq!(
        kept,
        [0, 5, 6, 7, 8, 9],
        "the youngest, as many as fit into three quarters"
    );
    let seats = &driven.seats;
    let exact: usize = seats.used.keys().map(|key| seats.weight(key)).sum();
    assert_eq!(seats.bytes_at_most, exact);
    assert!(driven.batch(100..200, 1), "what was let go of is known still");
}

#[test]
fn repeated_requests_drop_nothing() {
    let mut driven = Driven::new(weight_of(10));
    driven.batch(0..10, 1);
    for _ in 0..100 {
        assert!(driven.batch(0..10, 1));
    }
    assert!(driven.has(1));
}

#[test]
fn a_settled_outcome_is_asked_for_when_it_is_needed_and_not_before() {
    let mut driven = Driven::new(usize::MAX);
    assert!(!driven.batch(0..10, 1));
    assert!(!driven.batch(10..20, 1));
    assert_eq!(driven.asked, 0, "they are all new");
    assert!(driven.batch(3..5, 1));
    assert_eq!(driven.asked, 2);
    assert!(driven.batch(3..5, 1), "they were left in the store again");
    assert_eq!(driven.asked, 4);
}
