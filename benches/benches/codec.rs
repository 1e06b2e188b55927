//! Measures the cost of the wire format, for a request and for each kind of event.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark stops at the first error")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use interlock_benches::{Sale, booking};
use interlock_schemas::registry::{Ids, MemoryRegistry, Registry, register_all};
use interlock_schemas::topics::contract;
use interlock_schemas::{Command, Decoder, Encoder, Event, Payload as _, RecordType};

fn contract_in_memory() -> (Arc<dyn Registry>, Ids) {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let ids = runtime
        .block_on(register_all(&*registry, &contract()))
        .expect("the contract");
    (registry, ids)
}

fn codec(criterion: &mut Criterion) {
    let (registry, ids) = contract_in_memory();
    let encoder = Encoder::new(ids);
    let mut commands = Decoder::<Command>::new(registry.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");

    let mut group = criterion.benchmark_group("codec");
    for passengers in [1, 4] {
        let command = Command::Book(booking(1, 2, 7, passengers));
        let mut value = Vec::new();
        encoder.encode(&command, &mut value).expect("registered");
        runtime.block_on(commands.decode(&value)).expect("it is ours");
        group.throughput(Throughput::Bytes(value.len() as u64));
        let id = |what| BenchmarkId::new(what, format!("request of {passengers}"));
        group.bench_function(id("encode"), |b| {
            b.iter(|| {
                value.clear();
                encoder.encode(&command, &mut value)
            });
        });
        group.bench_function(id("decode"), |b| b.iter(|| black_box(commands.try_decode(&value))));
    }

    let mut events = Decoder::<Event>::new(registry);
    let sale = Sale::after(4_000);
    for kind in [
        RecordType::BookingConfirmed,
        RecordType::BookingWaitlisted,
        RecordType::BookingRejected,
    ] {
        let mut newest_first = sale.events.iter().rev();
        let event = newest_first.find(|event| event.record_type() == kind);
        let event = event.expect("the sale has one of each");
        let mut value = Vec::new();
        encoder.encode(event, &mut value).expect("registered");
        runtime.block_on(events.decode(&value)).expect("it is ours");
        group.throughput(Throughput::Bytes(value.len() as u64));
        group.bench_function(BenchmarkId::new("encode", kind), |b| {
            b.iter(|| {
                value.clear();
                encoder.encode(event, &mut value)
            });
        });
        group.bench_function(BenchmarkId::new("decode", kind), |b| {
            b.iter(|| black_box(events.try_decode(&value)));
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
