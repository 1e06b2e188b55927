//! Runs a topology in a test: the production worker over in-memory parts, on one thread, with a clock that the test
//! moves.
//!
//! ```text
//!  TestInput ──▶ MemoryLog ◀──▶ worker (runtime::run_here) ◀──▶ MemoryLedgerStore, MemorySink
//!                    │
//!  TestOutput ◀──────┘ committed records only
//! ```
//!
//! Nothing runs between two calls of the driver. A call runs the worker until it has nothing left to do. Time passes
//! only when the worker waits for it (a pause after an error, a session that has to end), and by
//! [`TopologyTestDriver::advance_wall_clock`]. The same calls give the same records, offsets and tokens.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{TestInput, TestOutput};
use crate::dsl::topology::Topology;
use crate::ledger::memory::MemoryLedgerStore;
use crate::ledger::{LedgerError, LedgerState, LedgerStore as _, Token, demand_rebuild};
use crate::log::memory::{Clock, MemoryLog, MemoryLogConfig, TokioClock};
use crate::log::{Log as _, LogError, TopicSpec};
use crate::record::{OutputRecord, Record, TopicPartition};
use crate::runtime::{Health, RuntimeConfig, Services, TaskError, run_here};
use crate::window::MemorySink;

/// Time at which every test begins: 2024-01-01T00:00:00Z, in milliseconds since the Unix epoch.
pub(super) const START_MS: i64 = 1_704_067_200_000;
/// Time after which all work without waits is done, because time passes only when no task can run.
const TICK: Duration = Duration::from_millis(1);
/// Time after which a worker that is not ready counts as stuck: longer than every session and time-out.
const PATIENCE: Duration = Duration::from_secs(600);

/// The reason why a test cannot continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The worker stopped, as it does in production after a fatal error.
    #[error("the worker stopped: {0}")]
    Stopped(#[source] TaskError),
    /// The worker stopped earlier.
    #[error("no worker runs any more: it stopped; `redeploy` starts another")]
    NoWorker,
    /// The worker retries without success.
    #[error("the worker still doesn't work after {PATIENCE:?} of its time: {0}")]
    Stuck(String),
    /// The log refused a call of the test, such as one with an unknown topic.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ledger store refused a call of the test.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An output does not have the type that the test expects.
    #[error("{source_partition}@{offset} can't be decoded: {reason}")]
    #[allow(missing_docs, reason = "plain fields")]
    Undecodable {
        source_partition: TopicPartition,
        offset: i64,
        /// Message of the deserializer.
        reason: String,
    },
    /// The runtime could not be created.
    #[error("no runtime: {0}")]
    Runtime(#[source] std::io::Error),
}

/// A failure that a test injects. The worker recovers by the protocol, as in production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The log refuses the next commit: the transaction is aborted.
    AbortedTransaction,
    /// The ledger store applies the next commit, but the answer is lost.
    LostLedgerReply,
    /// The group revokes all partitions now, and assigns them again.
    RevokedPartitions,
    /// The ledger store loses everything now. An idle worker notices at its next check.
    FlushedLedgers,
    /// An operator demands a rebuild of all ledgers now. An idle worker notices at its next check.
    DemandedRebuild,
    /// The worker is killed now, and another one starts, which gets the partitions when the dead worker's session has
    /// ended.
    Crash,
}

/// Drives a topology: pipes records in, reads records out, lets time pass, and injects failures.
///
/// A worker with one stream thread runs the topology as in production. The driver cannot be used within a tokio
/// runtime: write a plain `#[test]`.
pub struct TopologyTestDriver {
    worker: RefCell<Worker>,
    log: MemoryLog,
    ledgers: MemoryLedgerStore,
    sink: Arc<MemorySink>,
    clock: Arc<TokioClock>,
    config: RuntimeConfig,
    /// Number of workers started; each is a new instance of the application.
    workers: Cell<u32>,
    partitions: i32,
    runtime: Runtime,
}

struct Worker {
    transactional_id: String,
    topology: Arc<Topology>,
    health: Health,
    shutdown: watch::Sender<bool>,
    /// `None` after the worker has ended.
    task: Option<JoinHandle<Result<(), TaskError>>>,
}

impl TopologyTestDriver {
    /// Creates the topics of a topology with this number of partitions (global tables with one), and starts the
    /// topology.
    pub fn new(topology: Topology, partitions: i32) -> Result<Self, DriverError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(DriverError::Runtime)?;
        let clock = Arc::new(runtime.block_on(async { TokioClock::new(START_MS) }));
        let log = MemoryLog::with(MemoryLogConfig {
            clock: clock.clone(),
            ..MemoryLogConfig::default()
        });
        let acquisitions = AtomicU64::new(0);
        let tokens = move || Token(format!("t{}", acquisitions.fetch_add(1, Ordering::Relaxed) + 1));
        let config = RuntimeConfig {
            // Windows are written as soon as nothing else is left to do.
            sink_interval: Duration::ZERO,
            tokens: Arc::new(tokens),
            ..RuntimeConfig::new("test", "")
        };
        let topology = Arc::new(topology);
        let (ledgers, sink) = (MemoryLedgerStore::default(), Arc::default());
        let worker = RefCell::new(Worker::none(topology.clone(), String::new()));
        let driver = Self {
            worker,
            log,
            ledgers,
            sink,
            clock,
            config,
            workers: Cell::new(0),
            partitions,
            runtime,
        };
        driver.start(topology)?;
        Ok(driver)
    }

    /// Returns a topic to pipe values into.
    pub fn input<T, S>(&self, topic: &str, serializer: S) -> TestInput<'_, T, S> {
        TestInput::new(self, topic, serializer)
    }

    /// Returns a topic to read committed values from, from its beginning.
    pub fn output<T, D>(&self, topic: &str, deserializer: D) -> TestOutput<'_, T, D> {
        TestOutput::new(self, topic, deserializer)
    }

    /// Appends records as they are, and runs the worker. This serves keys, headers, partitions and bytes that no
    /// serializer makes.
    pub fn pipe(&self, records: Vec<OutputRecord>) -> Result<(), DriverError> {
        self.log.append(records)?;
        self.settle()
    }

    /// Returns all committed records of a topic, partition by partition.
    pub fn records(&self, topic: &str) -> Result<Vec<Record>, DriverError> {
        let mut records = Vec::new();
        for partition in self.partitions_of(topic)? {
            records.extend(self.log.read(&partition, 0, usize::MAX)?);
        }
        Ok(records)
    }

    /// Returns the state of a ledger; its documents are in [`TopologyTestDriver::ledgers`].
    pub fn ledger_state(&self, ledger: i32) -> Result<LedgerState, DriverError> {
        Ok(self.runtime.block_on(self.ledgers.state(ledger))?)
    }

    /// Advances the time, for idle checks, intervals and time-outs.
    pub fn advance_wall_clock(&self, by: Duration) -> Result<(), DriverError> {
        self.sleep(by);
        self.settle()
    }

    /// Acts on the log or the ledgers after this time, while the worker runs or waits.
    pub fn after(&self, time: Duration, what: impl FnOnce() + Send + 'static) {
        let _within = self.runtime.enter();
        let sleep = sleep(time);
        self.runtime.spawn(async move {
            sleep.await;
            what();
        });
    }

    /// Returns the time of the log and the worker, in milliseconds since the Unix epoch.
    pub fn now(&self) -> i64 {
        self.clock.timestamp()
    }

    /// Returns the `transactional.id` of the running worker.
    pub fn transactional_id(&self) -> String {
        self.worker.borrow().transactional_id.clone()
    }

    /// Injects a failure. A failure that happens now is over, and the worker has recovered, when this returns.
    pub fn inject(&self, failure: Failure) -> Result<(), DriverError> {
        let topology = self.worker.borrow().topology.clone();
        match failure {
            Failure::AbortedTransaction => self.log.refuse_commit(&self.transactional_id()),
            Failure::LostLedgerReply => self.ledgers.lose_reply(),
            Failure::RevokedPartitions => self.log.revoke(&self.config.group(topology.name())),
            Failure::FlushedLedgers => self.ledgers.flush(),
            Failure::DemandedRebuild => self.demand_rebuild()?,
            Failure::Crash => {
                if let Some(task) = self.worker.borrow_mut().task.take() {
                    task.abort();
                    // The task was cancelled, as requested.
                    let _ = self.runtime.block_on(task);
                }
                return self.start(topology);
            }
        }
        self.settle()
    }

    /// Stops the worker as an operator does, and starts another with this topology over the same log, ledgers and sink:
    /// a new version, for example.
    pub fn redeploy(&self, topology: Topology) -> Result<(), DriverError> {
        let task = self.worker.borrow_mut().task.take();
        if let Some(task) = task {
            self.worker.borrow().shutdown.send_replace(true);
            ended(self.runtime.block_on(task)).map_err(DriverError::Stopped)?;
        }
        self.start(Arc::new(topology))
    }

    fn demand_rebuild(&self) -> Result<(), DriverError> {
        for ledger in 0..self.partitions {
            let mut demanded = 0;
            let epoch = self.ledger_state(ledger)?.epoch;
            let token = || {
                demanded += 1;
                Token(format!("operator-{epoch}-{demanded}"))
            };
            let demand = demand_rebuild(&self.ledgers, ledger, "operator", token);
            self.runtime.block_on(demand)?;
        }
        Ok(())
    }

    /// Returns the log, to delay its actions.
    pub fn log(&self) -> &MemoryLog {
        &self.log
    }

    /// Returns the ledgers, to inspect them or to lose some of their writes.
    pub fn ledgers(&self) -> &MemoryLedgerStore {
        &self.ledgers
    }

    /// Returns the window tables.
    pub fn sink(&self) -> &MemorySink {
        &self.sink
    }

    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub(super) fn partitions_of(&self, topic: &str) -> Result<Vec<TopicPartition>, DriverError> {
        let count = self.runtime.block_on(self.log.partitions(topic))?;
        let count = count.ok_or_else(|| LogError::Fatal {
            action: format!("reading {topic}"),
            reason: format!("topology {} has no such topic", self.worker.borrow().topology.name()),
        })?;
        Ok(TopicPartition::all(topic, count))
    }

    fn start(&self, topology: Arc<Topology>) -> Result<(), DriverError> {
        let mut topics: Vec<TopicSpec> = topology
            .global_topics()
            .into_iter()
            .map(|topic| TopicSpec::new(topic, 1))
            .collect();
        let others = topology.source_topics().into_iter().chain(topology.output_topics());
        let others = others.chain(topology.dlq_topics());
        topics.extend(others.map(|topic| TopicSpec::new(topic, self.partitions)));
        self.runtime.block_on(self.log.create_topics(&topics))?;

        let services = Services::shared(
            Arc::new(self.log.clone()),
            Arc::new(self.ledgers.clone()),
            self.sink.clone(),
        );
        self.workers.set(self.workers.get() + 1);
        let config = RuntimeConfig {
            instance_id: format!("driver{}", self.workers.get()),
            ..self.config.clone()
        };
        let member = config.member(topology.name(), 0);
        let mut worker = Worker::none(topology.clone(), member.clone());
        let (health, stopped) = (worker.health.clone(), worker.shutdown.subscribe());
        // The worker is not ready until it reports so.
        health.set(&member, Some("starting".to_owned()));
        let run = async move { run_here(&config, &topology, &services, &health, stopped).await };
        worker.task = Some(self.runtime.spawn(run));
        self.worker.replace(worker);
        self.settle()
    }

    fn sleep(&self, duration: Duration) {
        self.runtime.block_on(async move { sleep(duration).await });
    }

    /// Runs the worker until it is ready and has nothing left to do.
    fn settle(&self) -> Result<(), DriverError> {
        let mut waited = Duration::ZERO;
        loop {
            self.sleep(TICK);
            waited += TICK;
            let mut worker = self.worker.borrow_mut();
            if let Some(task) = worker.task.take_if(|task| task.is_finished()) {
                ended(self.runtime.block_on(task)).map_err(DriverError::Stopped)?;
            }
            if worker.task.is_none() {
                return Err(DriverError::NoWorker);
            }
            let troubles = worker.health.troubles();
            if troubles.is_empty() {
                return Ok(());
            }
            if waited > PATIENCE {
                let said = troubles.into_iter().map(|(what, trouble)| format!("{what}: {trouble}"));
                return Err(DriverError::Stuck(said.collect::<Vec<_>>().join("; ")));
            }
        }
    }
}

impl Worker {
    fn none(topology: Arc<Topology>, transactional_id: String) -> Self {
        Self {
            transactional_id,
            topology,
            health: Health::default(),
            shutdown: watch::Sender::new(false),
            task: None,
        }
    }
}

/// Returns the end of a worker. A panic in it, such as one of the topology's code, continues in the test.
fn ended(result: Result<Result<(), TaskError>, tokio::task::JoinError>) -> Result<(), TaskError> {
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
