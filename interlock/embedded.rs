//! Runs all services in this process: log, ledgers, schema registry and window tables, with the topologies on them.

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
use interlock_streams::runtime::{self, Health, RuntimeConfig, Services, StreamThreads};
use interlock_topologies::{Context, all};

use crate::stop::leave;

/// Prefix of the groups' and tasks' names.
pub(crate) const APPLICATION: &str = "interlock";
/// Name of this process, the only worker. After a restart it takes over from itself.
const INSTANCE: &str = "dev";
/// Time between the commits of a backlog. In one process a commit costs almost nothing, and outcomes wait for it.
const COMMIT_INTERVAL: Duration = Duration::from_millis(20);
/// Number of ledgers, and of partitions of each topic.
pub(crate) const LEDGERS: usize = 8;

/// The services of this process. Clones share them.
#[derive(Clone)]
pub(crate) struct Embedded {
    pub(crate) log: MemoryLog,
    pub(crate) ledgers: MemoryLedgerStore,
    pub(crate) registry: Arc<dyn Registry>,
    /// The ids under which the contract is registered.
    pub(crate) ids: Ids,
    pub(crate) windows: Arc<SqliteSink>,
}

impl Embedded {
    /// Makes everything that topologies need, on this log and these tables.
    pub(crate) async fn new(log: MemoryLog, windows: SqliteSink) -> anyhow::Result<Self> {
        log.create_topics(&specs(&TopicSettings::in_process(LEDGERS as i32)))
            .await?;
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
        // The contract is registered in a fixed order, so its ids are the same in every process.
        let ids = register_all(&*registry, &contract()).await?;
        Ok(Self {
            log,
            ledgers: MemoryLedgerStore::default(),
            registry,
            ids,
            windows: Arc::new(windows),
        })
    }

    /// Starts all topologies, with `threads` stream threads for those with ledgers and one for each of the others.
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

/// The running topologies.
pub(crate) struct Workers {
    running: Vec<StreamThreads>,
    /// Their readiness, with the reason if they are not ready.
    pub(crate) health: Health,
}

impl Workers {
    /// Returns whether a thread has ended by itself, in which case all end.
    pub(crate) fn any_finished(&self) -> bool {
        self.running.iter().any(StreamThreads::any_finished)
    }

    /// Lets all threads finish their batches, commit and leave.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.running.iter().for_each(StreamThreads::stop);
        for running in self.running {
            leave(running).await?;
        }
        Ok(())
    }
}
