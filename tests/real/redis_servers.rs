//! Redis servers that fail over, for the ledgers of an installation. They persist nothing: a killed server comes back
//! empty, and its data live on only in its replica.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::proxy::{Mode, Proxy};
use super::{PATIENCE, wait_for};

#[allow(clippy::unwrap_used, reason = "a test's servers: it fails by panicking")]
#[path = "../../redis/tests/servers/server.rs"]
mod server;
#[allow(clippy::unwrap_used, reason = "a test's servers: it fails by panicking")]
#[path = "../../redis/tests/servers/six.rs"]
mod six;
#[allow(clippy::unwrap_used, reason = "a test's servers: it fails by panicking")]
#[path = "../../redis/tests/servers/watched.rs"]
mod watched;

use server::Server;
pub(crate) use six::Cluster;
use watched::Watched;

/// A master and a replica, which change roles on demand. Clients and the replica reach the master through proxies, so
/// that clients can be led elsewhere and the replica can be made to lag.
pub(crate) struct Pair {
    servers: [Server; 2],
    /// Index of the master.
    master: usize,
    /// The proxy that clients connect to.
    front: Proxy,
    /// The proxy between the replica and its master.
    link: Proxy,
}

impl Pair {
    pub(crate) async fn start() -> Result<Self> {
        // The replica must be in step again at once.
        let settings = ["--repl-diskless-sync-delay", "0"];
        let servers = [Server::start(&settings).await, Server::start(&settings).await];
        let (front, link) = (Proxy::start(servers[0].port)?, Proxy::start(servers[0].port)?);
        let pair = Self {
            servers,
            master: 0,
            front,
            link,
        };
        pair.follow(1).await?;
        Ok(pair)
    }

    /// Returns the proxy that clients connect to.
    pub(crate) fn front(&self) -> &Proxy {
        &self.front
    }

    /// The master, past the proxy.
    pub(crate) fn master(&self) -> &Server {
        &self.servers[self.master]
    }

    /// Cuts the replica off from its master.
    pub(crate) fn lag(&self) {
        self.link.set(Mode::Cut);
    }

    /// Kills the master, or leaves it running, and makes the replica the master.
    pub(crate) async fn fail_over(&mut self, kill: bool) -> Result<()> {
        let former = self.master;
        let replica = &self.servers[1 - former];
        wait_for("the replica has loaded what it knows", PATIENCE, async || {
            Ok(replica.command::<String>("PING").await.is_ok().then_some(()))
        })
        .await?;
        if kill {
            self.servers[former].kill();
        }
        self.master = 1 - former;
        self.master().command::<()>("REPLICAOF NO ONE").await?;
        self.front.lead_to(self.master().port);
        Ok(())
    }

    /// Makes the former master a replica that is in step; starts it again if it was killed.
    pub(crate) async fn mend(&mut self) -> Result<()> {
        let replica = 1 - self.master;
        if self.servers[replica].command::<()>("PING").await.is_err() {
            self.servers[replica].restart().await;
        }
        self.link.lead_to(self.master().port);
        self.link.set(Mode::Pass);
        self.follow(replica).await
    }

    async fn follow(&self, replica: usize) -> Result<()> {
        let replica = &self.servers[replica];
        let follow = format!("REPLICAOF 127.0.0.1 {}", self.link.port());
        replica.command::<()>(&follow).await?;
        wait_for("the replica is in step", PATIENCE, async || {
            let info: String = replica.command("INFO replication").await?;
            Ok(info.contains("master_link_status:up").then_some(()))
        })
        .await
    }
}

/// A master and a replica that three sentinels watch.
pub struct Sentinel(Watched);

impl Sentinel {
    /// Starts the servers.
    pub(crate) async fn start() -> Self {
        Self(Watched::start().await)
    }

    /// Returns the address that workers are given.
    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// Kills the master and waits until the sentinels have made the replica the master.
    pub async fn lose_master(&mut self) {
        let master = self.0.master().await;
        self.0.servers[master].kill();
        self.0.fails_over_from(master).await;
        self.0.servers[master].restart().await;
    }

    /// Has the replica become the master while the master lives.
    pub async fn order_fail_over(&self) {
        self.0.order_fail_over().await;
    }

    /// Waits until the former master follows the new one.
    pub async fn in_step(&self) {
        self.0.in_step().await;
    }
}

/// The present roles of a cluster's servers.
impl Cluster {
    /// Returns all addresses, as in the workers' settings.
    pub(crate) fn urls(&self) -> String {
        let urls: Vec<String> = self.servers.iter().map(Server::url).collect();
        urls.join(",")
    }

    /// Returns the servers that run as masters and hold some of the keys.
    pub(crate) async fn masters(&self) -> Vec<usize> {
        let mut masters = Vec::new();
        for (number, server) in self.servers.iter().enumerate() {
            let info: String = server.command("INFO replication").await.unwrap_or_default();
            let keys: i64 = server.command("DBSIZE").await.unwrap_or_default();
            if info.contains("role:master") && keys > 0 {
                masters.push(number);
            }
        }
        masters
    }

    /// Returns the replica of a master.
    pub(crate) async fn replica_of(&self, master: usize) -> Result<usize> {
        let port = self.servers[master].port;
        for (number, server) in self.servers.iter().enumerate() {
            let info: String = server.command("INFO replication").await.unwrap_or_default();
            if info.contains(&format!("master_port:{port}\r")) {
                return Ok(number);
            }
        }
        anyhow::bail!("nobody follows the master on port {port}")
    }

    /// Starts killed servers again, and waits until there are three masters, each with a replica that is in step.
    pub(crate) async fn mend(&mut self) -> Result<()> {
        for server in &mut self.servers {
            if server.command::<()>("PING").await.is_err() {
                server.restart().await;
            }
        }
        let whole = wait_for("three replicas follow three masters", PATIENCE, async || {
            let (mut masters, mut replicas) = (0, 0);
            for server in &self.servers {
                let info: String = server.command("INFO replication").await.unwrap_or_default();
                let state: String = server.command("CLUSTER INFO").await.unwrap_or_default();
                if !state.contains("cluster_state:ok") {
                    return Ok(None);
                }
                masters += usize::from(info.contains("role:master") && info.contains("connected_slaves:1"));
                replicas += usize::from(info.contains("master_link_status:up"));
            }
            Ok((masters == 3 && replicas == 3).then_some(()))
        });
        tokio::time::timeout(PATIENCE, whole).await.context("the cluster")?
    }

    /// Time for which a master must be unreachable before its replica takes over.
    pub(crate) const NODE_TIMEOUT: Duration = Duration::from_secs(2);
}
