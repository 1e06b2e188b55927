//! Starts stream threads, and waits for them.

use std::sync::Arc;

use tokio::sync::watch;

use super::checks::{check_topics, show_counters};
use super::config::RuntimeConfig;
use super::error::TaskError;
use super::globals::follow_globals;
use super::health::Health;
use super::pause::Pause;
use super::services::Services;
use super::task::TaskConfig;
#[cfg(feature = "windows")]
use super::task::sinking::Sinking;
use super::task::stages::Stages;
use super::task::tasks::Tasks;
use super::task::transactional::Transactional;
use super::thread::{Connections, StreamThread};
use crate::dsl::topology::Topology;
use crate::log::ConsumerConfig;

/// Running stream threads. Dropping this asks them to stop; [`StreamThreads::wait`] also waits for them.
pub struct StreamThreads {
    shutdown: watch::Sender<bool>,
    threads: Vec<std::thread::JoinHandle<Result<(), TaskError>>>,
}

impl StreamThreads {
    /// Asks all threads to finish their batch, commit and leave.
    pub fn stop(&self) {
        self.shutdown.send_replace(true);
    }

    /// Returns whether a thread has ended.
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
///
/// A fatal error of a topology that writes to a sink stops that topology only, if there are others: no client waits for
/// windows. The error is logged at once, stays in `health`, and [`StreamThreads::wait`] returns it in the end. A fatal
/// error of any other topology stops all of them.
pub fn start(
    config: &RuntimeConfig,
    topologies: &[Topology],
    services: &Services,
    health: &Health,
) -> std::io::Result<StreamThreads> {
    let (shutdown, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    for topology in topologies {
        let topology = Arc::new(topology.clone());
        let is_optional = topologies.len() > 1 && writes_to_sink(&topology);
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
            let work = async move {
                let mut shutdown = stopped.clone();
                let result = run_thread(&config, &topology, &services, index, &health, globals, stopped).await;
                match result {
                    Err(error) if is_optional => {
                        let member = config.member(topology.name(), index);
                        tracing::error!(thread = member, %error, "this topology stops, the others continue");
                        health.set(&member, Some(format!("stopped: {error}")));
                        let _ = shutdown.wait_for(|stop| *stop).await;
                        Err(error)
                    }
                    result => result,
                }
            };
            threads.push(spawn(name, work, shutdown.clone())?);
        }
    }
    Ok(StreamThreads { shutdown, threads })
}

#[cfg(feature = "windows")]
fn writes_to_sink(topology: &Topology) -> bool {
    topology.has_sink()
}

#[cfg(not(feature = "windows"))]
fn writes_to_sink(_: &Topology) -> bool {
    false
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

/// Runs one stream thread of a topology and the followers of its global tables on the present runtime; [`start`] gives
/// each a thread. For simulators, which run everything on one thread and in one order.
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
    let Some(connections) = prepared else {
        return Ok(());
    };
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|stop| *stop) => {}
        _ = globals.wait_for(|ready| *ready) => {}
    }
    let topology = topology.name().to_owned();
    StreamThread::new(member, topology, config, connections, health.clone(), shutdown)
        .run()
        .await
}

/// Connects to the services and joins the group.
async fn prepare(
    config: &RuntimeConfig,
    topology: &Arc<Topology>,
    services: &Services,
    member: &str,
) -> Result<Connections, TaskError> {
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
    };
    let tasks = connect(tasks, services).await?;
    let consumer = ConsumerConfig {
        group,
        topics: topology.source_topics(),
        client_id: member.to_owned(),
        instance_id: config.static_membership.then(|| member.to_owned()),
    };
    let log = services.log.clone();
    Ok(Connections {
        consumer: log.consumer(&consumer).await?,
        log,
        tasks,
        stages,
    })
}

/// Connects to the sink or the ledger store of a topology.
async fn connect(config: TaskConfig, services: &Services) -> Result<Box<dyn Tasks>, TaskError> {
    let topology = config.topology.clone();
    #[cfg(feature = "windows")]
    if topology.has_sink() {
        let connect = services.sink.as_ref().ok_or_else(|| {
            TaskError::Fatal(format!(
                "topology {} writes to a sink, but none is set",
                topology.name()
            ))
        })?;
        return Ok(Box::new(Sinking::new(config, connect().await?)));
    }
    let store = match &services.ledgers {
        Some(connect) if topology.has_ledger() => Some(connect().await?),
        _ => None,
    };
    Ok(Box::new(Transactional::new(config, store)))
}
