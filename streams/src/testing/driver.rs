//! Runs a topology in a test: the production worker over in-memory parts, on one thread, in time that the test moves.
//!
//! ```text
//!  TestInput ──▶ MemoryLog ◀──▶ worker (runtime::run_here) ◀──▶ MemoryLedgerStore, MemorySink
//!                    │
//!  TestOutput ◀──────┘ committed records only
//! ```
//!
//! Nothing runs between two calls of the driver. A call lets the worker run until it has nothing left to do; time passes
//! only where the worker waits for it (a pause after trouble, a session that must end), and by
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

/// Time of day at which every test begins: 2024-01-01T00:00:00Z, in milliseconds since the Unix epoch.
pub(super) const START_MS: i64 = 1_704_067_200_000;
/// All that can happen without waiting has happened when this time has passed: it passes only when nobody can run.
const TICK: Duration = Duration::from_millis(1);
/// A worker that doesn't work for so long of its own time never will: longer than every session and time-out.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why a test can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The worker stopped, as it does in production at what trying again can't mend.
    #[error("the worker stopped: {0}")]
    Stopped(#[source] TaskError),
    /// The worker stopped earlier.
    #[error("no worker runs any more: it stopped; `redeploy` starts another")]
    NoWorker,
    /// The worker tries again and again.
    #[error("the worker still doesn't work after {PATIENCE:?} of its time: {0}")]
    Stuck(String),
    /// The log refused a call of the test, such as one that names an unknown topic.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ledger store refused a call of the test.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An output can't be read as what the test takes it for.
    #[error("{source_partition}@{offset} can't be decoded: {reason}")]
    Undecodable {
        /// Where it lies.
        source_partition: TopicPartition,
        /// Its offset.
        offset: i64,
        /// What the deserializer said.
        reason: String,
    },
    /// The machine refused a runtime.
    #[error("no runtime: {0}")]
    Runtime(#[source] std::io::Error),
}

/// What a test lets happen to the worker; it recovers by the protocol, as in production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The log refuses the next commit: the transaction is aborted.
    AbortedTransaction,
    /// The ledger store applies the next commit, but its answer is lost.
    LostLedgerReply,
    /// The group takes all partitions back, now, and hands them out again.
    RevokedPartitions,
    /// The ledger store loses everything, now. An idle worker notices at its next check.
    FlushedLedgers,
    /// An operator demands that all ledgers are rebuilt, now. An idle worker notices at its next check.
    DemandedRebuild,
    /// The worker is killed, now, and another is started, which gets the partitions when the dead one's session has ended.
    Crash,
}

/// Drives a topology: pipe records in, read records out, let time pass, let things fail.
///
/// A worker with one stream thread runs the topology as it does in production. Not to be used within another tokio
/// runtime: a test with it is a plain `#[test]`.
pub struct TopologyTestDriver {
    worker: RefCell<Worker>,
    log: MemoryLog,
    ledgers: MemoryLedgerStore,
    sink: Arc<MemorySink>,
    clock: Arc<TokioClock>,
    config: RuntimeConfig,
    /// Workers so far: each is another instance of the application.
    workers: Cell<u32>,
    partitions: i32,
    runtime: Runtime,
}

struct Worker {
    transactional_id: String,
    topology: Arc<Topology>,
    health: Health,
    shutdown: watch::Sender<bool>,
    /// None after it has ended.
    task: Option<JoinHandle<Result<(), TaskError>>>,
}

impl TopologyTestDriver {
    /// Creates the topics of a topology, each with so many partitions (global tables with one), and starts it.
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
            // Windows are written when nothing else is left to do, not later.
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

    /// A topic to pipe values into.
    pub fn input<T, S>(&self, topic: &str, serializer: S) -> TestInput<'_, T, S> {
        TestInput::new(self, topic, serializer)
    }

    /// A topic to read committed values from, from its beginning.
    pub fn output<T, D>(&self, topic: &str, deserializer: D) -> TestOutput<'_, T, D> {
        TestOutput::new(self, topic, deserializer)
    }

    /// Appends records as they are and lets the worker do what is to be done: for keys, headers, partitions and bytes
    /// that no serializer makes.
    pub fn pipe(&self, records: Vec<OutputRecord>) -> Result<(), DriverError> {
        self.log.append(records)?;
        self.settle()
    }

    /// All committed records of a topic, partition by partition.
    pub fn records(&self, topic: &str) -> Result<Vec<Record>, DriverError> {
        let mut records = Vec::new();
        for partition in self.partitions_of(topic)? {
            records.extend(self.log.read(&partition, 0, usize::MAX)?);
        }
        Ok(records)
    }

    /// Where a ledger stands; its documents are in [`TopologyTestDriver::ledgers`].
    pub fn ledger_state(&self, ledger: i32) -> Result<LedgerState, DriverError> {
        Ok(self.runtime.block_on(self.ledgers.state(ledger))?)
    }

    /// Lets time pass, for idle checks, intervals and time-outs.
    pub fn advance_wall_clock(&self, by: Duration) -> Result<(), DriverError> {
        self.sleep(by);
        self.settle()
    }

    /// Does something to the log or the ledgers after this time, while the worker runs or waits.
    pub fn after(&self, time: Duration, what: impl FnOnce() + Send + 'static) {
        let _within = self.runtime.enter();
        let sleep = sleep(time);
        self.runtime.spawn(async move {
            sleep.await;
            what();
        });
    }

    /// The time of day of the log and the worker, in milliseconds since the Unix epoch.
    pub fn now(&self) -> i64 {
        self.clock.timestamp()
    }

    /// The `transactional.id` of the worker that runs.
    pub fn transactional_id(&self) -> String {
        self.worker.borrow().transactional_id.clone()
    }

    /// Lets something fail. What happens now is over, and recovered from, when this returns.
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
                    // It was cancelled, which is what was asked for.
                    let _ = self.runtime.block_on(task);
                }
                return self.start(topology);
            }
        }
        self.settle()
    }

    /// Stops the worker as an operator does and starts another with this topology, over the same log, ledgers and sink: a new
    /// version, or a repaired one.
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

    /// The log, to hold back what a test wants to be late.
    pub fn log(&self) -> &MemoryLog {
        &self.log
    }

    /// The ledgers, to look into them or to lose some of their writes.
    pub fn ledgers(&self) -> &MemoryLedgerStore {
        &self.ledgers
    }

    /// The window tables.
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
        // Not ready until it says so itself.
        health.set(&member, Some("starting".to_owned()));
        let run = async move { run_here(&config, &topology, &services, &health, stopped).await };
        worker.task = Some(self.runtime.spawn(run));
        self.worker.replace(worker);
        self.settle()
    }

    fn sleep(&self, duration: Duration) {
        self.runtime.block_on(async move { sleep(duration).await });
    }

    /// Lets the worker run until it works and has nothing left to do.
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

/// How a worker ended; a panic in it, such as one of the topology's own code, goes on in the test.
fn ended(result: Result<Result<(), TaskError>, tokio::task::JoinError>) -> Result<(), TaskError> {
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
