//! Drives one run: the log, the ledger store, the workers' lives, and the schedule's events.

mod growth;
mod settling;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use interlock_operate::topics::{TopicSettings, specs};
use interlock_schemas::topics;
use interlock_streams::Topology;
use interlock_streams::ledger::Token;
use interlock_streams::ledger::memory::{LedgerSnapshot, MemoryLedgerStore, Part};
use interlock_streams::log::Log as _;
use interlock_streams::log::memory::{MemoryLog, MemoryLogConfig, TokioClock};
use interlock_streams::record::{OutputRecord, TopicPartition};
use interlock_streams::runtime::{Health, RuntimeConfig, Services, TaskError, run_here};
use interlock_streams::window::MemorySink;
use interlock_topologies::Context;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::check::{Amounts, Promise, Remains, Stage, Violation};
use super::faulty_ledgers::FaultyLedgers;
use super::faulty_log::FaultyLog;
use super::faulty_sink::FaultySink;
use super::schedule::{Action, SPAN_MS, Schedule, What};
use super::site::Site;
use super::trace::Trace;
use super::workload::{START_MS, bursts, bursts_after_growth, contract, plan_record, plans};
use crate::random::Random;

/// Time-outs of the log, shorter than Kafka's but in the same order.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// One worker, over its lives.
#[derive(Default)]
struct Worker {
    identity: String,
    lives: u64,
    life: Option<Life>,
}

struct Life {
    site: Arc<Site>,
    shutdown: watch::Sender<bool>,
    health: Health,
    /// A task for each topology; ended tasks are removed.
    tasks: Vec<JoinHandle<Result<(), TaskError>>>,
    stopping: bool,
}

/// The next event.
enum Next {
    Burst(Vec<OutputRecord>),
    Act(What),
    Start(usize),
    Rejoin(usize),
    ReleaseMarkers(TopicPartition),
    ReleaseOffsets,
    ReleaseCommits(String),
    ReleaseNews(String),
    Look,
}

pub(super) struct World<'a> {
    schedule: &'a Schedule,
    pub(super) trace: Trace,
    began: Instant,
    healed: Arc<AtomicBool>,
    log: MemoryLog,
    store: MemoryLedgerStore,
    sink: Arc<MemorySink>,
    workers: Vec<Worker>,
    snapshots: BTreeMap<usize, LedgerSnapshot>,
    agenda: BTreeMap<(u64, u64), Next>,
    entries: u64,
    /// The last stable offset of each partition of events at the last check.
    stable: BTreeMap<TopicPartition, i64>,
    /// The layouts of the ledgers, the present one last.
    stages: Vec<Stage>,
}

impl<'a> World<'a> {
    pub(super) async fn new(schedule: &'a Schedule, is_traced: bool) -> Result<Self> {
        let log = MemoryLog::with(MemoryLogConfig {
            clock: Arc::new(TokioClock::new(START_MS)),
            session_timeout: SESSION_TIMEOUT,
            transaction_timeout: TRANSACTION_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            bytes_max: usize::MAX,
        });
        log.create_topics(&specs(&TopicSettings::in_process(schedule.partitions)))
            .await?;
        for plan in plans(schedule.seed, 1) {
            log.append(vec![plan_record(&plan)?])?;
        }
        Ok(Self {
            schedule,
            trace: Trace::new(is_traced),
            began: Instant::now(),
            healed: Arc::default(),
            log,
            store: MemoryLedgerStore::default(),
            sink: Arc::default(),
            workers: Vec::new(),
            snapshots: BTreeMap::new(),
            agenda: BTreeMap::new(),
            entries: 0,
            stable: BTreeMap::new(),
            stages: vec![Stage::first(schedule.partitions)],
        })
    }

    /// Enters all planned events; returns the time of the end.
    fn plan(&mut self, bursts: Vec<Vec<OutputRecord>>, actions: &[Action]) -> u64 {
        let from_ms = self.trace.now_ms();
        for worker in 0..self.schedule.workers {
            self.enter(from_ms, Next::Start(worker));
        }
        let mut random = Random::new(self.schedule.seed, 4);
        let mut moments: Vec<u64> = bursts.iter().map(|_| random.below(SPAN_MS)).collect();
        moments.sort_unstable();
        for (at_ms, burst) in moments.into_iter().zip(bursts) {
            self.enter(from_ms + at_ms, Next::Burst(burst));
        }
        for action in actions {
            self.enter(from_ms + action.at_ms, Next::Act(action.what.clone()));
        }
        for at_ms in (500..SPAN_MS).step_by(500) {
            self.enter(from_ms + at_ms, Next::Look);
        }
        from_ms + SPAN_MS
    }

    fn partitions(&self) -> i32 {
        self.remains().partitions()
    }

    fn enter(&mut self, at_ms: u64, next: Next) {
        self.entries += 1;
        self.agenda.insert((at_ms, self.entries), next);
    }

    /// Runs the schedule and checks that everything holds.
    pub(super) async fn run(&mut self) -> Result<Amounts, Violation> {
        let end_ms = self.plan(bursts(self.schedule, self.schedule.seed)?, &self.schedule.actions);
        let amounts = self.run_until(end_ms).await?;
        let Some(ledgers) = self.schedule.grows_to else {
            return Ok(amounts);
        };
        let first_booking = interlock_inventory::first_booking(&amounts.bookings, ledgers);
        self.grow(ledgers, first_booking).await?;
        let actions = self.schedule.actions_after_growth(ledgers);
        let end_ms = self.plan(bursts_after_growth(self.schedule)?, &actions);
        self.run_until(end_ms).await
    }

    async fn run_until(&mut self, end_ms: u64) -> Result<Amounts, Violation> {
        while let Some(((at_ms, _), next)) = self.agenda.pop_first() {
            if at_ms > end_ms {
                // Everything that is held back is released when the faults end.
                self.enter(at_ms, next);
                break;
            }
            sleep_until(self.began + Duration::from_millis(at_ms)).await;
            self.step(next).await?;
        }
        self.heal().await?;
        self.settle().await?;
        let settled = self.records();
        self.stop_all().await?;
        // Stopping the workers must change nothing.
        let stopped = self.records();
        if stopped != settled {
            let detail = format!("{settled:?} records became {stopped:?} by stopping");
            return Err(Violation::new(Promise::Progress, detail));
        }
        self.remains().check().await
    }

    /// Returns the number of committed records of each partition that the workers write to.
    fn records(&self) -> Vec<usize> {
        let written = topics::EVENTS.map(str::to_owned).into_iter();
        let written = written.chain([
            topics::BOOKING_REQUESTS.to_owned(),
            topics::dlq(topics::BOOKING_REQUESTS),
        ]);
        let partitions = written.flat_map(|topic| {
            (0..self.partitions()).map(move |partition| TopicPartition::new(topic.as_str(), partition))
        });
        let count = |partition| {
            self.log
                .read(&partition, 0, usize::MAX)
                .map_or(0, |records| records.len())
        };
        partitions.map(count).collect()
    }

    fn remains(&self) -> Remains<'_> {
        Remains {
            log: &self.log,
            store: &self.store,
            sink: self.schedule.windows.then_some(&*self.sink),
            seed: self.schedule.seed,
            stages: &self.stages,
        }
    }

    async fn step(&mut self, next: Next) -> Result<(), Violation> {
        match next {
            Next::Burst(records) => {
                if !records.is_empty() {
                    self.trace.line(format_args!("{} commands", records.len()));
                    self.log.append(records).map_err(anyhow::Error::from)?;
                }
            }
            Next::Start(worker) => self.start(worker)?,
            Next::Rejoin(worker) => {
                if let Some(life) = self.workers.get(worker).and_then(|worker| worker.life.as_ref()) {
                    life.site.set_store(self.store.clone());
                    life.site.say(format_args!("talks to the real ledger store again"));
                }
            }
            Next::ReleaseMarkers(partition) => {
                self.trace.line(format_args!("markers of {partition} released"));
                self.log.release_markers(&partition);
            }
            Next::ReleaseOffsets => {
                self.trace.line(format_args!("offsets released"));
                self.log.release_offsets(&self.group());
            }
            Next::ReleaseCommits(id) => {
                self.trace.line(format_args!("commits of {id} released"));
                self.log.release_commits(&id);
            }
            Next::ReleaseNews(id) => {
                self.trace.line(format_args!("{id} hears of the group again"));
                self.log.release_news(&id);
            }
            Next::Look => {}
            Next::Act(what) => self.act(what).await?,
        }
        self.look().await
    }

    async fn act(&mut self, what: What) -> Result<()> {
        self.trace.line(format_args!("{what:?}"));
        let now_ms = self.trace.now_ms();
        match what {
            What::Crash {
                worker,
                down_ms,
                new_identity,
            } => {
                self.kill(worker).await;
                self.comes_back(worker, now_ms + down_ms, new_identity);
            }
            What::Stop {
                worker,
                down_ms,
                new_identity,
            } => {
                if let Some(life) = self.life(worker) {
                    life.stopping = true;
                    life.shutdown.send_replace(true);
                }
                self.comes_back(worker, now_ms + down_ms, new_identity);
            }
            What::Join { worker } => self.start(worker)?,
            What::Freeze { worker, for_ms } => {
                if let Some(life) = self.life(worker) {
                    life.site.freeze(for_ms);
                }
            }
            What::Unreachable { worker, for_ms } => {
                if let Some(life) = self.life(worker) {
                    life.site.cut_off(for_ms);
                }
            }
            What::Forked { worker, for_ms } => {
                let fork = MemoryLedgerStore::default();
                for ledger in 0..self.partitions() {
                    fork.restore(ledger, self.store.snapshot(ledger));
                }
                if let Some(life) = self.life(worker) {
                    life.site.set_store(fork);
                }
                self.enter(now_ms + for_ms, Next::Rejoin(worker));
            }
            What::Snapshot { ledger, slot } => {
                self.snapshots.insert(slot, self.store.snapshot(ledger));
            }
            What::Restore { ledger, slot } => {
                if let Some(snapshot) = self.snapshots.remove(&slot) {
                    self.store.restore(ledger, snapshot);
                }
            }
            What::Flush => self.store.flush(),
            What::Lose { ledger, part } => {
                if let Some(part) = self.part(ledger, part) {
                    self.store.lose(ledger, &part);
                }
            }
            What::PutBack { ledger, slot, part } => {
                if let (Some(snapshot), Some(part)) = (self.snapshots.remove(&slot), self.part(ledger, part)) {
                    self.store.put_back(ledger, &part, &snapshot);
                }
            }
            What::HoldMarkers {
                topic,
                partition,
                for_ms,
            } => {
                let topic = topics::EVENTS.get(topic).copied().unwrap_or(topics::BOOKING_REQUESTS);
                let partition = TopicPartition::new(topic, partition);
                self.log.hold_markers(&partition);
                self.enter(now_ms + for_ms, Next::ReleaseMarkers(partition));
            }
            What::HoldOffsets { for_ms } => {
                self.log.hold_offsets(&self.group());
                self.enter(now_ms + for_ms, Next::ReleaseOffsets);
            }
            What::Deaf { worker, for_ms } => {
                let id = self.transactional_id(worker);
                self.log.hold_news(&id);
                self.enter(now_ms + for_ms, Next::ReleaseNews(id));
            }
            What::HoldCommits { worker, for_ms } => {
                let id = self.transactional_id(worker);
                self.log.hold_commits(&id);
                self.enter(now_ms + for_ms, Next::ReleaseCommits(id));
            }
            What::NewPlan { version } => {
                for plan in plans(self.schedule.seed, version) {
                    self.log.append(vec![plan_record(&plan)?])?;
                }
            }
        }
        Ok(())
    }

    /// Chooses a part of a ledger.
    fn part(&self, ledger: i32, number: u64) -> Option<Part> {
        let parts = self.store.parts(ledger);
        let at = number.checked_rem(parts.len() as u64)?;
        let part = parts.into_iter().nth(usize::try_from(at).ok()?)?;
        self.trace.line(format_args!("ledger {ledger}, {part:?}"));
        Some(part)
    }

    fn services(&self, site: &Arc<Site>) -> Services {
        let log = FaultyLog {
            site: site.clone(),
            log: self.log.clone(),
        };
        let sink = FaultySink {
            site: site.clone(),
            sink: self.sink.clone(),
        };
        Services::shared(Arc::new(log), Arc::new(FaultyLedgers(site.clone())), Arc::new(sink))
    }

    fn life(&mut self, worker: usize) -> Option<&mut Life> {
        self.workers.get_mut(worker)?.life.as_mut()
    }

    fn config(&self, identity: &str) -> RuntimeConfig {
        RuntimeConfig {
            batch_records_max: self.schedule.batch_records_max,
            commit_records_max: self.schedule.commit_records_max,
            ..RuntimeConfig::new("sim", identity)
        }
    }

    fn group(&self) -> String {
        self.config("").group("booking")
    }

    fn transactional_id(&self, worker: usize) -> String {
        let identity = self.workers.get(worker).map_or("", |worker| &worker.identity);
        format!("sim-booking-{identity}-0")
    }

    /// Kills a worker at once. Its requests may still be in flight.
    async fn kill(&mut self, worker: usize) {
        if let Some(life) = self.workers.get_mut(worker).and_then(|worker| worker.life.take()) {
            for task in life.tasks {
                task.abort();
                let _gone = task.await;
            }
            self.trace.line(format_args!("{} is dead", life.site.name));
        }
    }

    fn comes_back(&mut self, worker: usize, at_ms: u64, new_identity: bool) {
        if let Some(found) = self.workers.get_mut(worker)
            && new_identity
        {
            found.identity = format!("w{worker}x{}", found.lives);
        }
        self.enter(at_ms, Next::Start(worker));
    }

    fn start(&mut self, worker: usize) -> Result<()> {
        while self.workers.len() <= worker {
            let identity = format!("w{}", self.workers.len());
            self.workers.push(Worker {
                identity,
                ..Worker::default()
            });
        }
        if let Some(life) = self.workers[worker].life.take() {
            if !life.stopping {
                self.workers[worker].life = Some(life);
                return Ok(());
            }
            // The worker did not stop in time, so it is killed, as a supervisor would do.
            life.tasks.iter().for_each(JoinHandle::abort);
        }
        let number = self.workers[worker].lives;
        let identity = self.workers[worker].identity.clone();
        let name = format!("{identity}/{number}");
        let random = Random::new(self.schedule.seed, 1_000 + 100 * worker as u64 + number);
        let site = Arc::new(Site::new(
            name.clone(),
            random,
            self.schedule.rates,
            self.trace.clone(),
            self.healed.clone(),
            self.store.clone(),
        ));
        let config = RuntimeConfig {
            tokens: tokens(&name),
            ..self.config(&identity)
        };
        let services = self.services(&site);
        let health = Health::default();
        let (shutdown, stopped) = watch::channel(false);
        site.say(format_args!("starts"));
        let mut tasks = Vec::new();
        for name in ["booking", "revenue"]
            .iter()
            .take(if self.schedule.windows { 2 } else { 1 })
        {
            let (config, services, health, stopped) =
                (config.clone(), services.clone(), health.clone(), stopped.clone());
            let topology = Arc::new(topology(name)?);
            let run = async move { run_here(&config, &topology, &services, &health, stopped).await };
            tasks.push(tokio::spawn(run));
        }
        let worker = &mut self.workers[worker];
        worker.lives += 1;
        worker.life = Some(Life {
            site,
            shutdown,
            health,
            tasks,
            stopping: false,
        });
        Ok(())
    }

    /// Checks that no worker has ended that should not have.
    async fn look(&mut self) -> Result<(), Violation> {
        for worker in &mut self.workers {
            let Some(life) = &mut worker.life else { continue };
            let name = &life.site.name;
            while let Some(ended) = life.tasks.iter().position(JoinHandle::is_finished) {
                match life.tasks.remove(ended).await {
                    Ok(Ok(())) if life.stopping => {}
                    Ok(Ok(())) => {
                        return Err(Violation::new(
                            Promise::Running,
                            format!("{name} stopped without being asked"),
                        ));
                    }
                    Ok(Err(error)) => return Err(Violation::new(Promise::Running, format!("{name}: {error}"))),
                    Err(panic) => return Err(Violation::new(Promise::Running, format!("{name} panicked: {panic}"))),
                }
            }
            if life.tasks.is_empty() {
                self.trace.line(format_args!("{name} has stopped"));
                worker.life = None;
            }
        }
        Ok(())
    }
}

/// Returns tokens that name the worker.
fn tokens(name: &str) -> Arc<dyn Fn() -> Token + Send + Sync> {
    let (name, count) = (name.to_owned(), Mutex::new(0u64));
    Arc::new(move || {
        let mut count = count.lock().expect("no panic while counting");
        *count += 1;
        Token(format!("{name}.{count}"))
    })
}

fn topology(name: &str) -> Result<Topology> {
    let (registry, ids) = contract();
    let context = Context {
        registry: registry.clone(),
        ids: *ids,
    };
    let known = interlock_topologies::all().iter().find(|known| known.name == name);
    Ok((known.context("no such topology")?.build)(&context)?)
}
