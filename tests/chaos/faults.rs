//! The faults: one function for each, and one line in [`CATALOGUE`].

mod database;
mod kafka;
mod network;
mod redis;
mod workers;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use super::scene::Scene;
use super::stage::Kind::{self, Clustered, Replicated, Single};
use crate::real::may_mount;

/// A fault.
pub(super) struct Fault {
    /// The name in tables and on the command line.
    pub(super) name: &'static str,
    /// The kinds of servers it can happen on.
    pub(super) on: &'static [Kind],
    /// Causes the fault, marks its beginning and end, and replaces killed workers.
    pub(super) happen: for<'a, 'b> fn(&'a mut Scene<'b>) -> LocalBoxFuture<'a, Result<()>>,
}

impl Fault {
    /// Returns whether this machine can cause the fault.
    pub(super) fn is_possible(&self) -> bool {
        !self.name.ends_with("disk full") || may_mount()
    }
}

macro_rules! faults {
    ($($name:literal, [$($kind:ident),+], $happen:path;)*) => {
        &[$(Fault { name: $name, on: &[$($kind),+], happen: |scene| Box::pin($happen(scene)) },)*]
    };
}

/// All faults. The first is no fault, as a control: it shows the cost of measuring.
pub(super) const CATALOGUE: &[Fault] = faults! {
    "nothing (control)", [Single, Replicated, Clustered], nothing;
    "worker: SIGKILL", [Single, Replicated, Clustered], workers::killed;
    "worker: both SIGKILL", [Single, Replicated, Clustered], workers::all_killed;
    "worker: SIGSTOP for 7 to 10 s (a zombie)", [Single, Replicated, Clustered], workers::zombie;
    "worker: SIGSTOP for 0.5 to 3 s", [Single], workers::paused;
    "Redis: SIGKILL (its file lost up to a second)", [Single], redis::killed;
    "Redis: SIGKILL (back empty)", [Single], redis::killed_and_empty;
    "Redis: SIGKILL (back from an old snapshot)", [Single], redis::killed_and_old;
    "Redis: FLUSHALL", [Single, Replicated, Clustered], redis::flushed;
    "Redis: SIGSTOP for 1 to 8 s", [Single], redis::stopped;
    "Redis: memory full", [Single], redis::out_of_memory;
    "Redis: disk full", [Single], redis::disk_full;
    "Redis: fail-over to a replica that lags", [Replicated], redis::fail_over;
    "Redis: fail-over while the former master lives on", [Replicated], redis::fail_over_beside_the_former;
    "Redis Cluster: master SIGKILL", [Clustered], redis::cluster_master_killed;
    "Redis Cluster: master SIGKILL (back empty at once)", [Clustered], redis::cluster_master_empty;
    "Redis Cluster: master SIGSTOP (a zombie)", [Clustered], redis::cluster_master_stopped;
    "Redis Cluster: fail-over on demand", [Clustered], redis::cluster_fail_over;
    "Redis Cluster: master and replica SIGKILL", [Clustered], redis::cluster_shard_killed;
    "Kafka: the only broker SIGKILL", [Single], kafka::killed;
    "Kafka: the only broker SIGSTOP for 2 to 8 s", [Single], kafka::stopped;
    "Kafka: one of three SIGKILL", [Replicated], kafka::one_killed;
    "Kafka: a transaction coordinator SIGKILL", [Replicated], kafka::transaction_coordinator_killed;
    "Kafka: a group coordinator SIGKILL", [Replicated], kafka::group_coordinator_killed;
    "Kafka: one of three SIGSTOP for 2 to 12 s", [Replicated], kafka::one_stopped;
    "Kafka: two of three SIGKILL", [Replicated], kafka::two_killed;
    "registry: SIGKILL", [Single], workers::registry_killed;
    "registry: SIGKILL while a worker is replaced", [Single], workers::registry_and_worker_killed;
    "TimescaleDB: SIGKILL", [Single, Replicated], database::killed;
    "TimescaleDB: disk full", [Single], database::disk_full;
    "TimescaleDB: read-only", [Single], database::read_only;
    "TimescaleDB: all sessions ended", [Single], database::sessions_ended;
    "TimescaleDB: tables locked", [Single], database::locked;
    "network to Kafka: 50 to 300 ms slower", [Single, Replicated], network::kafka_slow;
    "network to Kafka: cut", [Single, Replicated], network::kafka_cut;
    "network to Kafka: half open", [Single, Replicated], network::kafka_half_open;
    "network to Redis: 50 to 300 ms slower", [Single], network::redis_slow;
    "network to Redis: cut", [Single], network::redis_cut;
    "network to Redis: half open", [Single], network::redis_half_open;
    "network to registry: cut while a worker is replaced", [Single], network::registry_cut;
    "network to registry: half open while a worker is replaced", [Single], network::registry_half_open;
    "network to TimescaleDB: 50 to 300 ms slower", [Single], network::postgres_slow;
    "network to TimescaleDB: cut", [Single], network::postgres_cut;
    "network to TimescaleDB: half open", [Single], network::postgres_half_open;
};

async fn nothing(scene: &mut Scene<'_>) -> Result<()> {
    scene.struck();
    Ok(())
}
