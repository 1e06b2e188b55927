//! The installation that faults happen to: two workers on servers of one of three kinds.
//!
//! ```text
//!            load, watch, audit ────────────────────┐
//!                                                   ▼
//! workers ──> proxies ──> Kafka, registry, Redis, TimescaleDB
//! ```

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::real::{
    Addresses, Cluster, Installation, PATIENCE, Pair, Proxy, Servers, Service, Wanted, Worker, execute,
    free_kafka_port, may_mount, proxied_port, wait_for,
};

/// Number of workers.
const WORKERS: usize = 2;
/// The session time-out that `docs/RELIABILITY.md` states.
const SESSION_TIMEOUT: &str = "6s";

/// The kind of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One server of each kind; Redis persists, disks are small.
    Single,
    /// Three brokers with three copies of each record, two of them in sync; Redis has a replica and persists nothing.
    Replicated,
    /// One broker, and a Redis Cluster of six nodes that persist nothing.
    Clustered,
}

/// The Redis servers of the ledgers.
pub(super) enum Ledgers {
    Single,
    Pair(Box<Pair>),
    Cluster(Cluster),
}

/// The proxies between workers and servers. A Redis Cluster has none, as its nodes announce their own addresses.
pub(super) struct Network {
    pub(super) kafka: Vec<Proxy>,
    pub(super) registry: Proxy,
    pub(super) redis: Option<Proxy>,
    pub(super) postgres: Proxy,
}

/// Servers that are used by several installations in turn.
pub(super) struct Stage {
    pub(super) kind: Kind,
    pub(super) servers: Arc<Servers>,
    pub(super) ledgers: Ledgers,
    pub(super) network: Network,
    /// The servers' own addresses, without the proxies.
    addresses: Addresses,
}

/// An installation on these servers, with its workers.
pub(super) struct Play {
    pub(super) installation: Installation,
    pub(super) workers: Vec<Hand>,
    settings: Vec<(&'static str, String)>,
    /// Number of workers started so far; it gives each worker a name of its own.
    started: u32,
}

/// A worker of the installation.
pub(super) struct Hand {
    pub(super) worker: Worker,
    /// The `transactional.id` of its booking topology.
    pub(super) transactional_id: String,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Single, Self::Replicated, Self::Clustered];

    /// Returns the name in tables and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Replicated => "replicated",
            Self::Clustered => "clustered",
        }
    }

    const fn brokers(self) -> u16 {
        match self {
            Self::Replicated => 3,
            Self::Single | Self::Clustered => 1,
        }
    }
}

impl Stage {
    /// Starts the servers.
    pub(super) async fn start(kind: Kind) -> Result<Self> {
        let kafka_port = free_kafka_port(kind.brokers())?;
        let kafka = (0..kind.brokers()).map(|node| Proxy::start(proxied_port(kafka_port, node)));
        let kafka: Vec<Proxy> = kafka.collect::<Result<_>>()?;
        let mut wanted = Wanted {
            services: vec![Service::Kafka, Service::Registry, Service::Postgres],
            brokers: kind.brokers(),
            kafka_proxies: kafka.iter().map(Proxy::port).collect(),
            kafka_port: Some(kafka_port),
            ..Wanted::default()
        };
        if kind == Kind::Single {
            wanted.services.push(Service::Redis);
            if may_mount() {
                wanted.small_disks = vec![(Service::Redis, 256), (Service::Postgres, 768)];
            }
        }
        let servers = Arc::new(Servers::start(wanted)?);
        let mut addresses = servers.addresses().clone();
        // The disk of the database is small.
        let superuser = addresses.database_url.replacen("://interlock@", "://postgres@", 1);
        execute(&superuser, "ALTER SYSTEM SET max_wal_size = '128MB'").await?;
        execute(&superuser, "SELECT pg_reload_conf()").await?;
        let mut redis = None;
        let ledgers = match kind {
            Kind::Single => {
                redis = Some(Proxy::start(port(&addresses.redis_url)?)?);
                Ledgers::Single
            }
            Kind::Replicated => {
                let pair = Pair::start().await?;
                addresses.redis_url = format!("redis://127.0.0.1:{}", pair.front().port());
                Ledgers::Pair(Box::new(pair))
            }
            Kind::Clustered => {
                let cluster = Cluster::start().await;
                (addresses.redis_url, addresses.redis_cluster) = (cluster.urls(), true);
                Ledgers::Cluster(cluster)
            }
        };
        let network = Network {
            registry: Proxy::start(port(&addresses.registry_url)?)?,
            postgres: Proxy::start(port(&addresses.database_url)?)?,
            redis,
            kafka,
        };
        Ok(Self {
            kind,
            servers,
            ledgers,
            network,
            addresses,
        })
    }

    /// Returns the address with which the superuser reaches the database server.
    pub(super) fn superuser_url(&self) -> String {
        let url = &self.addresses.database_url;
        url.replacen("://interlock@", "://postgres@", 1)
    }

    /// Makes a new installation on the servers, with its workers.
    pub(super) async fn play(&self, name: &str) -> Result<Play> {
        let installation = Installation::new(name, self.servers.clone(), self.addresses.clone()).await?;
        installation.seed(3).await?;
        let mut play = Play {
            settings: self.settings(&installation)?,
            installation,
            workers: Vec::new(),
            started: 0,
        };
        for _ in 0..WORKERS {
            play.add_worker().await?;
        }
        for hand in &play.workers {
            hand.worker.wait_until_ready().await?;
        }
        Ok(play)
    }

    /// Returns the workers' settings: addresses that lead through the proxies.
    fn settings(&self, installation: &Installation) -> Result<Vec<(&'static str, String)>> {
        let (network, addresses) = (&self.network, &self.addresses);
        let brokers = network.kafka.iter().map(|proxy| format!("127.0.0.1:{}", proxy.port()));
        let through = |url: &str, proxy: &Proxy| -> Result<String> {
            Ok(url.replacen(&format!(":{}", port(url)?), &format!(":{}", proxy.port()), 1))
        };
        let redis = match &network.redis {
            Some(proxy) => through(&addresses.redis_url, proxy)?,
            None => addresses.redis_url.clone(),
        };
        Ok(vec![
            (
                "INTERLOCK_KAFKA_BOOTSTRAP_SERVERS",
                brokers.collect::<Vec<_>>().join(","),
            ),
            (
                "INTERLOCK_SCHEMA_REGISTRY_URL",
                through(&addresses.registry_url, &network.registry)?,
            ),
            ("INTERLOCK_REDIS_URL", redis),
            (
                "INTERLOCK_DATABASE_URL",
                through(installation.database_url(), &network.postgres)?,
            ),
            ("INTERLOCK_KAFKA_SESSION_TIMEOUT", SESSION_TIMEOUT.to_owned()),
        ])
    }
}

impl Play {
    /// Starts another worker, and waits only until it logs the address of its metrics.
    pub(super) async fn add_worker(&mut self) -> Result<()> {
        self.started += 1;
        let instance = format!("w{}", self.started);
        let settings = self.settings.iter().map(|(name, value)| (*name, value.as_str()));
        let settings: Vec<(&str, &str)> = settings
            .chain([("INTERLOCK_APPLICATION_INSTANCE_ID", instance.as_str())])
            .collect();
        self.workers.push(Hand {
            worker: self.installation.worker_with(&settings).await?,
            transactional_id: format!("{}-booking-{instance}-0", self.installation.application_id()),
        });
        Ok(())
    }

    /// Waits until each worker holds some ledgers: a fault of a worker without any would show nothing.
    pub(super) async fn wait_until_shared(&self) -> Result<()> {
        wait_for("each worker has its share", PATIENCE, async || {
            for hand in &self.workers {
                if hand.worker.metric("interlock_tasks", &["topology=\"booking\""]).await? == 0.0 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Fails if a worker has ended that was not killed.
    pub(super) fn check_workers(&mut self) -> Result<()> {
        for hand in &mut self.workers {
            ensure!(
                hand.worker.is_running()?,
                "a worker ended by itself:\n{}",
                hand.worker.log()
            );
        }
        Ok(())
    }
}

/// Returns the port in an address.
fn port(url: &str) -> Result<u16> {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = after_scheme.split('/').next().unwrap_or_default();
    let (_, port) = host.rsplit_once(':').with_context(|| format!("no port in {url}"))?;
    port.parse().with_context(|| format!("no port in {url}"))
}
