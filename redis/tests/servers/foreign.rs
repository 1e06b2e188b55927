//! Keys of a ledger that another program wrote or changed.

use bytes::Bytes;
use interlock_redis::RedisLedgerStore;
use interlock_streams::ledger::{ForeignKey, InspectLedgers as _, KeyDifference, LedgerStore as _};

use crate::server::Server;
use crate::single::{acquire, batch};
use crate::store::available;

/// Runs `TTL` and others as an operator, who may do everything.
async fn tamper(server: &Server, command: &str) {
    server.command::<()>(command).await.unwrap();
}

fn foreign(key: &str, difference: KeyDifference) -> ForeignKey {
    let document = key.split_once(":d:").map(|(_, name)| Bytes::from(name.to_owned()));
    ForeignKey {
        key: key.to_owned(),
        document,
        difference,
    }
}

/// The keys that are found, with the times to live rounded up to hours.
async fn found(store: &RedisLedgerStore, ledger: i32) -> Vec<ForeignKey> {
    let mut found = store.foreign_keys(ledger).await.unwrap();
    for foreign in &mut found {
        if let KeyDifference::Expires(in_ms) = &mut foreign.difference {
            *in_ms = (*in_ms as u64).div_ceil(3_600_000) as i64;
        }
    }
    found
}

#[tokio::test]
async fn keys_that_expire_are_not_named_or_are_no_documents_are_found() {
    if !available() {
        return;
    }
    let server = Server::start(&[]).await;
    let store = server.store().await;
    for ledger in [1, 11] {
        let holder = acquire(&store, ledger, "a").await.unwrap();
        store.commit(&holder, &batch(0, 1)).await.unwrap();
    }
    assert_eq!(found(&store, 1).await, []);

    for key in ["{test:1}:d:x", "{il:1}x", "{il:111}:d:x"] {
        tamper(&server, &format!("SET {key} 1")).await;
    }
    assert_eq!(found(&store, 1).await, [], "keys of others");
    tamper(&server, "SET {il:1}:other 1").await;
    assert_eq!(
        found(&store, 1).await,
        [foreign("{il:1}:other", KeyDifference::Unknown)]
    );
    tamper(&server, "DEL {il:1}:other").await;

    tamper(&server, "HSET {il:1}:d:x s 1").await;
    tamper(&server, "SET {il:1}:d:y 1").await;
    let unnamed = [
        foreign("{il:1}:d:x", KeyDifference::Unnamed),
        foreign("{il:1}:d:y", KeyDifference::Unnamed),
        foreign("{il:1}:d:y", KeyDifference::OtherType("string".to_owned())),
    ];
    assert_eq!(found(&store, 1).await, unnamed);
    tamper(&server, "DEL {il:1}:d:x {il:1}:d:y").await;

    for key in ["{il:1}:d:d", "{il:1}:meta", "{il:1}:log"] {
        tamper(&server, &format!("EXPIRE {key} 3600")).await;
        assert_eq!(found(&store, 1).await, [foreign(key, KeyDifference::Expires(1))]);
        tamper(&server, &format!("PERSIST {key}")).await;
    }
    assert_eq!(found(&store, 1).await, []);
    assert_eq!(found(&store, 11).await, []);
}

/// Among more keys of others than one `SCAN` visits.
#[tokio::test]
async fn a_single_key_is_found_among_many() {
    if !available() {
        return;
    }
    let server = Server::start(&["--enable-debug-command", "local"]).await;
    let store = server.store().await;
    tamper(&server, "DEBUG POPULATE 5000 other").await;
    tamper(&server, "HSET {il:3}:d:x s 1").await;
    assert_eq!(found(&store, 3).await, [foreign("{il:3}:d:x", KeyDifference::Unnamed)]);
}
