//! Measures the commit of a batch to the ledger, in memory and, if `INTERLOCK_REDIS_URL` is set, in Redis (under a
//! namespace of its own, which is overwritten).
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark stops at the first error")]

use std::sync::Arc;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use interlock_benches::{Sale, bookings};
use interlock_inventory::Change;
use interlock_redis::{RedisConfig, RedisLedgerStore};
use interlock_schemas::Command;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::ledger::{DocumentWrites, FieldWrite, Holder, LedgerCommit, LedgerStore, Token};
use tokio::runtime::Runtime;

/// Bytes of a booking's outputs in the log.
const OUTPUT_BYTES: usize = 400;

/// Returns the writes of `count` bookings.
fn writes(count: usize) -> Vec<FieldWrite> {
    let mut sale = Sale::new();
    for booking in bookings().take(count) {
        sale.apply(&Command::Book(booking));
    }
    let write = |change: Change| FieldWrite {
        document: Bytes::copy_from_slice(change.document.as_bytes()),
        field: change.field,
        value: change.value,
    };
    sale.ledger.take_changes().into_iter().map(write).collect()
}

/// Measures batches of different sizes, one after the other; each trims the log entry of the batch before.
fn commits(group: &mut BenchmarkGroup<'_, WallTime>, runtime: &Runtime, name: &str, store: &dyn LedgerStore) {
    for (ledger, size) in [1, 50, 500].into_iter().enumerate() {
        let ledger = ledger as i32;
        let writes = writes(size);
        let entry = Bytes::from(vec![b'x'; size * OUTPUT_BYTES]);
        let token = Token(format!("benchmark {}", std::process::id()));
        let state = runtime.block_on(store.acquire(ledger, "benchmark", &token));
        let state = state.expect("the ledger is acquired");
        let holder = Holder {
            ledger,
            epoch: state.epoch,
            token,
        };
        let (mut applied, mut index, mut version) = (state.applied, state.index, 0);
        let mut trim = Vec::new();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new(name, size), |b| {
            b.iter(|| {
                let next = applied.unwrap_or(-1) + size as i64;
                let chain = next.to_be_bytes();
                let documents = DocumentWrites::new(&index, writes.clone(), next, &holder.token, chain);
                let commit = LedgerCommit {
                    version,
                    applied: next,
                    sequence: next,
                    documents,
                    entry: entry.clone(),
                    chain,
                    trim: std::mem::take(&mut trim),
                    ..LedgerCommit::default()
                };
                runtime.block_on(store.commit(&holder, &commit)).expect("it is applied");
                commit.documents.enter(&mut index);
                version += 1;
                applied = Some(next);
                trim.push(next);
            });
        });
    }
}

fn ledgers(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut stores: Vec<(&str, Arc<dyn LedgerStore>)> = vec![("memory", Arc::new(MemoryLedgerStore::default()))];
    if let Ok(url) = std::env::var("INTERLOCK_REDIS_URL") {
        let config = RedisConfig {
            namespace: "benchmark".to_owned(),
            ..RedisConfig::new(url, "benchmark")
        };
        let redis = runtime
            .block_on(RedisLedgerStore::connect(config))
            .expect("Redis answers");
        stores.push(("redis", Arc::new(redis)));
    }
    let mut group = criterion.benchmark_group("ledger commit");
    for (name, store) in stores {
        commits(&mut group, &runtime, name, &*store);
    }
    group.finish();
}

criterion_group!(benches, ledgers);
criterion_main!(benches);
