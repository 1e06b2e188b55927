//! All services in this process: log, ledgers, schema registry and window tables, with the topologies at work on them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use interlock_operate::topics::{TopicSettings, specs};
use interlock_schemas::registry::{Ids, MemoryRegistry, Registry, register_all};
use interlock_schemas::topics::contract;
use interlock_sinks::sqlite::SqliteSink;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::log::Log;
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::runtime::{self, Health, Running, RuntimeConfig, Services};
use interlock_topologies::{Context, all};

use crate::commands::run::leave;

/// First part of the groups' and tasks' names.
pub(crate) const APPLICATION: &str = "interlock";
/// Name of this process among the workers. There is no other; after a restart it takes over from itself.
const INSTANCE: &str = "dev";
/// Between the commits of a backlog. Here they cost next to nothing, and outcomes wait for them.
const COMMIT_INTERVAL: Duration = Duration::from_millis(20);
/// Ledgers, so partitions of each topic.
pub(crate) const LEDGERS: usize = 8;

/// The services of this process. Clones share them.
#[derive(Clone)]
pub(crate) struct Embedded {
    pub(crate) log: MemoryLog,
    pub(crate) ledgers: MemoryLedgerStore,
    pub(crate) registry: Arc<dyn Registry>,
    /// Under which the contract is registered.
    pub(crate) ids: Ids,
    pub(crate) windows: Arc<SqliteSink>,
}

impl Embedded {
    /// Everything that topologies need, on this log and these tables.
    pub(crate) async fn new(log: MemoryLog, windows: SqliteSink) -> anyhow::Result<Self> {
        log.create_topics(&specs(&TopicSettings::in_process(LEDGERS as i32)))
            .await?;
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
        // The same ids in every process: the contract is registered in one order.
        let ids = register_all(&*registry, &contract()).await?;
        Ok(Self {
            log,
            ledgers: MemoryLedgerStore::default(),
            registry,
            ids,
            windows: Arc::new(windows),
        })
    }

    /// Starts all topologies: so many stream threads for those with ledgers, one for each of the others.
    pub(crate) fn start(&self, threads: usize) -> anyhow::Result<Workers> {
        let context = Context {
            registry: self.registry.clone(),
            ids: self.ids,
        };
        let built = all().iter().map(|definition| (definition.build)(&context));
        let topologies = built.collect::<Result<Vec<_>, _>>()?;
        let (deciding, counting): (Vec<_>, Vec<_>) = topologies.into_iter().partition(|topology| topology.has_ledger());
        let services = Services::shared(
            Arc::new(self.log.clone()),
            Arc::new(self.ledgers.clone()),
            self.windows.clone(),
        );
        let health = Health::default();
        let start = |threads, topologies: &[_]| {
            let config = RuntimeConfig {
                threads,
                commit_interval: COMMIT_INTERVAL,
                ..RuntimeConfig::new(APPLICATION, INSTANCE)
            };
            runtime::start(&config, topologies, &services, &health).context("start the stream threads")
        };
        let running = vec![start(threads, &deciding)?, start(1, &counting)?];
        Ok(Workers { running, health })
    }
}

/// Topologies at work.
pub(crate) struct Workers {
    running: Vec<Running>,
    /// What keeps them from working.
    pub(crate) health: Health,
}

impl Workers {
    /// Whether one has ended by itself: then all do.
    pub(crate) fn any_finished(&self) -> bool {
        self.running.iter().any(Running::any_finished)
    }

    /// Lets all finish what they have begun, commit and leave.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.running.iter().for_each(Running::stop);
        for running in self.running {
            leave(running).await?;
        }
        Ok(())
    }
}
