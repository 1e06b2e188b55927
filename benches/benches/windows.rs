//! Measures the window queries on a batch of events: the fixed cost of a run, and the cost of each event.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark stops at the first error")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use interlock_benches::Sale;
use interlock_topologies::events::{events_to_batch, occupancy_queries, revenue_queries};

fn windows(criterion: &mut Criterion) {
    let sale = Sale::after(8_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut group = criterion.benchmark_group("windows");
    for size in [10, 100, 1_000, 8_000] {
        let events = &sale.events[..size];
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("to a batch", size), |b| {
            b.iter(|| black_box(events_to_batch(events)))
        });
        let batch = events_to_batch(events);
        let sets = [
            ("occupancy", occupancy_queries().expect("it is planned")),
            ("revenue", revenue_queries().expect("it is planned")),
        ];
        for (name, mut queries) in sets {
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    for query in &mut queries {
                        black_box(runtime.block_on(query.run(batch.clone())).expect("it runs"));
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, windows);
criterion_main!(benches);
