//! The ledger store in memory passes the suite; what it does by hand for simulators works too.

use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::ledger::{Holder, LedgerCommit, LedgerState, LedgerStore, Token};

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
