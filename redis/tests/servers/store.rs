//! Ledger stores on a private server.

use std::process::{Command, Stdio};
use std::time::Duration;

use interlock_redis::{RedisConfig, RedisLedgerStore};

use crate::server::Server;

/// Returns whether servers can be started here; prints a message if not.
pub(crate) fn available() -> bool {
    let there = Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !there {
        eprintln!("SKIPPED: no redis-server on the PATH. Install it: apt-get install -y redis-server");
    }
    there
}

impl Server {
    /// Settings with time-outs that don't make a test wait for a server that is gone.
    pub(crate) fn config(&self) -> RedisConfig {
        let quick = Duration::from_millis(700);
        RedisConfig {
            response_timeout: quick,
            connection_timeout: quick,
            ..RedisConfig::new(self.url(), "test")
        }
    }

    pub(crate) async fn store(&self) -> RedisLedgerStore {
        RedisLedgerStore::connect(self.config()).await.unwrap()
    }
}
