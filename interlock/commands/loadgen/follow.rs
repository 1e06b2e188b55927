//! The following side: reads the outcomes as any client may (committed only), from where the topics ended before the
//! first request was sent.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use interlock_loadgen::{Latencies, Outcomes};
use interlock_schemas::registry::Registry;
use interlock_schemas::topics::{CANCELLED, CONFIRMED, REJECTED, WAITLIST};
use interlock_schemas::{Decoder, Event, EventKind, Remedy};
use interlock_streams::log::Log;
use interlock_streams::log::kafka::KafkaConfig;
use interlock_streams::record::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use super::Progress;
use super::pending::{Answer, Pending, hash};
use super::send::Told;
use crate::services;

/// The topics that answers come on.
const ANSWERS: [&str; 4] = [CONFIRMED, WAITLIST, CANCELLED, REJECTED];
/// How long a poll waits before it is looked whether all is done.
const POLL: Duration = Duration::from_millis(20);
/// Pause before the registry is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What was found.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) latencies: Latencies,
    pub(super) outcomes: Outcomes,
    /// When the last answer came, since the start.
    pub(super) last_answer: Duration,
    /// Keys of the requests that have no answer.
    pub(super) unanswered: HashSet<u64>,
    /// Answers more than requests.
    pub(super) surplus: u64,
    /// Events that could not be decoded.
    pub(super) undecodable: u64,
}

/// Reads the outcomes.
pub(super) struct Follower {
    consumer: BaseConsumer,
    decoder: Decoder<Event>,
    runtime: Runtime,
    heard: Receiver<Told>,
    progress: Arc<Progress>,
    pending: Pending,
    found: Followed,
}

impl Follower {
    /// Looks where the topics end: what comes from there on may be an answer.
    pub(super) async fn new(
        kafka: &KafkaConfig,
        log: &dyn Log,
        registry: Arc<dyn Registry>,
        heard: Receiver<Told>,
        progress: Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let mut client = services::plain_client(kafka, "interlock-loadgen");
        client
            .set("group.id", &kafka.reader_group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            // The fetcher sleeps this long when its queue is full.
            .set("fetch.queue.backoff.ms", "5");
        for (name, value) in &kafka.consumer_settings {
            client.set(name, value);
        }
        let consumer: BaseConsumer = client.create().context("no Kafka consumer")?;
        let mut ends = TopicPartitionList::new();
        for topic in ANSWERS {
            for partition in 0..log.partitions(topic).await?.unwrap_or(0) {
                let (_, end) = log.watermarks(&TopicPartition::new(topic, partition)).await?;
                ends.add_partition_offset(topic, partition, Offset::Offset(end))?;
            }
        }
        consumer.assign(&ends).context("read the outcomes")?;
        let found = Followed {
            latencies: Latencies::default(),
            outcomes: Outcomes::default(),
            last_answer: Duration::ZERO,
            unanswered: HashSet::new(),
            surplus: 0,
            undecodable: 0,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let decoder = Decoder::new(registry);
        Ok(Self {
            consumer,
            decoder,
            runtime,
            heard,
            progress,
            pending: Pending::default(),
            found,
        })
    }

    /// Follows until every request is answered, or for so long after the last was sent.
    pub(super) fn run(mut self, start: Instant, timeout: Duration) -> anyhow::Result<Followed> {
        let mut deadline = None;
        loop {
            let all_sent = self.hear();
            if all_sent && self.pending.open() == 0 {
                break;
            }
            let deadline = all_sent.then(|| *deadline.get_or_insert_with(|| Instant::now() + timeout));
            let is_stopped = self.progress.stop.load(Ordering::Relaxed);
            if deadline.is_some_and(|deadline| Instant::now() > deadline) || (is_stopped && all_sent) {
                break;
            }
            self.poll(start)?;
        }
        self.found.unanswered = self.pending.unanswered();
        Ok(self.found)
    }

    /// Takes note of what was sent; true when nothing more will be. Every request is heard of before its answer can
    /// come, for it is told before it is sent.
    fn hear(&mut self) -> bool {
        loop {
            match self.heard.try_recv() {
                Ok(told) => self.pending.sent(told.key, told.intended_at),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn poll(&mut self, start: Instant) -> anyhow::Result<()> {
        let (place, event) = match self.consumer.poll(POLL) {
            None => return Ok(()),
            Some(Err(error)) if is_passing(&error) => return Ok(()),
            Some(Err(error)) => return Err(error).context("read the outcomes"),
            Some(Ok(message)) => {
                let place = format!(
                    "{}[{}] offset {}",
                    message.topic(),
                    message.partition(),
                    message.offset()
                );
                (place, message.payload().map(<[u8]>::to_vec))
            }
        };
        let now = start.elapsed();
        let Some(value) = event else { return Ok(()) };
        match self.decode(&value, &place)? {
            Some(event) => {
                self.hear();
                self.note(&event, now);
            }
            None => self.found.undecodable += 1,
        }
        Ok(())
    }

    fn note(&mut self, event: &Event, now: Duration) {
        let header = event.header();
        let cause = hash(&header.cause_request_id);
        if header.kind == EventKind::Answer {
            match self.pending.answered(cause, (header.ledger, header.source_offset)) {
                Answer::To(intended_at) => {
                    self.found.latencies.record(intended_at, now);
                    self.found.last_answer = now;
                    self.progress.answered.fetch_add(1, Ordering::Relaxed);
                }
                Answer::Surplus => self.found.surplus += 1,
                Answer::Continued | Answer::Foreign => {}
            }
        }
        if self.pending.is_ours(cause) {
            self.found.outcomes.record(event);
        }
    }

    /// The event, or nothing where the value is bad. Waits for the registry.
    fn decode(&mut self, value: &[u8], place: &str) -> anyhow::Result<Option<Event>> {
        loop {
            let error = match self.decoder.try_decode(value) {
                Ok(event) => return Ok(Some(event)),
                Err(error) => error,
            };
            let error = match error.remedy() {
                Remedy::Reject => {
                    eprintln!("warning: {place}: {error}");
                    return Ok(None);
                }
                Remedy::Fetch(id) => match self.runtime.block_on(self.decoder.fetch(id)) {
                    Ok(()) => continue,
                    Err(error) if error.remedy() == Remedy::Reject => {
                        eprintln!("warning: {place}: {error}");
                        return Ok(None);
                    }
                    Err(error) => error,
                },
                Remedy::Retry => error,
            };
            if self.progress.stop.load(Ordering::Relaxed) {
                bail!("{place}: {error}");
            }
            eprintln!("waiting: {error}; again in {ASK_AGAIN:?}");
            std::thread::sleep(ASK_AGAIN);
        }
    }
}

/// Errors that Kafka's client mends by itself.
fn is_passing(error: &rdkafka::error::KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode as Code;
    let passing = [
        Code::BrokerTransportFailure,
        Code::AllBrokersDown,
        Code::OperationTimedOut,
        Code::NotLeaderForPartition,
        Code::LeaderNotAvailable,
        Code::Resolve,
    ];
    error.rdkafka_error_code().is_some_and(|code| passing.contains(&code))
}
