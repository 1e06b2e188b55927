//! Any sequence of calls is answered alike in memory and in Redis, and leaves the same behind.

use bytes::Bytes;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::ledger::{
    Contents, DocumentWrites, FieldWrite, Holder, LedgerCommit, LedgerError, LedgerState, LedgerStore, Lineage,
    RebuildStep, Release, Token,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fresh_store;

const LEDGER: i32 = 0;
const DOCUMENTS: [&str; 3] = ["12951|2026-12-01", "", "{b}\0"];

#[derive(Clone, Debug)]
enum Call {
    Acquire {
        owner: u8,
        token: u8,
    },
    ForgetOwners {
        holder: u8,
        owners: Vec<u8>,
    },
    Commit {
        holder: u8,
        right: bool,
        by: i64,
        writes: Vec<(u8, u8, Option<u8>)>,
        trim: Vec<i64>,
    },
    Begin {
        holder: u8,
        right: bool,
        token: u8,
        keep: bool,
    },
    Demand {
        holder: u8,
        right: bool,
    },
    Write {
        holder: u8,
        right: bool,
        writes: Vec<(u8, u8, Option<u8>)>,
    },
    Finish {
        holder: u8,
        right: bool,
        applied: Option<i64>,
    },
    Release {
        holder: u8,
        owner: u8,
    },
}

fn call() -> impl Strategy<Value = Call> {
    let writes = || vec((0..3_u8, 0..4_u8, prop::option::of(any::<u8>())), 0..8);
    // Mostly the holder of the ledger (0), so that most calls aren't refused.
    let holder = || prop_oneof![8 => Just(0_u8), 1 => Just(1), 1 => Just(2)];
    let right = || prop::bool::weighted(0.9);
    prop_oneof![
        2 => (0..3_u8, any::<u8>()).prop_map(|(owner, token)| Call::Acquire { owner, token }),
        1 => (holder(), vec(0..3_u8, 0..3)).prop_map(|(holder, owners)| Call::ForgetOwners { holder, owners }),
        8 => (holder(), right(), 1..5_i64, writes(), vec(0..40_i64, 0..4))
            .prop_map(|(holder, right, by, writes, trim)| Call::Commit { holder, right, by, writes, trim }),
        2 => (holder(), right(), any::<u8>(), any::<bool>())
            .prop_map(|(holder, right, token, keep)| Call::Begin { holder, right, token, keep }),
        1 => (holder(), right()).prop_map(|(holder, right)| Call::Demand { holder, right }),
        2 => (holder(), right(), writes()).prop_map(|(holder, right, writes)| Call::Write { holder, right, writes }),
        2 => (holder(), right(), prop::option::of(0..40_i64))
            .prop_map(|(holder, right, applied)| Call::Finish { holder, right, applied }),
        1 => (holder(), 0..3_u8).prop_map(|(holder, owner)| Call::Release { holder, owner }),
    ]
}

fn token(number: u8) -> Token {
    Token(format!("t{number}"))
}

fn owner(number: u8) -> String {
    format!("w{number}")
}

fn writes(writes: &[(u8, u8, Option<u8>)]) -> Vec<FieldWrite> {
    let write = |(document, field, value): &(u8, u8, Option<u8>)| FieldWrite {
        document: Bytes::from(DOCUMENTS[*document as usize]),
        field: Bytes::from(vec![0, *field]),
        value: value.map(|value| Bytes::from(vec![value; value as usize])),
    };
    writes.iter().map(write).collect()
}

/// The reasons of what is fatal are worded by each store.
fn comparable<T: std::fmt::Debug>(result: Result<T, LedgerError>) -> String {
    match result {
        Err(LedgerError::Fatal { ledger, .. }) => format!("fatal in {ledger:?}"),
        other => format!("{other:?}"),
    }
}

async fn make(store: &dyn LedgerStore, holder: &Holder, state: &LedgerState, call: &Call) -> String {
    let stated = |right: bool| if right { state.version } else { 1000 };
    let documents = |changed: &[_], sequence| {
        DocumentWrites::new(
            &state.index,
            writes(changed),
            sequence,
            &holder.token,
            state.version.to_be_bytes(),
        )
    };
    match call {
        Call::Acquire {
            owner: number,
            token: text,
        } => comparable(store.acquire(LEDGER, &owner(*number), &token(*text)).await),
        Call::ForgetOwners { owners, .. } => {
            let owners: Vec<String> = owners.iter().map(|number| owner(*number)).collect();
            comparable(store.forget_owners(holder, &owners).await)
        }
        Call::Commit {
            right,
            by,
            writes: changed,
            trim,
            ..
        } => {
            let next = state.applied.unwrap_or(-1) + by;
            let commit = LedgerCommit {
                version: stated(*right),
                applied: next,
                sequence: next * 2,
                lineage: Lineage(vec![(1, holder.token.clone())]),
                documents: documents(changed, next * 2),
                entry: Bytes::from(vec![0; *by as usize]),
                chain: [*by as u8; 8],
                trim: trim.clone(),
            };
            comparable(store.commit(holder, &commit).await)
        }
        Call::Begin {
            right,
            token: text,
            keep,
            ..
        } => {
            let step = RebuildStep::Begin {
                version: stated(*right),
                token: token(*text),
                keep: *keep,
            };
            comparable(store.rebuild(holder, &step).await)
        }
        Call::Demand { right, .. } => {
            let version = stated(*right);
            comparable(store.rebuild(holder, &RebuildStep::Demand { version }).await)
        }
        Call::Write {
            right, writes: changed, ..
        } => {
            let step = RebuildStep::Write {
                version: stated(*right),
                documents: documents(changed, 7),
            };
            comparable(store.rebuild(holder, &step).await)
        }
        Call::Finish { right, applied, .. } => {
            let step = RebuildStep::Finish {
                version: stated(*right),
                applied: *applied,
                sequence: 3,
                lineage: Lineage::default(),
            };
            comparable(store.rebuild(holder, &step).await)
        }
        Call::Release { owner: number, .. } => {
            let release = Release {
                transactional_id: owner(*number),
                token: holder.token.clone(),
            };
            comparable(store.release(holder, &release).await)
        }
    }
}

async fn everything(store: &dyn LedgerStore) -> String {
    let documents = DOCUMENTS.map(Bytes::from);
    let state = store.state(LEDGER).await.unwrap();
    let loaded = store.load(LEDGER, &documents, None).await.unwrap();
    let view = store.view(LEDGER, &documents, Contents::Fields, &[3, 7]).await.unwrap();
    format!("{state:?} {loaded:?} {:?} {view:?}", store.log(LEDGER).await.unwrap())
}

#[test]
fn answers_are_those_of_the_store_in_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if runtime.block_on(fresh_store()).is_none() {
        return;
    }
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let tested = runner.run(&vec(call(), 1..40), |calls| {
        runtime.block_on(async {
            let (memory, redis) = (MemoryLedgerStore::default(), fresh_store().await.unwrap());
            for call in &calls {
                let held = memory.state(LEDGER).await.unwrap();
                let which = match call {
                    Call::Acquire { .. } => 0,
                    Call::ForgetOwners { holder, .. }
                    | Call::Commit { holder, .. }
                    | Call::Demand { holder, .. }
                    | Call::Begin { holder, .. }
                    | Call::Write { holder, .. }
                    | Call::Finish { holder, .. }
                    | Call::Release { holder, .. } => *holder,
                };
                let mut holder = Holder {
                    ledger: LEDGER,
                    epoch: held.epoch,
                    token: held.token.clone(),
                };
                match which {
                    0 => {}
                    1 => holder.epoch -= 1,
                    _ => holder.token = Token("zombie".to_owned()),
                }
                let expected = make(&memory, &holder, &held, call).await;
                prop_assert_eq!(make(&*redis, &holder, &held, call).await, expected, "{:?}", call);
                prop_assert_eq!(everything(&*redis).await, everything(&memory).await, "after {:?}", call);
            }
            Ok(())
        })
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
}
