//! A member of a group: the thread that owns the rdkafka consumer.
//!
//! What a partition goes through:
//!
//! ```text
//!  (not ours) ─ Assigned ─> silent ─ start ─> active <─ start/stop ─> stopped
//!      ^                       │                 │                       │
//!      ├── Lost ───────────────┴─────────────────┴───────────────────────┤   at once
//!      └── complete_revocation <─ revoking <─ Revoked ───────────────────┘   when the stream thread has drained
//! ```
//!
//! An assignment is acknowledged at once, but with an *empty* `incremental_assign`: librdkafka learns of a partition only
//! when it is started, with its offset. So there is nothing to pause before and nothing to seek after: `seek` fails on a
//! partition whose fetcher has not started yet, which is up to librdkafka's main thread. Later starts seek, and wait for
//! the answer; both drop what was fetched before by librdkafka's version barrier.
//!
//! Between rebalance events, partitions are never taken out of librdkafka's assignment: while a revocation waits unseen
//! in the queue, any `incremental_unassign` would count as its acknowledgement.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::batch::Copier;
use super::consumer::{Command, Item};
use super::context::Context;
use super::errors::{fatal, from_code, from_kafka, retriable};
use super::ffi::{self, Event, EventQueue, Membership, Message, Waker};
use crate::log::{CommittedOffset, GroupMetadata, LogError, Polled};
use crate::record::{PartitionRecords, TopicPartition};

/// Bytes after which a batch ends, so that large records don't pile up.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long one poll waits. Commands end it early, so this is only how often we look up.
const POLL: Duration = Duration::from_secs(1);

/// Pause between two tries of a call that Kafka refused for the moment.
const RETRY: Duration = Duration::from_millis(20);

/// What the thread is started with.
pub(super) struct Start {
    pub(super) name: String,
    pub(super) client: ClientConfig,
    pub(super) topics: Vec<String>,
    pub(super) deadline: Duration,
    pub(super) waker: Waker,
}

/// Subscribes, reports whether that worked, and serves the consumer until it is closed or nobody asks any more.
pub(super) fn run(
    start: &Start,
    commands: &Receiver<Command>,
    items: &UnboundedSender<Item>,
    ready: oneshot::Sender<Result<(), LogError>>,
) {
    let consumer = match subscribe(start) {
        Ok(consumer) => consumer,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let Some(queue) = EventQueue::new(&consumer, start.waker.clone()) else {
        let _ = ready.send(Err(fatal(
            format!("join {}", start.name),
            "librdkafka has no queue for it",
        )));
        return;
    };
    let _ = ready.send(Ok(()));
    let mut member = Member {
        name: &start.name,
        consumer: &consumer,
        queue: &queue,
        deadline: start.deadline,
        topics: Vec::new(),
        partitions: FxHashMap::default(),
        revoking: Vec::new(),
        number: 0,
        later: None,
        copier: Copier::default(),
    };
    let reply = member.serve(commands, items);
    if let Err(error) = member.complete_revocation() {
        tracing::debug!(%error, "revocation while closing");
    }
    drop(queue);
    drop(consumer); // leaves the group
    if let Some(reply) = reply {
        let _ = reply.send(Ok(()));
    }
}

fn subscribe(start: &Start) -> Result<BaseConsumer<Context>, LogError> {
    let action = || format!("join {}", start.name);
    let context = Context::new(&*start.name);
    let consumer: BaseConsumer<Context> = start
        .client
        .create_with_context(context)
        .map_err(|error| from_kafka(action(), &error))?;
    let topics: Vec<&str> = start.topics.iter().map(String::as_str).collect();
    consumer
        .subscribe(&topics)
        .map_err(|error| from_kafka(action(), &error))?;
    Ok(consumer)
}

/// A partition that is ours.
#[derive(Default)]
struct Partition {
    /// Whether librdkafka's assignment has it, which it does from the first start on.
    started: bool,
    /// Whether its records are wanted.
    active: bool,
    /// Offset of the last start: anything before it is stale.
    from: i64,
}

struct Member<'a> {
    name: &'a str,
    consumer: &'a BaseConsumer<Context>,
    queue: &'a EventQueue<'a>,
    deadline: Duration,
    /// Topic names seen, so that a record needs no allocation for its own. A handful: found by looking through them.
    topics: Vec<Arc<str>>,
    partitions: FxHashMap<TopicPartition, Partition>,
    /// What [`Polled::Revoked`] named and was not completed.
    revoking: Vec<TopicPartition>,
    /// Of the last `start` or `stop`.
    number: u64,
    /// An event met while collecting a batch.
    later: Option<Event>,
    copier: Copier,
}

impl Member<'_> {
    /// Returns to whom to report that we have left.
    fn serve(
        &mut self,
        commands: &Receiver<Command>,
        items: &UnboundedSender<Item>,
    ) -> Option<oneshot::Sender<Result<(), LogError>>> {
        let mut credit = None;
        loop {
            // With credit, wait for Kafka (a command wakes us); without, for commands.
            let command = match credit {
                Some(_) => match commands.try_recv() {
                    Ok(command) => Some(command),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return None,
                },
                None => Some(commands.recv().ok()?),
            };
            match command {
                Some(Command::Continue { max_records }) => credit = Some(max_records),
                Some(Command::Close { reply }) => return Some(reply),
                Some(command) => self.obey(command),
                None => {
                    let polled = self.poll(credit.unwrap_or(1)).transpose();
                    if let Some(polled) = polled {
                        credit = None;
                        items
                            .send(Item {
                                number: self.number,
                                polled,
                            })
                            .ok()?;
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        // Whoever asked may have gone; that is their business.
        match command {
            Command::Start {
                number,
                positions,
                reply,
            } => {
                self.number = number;
                let _ = reply.send(self.start(&positions));
            }
            Command::Stop {
                number,
                partitions,
                reply,
            } => {
                self.number = number;
                let _ = reply.send(self.stop(&partitions));
            }
            Command::CompleteRevocation { reply } => {
                let _ = reply.send(self.complete_revocation());
            }
            Command::GroupMetadata { reply } => {
                let _ = reply.send(self.group_metadata());
            }
            Command::Committed { partitions, reply } => {
                let _ = reply.send(self.committed(&partitions));
            }
            Command::Continue { .. } | Command::Close { .. } => {}
        }
    }

    fn poll(&mut self, max_records: usize) -> Result<Option<Polled>, LogError> {
        let event = match self.later.take() {
            Some(event) => event,
            None => match self.queue.poll(POLL) {
                Some(event) => event,
                None => return Ok(None),
            },
        };
        match event {
            Event::Message(message) => Ok(self.batch(&message, max_records)),
            Event::Assigned(partitions) => self.assigned(partitions),
            Event::Revoked(partitions) => self.revoked(partitions),
            Event::Error { code, text, fatal } => self.error(code, text, fatal),
            Event::Log { level, facility, text } => {
                rdkafka::ClientContext::log(&**self.consumer.context(), level, &facility, &text);
                Ok(None)
            }
            Event::PartitionEnd { .. } | Event::Other => Ok(None),
        }
    }

    // --- records -----------------------------------------------------------------------------------------------------

    /// This record and all others that are there already, up to the limits.
    fn batch(&mut self, first: &Message, max_records: usize) -> Option<Polled> {
        let mut parts: Vec<PartitionRecords> = Vec::new();
        let (mut count, mut size) = (0, 0);
        let mut next = None;
        loop {
            let message = next.as_ref().unwrap_or(first);
            if let Some(source) = self.wanted(message) {
                let (record, bytes) = self.copier.copy(message);
                (count, size) = (count + 1, size + bytes);
                // Records of a partition come in runs.
                match parts.iter_mut().rev().find(|part| part.source == source) {
                    Some(part) => part.records.push(record),
                    None => parts.push(PartitionRecords {
                        source,
                        records: vec![record],
                    }),
                }
            }
            if count >= max_records || size >= BATCH_BYTES_MAX {
                break;
            }
            match self.queue.poll(Duration::ZERO) {
                Some(Event::Message(message)) => next = Some(message),
                Some(event) => {
                    self.later = Some(event);
                    break;
                }
                None => break,
            }
        }
        (!parts.is_empty()).then_some(Polled::Records(parts))
    }

    /// The record's partition, if it is active and the record is not from before its last start.
    fn wanted(&mut self, message: &Message) -> Option<TopicPartition> {
        let topic = self.topic(message.topic());
        let source = TopicPartition {
            topic,
            partition: message.partition(),
        };
        let partition = self.partitions.get(&source)?;
        (partition.active && message.offset() >= partition.from).then_some(source)
    }

    fn topic(&mut self, name: &[u8]) -> Arc<str> {
        if let Some(topic) = self.topics.iter().find(|topic| topic.as_bytes() == name) {
            return topic.clone();
        }
        let topic: Arc<str> = String::from_utf8_lossy(name).into();
        self.topics.push(topic.clone());
        topic
    }

    // --- membership --------------------------------------------------------------------------------------------------

    fn assigned(&mut self, partitions: Vec<(String, i32)>) -> Result<Option<Polled>, LogError> {
        let acknowledged = self.consumer.incremental_assign(&TopicPartitionList::new());
        acknowledged.map_err(|error| from_kafka(format!("accept partitions in {}", self.name), &error))?;
        let partitions = self.named(partitions);
        for partition in &partitions {
            self.partitions.insert(partition.clone(), Partition::default());
        }
        Ok((!partitions.is_empty()).then_some(Polled::Assigned(partitions)))
    }

    /// A revocation while we are no member any more is a loss, also where librdkafka has forgotten its flag (a member that
    /// polls too late during a rebalance: librdkafka#5604).
    fn revoked(&mut self, partitions: Vec<(String, i32)>) -> Result<Option<Polled>, LogError> {
        let lost = self.consumer.assignment_lost() || !Membership::of(self.consumer).is_some_and(|m| m.is_valid());
        let partitions = self.named(partitions);
        if lost || partitions.is_empty() {
            self.release(&partitions)?;
            return Ok((!partitions.is_empty()).then_some(Polled::Lost(partitions)));
        }
        for partition in &partitions {
            if let Some(partition) = self.partitions.get_mut(partition) {
                partition.active = false;
            }
        }
        self.revoking.extend(partitions.iter().cloned());
        Ok(Some(Polled::Revoked(partitions)))
    }

    fn complete_revocation(&mut self) -> Result<(), LogError> {
        let partitions = std::mem::take(&mut self.revoking);
        if partitions.is_empty() {
            return Ok(());
        }
        self.release(&partitions)
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            if self
                .partitions
                .remove(partition)
                .is_some_and(|partition| partition.started)
            {
                list.add_partition(&partition.topic, partition.partition);
            }
        }
        let released = self.consumer.incremental_unassign(&list);
        released.map_err(|error| from_kafka(format!("give up partitions of {}", self.name), &error))
    }

    fn named(&mut self, partitions: Vec<(String, i32)>) -> Vec<TopicPartition> {
        let name = |(topic, partition): (String, i32)| TopicPartition {
            topic: self.topic(topic.as_bytes()),
            partition,
        };
        partitions.into_iter().map(name).collect()
    }

    fn group_metadata(&self) -> Result<GroupMetadata, LogError> {
        match Membership::of(self.consumer) {
            Some(membership) if membership.is_valid() => Ok(GroupMetadata(Arc::new(membership))),
            // The broker would accept offsets sent with generation −1, from anybody.
            _ => Err(retriable(
                format!("read the membership of {}", self.name),
                "not a member of the group now",
            )),
        }
    }

    // --- positions ---------------------------------------------------------------------------------------------------

    fn start(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        let (mut assign, mut seek) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (name, offset) in positions {
            // Not ours any more, or not for long: the event that says so is on its way.
            let Some(partition) = self.partitions.get_mut(name) else {
                continue;
            };
            if self.revoking.contains(name) {
                continue;
            }
            let list = if partition.started { &mut seek } else { &mut assign };
            let added = list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*offset));
            added.map_err(|error| from_kafka(format!("start {name} at {offset} in {}", self.name), &error))?;
            *partition = Partition {
                started: true,
                active: true,
                from: *offset,
            };
        }
        let failed = |error: KafkaError| from_kafka(format!("start partitions of {}", self.name), &error);
        if assign.count() > 0 {
            self.consumer.incremental_assign(&assign).map_err(failed)?;
        }
        if seek.count() > 0 {
            self.seek(seek.clone())?;
            self.consumer.resume(&seek).map_err(failed)?;
        }
        Ok(())
    }

    /// Seeks and waits for the answers: a seek that isn't waited for fails silently where the fetcher has not started yet.
    fn seek(&self, mut list: TopicPartitionList) -> Result<(), LogError> {
        let until = Instant::now() + self.deadline;
        loop {
            let action = || format!("seek in {}", self.name);
            let sought = self.consumer.seek_partitions(list.clone(), left(until));
            list = sought.map_err(|error| retriable(action(), error))?;
            let refused = ffi::partition_errors(&list);
            let Some((partition, code)) = refused.first() else {
                return Ok(());
            };
            let passing = matches!(code, RDKafkaErrorCode::State | RDKafkaErrorCode::PreviousInProgress);
            if !passing || left(until).is_zero() {
                return Err(from_code(format!("seek {partition} in {}", self.name), *code, code));
            }
            std::thread::sleep(RETRY);
        }
    }

    fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        for name in partitions {
            if let Some(partition) = self.partitions.get_mut(name).filter(|partition| partition.active) {
                partition.active = false;
                list.add_partition(&name.topic, name.partition);
            }
        }
        let paused = if list.count() > 0 {
            self.consumer.pause(&list)
        } else {
            Ok(())
        };
        paused.map_err(|error| from_kafka(format!("stop partitions of {}", self.name), &error))
    }

    /// Asks until no transaction is open on these offsets: librdkafka requires stable ones because of the isolation level
    /// (`rd_kafka_committed`), gives up after a few tries, and so must be asked again.
    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        let until = Instant::now() + self.deadline;
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition);
        }
        loop {
            let action = || format!("read committed offsets of {}", self.name);
            let answer = self.consumer.committed_offsets(list.clone(), left(until));
            let (code, reason) = match answer {
                Ok(answered) => {
                    let answers = ffi::committed(&answered);
                    match answers
                        .iter()
                        .find_map(|answer| Some((answer.error?, &answer.partition)))
                    {
                        None => return Ok(ffi::in_order(partitions, answers)),
                        Some((code, partition)) => (code, format!("{partition}: {code}")),
                    }
                }
                Err(error) => match error.rdkafka_error_code() {
                    Some(code) => (code, error.to_string()),
                    None => return Err(fatal(action(), error)),
                },
            };
            let error = from_code(action(), code, reason);
            if !matches!(error, LogError::Retriable { .. }) || left(until).is_zero() {
                return Err(error);
            }
            std::thread::sleep(RETRY);
        }
    }

    fn error(&self, code: RDKafkaErrorCode, text: String, is_fatal: bool) -> Result<Option<Polled>, LogError> {
        use RDKafkaErrorCode as Code;
        let action = || format!("poll {}", self.name);
        match code {
            _ if is_fatal => Err(fatal(action(), text)),
            Code::AutoOffsetReset => Err(fatal(
                action(),
                format!("{text}: the log no longer keeps the offset to start at"),
            )),
            Code::UnknownTopicOrPartition | Code::UnknownTopic => Err(retriable(action(), text)),
            // librdkafka reconnects by itself and rejoins by itself; a loss of partitions has its own event.
            _ if !super::errors::is_hopeless(code) => {
                tracing::warn!(member = self.name, ?code, "{text}");
                Ok(None)
            }
            _ => Err(fatal(action(), text)),
        }
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
