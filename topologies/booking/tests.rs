//! What a task keeps of its ledger between batches.

use interlock_schemas::registry::MemoryRegistry;
use interlock_schemas::{BookingRequest, TrainService};

use super::*;

/// A request that is rejected, as nothing is on sale: the cheapest outcome.
fn request(number: usize, train: usize) -> Message<Command> {
    let request = BookingRequest {
        request_id: format!("r{number}"),
        train_id: format!("T{train}"),
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
    train_date_key(&format!("T{train}"), 20_750).into()
}

fn seats() -> Seats {
    let registry = Arc::new(MemoryRegistry::default());
    let builder = StreamsBuilder::new("test");
    Seats::new(builder.global_table(topics::TRAIN_SERVICES, move || {
        Avro::<TrainService>::new(registry.clone())
    }))
}

/// A batch of requests for one train-date, as the engine drives it; each number is one request.
fn batch(seats: &mut Seats, numbers: std::ops::Range<usize>, train: usize) {
    if !seats.is_cached(&key(train)) {
        seats.insert(&key(train), Vec::new()).unwrap();
    }
    let mut events = Vec::new();
    for number in numbers {
        let at = Provenance {
            ledger: 0,
            ledgers: 1,
            next_sequence: number as i64 + 1,
            offset: number as i64,
            timestamp: 0,
            token: "t",
        };
        seats.decide(request(number, train), &at, &mut events);
    }
    seats.take_changes();
    seats.shrink();
}

#[test]
fn what_was_not_asked_for_longest_is_let_go_of_when_there_is_too_much() {
    let mut seats = seats();
    let size = CACHED_OUTCOMES_MAX / 10;
    for train in 0..9 {
        batch(&mut seats, train * size..(train + 1) * size, train);
    }
    // The first is asked for again, by a request that is known: nothing is added.
    batch(&mut seats, 0..1, 0);
    assert!((0..9).all(|train| seats.is_cached(&key(train))), "they fit");

    batch(&mut seats, 9 * size..10 * size, 9);
    let kept: Vec<usize> = (0..10).filter(|train| seats.is_cached(&key(*train))).collect();
    // A tenth each: seven fit into three quarters.
    assert_eq!(
        kept,
        [0, 4, 5, 6, 7, 8, 9],
        "the youngest, as much as fits into three quarters"
    );
    let exact: usize = seats.used.keys().map(|key| seats.weight(key)).sum();
    assert_eq!(seats.outcomes_at_most, exact);
}

#[test]
fn repeated_requests_drop_nothing() {
    let mut seats = seats();
    batch(&mut seats, 0..10, 1);
    for _ in 0..CACHED_OUTCOMES_MAX / 10 + 1 {
        batch(&mut seats, 0..10, 1);
    }
    assert!(seats.is_cached(&key(1)));
    assert!(seats.outcomes_at_most <= CACHED_OUTCOMES_MAX);
}
