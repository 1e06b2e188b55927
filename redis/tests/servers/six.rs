//! Three masters, three replicas. The whole-system tests include this file, too.

use std::process::{Command, Stdio};

use super::server::{Server, eventually};

/// A Redis Cluster of six nodes.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    /// Starts them, and waits until the replicas follow.
    pub(crate) async fn start() -> Self {
        let mut servers = Vec::new();
        for _ in 0..6 {
            let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            servers.push(Server::start(&settings).await);
        }
        let nodes = servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        for server in &servers {
            eventually("the cluster is whole", async || {
                let info: String = server.command("CLUSTER INFO").await.unwrap();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            })
            .await;
        }
        eventually("three replicas follow", async || {
            let mut replicas = 0;
            for server in &servers {
                let info: String = server.command("INFO replication").await.unwrap();
                replicas += usize::from(info.contains("master_link_status:up"));
            }
            replicas == 3
        })
        .await;
        Self { servers }
    }
}
