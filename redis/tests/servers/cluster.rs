//! The ledger store on three masters with three replicas.

use std::time::Duration;

use bytes::Bytes;
use interlock_redis::{RedisConfig, RedisLedgerStore};
use interlock_streams::ledger::{Holder, InspectLedgers as _, KeyDifference, LedgerCommit, LedgerError, LedgerStore};
use interlock_streams::testing::conformance::ledger::{commit, parts, rebuild, state};

use crate::server::{Server, eventually};
use crate::single::{acquire, batch};
use crate::six::Cluster;
use crate::store::available;

/// Unoptimised, a large batch takes its time; so a dead master is noticed by its connection, not by the time-out.
fn patient(config: RedisConfig) -> RedisConfig {
    RedisConfig {
        response_timeout: Duration::from_secs(5),
        ..config
    }
}

impl Cluster {
    async fn store(&self, namespace: &str) -> RedisLedgerStore {
        let urls = self.servers.iter().map(Server::url);
        let config = RedisConfig {
            namespace: namespace.to_owned(),
            ..patient(RedisConfig::cluster(urls, "test"))
        };
        RedisLedgerStore::connect(config).await.unwrap()
    }

    /// The server that has a ledger's batch and is a `master` or a `slave`, if there is one now.
    async fn find(&self, ledger: &str, role: &str) -> Option<usize> {
        for (i, server) in self.servers.iter().enumerate() {
            let info: String = server.command("INFO replication").await.unwrap_or_default();
            let keys: Vec<String> = server.command("KEYS *").await.unwrap_or_default();
            if info.contains(&format!("role:{role}")) && keys.contains(&format!("{{{ledger}}}:log")) {
                return Some(i);
            }
        }
        None
    }

    /// Waits until there is one.
    async fn having(&self, ledger: &str, role: &str) -> usize {
        let mut found = None;
        eventually("the batch is there", async || {
            found = self.find(ledger, role).await;
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

/// The suite's cases that touch several keys, on ledgers in several slots; then every master fails over.
#[tokio::test]
async fn cluster_passes_the_suite_and_survives_fail_overs() {
    if !available() {
        return;
    }
    let mut cluster = Cluster::start().await;
    cluster.store("check").await.check_server().await.unwrap();
    state::fresh_ledger(&cluster.store("a").await).await;
    state::ledgers_are_independent(&cluster.store("b").await).await;
    commit::applies_fields_log_and_state(&cluster.store("c").await).await;
    commit::documents_are_loaded_in_the_order_asked_for(&cluster.store("d").await).await;
    commit::names_and_values_are_binary(&cluster.store("e").await).await;
    commit::refused_to_whoever_does_not_hold_the_ledger(&cluster.store("f").await).await;
    commit::large_batch(&cluster.store("g").await).await;
    parts::heads_are_those_of_the_index(&cluster.store("j").await).await;
    parts::a_view_has_what_is_asked_for(&cluster.store("k").await).await;
    parts::fields_come_with_the_head(&cluster.store("l").await).await;
    parts::a_write_onto_another_document_does_not_make_it_the_right_one(&cluster.store("m").await).await;
    parts::what_lies_in_the_place_of_a_new_document_goes(&cluster.store("n").await).await;
    rebuild::starts_empty_unless_kept(&cluster.store("h").await).await;
    rebuild::interrupted_is_visible_and_starts_anew(&cluster.store("i").await).await;

    functions_are_loaded_where_they_are_missing(&cluster).await;
    unnamed_documents_are_found(&cluster).await;
    planned_fail_over(&cluster).await;
    lost_master(&mut cluster).await;
}

async fn functions_are_loaded_where_they_are_missing(cluster: &Cluster) {
    let store = cluster.store("functions").await;
    for server in &cluster.servers {
        let _ = server.command::<()>("FUNCTION FLUSH").await;
    }
    for ledger in 0..20 {
        acquire(&store, ledger, "a").await.unwrap();
    }
}

async fn unnamed_documents_are_found(cluster: &Cluster) {
    let store = cluster.store("unnamed").await;
    for ledger in 0..6 {
        let holder = acquire(&store, ledger, "a").await.unwrap();
        store.commit(&holder, &batch(0, 1)).await.unwrap();
        assert_eq!(store.foreign_keys(ledger).await.unwrap(), []);
        store.check_fitness(ledger).await.unwrap();
        store.persist(ledger, &[Bytes::from("d")]).await.unwrap();
        for server in &cluster.servers {
            // Only the master of the slot does this.
            let _ = server
                .command::<()>(&format!("HDEL {{unnamed:{ledger}}}:meta d:d"))
                .await;
        }
        let found = store.foreign_keys(ledger).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].difference, KeyDifference::Unnamed);
    }
}

async fn planned_fail_over(cluster: &Cluster) {
    let store = cluster.store("planned").await;
    let holder = acquire(&store, 3, "a").await.unwrap();
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    let replica = cluster.having("planned:3", "slave").await;
    cluster.servers[replica]
        .command::<()>("CLUSTER FAILOVER")
        .await
        .unwrap();
    eventually("the replica is the master", async || {
        cluster.find("planned:3", "master").await == Some(replica)
    })
    .await;
    commits(&store, &holder, &batch(1, 2)).await;
    assert_eq!(answered(async || store.state(3).await).await.applied, Some(2));
}

async fn lost_master(cluster: &mut Cluster) {
    let store = cluster.store("lost").await;
    let holder = acquire(&store, 5, "a").await.unwrap();
    store.commit(&holder, &batch(0, 1)).await.unwrap();
    cluster.having("lost:5", "slave").await;
    let master = cluster.having("lost:5", "master").await;
    cluster.servers[master].kill();
    let mut waited = 0;
    eventually("a replica takes over", async || match store.state(5).await {
        Ok(state) => state.token == holder.token,
        Err(LedgerError::Unavailable { .. }) => {
            waited += 1;
            false
        }
        Err(other) => panic!("{other}"),
    })
    .await;
    assert!(waited > 0, "a dead master can't have answered");
    let holder = answered(async || acquire(&store, 5, "b").await).await;
    commits(&store, &holder, &batch(0, 9)).await;
    assert_eq!(answered(async || store.state(5).await).await.applied, Some(9));
}

/// Returns the ledger's answer while masters change: the cluster may be down for a moment, even after it has answered.
async fn answered<T>(mut call: impl AsyncFnMut() -> Result<T, LedgerError>) -> T {
    let mut answer = None;
    eventually("the ledger answers", async || match call().await {
        Err(LedgerError::Unavailable { .. }) => false,
        other => {
            answer = Some(other.unwrap());
            true
        }
    })
    .await;
    answer.unwrap()
}

/// Writes a batch while masters change: one that was not answered may have been written.
async fn commits(store: &RedisLedgerStore, holder: &Holder, batch: &LedgerCommit) {
    answered(async || match store.commit(holder, batch).await {
        Err(LedgerError::Behind { .. }) => Ok(()),
        other => other,
    })
    .await;
}
