//! Reads the answers as any client may, committed ones only and without proxies, to find out when a request that was
//! appended after a given moment was decided.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use interlock_schemas::registry::Registry;
use interlock_schemas::topics::{CANCELLED, CONFIRMED, REJECTED, WAITLIST};
use interlock_schemas::{Decoder, Event, Remedy};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::real::{Installation, say};

/// The topics of the answers.
const ANSWERS: [&str; 4] = [CONFIRMED, WAITLIST, CANCELLED, REJECTED];
/// Longest wait of one poll.
const POLL: Duration = Duration::from_millis(20);

/// An answer: when it was read, and when its request was appended (by the broker's clock, which is this machine's).
type Read = (Instant, i64);

/// The answers read so far.
#[derive(Debug, Default)]
struct Seen {
    /// For each ledger, the answers to requests that were appended later than all before.
    ledgers: HashMap<i32, Vec<Read>>,
    /// The last offset read, by partition of the answers.
    last: HashMap<(String, i32), i64>,
    answers: u64,
}

/// A reader of the answers; ends when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    ledgers: i32,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts reading at the first answer.
    pub(super) async fn start(installation: &Installation) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", installation.bootstrap_servers())
            .set("group.id", "chaos-watch")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("reconnect.backoff.max.ms", "500")
            .set("fetch.error.backoff.ms", "50")
            .set("fetch.wait.max.ms", "50")
            .create()?;
        let mut from = TopicPartitionList::new();
        for topic in ANSWERS {
            for partition in 0..installation.partitions() {
                from.add_partition_offset(topic, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&from)?;
        let registry = installation.registry().await?.0;
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (seen2, stop2) = (seen.clone(), stop.clone());
        let work = move || {
            if let Err(error) = follow(&consumer, registry, &seen2, &stop2) {
                say(format_args!("reading the answers has stopped: {error:#}"));
            }
        };
        let thread = std::thread::Builder::new().name("watch".into()).spawn(work)?;
        Ok(Self {
            seen,
            ledgers: installation.partitions(),
            stop,
            thread: Some(thread),
        })
    }

    /// Returns when the last of these ledgers had decided a request that was appended later than `since` (milliseconds
    /// since the Unix epoch), or `None` if one of them has not yet.
    pub(super) fn decided(&self, ledgers: impl IntoIterator<Item = i32>, since: i64) -> Option<Instant> {
        let seen = lock(&self.seen);
        let firsts = ledgers.into_iter().map(|ledger| {
            let reads = seen.ledgers.get(&ledger)?;
            let at = reads.partition_point(|(_, appended)| *appended <= since);
            reads.get(at).map(|(read, _)| *read)
        });
        firsts.collect::<Option<Vec<Instant>>>()?.into_iter().max()
    }

    /// As `decided`, for all ledgers.
    pub(super) fn all_decided(&self, since: i64) -> Option<Instant> {
        self.decided(0..self.ledgers, since)
    }

    /// The last offset read, by partition of the answers.
    pub(super) fn last_offsets(&self) -> HashMap<(String, i32), i64> {
        lock(&self.seen).last.clone()
    }

    /// Returns the number of answers and promotions read.
    pub(super) fn answers(&self) -> u64 {
        lock(&self.seen).answers
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn follow(consumer: &BaseConsumer, registry: Arc<dyn Registry>, seen: &Mutex<Seen>, stop: &AtomicBool) -> Result<()> {
    let mut decoder = Decoder::<Event>::new(registry);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    while !stop.load(Ordering::Relaxed) {
        // The client recovers from broker errors by itself.
        let Some(Ok(message)) = consumer.poll(POLL) else {
            continue;
        };
        let value = message.payload().unwrap_or_default();
        let event = loop {
            match runtime.block_on(decoder.decode(value)) {
                // The registry is down.
                Err(error) if error.remedy() == Remedy::Retry && !stop.load(Ordering::Relaxed) => {
                    std::thread::sleep(POLL)
                }
                decoded => break decoded.context("decode an answer")?,
            }
        };
        let header = event.header();
        let mut seen = lock(seen);
        seen.answers += 1;
        seen.last
            .insert((message.topic().to_owned(), message.partition()), message.offset());
        let reads = seen.ledgers.entry(header.ledger).or_default();
        if reads.last().is_none_or(|(_, appended)| *appended < header.event_time) {
            reads.push((Instant::now(), header.event_time));
        }
    }
    Ok(())
}
