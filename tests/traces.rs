//! The common parts of the protocol's traces: a small topology, several workers over one log in time that the test
//! advances, and the final check.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_streams::ledger::Token;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::log::memory::{MemoryLog, MemoryLogConfig, TokioClock};
use interlock_streams::log::{Log as _, TopicSpec};
use interlock_streams::record::{OutputRecord, Record, TopicPartition};
use interlock_streams::runtime::{Health, RuntimeConfig, Services, TaskError, run_here};
use interlock_streams::serde::Utf8;
use interlock_streams::window::MemorySink;
use interlock_streams::{Decider, Event, Message, StreamsBuilder, Topology};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

thread_local! {
    /// Version of the program; decisions differ between versions.
    pub static VERSION: Cell<u32> = const { Cell::new(1) };
}

/// Value of a record that can't be decoded, which leaves a dead letter and no event.
pub const UNREADABLE: &[u8] = b"\xff";

/// All decisions, in order. Each says how many there were before it.
#[derive(Default, Serialize, Deserialize)]
struct Notes(Vec<String>);

impl Decider for Notes {
    type Command = String;
    type Event = String;

    fn decide(&self, command: &Message<String>) -> Vec<String> {
        let (version, before) = (VERSION.get(), self.0.len());
        vec![format!("{} by version {version} after {before}", command.value)]
    }

    fn evolve(&mut self, note: &String) {
        self.0.push(note.clone());
    }
}

/// Returns the topology: `commands` → `events`, one event for each command.
pub fn notes() -> Result<Topology> {
    let builder = StreamsBuilder::new("notes");
    builder.stream("commands", || Utf8).decide::<Notes>("notes", "events");
    Ok(builder.build()?)
}

/// Returns a record of a partition.
pub fn record(topic: &str, partition: i32, value: impl Into<bytes::Bytes>) -> OutputRecord {
    OutputRecord {
        topic: topic.into(),
        partition: Some(partition),
        timestamp: None,
        key: Some(key(partition).into()),
        value: Some(value.into()),
        headers: Vec::new(),
    }
}

/// Returns a key that belongs in one of two partitions.
fn key(partition: i32) -> &'static str {
    let home = |key: &&&str| interlock_streams::log::murmur2::partition_for_key(key.as_bytes(), 2) == partition;
    ["key", "a", "b", "c", "d"].iter().find(home).copied().unwrap_or("key")
}

/// Checks the final state of a partition: each readable command has one answer (I2), events are numbered without gap or
/// repeat (I4), each was decided on those before it (I1), the ledger is their fold (I5), and each unreadable record is
/// one dead letter.
pub fn judge(log: &MemoryLog, ledgers: &MemoryLedgerStore, partition: i32) -> Result<()> {
    let read = |topic: &str| log.read(&TopicPartition::new(topic, partition), 0, usize::MAX);
    let value = |record: &Record| record.value.clone().unwrap_or_default();
    let events: Vec<Event<String>> = read("events")?
        .iter()
        .map(|record| serde_json::from_slice(&value(record)))
        .collect::<Result<_, _>>()?;
    let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    let expected: Vec<i64> = (1..).take(events.len()).collect();
    ensure!(numbers == expected, "I4: events are numbered {numbers:?}");
    let commands = read("commands")?;
    let readable = commands.iter().filter(|record| value(record) != UNREADABLE);
    let asked: Vec<i64> = readable.map(|record| record.offset).collect();
    let answered: Vec<i64> = events.iter().map(|event| event.source_offset).collect();
    ensure!(answered == asked, "I2: commands {asked:?}, answers to {answered:?}");
    let dead = read("commands.dlq")?.len();
    ensure!(dead == commands.len() - asked.len(), "{dead} dead letters");
    let mut folded: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for (record, event) in read("events")?.iter().zip(events) {
        let notes = folded
            .entry(record.key.clone().unwrap_or_default().to_vec())
            .or_default();
        let before = format!(" after {}", notes.len());
        ensure!(
            event.event.ends_with(&before),
            "I1: {:?} was decided{before}",
            event.event
        );
        notes.push(event.event);
    }
    let mut kept = BTreeMap::new();
    for document in ledgers.documents(partition) {
        let mut notes = Vec::new();
        for json in ledgers.fields(partition, &document).values() {
            notes.extend(serde_json::from_slice::<Notes>(json)?.0);
        }
        kept.insert(document.to_vec(), notes);
    }
    ensure!(kept == folded, "I5: the ledger has {kept:?}, its events are {folded:?}");
    Ok(())
}

/// Several workers over one log, each connected to a ledger store that the test chooses. The workers run only while
/// [`Workers::pass`] lets time pass.
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Workers {
    pub log: MemoryLog,
    /// For workers started from now on, each command is a round and two are a commit, so the third is decided during
    /// the commit.
    pub has_backlog: bool,
    runtime: Runtime,
    running: BTreeMap<&'static str, Life>,
}

struct Life {
    task: JoinHandle<Result<(), TaskError>>,
    shutdown: watch::Sender<bool>,
}

impl Workers {
    /// Makes a log with the topology's topics, without workers.
    pub fn new(partitions: i32) -> Result<Self> {
        VERSION.set(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let clock = runtime.block_on(async { TokioClock::new(0) });
        let log = MemoryLog::with(MemoryLogConfig {
            clock: Arc::new(clock),
            ..MemoryLogConfig::default()
        });
        let topics = ["commands", "events", "commands.dlq"].map(|topic| TopicSpec::new(topic, partitions));
        runtime.block_on(log.create_topics(&topics))?;
        Ok(Self {
            log,
            has_backlog: false,
            runtime,
            running: BTreeMap::new(),
        })
    }

    /// The consumer group.
    pub const GROUP: &'static str = "test-notes";

    /// Returns a worker's `transactional.id`, which is also the client id of its consumer.
    pub fn id(name: &str) -> String {
        format!("{}-{name}-0", Self::GROUP)
    }

    /// Starts a worker.
    pub fn start(&mut self, name: &'static str, ledgers: &MemoryLedgerStore) -> Result<()> {
        let acquisitions = std::sync::atomic::AtomicU64::new(0);
        let tokens = move || {
            let number = acquisitions.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            Token(format!("{name}{number}"))
        };
        let config = RuntimeConfig {
            tokens: Arc::new(tokens),
            ..RuntimeConfig::new("test", name)
        };
        let config = match self.has_backlog {
            false => config,
            true => RuntimeConfig {
                batch_records_max: 1,
                commit_records_max: 2,
                ..config
            },
        };
        let services = Services::shared(
            Arc::new(self.log.clone()),
            Arc::new(ledgers.clone()),
            Arc::new(MemorySink::default()),
        );
        let topology = Arc::new(notes()?);
        let (shutdown, stopped) = watch::channel(false);
        let run = async move { run_here(&config, &topology, &services, &Health::default(), stopped).await };
        let life = Life {
            task: self.runtime.spawn(run),
            shutdown,
        };
        self.running.insert(name, life);
        Ok(())
    }

    /// Kills a worker: its member stays until the session ends, its transaction stays open.
    pub fn kill(&mut self, name: &str) {
        if let Some(life) = self.running.remove(name) {
            life.task.abort();
            // The task was cancelled, as requested.
            let _gone = self.runtime.block_on(life.task);
        }
    }

    /// Stops a worker as an administrator does: it commits, releases its ledgers and leaves.
    pub fn stop(&mut self, name: &str) -> Result<()> {
        match self.running.remove(name) {
            None => Ok(()),
            Some(life) => {
                life.shutdown.send_replace(true);
                Ok(self.runtime.block_on(life.task)??)
            }
        }
    }

    /// Lets time pass; returns an error if a worker stops.
    pub fn pass(&mut self, time: Duration) -> Result<()> {
        self.runtime.block_on(async move { tokio::time::sleep(time).await });
        let ended = self.running.iter().find(|(_, life)| life.task.is_finished());
        if let Some(name) = ended.map(|(name, _)| *name) {
            let life = self.running.remove(name).context("it was there")?;
            self.runtime.block_on(life.task)??;
        }
        Ok(())
    }

    /// Appends a command.
    pub fn command(&self, partition: i32, text: &'static str) -> Result<()> {
        self.log.append(vec![record("commands", partition, text)])?;
        Ok(())
    }

    /// Waits for a call of the log or a store that needs no time.
    pub fn wait_for<F: Future>(&self, call: F) -> F::Output {
        self.runtime.block_on(call)
    }
}
