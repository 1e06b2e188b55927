//! The ledger store finds the master that three real sentinels name, and the next one after a fail-over.

use std::time::Duration;

use interlock_redis::{RedisConfig, RedisLedgerStore};
use interlock_streams::ledger::{LedgerError, LedgerStore as _};

use crate::server::eventually;
use crate::single::{acquire, batch, unavailable};
use crate::store::available;
use crate::watched::Watched;

/// Longer than the deadline of a sentinel that is gone, short enough that a test doesn't wait for it often.
const TIMEOUT: Duration = Duration::from_secs(2);

fn config(url: String) -> RedisConfig {
    RedisConfig {
        response_timeout: TIMEOUT,
        connection_timeout: TIMEOUT,
        ..RedisConfig::new(url, "test")
    }
}

async fn store(watched: &Watched) -> RedisLedgerStore {
    RedisLedgerStore::connect(config(watched.url())).await.unwrap()
}

/// Waits until the store answers for a ledger, and returns the applied offset.
async fn applied(store: &RedisLedgerStore, ledger: i32) -> Option<i64> {
    let mut applied = None;
    eventually("the ledger answers", async || match store.state(ledger).await {
        Ok(state) => {
            applied = state.applied;
            true
        }
        Err(LedgerError::Unavailable { .. }) => false,
        Err(other) => panic!("{other}"),
    })
    .await;
    applied
}

#[tokio::test]
async fn a_dead_master_is_replaced_by_the_one_that_sentinels_name() {
    if !available() {
        return;
    }
    let mut watched = Watched::start().await;
    let store = store(&watched).await;
    store.check_server().await.unwrap();
    let holder = acquire(&store, 1, "a").await.unwrap();
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    eventually("the replica has the batch", async || {
        let keys: Vec<String> = watched.servers[1].command("KEYS *:log").await.unwrap();
        !keys.is_empty()
    })
    .await;
    // A dead sentinel does not keep clients from the others.
    watched.sentinels[0].kill();
    watched.servers[0].kill();
    unavailable(store.commit(&holder, &batch(1, 2)).await);
    watched.fails_over_from(0).await;
    assert_eq!(applied(&store, 1).await, Some(1));
    let holder = acquire(&store, 1, "b").await.unwrap();
    store.commit(&holder, &batch(0, 2)).await.unwrap();
    let keys: Vec<String> = watched.servers[1].command("KEYS *:log").await.unwrap();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn a_former_master_that_lives_on_refuses_and_is_left() {
    if !available() {
        return;
    }
    let watched = Watched::start().await;
    let store = store(&watched).await;
    let holder = acquire(&store, 1, "a").await.unwrap();
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    watched.order_fail_over().await;
    watched.in_step().await;
    let mut expected = applied(&store, 1).await;
    eventually("the new master takes the batch", async || {
        match store.commit(&holder, &batch(u64::from(expected.is_some()), 2)).await {
            Ok(()) => true,
            Err(LedgerError::Unavailable { .. }) => {
                expected = applied(&store, 1).await;
                expected == Some(2)
            }
            Err(other) => panic!("{other}"),
        }
    })
    .await;
    let entry: String = watched.servers[1].command("HGET {il:1}:log 2").await.unwrap();
    assert_eq!(entry, "2");
}

#[tokio::test]
async fn what_is_no_master_or_unknown_to_the_sentinels_is_not_used() {
    if !available() {
        return;
    }
    let watched = Watched::start().await;
    let unknown = watched.url().replace("/ledgers", "/others");
    match RedisLedgerStore::connect(config(unknown)).await {
        Err(LedgerError::Fatal { ledger: None, reason }) => {
            assert!(reason.contains("no master \"others\""), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    // The sentinels still name a server that was made a replica by hand.
    let follow = format!("REPLICAOF 127.0.0.1 {}", watched.servers[1].port);
    for sentinel in &watched.sentinels {
        sentinel.signal("STOP");
    }
    watched.servers[0].command::<()>(&follow).await.unwrap();
    let one = &watched.sentinels[0];
    one.signal("CONT");
    let refused = RedisLedgerStore::connect(config(format!("redis+sentinel://127.0.0.1:{}/ledgers", one.port))).await;
    for sentinel in &watched.sentinels {
        sentinel.signal("CONT");
    }
    match refused {
        Err(LedgerError::Unavailable { ledger: None, reason }) => assert!(reason.contains("not a master"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
