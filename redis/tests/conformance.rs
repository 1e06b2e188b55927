//! The ledger store in Redis passes the suite on a real server.
//!
//! `INTERLOCK_REDIS_URL=redis://127.0.0.1:6379 cargo test -p interlock-redis --test conformance`
//!
//! Each test has a namespace of its own and leaves the keys of others alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "conformance/model.rs"]
mod model;

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use interlock_redis::{RedisConfig, RedisLedgerStore};

const URL: &str = "INTERLOCK_REDIS_URL";

interlock_streams::ledger_conformance!(fresh_store().await);

/// A namespace that no other test and no other run uses.
fn fresh_namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "a name that no earlier run used")]
    let run: u64 = rand::random();
    format!("test-{run:016x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A store that removes its keys in the end.
struct Guard {
    store: RedisLedgerStore,
    url: String,
    namespace: String,
}

impl Deref for Guard {
    type Target = RedisLedgerStore;

    fn deref(&self) -> &RedisLedgerStore {
        &self.store
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let clean = || -> redis::RedisResult<()> {
            let mut connection = redis::Client::open(self.url.as_str())?.get_connection()?;
            let mut scan = redis::cmd("SCAN");
            scan.cursor_arg(0)
                .arg("MATCH")
                .arg(format!("{{{}:*", self.namespace))
                .arg("COUNT")
                .arg(1000);
            let keys: Vec<Vec<u8>> = scan.iter(&mut connection)?.collect::<redis::RedisResult<_>>()?;
            if keys.is_empty() {
                Ok(())
            } else {
                redis::cmd("UNLINK").arg(keys).exec(&mut connection)
            }
        };
        if let Err(error) = clean() {
            eprintln!("couldn't remove the keys of {}: {error}", self.namespace);
        }
    }
}

/// A store without ledgers, if there is a server.
async fn fresh_store() -> Option<Guard> {
    let Ok(url) = std::env::var(URL) else {
        eprintln!("SKIPPED: no Redis. Run it with {URL}=redis://127.0.0.1:6379");
        return None;
    };
    let namespace = fresh_namespace();
    let config = RedisConfig {
        namespace: namespace.clone(),
        ..RedisConfig::new(url.clone(), "conformance")
    };
    let store = RedisLedgerStore::connect(config).await.expect("connect");
    Some(Guard { store, url, namespace })
}
