//! Runs topologies: stream threads, tasks, and the protocol that makes ledgers, log and sinks move together.
//!
//! A stream thread (`thread`) is an OS thread with a current-thread tokio runtime, its own consumer and its own
//! transactional producer (KIP-447); stream threads share no lock. What it does with records is up to its `tasks`:
//! `transactional` ones write to the log and may keep ledgers, `sinking` ones write windows to a database.
//!
//! The ledger protocol, clause by clause:
//!
//! | clause | where |
//! | --- | --- |
//! | acquire, fence, read | `acquire` |
//! | settle, sign the offset, send again | `transactional` |
//! | compare | `compare`, `lineage`, `metadata` |
//! | what is sent again | `outbox` |
//! | rebuild | `rebuild`, `history` |
//! | lay out anew | `layout`, `repartition` |
//! | decide, commit to the ledger, lost replies, trim | `task`, `session` |
//! | send, commit, revoke, back off, idle check | `thread` |

mod acquire;
mod compare;
mod config;
mod error;
mod health;
mod history;
mod layout;
mod lineage;
mod metadata;
#[doc(hidden)]
pub mod mutation;
mod outbox;
mod rebuild;
mod repartition;
pub(crate) mod session;
mod sinking;
pub(crate) mod stages;
mod task;
mod tasks;
mod thread;
mod transactional;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

pub use config::{RuntimeConfig, TokenSource};
pub use error::TaskError;
pub use health::Health;
pub use layout::{Layouts, NoLayouts, PastLayout};
pub use metadata::{ForeignMetadata, OffsetMetadata};
pub use repartition::{Repartition, RepartitionError, Taken};

use crate::ledger::{LedgerError, LedgerStore};
use crate::log::{ConsumerConfig, Log};
use crate::policy::dlq_topic;
use crate::sink::{Sink, SinkError};
use crate::topology::Topology;
use config::TaskConfig;
use sinking::Sinking;
use stages::Stages;
use tasks::Tasks;
use thread::{Connected, StreamThread};
use transactional::Transactional;

/// Connects to a ledger store; called once for each stream thread, on its own runtime.
pub type ConnectLedgers = Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn LedgerStore>, LedgerError>> + Send + Sync>;
/// Connects to a sink; called once for each stream thread, on its own runtime.
pub type ConnectSink = Arc<dyn Fn() -> BoxFuture<'static, Result<Arc<dyn Sink>, SinkError>> + Send + Sync>;

/// What topologies stand on.
#[derive(Clone)]
pub struct Services {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The ledger store, for topologies with ledgers.
    pub ledgers: Option<ConnectLedgers>,
    /// The sink, for topologies with windows.
    pub sink: Option<ConnectSink>,
}

impl Services {
    /// Parts of this process, which all stream threads share.
    pub fn shared(log: Arc<dyn Log>, ledgers: Arc<dyn LedgerStore>, sink: Arc<dyn Sink>) -> Self {
        Self {
            log,
            ledgers: Some(Arc::new(move || Box::pin(std::future::ready(Ok(ledgers.clone()))))),
            sink: Some(Arc::new(move || Box::pin(std::future::ready(Ok(sink.clone()))))),
        }
    }
}

/// Stream threads at work. Dropping it asks them to stop; [`Running::wait`] also waits for them.
pub struct Running {
    shutdown: watch::Sender<bool>,
    threads: Vec<std::thread::JoinHandle<Result<(), TaskError>>>,
}

impl Running {
    /// Asks all threads to finish their batch, commit and leave.
    pub fn stop(&self) {
        self.shutdown.send_replace(true);
    }

    /// Has a thread ended?
    pub fn any_finished(&self) -> bool {
        self.threads.iter().any(std::thread::JoinHandle::is_finished)
    }

    /// Waits until all threads have ended. The first thread that fails stops the others, and its error is returned.
    pub fn wait(self) -> Result<(), TaskError> {
        let mut first = Ok(());
        for thread in self.threads {
            let result = thread.join().unwrap_or_else(|_| {
                Err(TaskError::Fatal(
                    "a stream thread panicked; see its message above".into(),
                ))
            });
            if result.is_err() && first.is_ok() {
                self.shutdown.send_replace(true);
                first = result;
            }
        }
        first
    }
}

/// Starts the stream threads of some topologies.
pub fn start(
    config: &RuntimeConfig,
    topologies: &[Topology],
    services: &Services,
    health: &Health,
) -> std::io::Result<Running> {
    let (shutdown, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    for topology in topologies {
        let topology = Arc::new(topology.clone());
        let (ready, globals) = watch::channel(topology.globals.is_empty());
        if !topology.globals.is_empty() {
            let follow = follow_globals(
                topology.clone(),
                services.log.clone(),
                ready,
                health.clone(),
                stopped.clone(),
            );
            threads.push(spawn(format!("{}-globals", topology.name()), follow, shutdown.clone())?);
        }
        for index in 0..config.threads {
            let name = format!("{}-{index}", topology.name());
            let (config, topology, services) = (config.clone(), topology.clone(), services.clone());
            let (health, stopped, globals) = (health.clone(), stopped.clone(), globals.clone());
            let work = async move { run_thread(&config, &topology, &services, index, &health, globals, stopped).await };
            threads.push(spawn(name, work, shutdown.clone())?);
        }
    }
    Ok(Running { shutdown, threads })
}

/// An OS thread with a current-thread runtime. A failure stops the other threads.
fn spawn(
    name: String,
    work: impl Future<Output = Result<(), TaskError>> + Send + 'static,
    shutdown: watch::Sender<bool>,
) -> std::io::Result<std::thread::JoinHandle<Result<(), TaskError>>> {
    std::thread::Builder::new().name(name.clone()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| TaskError::Fatal(format!("no runtime for {name}: {error}")))?;
        let result = runtime.block_on(work);
        if let Err(error) = &result {
            tracing::error!(thread = name, %error, "stopping");
            shutdown.send_replace(true);
        }
        result
    })
}

/// Runs one stream thread of a topology, and what follows its global tables, on the present runtime: what [`start`] gives
/// a thread each. For simulators, which want everything on one thread and in one order.
#[doc(hidden)]
pub async fn run_here(
    config: &RuntimeConfig,
    topology: &Arc<Topology>,
    services: &Services,
    health: &Health,
    shutdown: watch::Receiver<bool>,
) -> Result<(), TaskError> {
    let (ready, globals) = watch::channel(topology.globals.is_empty());
    let follow = follow_globals(
        topology.clone(),
        services.log.clone(),
        ready,
        health.clone(),
        shutdown.clone(),
    );
    let follow = async {
        match follow.await {
            Err(error) => error,
            Ok(()) => std::future::pending().await,
        }
    };
    let work = run_thread(config, topology, services, 0, health, globals, shutdown);
    tokio::select! {
        biased;
        result = work => result,
        error = follow => Err(error),
    }
}

/// Follows the global tables of a topology until shutdown; sends `true` when all have been read to their end.
pub(crate) async fn follow_globals(
    topology: Arc<Topology>,
    log: Arc<dyn Log>,
    ready: watch::Sender<bool>,
    health: Health,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), TaskError> {
    if topology.globals.is_empty() {
        return Ok(());
    }
    let tables = topology.globals.iter().map(|global| {
        let (log, health) = (log.clone(), health.clone());
        let what = format!("{}-{}", topology.name(), global.topic());
        let (caught_up, state) = watch::channel(false);
        let mut caught_up_again = caught_up.subscribe();
        let shutdown = shutdown.clone();
        let follow = async move {
            let mut pause = Pause::new(&what, &health, shutdown);
            loop {
                let follow = global.follow(&*log, caught_up.clone());
                tokio::pin!(follow);
                let error = loop {
                    tokio::select! {
                        biased;
                        Err(error) = &mut follow => break error,
                        Ok(()) = caught_up_again.changed() => pause.over(),
                    }
                };
                if let Err(fatal) = pause.after(error.into()).await {
                    return fatal;
                }
            }
        };
        (follow, state)
    });
    let (follows, mut states): (Vec<_>, Vec<_>) = tables.unzip();
    let all_ready = async {
        for state in &mut states {
            if state.wait_for(|ready| *ready).await.is_err() {
                return;
            }
        }
        ready.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|stop| *stop) => Ok(()),
        (fatal, ..) = futures::future::select_all(follows.into_iter().map(Box::pin)) => Err(fatal),
        () = all_ready => Ok(()),
    }
}

/// One stream thread of a topology, from connecting to leaving.
pub(crate) async fn run_thread(
    config: &RuntimeConfig,
    topology: &Arc<Topology>,
    services: &Services,
    index: usize,
    health: &Health,
    mut globals: watch::Receiver<bool>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), TaskError> {
    let member = config.member(topology.name(), index);
    health.set(&member, Some("starting".into()));
    let mut pause = Pause::new(&member, health, shutdown.clone());
    let prepared = loop {
        match prepare(config, topology, services, &member).await {
            Ok(prepared) => break Some(prepared),
            Err(error) => pause.after(error).await?,
        }
        if *shutdown.borrow() {
            break None;
        }
    };
    let Some(connected) = prepared else {
        return Ok(());
    };
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|stop| *stop) => {}
        _ = globals.wait_for(|ready| *ready) => {}
    }
    let topology = topology.name().to_owned();
    StreamThread::new(member, topology, config, connected, health.clone(), shutdown)
        .run()
        .await
}

/// Connects everything and joins the group.
async fn prepare(
    config: &RuntimeConfig,
    topology: &Arc<Topology>,
    services: &Services,
    member: &str,
) -> Result<Connected, TaskError> {
    show_counters(topology);
    let partitions = check_topics(topology, &*services.log).await?;
    let group = config.group(topology.name());
    let stages = Stages::new(topology.name());
    let tasks = TaskConfig {
        topology: topology.clone(),
        log: services.log.clone(),
        group: group.clone(),
        transactional_id: member.to_owned(),
        tokens: config.tokens.clone(),
        partitions: Arc::new(partitions),
        stages: stages.clone(),
        turns: Arc::default(),
    };
    let tasks: Box<dyn Tasks> = if topology.has_sink() {
        let connect = services.sink.as_ref().ok_or_else(|| {
            TaskError::Fatal(format!(
                "topology {} writes to a sink, but none is set",
                topology.name()
            ))
        })?;
        Box::new(Sinking::new(tasks, connect().await?))
    } else {
        let store = match &services.ledgers {
            Some(connect) if topology.has_ledger() => Some(connect().await?),
            _ => None,
        };
        Box::new(Transactional::new(tasks, store))
    };
    let consumer = ConsumerConfig {
        group,
        topics: topology.source_topics(),
        client_id: member.to_owned(),
        instance_id: config.static_membership.then(|| member.to_owned()),
    };
    let log = services.log.clone();
    Ok(Connected {
        consumer: log.consumer(&consumer).await?,
        log,
        tasks,
        stages,
    })
}

/// Shows counters as 0 before they count: an increase from nothing is not seen as one.
fn show_counters(topology: &Topology) {
    use crate::metric_definitions::{ACQUISITIONS, REBUILDS, RECORDS_FORWARDED, RECORDS_REFUSED, RESTARTS};
    for reason in [
        "log_unavailable",
        "transaction_aborted",
        "producer_fenced",
        "partitions_lost",
    ] {
        metrics::counter!(RESTARTS, "topology" => topology.name().to_owned(), "reason" => reason).increment(0);
    }
    for topic in topology.source_topics() {
        for reason in ["undecodable", "wrong_partition", "processing", "production"] {
            metrics::counter!(RECORDS_REFUSED, "topic" => topic.clone(), "reason" => reason).increment(0);
        }
    }
    if topology.has_ledger() {
        metrics::counter!(REBUILDS).increment(0);
        for verdict in ["continue", "resend", "rebuild"] {
            metrics::counter!(ACQUISITIONS, "verdict" => verdict).increment(0);
        }
        for topic in topology.source_topics() {
            metrics::counter!(RECORDS_FORWARDED, "topic" => topic).increment(0);
        }
    }
}

/// Looks whether all topics exist and those that belong together have the same number of partitions; returns the
/// sources' numbers.
async fn check_topics(topology: &Topology, log: &dyn Log) -> Result<BTreeMap<String, i32>, TaskError> {
    let mut counts = BTreeMap::new();
    let mut topics = topology.source_topics();
    topics.extend(topology.output_topics());
    topics.extend(
        topology
            .source_topics()
            .iter()
            .map(|topic| dlq_topic(topic))
            .filter(|topic| topology.dlq_topics().contains(topic)),
    );
    for topic in topics {
        // A topic may be created a moment after the workers have started: this is waited for.
        let count = log.partitions(&topic).await?.ok_or_else(|| TaskError::Restart {
            reason: "topic_missing",
            detail: format!(
                "topic {topic}, which topology {} needs, does not exist; create it",
                topology.name()
            ),
            producer_lost: false,
        })?;
        counts.insert(topic, count);
    }
    for together in topology.copartitioned_topics() {
        let numbers: BTreeMap<&String, i32> = together.iter().filter_map(|t| Some((t, *counts.get(t)?))).collect();
        let mut distinct: Vec<i32> = numbers.values().copied().collect();
        distinct.dedup();
        if distinct.len() > 1 {
            return Err(TaskError::Fatal(format!(
                "topology {}: these topics must have the same number of partitions, but have {numbers:?}",
                topology.name()
            )));
        }
    }
    let sources = topology.source_topics();
    counts.retain(|topic, _| sources.contains(topic));
    Ok(counts)
}

/// Pauses between attempts, longer each time, and says why.
struct Pause<'a> {
    what: &'a str,
    health: &'a Health,
    shutdown: watch::Receiver<bool>,
    next: std::time::Duration,
}

impl<'a> Pause<'a> {
    const FIRST: std::time::Duration = std::time::Duration::from_millis(200);
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(5);

    fn new(what: &'a str, health: &'a Health, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            what,
            health,
            shutdown,
            next: Self::FIRST,
        }
    }

    /// Waits before the next attempt; an error that trying again can't mend is returned.
    async fn after(&mut self, error: TaskError) -> Result<(), TaskError> {
        let TaskError::Restart { reason, detail, .. } = error else {
            return Err(error);
        };
        tracing::warn!(
            what = self.what,
            reason,
            detail,
            "will be tried again in {:?}",
            self.next
        );
        self.health.set(self.what, Some(format!("{reason}: {detail}")));
        tokio::select! {
            biased;
            () = tokio::time::sleep(self.next) => {}
            _ = self.shutdown.wait_for(|stop| *stop) => {}
        }
        self.next = (self.next * 2).min(Self::LONGEST);
        Ok(())
    }

    /// It works now: trouble to come is news, and its first pause is short.
    fn over(&mut self) {
        self.health.set(self.what, None);
        self.next = Self::FIRST;
    }
}
