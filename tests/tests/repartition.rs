//! More ledgers for the same keys: what was decided stays decided, wherever it lies, and nothing is decided twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_streams::Event;
use interlock_streams::ledger::Token;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::log::murmur2::partition_for_key;
use interlock_streams::log::{CommittedOffset, Log as _};
use interlock_streams::record::{OutputRecord, TopicPartition};
use interlock_streams::runtime::{Repartition, RepartitionError, RestoredOffset, RuntimeConfig, restore_offsets};
use interlock_tests::traces::{UNREADABLE, Workers, notes, record};

const TOPICS: [&str; 3] = ["events", "commands.dlq", "commands"];
const REST: Duration = Duration::from_secs(100);

/// Keys and their commands, workers and the ledgers they keep.
struct World {
    workers: Workers,
    store: MemoryLedgerStore,
    partitions: i32,
    /// The commands of each key, in order.
    asked: BTreeMap<String, Vec<String>>,
}

impl World {
    fn new(partitions: i32) -> Result<Self> {
        Ok(Self {
            workers: Workers::new(partitions)?,
            store: MemoryLedgerStore::default(),
            partitions,
            asked: BTreeMap::new(),
        })
    }

    /// One command more for each of some keys, where clients put them.
    fn ask(&mut self, keys: std::ops::Range<u32>) -> Result<()> {
        for key in keys.map(|key| format!("key {key}")) {
            let asked = self.asked.entry(key.clone()).or_default();
            let text = format!("{key}, request {}", asked.len());
            asked.push(text.clone());
            self.workers.log.append(vec![OutputRecord {
                topic: "commands".into(),
                partition: None,
                timestamp: None,
                key: Some(key.into()),
                value: Some(text.into()),
                headers: Vec::new(),
            }])?;
        }
        Ok(())
    }

    fn work(&mut self) -> Result<()> {
        self.workers.start("a", &self.store)?;
        self.workers.start("b", &self.store)?;
        self.workers.pass(REST)
    }

    /// As an administrator stops them.
    fn stop(&mut self) -> Result<()> {
        self.workers.stop("a")?;
        self.workers.stop("b")
    }

    fn repartition(&self) -> Result<Repartition> {
        let config = RuntimeConfig {
            tokens: Arc::new(|| Token(format!("operator{}", next_token()))),
            ..RuntimeConfig::new("test", "operator")
        };
        let log = Arc::new(self.workers.log.clone());
        Ok(Repartition::new(
            &config,
            &Arc::new(notes()?),
            log,
            Arc::new(self.store.clone()),
            Duration::from_secs(120),
        ))
    }

    /// The committed offsets, with their metadata.
    fn committed(&self) -> Result<Vec<Option<CommittedOffset>>> {
        let sources = TopicPartition::all("commands", self.partitions);
        let read = self.workers.log.committed_unstable(Workers::GROUP, &sources);
        Ok(self.workers.wait_for(read)?)
    }

    /// Changes the committed offset of every partition, as another program does.
    fn change_offsets(&self, change: impl Fn(CommittedOffset) -> Option<CommittedOffset>) -> Result<()> {
        let sources = TopicPartition::all("commands", self.partitions);
        for (source, committed) in sources.iter().zip(self.committed()?) {
            let changed = committed.and_then(&change);
            self.workers.log.set_offset(Workers::GROUP, source, changed);
        }
        Ok(())
    }

    fn restore_offsets(&self) -> Result<Vec<RestoredOffset>> {
        let config = RuntimeConfig {
            tokens: Arc::new(|| Token(format!("operator{}", next_token()))),
            ..RuntimeConfig::new("test", "operator")
        };
        let topology = Arc::new(notes()?);
        let restore = restore_offsets(
            &config,
            &topology,
            Arc::new(self.workers.log.clone()),
            Arc::new(self.store.clone()),
            Duration::from_secs(120),
        );
        Ok(self.workers.wait_for(restore)?)
    }

    /// Grows the topics as an operator does.
    async fn grow(&self, partitions: i32) -> Result<(), RepartitionError> {
        let repartition = self.repartition().expect("the topology is built");
        match repartition.grow(&TOPICS.map(str::to_owned), partitions).await? {
            Some(taken) => taken.lay_out(0).await,
            None => Ok(()),
        }
    }

    fn events(&self, ledger: i32) -> Result<Vec<Event<String>>> {
        let records = self
            .workers
            .log
            .read(&TopicPartition::new("events", ledger), 0, usize::MAX)?;
        let value = |record: interlock_streams::record::Record| record.value.unwrap_or_default();
        Ok(records
            .into_iter()
            .map(|record| serde_json::from_slice(&value(record)))
            .collect::<Result<_, _>>()?)
    }

    /// Checks that each command has one answer (I2), that there is no gap and no repeat (I4), and that a key's document
    /// lies in its ledger alone and is the fold of its answers in the order of the commands (I5).
    fn judge(&self) -> Result<()> {
        let mut answers = Vec::new();
        let mut documents = BTreeMap::new();
        for ledger in 0..self.partitions {
            let events = self.events(ledger)?;
            let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
            ensure!(
                numbers == (1..).take(events.len()).collect::<Vec<i64>>(),
                "I4: ledger {ledger}: {numbers:?}"
            );
            answers.extend(events.into_iter().map(|event| event.event));
            for document in self.store.documents(ledger) {
                let key = String::from_utf8(document.to_vec())?;
                let home = partition_for_key(key.as_bytes(), self.partitions);
                ensure!(
                    home == ledger,
                    "I5: {key} lies in ledger {ledger}, and belongs to {home}"
                );
                let fields = self.store.fields(ledger, &document);
                let value = fields.values().next().context("a field")?;
                documents.insert(key, serde_json::from_slice::<Vec<String>>(value)?);
            }
        }
        let answered = |(before, text): (usize, &String)| format!("{text} by version 1 after {before}");
        let folded = |asked: &Vec<String>| asked.iter().enumerate().map(answered).collect::<Vec<String>>();
        let mut expected: Vec<String> = self.asked.values().flat_map(folded).collect();
        answers.sort_unstable();
        expected.sort_unstable();
        ensure!(
            answers == expected,
            "I2: {} answers to {} commands",
            answers.len(),
            expected.len()
        );
        let kept = self.asked.iter().map(|(key, asked)| (key.clone(), folded(asked)));
        let kept: BTreeMap<String, Vec<String>> = kept.collect();
        ensure!(
            documents == kept,
            "I5: the ledgers have {documents:#?}, their events are {kept:#?}"
        );
        Ok(())
    }
}

fn next_token() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn keys_keep_what_was_decided_over_any_number_of_layouts() -> Result<()> {
    let mut world = World::new(4)?;
    world.ask(0..60)?;
    world.work()?;
    world.judge()?;
    // Seven is no multiple of six: keys come back to ledgers that they had left.
    for (partitions, more) in [(6, 20..70), (7, 0..50), (14, 40..80)] {
        world.stop()?;
        world.workers.wait_for(world.grow(partitions))?;
        world.partitions = partitions;
        world.work()?;
        world.judge()?;
        world.ask(more.clone())?;
        world.workers.pass(REST)?;
        world.judge()?;
        // Redis loses everything, and then some of what was decided since.
        world.stop()?;
        world.store = MemoryLedgerStore::default();
        world.work()?;
        world.judge()?;
        let snapshots: Vec<_> = (0..partitions).map(|ledger| world.store.snapshot(ledger)).collect();
        world.ask(more)?;
        world.workers.pass(REST)?;
        for (ledger, snapshot) in (0..).zip(snapshots) {
            world.store.restore(ledger, snapshot);
        }
        world.workers.pass(REST)?;
        world.judge()?;
    }
    Ok(())
}

#[test]
fn interrupted_anywhere_it_leaves_what_it_found_or_what_was_asked_for() -> Result<()> {
    for steps in 1.. {
        let mut world = World::new(2)?;
        world.ask(0..20)?;
        world.work()?;
        world.stop()?;
        let done = {
            let mut growing = Box::pin(world.grow(5));
            let workers = &world.workers;
            let mut polled = 0;
            workers.wait_for(std::future::poll_fn(|context: &mut Context<'_>| {
                polled += 1;
                match growing.as_mut().poll(context) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending if polled == steps => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            }))
        };
        if let Some(result) = done {
            result?;
            ensure!(steps > 20, "it was interrupted {steps} times only");
            return Ok(());
        }
        // A worker that starts now works as before or stops: it doesn't sell in a layout that isn't there.
        world.partitions = world
            .workers
            .wait_for(world.workers.log.partitions("commands"))?
            .unwrap_or(0);
        let laid_out = world.workers.wait_for(world.repartition()?.ledgers())?;
        if laid_out != world.partitions {
            let refused = world.work().expect_err("a worker begins in another layout").to_string();
            ensure!(refused.contains("laid out for 2 partitions"), "{refused}");
            world.workers.kill("a");
            world.workers.kill("b");
        }
        world.workers.wait_for(world.grow(5))?;
        world.partitions = 5;
        world.ask(10..30)?;
        world.work()?;
        world.judge()?;
    }
    Ok(())
}

#[test]
fn nothing_is_changed_while_there_is_something_to_decide_or_somebody_at_work() -> Result<()> {
    let mut world = World::new(2)?;
    world.ask(0..20)?;
    world.work()?;
    let refused = world.workers.wait_for(world.grow(4)).expect_err("there are workers");
    ensure!(matches!(refused, RepartitionError::NotAlone { .. }), "{refused}");
    world.stop()?;
    world.ask(0..1)?;
    let refused = world
        .workers
        .wait_for(world.grow(4))
        .expect_err("a command is not decided");
    ensure!(matches!(refused, RepartitionError::Undecided { .. }), "{refused}");
    world.work()?;
    world.stop()?;
    world.store.restore(0, MemoryLedgerStore::default().snapshot(0));
    let refused = world.workers.wait_for(world.grow(4)).expect_err("a ledger is lost");
    ensure!(
        matches!(refused, RepartitionError::Unsettled { ledger: 0, .. }),
        "{refused}"
    );
    world.work()?;
    world.judge()?;
    world.stop()?;
    let refused = world.workers.wait_for(world.grow(1)).expect_err("there are two");
    ensure!(
        matches!(refused, RepartitionError::Shrinks { ledgers: 2, .. }),
        "{refused}"
    );
    // By hand, without a word to the ledgers.
    for topic in TOPICS {
        world.workers.wait_for(world.workers.log.create_partitions(topic, 4))?;
    }
    let refused = world.work().expect_err("the topics were grown by hand").to_string();
    ensure!(
        refused.contains("laid out for 2 partitions, and topic commands has 4"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn lost_offsets_stop_a_worker_and_are_restored_from_the_events() -> Result<()> {
    let mut world = World::new(3)?;
    world.ask(0..40)?;
    world.work()?;
    world.stop()?;
    let before = world.committed()?;
    let losses: [fn(CommittedOffset) -> Option<CommittedOffset>; 3] = [
        |_| None,
        // Kafka's tools reset an offset without metadata.
        |committed| {
            Some(CommittedOffset {
                metadata: String::new(),
                ..committed
            })
        },
        |committed| {
            Some(CommittedOffset {
                offset: 0,
                metadata: committed.metadata + "\0",
            })
        },
    ];
    for lose in losses {
        world.change_offsets(lose)?;
        let refused = world.work().expect_err("a worker begins without offsets").to_string();
        ensure!(refused.contains("interlock replay --offsets"), "{refused}");
        world.workers.kill("a");
        world.workers.kill("b");
        let restored = world.restore_offsets()?;
        let offsets = |committed: &[Option<CommittedOffset>]| -> Vec<Option<i64>> {
            committed
                .iter()
                .map(|committed| committed.as_ref().map(|c| c.offset))
                .collect()
        };
        ensure!(restored.len() == 3, "{restored:?}");
        ensure!(offsets(&world.committed()?) == offsets(&before), "{before:?}");
        ensure!(world.restore_offsets()?.is_empty(), "nothing is lost any more");
        world.work()?;
        world.judge()?;
        world.stop()?;
    }
    world.ask(20..50)?;
    world.work()?;
    world.judge()
}

#[test]
fn offsets_are_restored_after_repartitionings_and_without_the_ledgers() -> Result<()> {
    let mut world = World::new(2)?;
    world.ask(0..60)?;
    world.work()?;
    for partitions in [4, 8] {
        world.stop()?;
        world.workers.wait_for(world.grow(partitions))?;
        world.partitions = partitions;
        world.work()?;
        world.ask(10..70)?;
        world.workers.pass(REST)?;
    }
    world.judge()?;
    world.stop()?;
    // One partition's metadata is left, then none; then the ledgers are lost, too.
    let intact = world.committed()?[5].clone();
    for (keep, flush) in [(true, false), (false, false), (false, true)] {
        world.change_offsets(|_| None)?;
        if keep {
            let source = TopicPartition::new("commands", 5);
            world.workers.log.set_offset(Workers::GROUP, &source, intact.clone());
        }
        if flush {
            world.store = MemoryLedgerStore::default();
        }
        let restored = world.restore_offsets()?;
        ensure!(restored.len() == if keep { 7 } else { 8 }, "{restored:?}");
        world.work()?;
        world.judge()?;
        world.ask(0..70)?;
        world.workers.pass(REST)?;
        world.judge()?;
        world.stop()?;
    }
    Ok(())
}

#[test]
fn a_dead_letter_behind_the_last_event_moves_a_restored_offset() -> Result<()> {
    let mut world = World::new(2)?;
    world.ask(0..10)?;
    let unreadable = |partition| record("commands", partition, UNREADABLE);
    world.workers.log.append(vec![unreadable(0), unreadable(1)])?;
    world.work()?;
    world.stop()?;
    let before = world.committed()?;
    world.change_offsets(|_| None)?;
    let restored = world.restore_offsets()?;
    for (restored, before) in restored.iter().zip(before) {
        ensure!(
            Some(restored.offset) == before.map(|before| before.offset),
            "{restored:?}"
        );
    }
    world.work()?;
    world.judge()?;
    for partition in 0..2 {
        let letters = world
            .workers
            .log
            .read(&TopicPartition::new("commands.dlq", partition), 0, 10)?;
        ensure!(letters.len() == 1, "{} dead letters of one record", letters.len());
    }
    Ok(())
}

#[test]
fn an_idle_worker_commits_its_offsets_again() -> Result<()> {
    let mut world = World::new(2)?;
    world.ask(0..10)?;
    world.work()?;
    let before = world.committed()?;
    world.change_offsets(|_| None)?;
    world.workers.pass(Duration::from_secs(3_700))?;
    ensure!(world.committed()? == before, "the offsets are gone: {before:?}");
    world.ask(5..15)?;
    world.workers.pass(REST)?;
    world.judge()
}
