//! Acquiring, owners and release.

use super::{LEDGER, acquire, assert_fenced, batch, commit_next, fields, lineage, log, set, state, token};
use crate::ledger::{Holder, LedgerState, LedgerStore, Release};

fn release_of(transactional_id: &str, text: &str) -> Release {
    Release {
        transactional_id: transactional_id.to_owned(),
        token: token(text),
    }
}

/// A ledger that was never acquired is empty, and no worker can write to it.
pub async fn fresh_ledger(store: &dyn LedgerStore) {
    assert_eq!(state(store).await, LedgerState::default());
    assert!(log(store).await.is_empty());
    assert!(fields(store, "nothing").await.is_empty());
    assert!(store.load(LEDGER, &[], None).await.expect("load").is_empty());
    let nobody = Holder {
        ledger: LEDGER,
        epoch: 0,
        token: token(""),
    };
    let guess = Holder {
        ledger: LEDGER,
        epoch: 1,
        token: token("a"),
    };
    for holder in [&guess, &nobody] {
        let first = batch(store, holder, 0, Vec::new()).await;
        assert_fenced(store.commit(holder, &first).await, &nobody);
        assert_fenced(store.forget_owners(holder, &[]).await, &nobody);
    }
    assert_eq!(state(store).await, LedgerState::default());
}

/// The new owner learns the earlier token, applied offset, sequence and lineage, and the new epoch and owners.
pub async fn acquire_increments_and_tells_what_was_before(store: &dyn LedgerStore) {
    let first = store.acquire(LEDGER, "w1", &token("a")).await.expect("acquire");
    assert_eq!(
        first,
        LedgerState {
            epoch: 1,
            owners: vec!["w1".to_owned()],
            ..LedgerState::default()
        }
    );
    let holder = Holder {
        ledger: LEDGER,
        epoch: 1,
        token: token("a"),
    };
    commit_next(store, &holder, 4, vec![set("d", "f", "v")]).await;
    let now = state(store).await;
    assert_eq!(now.version, 1);

    let before = LedgerState {
        epoch: 2,
        token: token("a"),
        applied: Some(4),
        sequence: 5,
        lineage: lineage(&[(1, "a")]),
        owners: vec!["w1".to_owned(), "w2".to_owned()],
        version: 0,
        ..now
    };
    assert_eq!(before.index.len(), 1, "the index comes with it");
    assert_eq!(store.acquire(LEDGER, "w2", &token("b")).await.expect("acquire"), before);
    assert_eq!(
        state(store).await,
        LedgerState {
            token: token("b"),
            ..before
        }
    );
}

/// A lost reply may be asked for again: the token names the acquisition, the epoch isn't incremented twice.
pub async fn acquire_repeated_with_its_token_is_the_same_acquisition(store: &dyn LedgerStore) {
    acquire(store, "w1", "a").await;
    let once = store.acquire(LEDGER, "w1", &token("b")).await.expect("acquire");
    let again = store.acquire(LEDGER, "w1", &token("b")).await.expect("acquire");
    assert_eq!(once, again);
    assert_eq!((again.epoch, again.token), (2, token("a")));
    let now = state(store).await;
    assert_eq!((now.epoch, now.token), (2, token("b")));
}

/// Owners are a set: named once each, ascending.
pub async fn owners_are_kept_until_forgotten_or_released(store: &dyn LedgerStore) {
    for (owner, text) in [("w3", "a"), ("w1", "b"), ("w2", "c"), ("w1", "d")] {
        acquire(store, owner, text).await;
    }
    let holder = acquire(store, "w1", "e").await;
    assert_eq!(state(store).await.owners, ["w1", "w2", "w3"]);
    let forgotten = ["w3".to_owned(), "unknown".to_owned()];
    store.forget_owners(&holder, &forgotten).await.expect("forget_owners");
    assert_eq!(state(store).await.owners, ["w1", "w2"]);
    store.forget_owners(&holder, &[]).await.expect("forget_owners");
    store.release(&holder, &release_of("w1", "e")).await.expect("release");
    assert_eq!(state(store).await.owners, ["w2"]);
}

/// A worker that lost the ledger no longer knows which owners were fenced.
pub async fn owners_are_forgotten_only_under_the_claim(store: &dyn LedgerStore) {
    let zombie = acquire(store, "w1", "a").await;
    let holder = acquire(store, "w2", "b").await;
    let both = ["w1".to_owned(), "w2".to_owned()];
    assert_fenced(store.forget_owners(&zombie, &both).await, &holder);
    assert_eq!(state(store).await.owners, both);
}

/// The release says "nothing is open under this id"; an acquisition under the same id ends that, one under another id
/// doesn't. A release gives up nothing else: the ledger is held until the next acquisition.
pub async fn release_is_recorded_until_its_owner_acquires_again(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    let released = Some(release_of("w1", "a"));
    for _ in 0..2 {
        store.release(&holder, &release_of("w1", "a")).await.expect("release");
        assert_eq!(state(store).await.release, released);
    }
    for text in ["b", "c"] {
        let other = store.acquire(LEDGER, "w2", &token(text)).await.expect("acquire");
        assert_eq!(
            (other.release, state(store).await.release),
            (released.clone(), released.clone())
        );
    }
    let own = store.acquire(LEDGER, "w1", &token("d")).await.expect("acquire");
    assert_eq!(own.release, released);
    assert_eq!(state(store).await.release, None);
}

/// A zombie's release would let the holder's open transaction go unfenced.
pub async fn release_is_refused_to_a_zombie(store: &dyn LedgerStore) {
    let zombie = acquire(store, "w1", "a").await;
    let holder = acquire(store, "w2", "b").await;
    let before = state(store).await;
    assert_fenced(store.release(&zombie, &release_of("w2", "b")).await, &holder);
    assert_eq!(state(store).await, before);
}

/// Changes to one ledger don't affect another.
pub async fn ledgers_are_independent(store: &dyn LedgerStore) {
    let holder = acquire(store, "w1", "a").await;
    commit_next(store, &holder, 0, vec![set("d", "f", "v")]).await;
    for other in [LEDGER - 1, LEDGER + 1, LEDGER * 10 + 1, 0] {
        assert_eq!(store.state(other).await.expect("state"), LedgerState::default());
        assert!(store.log(other).await.expect("log").is_empty());
        assert!(
            store.load(other, &[super::bytes("d")], None).await.expect("load")[0]
                .fields
                .is_empty()
        );
        let theirs = Holder {
            ledger: other,
            ..holder.clone()
        };
        let nobody = Holder {
            ledger: other,
            epoch: 0,
            token: token(""),
        };
        let first = batch(store, &theirs, 0, Vec::new()).await;
        assert_fenced(store.commit(&theirs, &first).await, &nobody);
    }
    store.acquire(0, "w2", &token("b")).await.expect("acquire");
    assert_eq!(state(store).await.token, token("a"));
}
