//! A master and a replica that three sentinels watch. The whole-system tests include this file, too.

use super::server::{Server, eventually};

/// The name by which the sentinels know the master.
const MASTER: &str = "ledgers";

/// A master, a replica and three sentinels, two of which agree on a fail-over.
pub(crate) struct Watched {
    pub(crate) servers: [Server; 2],
    pub(crate) sentinels: [Server; 3],
}

impl Watched {
    /// Starts them, and waits until each sentinel knows the replica and the other sentinels.
    pub(crate) async fn start() -> Self {
        let master = Server::start(&["--repl-diskless-sync-delay", "0"]).await;
        let master_port = master.port.to_string();
        let follow = [
            "--repl-diskless-sync-delay",
            "0",
            "--replicaof",
            "127.0.0.1",
            &master_port,
        ];
        let replica = Server::start(&follow).await;
        let settings = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {master_port} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\n\
             sentinel failover-timeout {MASTER} 3000"
        );
        let sentinels = [
            Server::start_sentinel(&settings).await,
            Server::start_sentinel(&settings).await,
            Server::start_sentinel(&settings).await,
        ];
        let servers = [master, replica];
        let watched = Self { servers, sentinels };
        watched.in_step().await;
        watched
    }

    /// Waits until the replica follows and each sentinel knows everybody.
    pub(crate) async fn in_step(&self) {
        for sentinel in &self.sentinels {
            eventually("the sentinel knows the replica and the other two", async || {
                let info: String = sentinel.command("INFO sentinel").await.unwrap_or_default();
                info.contains("status=ok") && info.contains("slaves=1") && info.contains("sentinels=3")
            })
            .await;
        }
        eventually("the replica follows", async || {
            let mut up = 0;
            for server in &self.servers {
                let info: String = server.command("INFO replication").await.unwrap_or_default();
                up += usize::from(info.contains("master_link_status:up"));
            }
            up == 1
        })
        .await;
    }

    /// Returns the address that workers are given.
    pub(crate) fn url(&self) -> String {
        let sentinels = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
        format!("redis+sentinel://{}/{MASTER}", sentinels.collect::<Vec<_>>().join(","))
    }

    /// Returns which server the sentinels call the master.
    pub(crate) async fn master(&self) -> usize {
        let mut named = None;
        eventually("the sentinels name a master", async || {
            let ask = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER}");
            let mut ports = Vec::new();
            for sentinel in &self.sentinels {
                let answer = sentinel.command::<(String, u16)>(&ask).await;
                ports.extend(answer.map(|(_, port)| port));
            }
            ports.dedup();
            named = match ports[..] {
                [port] => self.servers.iter().position(|server| server.port == port),
                _ => None,
            };
            named.is_some()
        })
        .await;
        named.unwrap()
    }

    /// Waits until the other server is the master.
    pub(crate) async fn fails_over_from(&self, former: usize) {
        eventually("the replica is the master", async || {
            let info: String = self.servers[1 - former]
                .command("INFO replication")
                .await
                .unwrap_or_default();
            info.contains("role:master") && self.master().await == 1 - former
        })
        .await;
    }

    /// Has the replica become the master although the master lives.
    pub(crate) async fn order_fail_over(&self) {
        let order = format!("SENTINEL FAILOVER {MASTER}");
        let former = self.master().await;
        self.sentinels[0].command::<()>(&order).await.unwrap();
        self.fails_over_from(former).await;
    }
}
