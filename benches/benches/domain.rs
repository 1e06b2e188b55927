//! Measures the cost of deciding, from an empty train to a full one with a long waitlist, and of reading a train-date
//! back.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark stops at the first error")]

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use interlock_benches::{STOPS, Sale, TRAVEL_DATE, booking};
use interlock_inventory::{TrainDate, evolve};
use interlock_schemas::{Command, train_date_key};

/// Bookings before the measured one: the train is empty, half full, full, or full with a waitlist.
const SOLD: [usize; 4] = [0, 400, 1_500, 4_000];

fn deciding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for sold in SOLD {
        let sale = Sale::after(sold);
        for passengers in [1, 4, 6] {
            let command = Command::Book(booking(1_000_000, 2, STOPS - 3, passengers));
            let id = BenchmarkId::new(format!("booking of {passengers}"), format!("after {sold}"));
            group.bench_function(id, |b| b.iter(|| black_box(sale.decide(&command))));
        }
        if let Some(command) = sale.cancellation() {
            let id = BenchmarkId::new("cancellation", format!("after {sold}"));
            group.bench_function(id, |b| b.iter(|| black_box(sale.decide(&command))));
        }
    }
    group.finish();
}

fn evolving(criterion: &mut Criterion) {
    let sale = Sale::after(1_000);
    let command = Command::Book(booking(1_000_000, 2, STOPS - 3, 2));
    let events = sale.decide(&command);
    criterion.bench_function("evolve and take the changes", |b| {
        // Every iteration decides the same booking, so each batch of iterations gets a fresh ledger.
        let fresh = || Sale::after(0).ledger;
        b.iter_batched_ref(
            fresh,
            |ledger| {
                for event in &sale.events[..20] {
                    evolve(ledger, event);
                }
                events.iter().for_each(|event| evolve(ledger, event));
                black_box(ledger.take_changes())
            },
            BatchSize::SmallInput,
        );
    });
}

fn reading_back(criterion: &mut Criterion) {
    let key = train_date_key("12951", TRAVEL_DATE);
    let mut group = criterion.benchmark_group("from_fields");
    for sold in SOLD.into_iter().skip(1) {
        let sale = Sale::after(sold);
        let fields = sale.ledger.get(&key).expect("it is on sale").to_fields();
        group.bench_function(BenchmarkId::from_parameter(format!("after {sold}")), |b| {
            b.iter(|| black_box(TrainDate::from_fields(&key, fields.clone())));
        });
    }
    group.finish();
}

criterion_group!(domain, deciding, evolving, reading_back);
criterion_main!(domain);
