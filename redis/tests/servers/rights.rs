//! The user of `deploy/redis/users.acl` may do what a ledger needs; with less, nothing is written by halves.

use std::ops::Deref;

use bytes::Bytes;
use interlock_redis::{RedisConfig, RedisLedgerStore};
use interlock_streams::ledger::{InspectLedgers as _, LedgerError, LedgerStore as _};

use crate::server::Server;
use crate::single::{acquire, batch};
use crate::store::available;

const USERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/redis/users.acl");

interlock_streams::ledger_conformance!(restricted().await);

/// A store, and the server that it is the only user of.
struct Restricted {
    server: Server,
    store: RedisLedgerStore,
}

impl Deref for Restricted {
    type Target = RedisLedgerStore;

    fn deref(&self) -> &RedisLedgerStore {
        &self.store
    }
}

async fn restricted() -> Option<Restricted> {
    if !available() {
        return None;
    }
    let server = Server::start(&["--aclfile", USERS]).await;
    let store = RedisLedgerStore::connect(config(&server, "il")).await.expect("connect");
    store.check_server().await.expect("fit for ledgers");
    Some(Restricted { server, store })
}

fn config(server: &Server, namespace: &str) -> RedisConfig {
    let url = format!("redis://interlock:any@127.0.0.1:{}", server.port);
    RedisConfig {
        namespace: namespace.to_owned(),
        ..RedisConfig::new(url, "test")
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_before_anything_is_written() {
    let Some(restricted) = restricted().await else { return };
    let (server, store) = (&restricted.server, &restricted.store);
    let holder = acquire(store, 1, "a").await.unwrap();
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    let (state, document) = (store.state(1).await.unwrap(), [Bytes::from("d")]);
    let before = store.load(1, &document, None).await.unwrap();
    let grant = async |sign: &str, right: &str| {
        let command = format!("ACL SETUSER interlock {sign}{right}");
        server.command::<()>(&command).await.unwrap();
    };
    let assert_refused = |right: &str, refused: LedgerError| {
        assert!(matches!(refused, LedgerError::Fatal { .. }), "{right}: {refused}");
        let said = refused.to_string();
        assert!(
            said.to_lowercase().contains(right) && said.contains("docs/operating.md"),
            "{right}: {said}"
        );
    };
    // Through functions: a worker that takes over a ledger learns of all the rights that it will need.
    let rights = "hdel hget hgetall hincrby hkeys hlen hmget hset persist scan unlink";
    for right in rights.split(' ') {
        grant("-", right).await;
        assert_refused(right, acquire(store, 1, "b").await.unwrap_err());
        grant("+", right).await;
        assert_eq!(store.state(1).await.unwrap(), state, "{right}");
    }
    // By transactions: the first on a connection, a later one, and one that isn't what the ledger waits for.
    let mut second = batch(1, 2);
    second.trim = vec![1];
    for right in "watch hmget multi hincrby hset hdel exec discard".split(' ') {
        let fresh = RedisLedgerStore::connect(config(server, "il")).await.unwrap();
        let standing = RedisLedgerStore::connect(config(server, "il")).await.unwrap();
        standing.commit(&holder, &batch(0, 1)).await.unwrap_err();
        grant("-", right).await;
        if right != "discard" {
            assert_refused(right, fresh.commit(&holder, &second).await.unwrap_err());
        }
        if ["hincrby", "hset", "hdel", "exec"].contains(&right) {
            assert_refused(right, standing.commit(&holder, &second).await.unwrap_err());
        } else {
            assert_refused(right, standing.commit(&holder, &batch(8, 9)).await.unwrap_err());
        }
        grant("+", right).await;
        assert_eq!(store.state(1).await.unwrap(), state, "{right}");
        assert_eq!(store.load(1, &document, None).await.unwrap(), before, "{right}");
    }
    store.commit(&holder, &second).await.unwrap();
}

#[tokio::test]
async fn an_audit_may_look_for_foreign_keys() {
    let Some(restricted) = restricted().await else { return };
    let holder = acquire(&restricted.store, 1, "a").await.unwrap();
    restricted.store.commit(&holder, &batch(0, 1)).await.unwrap();
    assert_eq!(restricted.store.foreign_keys(1).await.unwrap(), []);
}

#[tokio::test]
async fn other_namespaces_are_out_of_reach() {
    let Some(restricted) = restricted().await else { return };
    let store = RedisLedgerStore::connect(config(&restricted.server, "other"))
        .await
        .unwrap();
    let refused = store.state(1).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Fatal { .. }), "{refused}");
    assert!(refused.to_string().contains("docs/operating.md"), "{refused}");
}
