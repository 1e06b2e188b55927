//! Rebuilding a ledger that lost acknowledged writes.

use super::{
    LEDGER, acquire, assert_behind, assert_fatal, assert_fenced, batch, commit_next, delete, everything, expected,
    fields, lineage, log, set, state, token,
};
use crate::ledger::{DocumentWrites, FieldWrite, Holder, Index, LedgerState, LedgerStore, RebuildStep, demand_rebuild};

fn begin(version: u64, text: &str, keep: bool) -> RebuildStep {
    RebuildStep::Begin {
        version,
        token: token(text),
        keep,
    }
}

/// Writes onto documents as the index has them.
async fn write(store: &dyn LedgerStore, version: u64, writes: Vec<FieldWrite>) -> RebuildStep {
    let index = state(store).await.index;
    RebuildStep::Write {
        version,
        documents: DocumentWrites::new(&index, writes, 20, &token("b"), version.to_be_bytes()),
    }
}

fn finish(version: u64, applied: Option<i64>, sequence: i64, text: &str) -> RebuildStep {
    RebuildStep::Finish {
        version,
        applied,
        sequence,
        lineage: lineage(&[(1, text)]),
    }
}

/// A ledger at applied offset 5 and version 2, with two documents and two log entries.
async fn ledger_at_5(store: &dyn LedgerStore) -> Holder {
    let holder = acquire(store, "w1", "a").await;
    let writes = vec![set("d1", "f", "1"), set("d2", "f", "2")];
    commit_next(store, &holder, 2, writes).await;
    commit_next(store, &holder, 5, vec![set("d1", "g", "3")]).await;
    holder
}

/// The same, of which a rebuild under the token `b` was begun.
async fn begun_at_5(store: &dyn LedgerStore) -> Holder {
    let holder = ledger_at_5(store).await;
    store.rebuild(&holder, &begin(2, "b", false)).await.expect("begin");
    Holder {
        token: token("b"),
        ..holder
    }
}

/// `Begin` takes the new token, empties the log and marks the rebuild; the applied offset stays until the end.
pub async fn starts_empty_unless_kept(store: &dyn LedgerStore) {
    let holder = ledger_at_5(store).await;
    let before = state(store).await;
    store.rebuild(&holder, &begin(2, "b", true)).await.expect("begin");
    assert_eq!(
        state(store).await,
        LedgerState {
            token: token("b"),
            version: 0,
            rebuilding: true,
            ..before.clone()
        }
    );
    assert!(log(store).await.is_empty());
    assert_eq!(fields(store, "d1").await, expected(&[("f", "1"), ("g", "3")]));

    let holder = Holder {
        token: token("b"),
        ..holder
    };
    store.rebuild(&holder, &begin(0, "c", false)).await.expect("begin");
    assert_eq!(
        state(store).await,
        LedgerState {
            token: token("c"),
            version: 0,
            rebuilding: true,
            index: Index::new(),
            ..before
        }
    );
    for document in ["d1", "d2"] {
        assert!(fields(store, document).await.is_empty());
    }
}

/// The documents are written in parts, the rest of the state at the end; then the ledger works as before.
pub async fn writes_in_steps_and_finishes(store: &dyn LedgerStore) {
    let old = ledger_at_5(store).await;
    store.rebuild(&old, &begin(2, "b", false)).await.expect("begin");
    let holder = Holder {
        token: token("b"),
        ..old.clone()
    };
    let steps = [
        vec![set("d1", "f", "10"), set("d1", "g", "11")],
        Vec::new(),
        vec![delete("d1", "g"), set("d3", "f", "12")],
    ];
    for (version, writes) in (0..).zip(steps) {
        let step = write(store, version, writes).await;
        assert_fenced(store.rebuild(&old, &step).await, &holder);
        store.rebuild(&holder, &step).await.expect("step");
    }
    let last = finish(3, Some(7), 20, "x");
    assert_fenced(store.rebuild(&old, &last).await, &holder);
    store.rebuild(&holder, &last).await.expect("step");
    assert_eq!(fields(store, "d1").await, expected(&[("f", "10")]));
    assert!(fields(store, "d2").await.is_empty());
    assert_eq!(fields(store, "d3").await, expected(&[("f", "12")]));
    let now = state(store).await;
    assert_eq!(
        (now.epoch, now.token.clone(), now.applied, now.sequence),
        (1, token("b"), Some(7), 20)
    );
    assert_eq!(
        (now.lineage, now.owners, now.rebuilding),
        (lineage(&[(1, "x")]), vec!["w1".to_owned()], false)
    );
    assert_eq!((now.floor, now.chain, now.version), (Some(7), None, 4));
    assert_eq!(now.index.keys().collect::<Vec<_>>(), ["d1", "d3"]);
    commit_next(store, &holder, 8, Vec::new()).await;
}

/// Between two steps another master took over, which lacks one that was acknowledged: the rebuild doesn't end without
/// it.
pub async fn step_refused_where_one_before_is_missing(store: &dyn LedgerStore) {
    let holder = begun_at_5(store).await;
    let behind = async |step, found, stated| assert_behind(store.rebuild(&holder, &step).await, found, stated);
    behind(write(store, 1, vec![set("d2", "f", "2")]).await, 0, 1).await;
    behind(finish(1, Some(9), 9, "b"), 0, 1).await;
    let first = write(store, 0, vec![set("d1", "f", "1")]).await;
    store.rebuild(&holder, &first).await.expect("write");
    // The same write once more, late: it is there already.
    behind(write(store, 0, vec![set("d1", "f", "0")]).await, 1, 0).await;
    behind(finish(0, Some(9), 9, "b"), 1, 0).await;
    behind(finish(2, Some(9), 9, "b"), 1, 2).await;
    assert_eq!(fields(store, "d1").await, expected(&[("f", "1")]));
    assert!(state(store).await.rebuilding);
    store
        .rebuild(&holder, &finish(1, Some(9), 9, "b"))
        .await
        .expect("finish");
}

/// C = 0: no record was ever committed, so the applied offset is none again.
pub async fn of_a_lost_ledger_to_before_the_first_record(store: &dyn LedgerStore) {
    let holder = begun_at_5(store).await;
    let last = RebuildStep::Finish {
        version: 0,
        applied: None,
        sequence: 0,
        lineage: lineage(&[]),
    };
    store.rebuild(&holder, &last).await.expect("finish");
    let now = state(store).await;
    assert_eq!((now.applied, now.sequence, now.lineage), (None, 0, lineage(&[])));
    assert_eq!((now.floor, now.chain), (None, None));
    commit_next(store, &holder, 0, Vec::new()).await;
}

/// The next owner notices this, can't keep the present state, and starts over from nothing.
pub async fn interrupted_is_visible_and_starts_anew(store: &dyn LedgerStore) {
    let holder = begun_at_5(store).await;
    let half = write(store, 0, vec![set("half", "f", "v")]).await;
    store.rebuild(&holder, &half).await.expect("write");

    let next = acquire(store, "w2", "c").await;
    let found = state(store).await;
    assert!(found.rebuilding);
    assert_eq!(found.applied, Some(5));
    assert_fenced(store.rebuild(&holder, &finish(0, Some(9), 9, "b")).await, &next);
    assert_fatal(&store.rebuild(&next, &begin(0, "d", true)).await);
    store.rebuild(&next, &begin(0, "d", false)).await.expect("begin");
    assert!(fields(store, "half").await.is_empty());
    let next = Holder {
        token: token("d"),
        ..next
    };
    store.rebuild(&next, &finish(0, Some(9), 9, "c")).await.expect("finish");
    assert!(!state(store).await.rebuilding);
}

/// A zombie, also one with the same epoch after a fail-over, can't move the applied offset back under the owner.
pub async fn step_refused_to_a_zombie(store: &dyn LedgerStore) {
    let zombie = ledger_at_5(store).await;
    let holder = acquire(store, "w2", "b").await;
    let before = everything(store, &["d1", "d2"]).await;
    for other in [
        zombie.clone(),
        Holder {
            epoch: holder.epoch,
            ..zombie
        },
    ] {
        for step in [
            begin(0, "z", false),
            RebuildStep::Demand { version: 0 },
            write(store, 0, vec![delete("d1", "f")]).await,
            finish(0, Some(1), 1, "z"),
        ] {
            assert_fenced(store.rebuild(&other, &step).await, &holder);
        }
    }
    assert_eq!(everything(store, &["d1", "d2"]).await, before);
}

/// It was compared with another state: another master answered, or another owner went on.
pub async fn begin_refused_on_another_version(store: &dyn LedgerStore) {
    let holder = ledger_at_5(store).await;
    let before = everything(store, &["d1", "d2"]).await;
    for wrong in [0, 1, 3] {
        assert_behind(store.rebuild(&holder, &begin(wrong, "b", false)).await, 2, wrong);
        let demand = RebuildStep::Demand { version: wrong };
        assert_behind(store.rebuild(&holder, &demand).await, 2, wrong);
    }
    assert_eq!(everything(store, &["d1", "d2"]).await, before);
}

/// Steps without a `Begin` would write to a ledger that others trust.
pub async fn steps_need_a_beginning(store: &dyn LedgerStore) {
    let holder = ledger_at_5(store).await;
    let before = everything(store, &["d1", "d2"]).await;
    let step = write(store, 2, vec![delete("d1", "f")]).await;
    assert_fatal(&store.rebuild(&holder, &step).await);
    assert_fatal(&store.rebuild(&holder, &finish(2, Some(9), 9, "a")).await);
    assert_eq!(everything(store, &["d1", "d2"]).await, before);
}

/// The holder found a part lost: the mark refuses every later batch, also by the next owner, and everything else stays.
pub async fn demanded_by_the_holder_keeps_everything_and_refuses_batches(store: &dyn LedgerStore) {
    let holder = ledger_at_5(store).await;
    let (before, documents, entries) = everything(store, &["d1", "d2"]).await;
    store
        .rebuild(&holder, &RebuildStep::Demand { version: 2 })
        .await
        .expect("demand");
    let marked = LedgerState {
        version: 3,
        rebuilding: true,
        ..before
    };
    assert_eq!(everything(store, &["d1", "d2"]).await, (marked, documents, entries));
    let late = batch(store, &holder, 6, Vec::new()).await;
    assert_behind(store.commit(&holder, &late).await, 3, 3);
    let next = acquire(store, "w2", "b").await;
    let late = batch(store, &next, 6, Vec::new()).await;
    assert_behind(store.commit(&next, &late).await, 0, 0);
    store.rebuild(&next, &begin(0, "c", false)).await.expect("begin");
}

/// A rebuild on demand fences the owner, removes everything, and is left to the next owner.
pub async fn demanded_is_left_to_the_owner(store: &dyn LedgerStore) {
    let owner = ledger_at_5(store).await;
    let before = state(store).await;
    let mut tokens = ["x", "y"].into_iter().map(token);
    let epoch = demand_rebuild(store, LEDGER, "operator", || tokens.next().expect("two tokens")).await;
    let demanded = LedgerState {
        epoch: epoch.expect("demand"),
        token: token("y"),
        version: 0,
        rebuilding: true,
        index: Index::new(),
        ..before
    };
    assert_eq!(demanded.epoch, owner.epoch + 1);
    assert_eq!(
        state(store).await,
        demanded,
        "the applied offset and the owner's name stay"
    );
    for document in ["d1", "d2"] {
        assert!(fields(store, document).await.is_empty());
    }
    assert!(log(store).await.is_empty());

    let holder = Holder {
        ledger: LEDGER,
        epoch: demanded.epoch,
        token: demanded.token,
    };
    let late = batch(store, &owner, 6, Vec::new()).await;
    assert_fenced(store.commit(&owner, &late).await, &holder);
    let taken = store.acquire(LEDGER, "w1", &token("b")).await.expect("acquire");
    assert!(taken.rebuilding);
}
