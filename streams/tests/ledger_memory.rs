//! The ledger store in memory passes the suite; what it does by hand for simulators works too.

use interlock_streams::ledger::memory::{MemoryLedgerStore, Part};
use interlock_streams::ledger::{
    DocumentWrites, FieldWrite, Holder, Index, InspectLedgers as _, KeyDifference, LedgerCommit, LedgerState,
    LedgerStore, Token, demand_rebuild,
};

interlock_streams::ledger_conformance!(Some(Box::new(MemoryLedgerStore::default())));

/// A fail-over loses acknowledged writes and hands out an epoch twice: only the token tells the acquisitions apart.
#[tokio::test]
async fn restored_snapshot_forgets_later_writes() {
    let store = MemoryLedgerStore::default();
    let worker = store.clone();
    let acquire = async |text: &str| {
        let token = Token(text.to_owned());
        let epoch = worker.acquire(3, "w", &token).await.unwrap().epoch;
        Holder {
            ledger: 3,
            epoch,
            token,
        }
    };
    acquire("a").await;
    let snapshot = store.snapshot(3);
    let lost = acquire("b").await;
    worker
        .commit(
            &lost,
            &LedgerCommit {
                applied: 5,
                ..LedgerCommit::default()
            },
        )
        .await
        .unwrap();
    store.restore(3, snapshot);
    assert_eq!(worker.state(3).await.unwrap().applied, None);
    let after = acquire("c").await;
    assert_eq!((lost.epoch, after.epoch), (2, 2));
    assert!(worker.commit(&lost, &LedgerCommit::default()).await.is_err());
    worker.commit(&after, &LedgerCommit::default()).await.unwrap();
}

/// Each part is lost or put back by itself; what the index does not name is listed, and goes with a rebuild.
#[tokio::test]
async fn parts_are_lost_alone() {
    let store = MemoryLedgerStore::default();
    let token = Token("a".to_owned());
    let epoch = store.acquire(3, "w", &token).await.unwrap().epoch;
    let holder = Holder {
        ledger: 3,
        epoch,
        token: token.clone(),
    };
    let write = FieldWrite {
        document: "d".into(),
        field: "f".into(),
        value: Some("v".into()),
    };
    let documents = DocumentWrites::new(&Index::new(), vec![write], 1, &token, [1; 8]);
    let commit = LedgerCommit {
        applied: 5,
        documents,
        ..LedgerCommit::default()
    };
    let before = store.snapshot(3);
    store.commit(&holder, &commit).await.unwrap();
    let after = store.snapshot(3);
    let document = Part::Document("d".into());
    assert_eq!(
        store.parts(3),
        [Part::State, Part::Log, Part::Entry(5), document.clone()]
    );
    for part in store.parts(3) {
        store.lose(3, &part);
        assert_ne!(store.snapshot(3), after, "{part:?}");
        store.put_back(3, &part, &after);
        assert_eq!(store.snapshot(3), after, "{part:?}");
    }
    store.put_back(3, &document, &before);
    assert_eq!(store.load(3, &["d".into()], None).await.unwrap()[0].head, None);
    store.put_back(3, &document, &after);
    assert_eq!(store.foreign_keys(3).await.unwrap(), []);
    store.lose(3, &Part::State);
    assert_eq!(
        store.foreign_keys(3).await.unwrap()[0].difference,
        KeyDifference::Unnamed
    );
    demand_rebuild(&store, 3, "o", || Token("b".to_owned())).await.unwrap();
    assert_eq!(store.parts(3), [Part::State, Part::Log]);
}

/// A flush loses all ledgers, a snapshot of a ledger that isn't there restores that.
#[tokio::test]
async fn flush_loses_everything() {
    let store = MemoryLedgerStore::default();
    let nothing = store.snapshot(1);
    for ledger in [1, 2] {
        store.acquire(ledger, "w", &Token("a".to_owned())).await.unwrap();
    }
    store.restore(1, nothing);
    assert_eq!(store.state(1).await.unwrap(), LedgerState::default());
    assert_eq!(store.state(2).await.unwrap().epoch, 1);
    store.flush();
    assert_eq!(store.state(2).await.unwrap(), LedgerState::default());
}
