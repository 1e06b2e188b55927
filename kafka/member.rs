//! A member of a group: the thread that owns the rdkafka consumer and takes its records.
//!
//! `membership.rs` keeps track of the owned partitions, `positions.rs` of the offsets.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use interlock_streams::log::{LogError, Polled};
use interlock_streams::record::TopicPartition;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use crate::config::GroupProtocol;
use crate::consumer::{Command, Item, Take};
use crate::context::Context;
use crate::errors::{fatal, from_kafka, is_hopeless, retriable};
use crate::fetch_buffer::FetchBuffer;
use crate::ffi::{Event, EventQueue, Message, Waker};
use crate::gaps::Gaps;
use crate::membership::Partition;
use crate::record_arena::RecordArena;

/// Longest wait of one poll. Commands end it early.
const POLL_TIMEOUT: Duration = Duration::from_secs(1);

/// Parameters of the thread.
pub(crate) struct Start {
    pub(crate) name: String,
    pub(crate) client: ClientConfig,
    pub(crate) topics: Vec<String>,
    pub(crate) deadline: Duration,
    /// A member that polls later than this after its last poll may have lost its partitions without notice.
    pub(crate) overslept_after: Duration,
    pub(crate) protocol: GroupProtocol,
    pub(crate) waker: Waker,
    pub(crate) gaps: Gaps,
}

/// Subscribes, reports success or failure, and serves the consumer until it is closed or its handle is dropped.
pub(crate) fn run(
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
        consumer: &consumer,
        queue: &queue,
        start,
        last_poll: Instant::now(),
        overslept: false,
        topics: Vec::new(),
        partitions: FxHashMap::default(),
        revoking: Vec::new(),
        number: 0,
        later: None,
        arena: RecordArena::default(),
        buffer: FetchBuffer::default(),
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

pub(crate) struct Member<'a> {
    pub(crate) start: &'a Start,
    pub(crate) consumer: &'a BaseConsumer<Context>,
    queue: &'a EventQueue<'a>,
    /// Time of the last poll, and whether one was so late that librdkafka may have left the group.
    last_poll: Instant,
    pub(crate) overslept: bool,
    /// Topic names seen, so that records need no allocation for theirs. There are few, so a linear search finds them.
    topics: Vec<Arc<str>>,
    pub(crate) partitions: FxHashMap<TopicPartition, Partition>,
    /// Partitions named by [`Polled::Revoked`] whose revocation is not completed.
    pub(crate) revoking: Vec<TopicPartition>,
    /// Number of the last `start` or `stop`.
    number: u64,
    /// An event met while collecting a batch.
    later: Option<Event>,
    arena: RecordArena,
    /// Collected records; those of a stopped partition are dropped.
    pub(crate) buffer: FetchBuffer,
}

impl Member<'_> {
    /// Serves commands until the end. Returns the channel for the report that the member has left.
    fn serve(
        &mut self,
        commands: &Receiver<Command>,
        items: &UnboundedSender<Item>,
    ) -> Option<oneshot::Sender<Result<(), LogError>>> {
        let mut question = 0;
        let mut asked: Option<Take> = None;
        loop {
            // Waits for Kafka while there is a request (a command ends that wait), or else for commands.
            let command = match asked {
                Some(_) => match commands.try_recv() {
                    Ok(command) => Some(command),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return None,
                },
                None => Some(commands.recv().ok()?),
            };
            match (command, asked) {
                (Some(Command::Take(take)), _) => {
                    question = take.question;
                    asked = Some(take);
                }
                (Some(Command::Close { reply }), _) => return Some(reply),
                (Some(command), _) => self.obey(command),
                (None, Some(take)) => {
                    if let Some(polled) = self.poll(take).transpose() {
                        asked = None;
                        let number = self.number;
                        items
                            .send(Item {
                                question,
                                number,
                                polled,
                            })
                            .ok()?;
                    }
                }
                (None, None) => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        // The caller may have dropped its request.
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
            Command::Take(_) | Command::Close { .. } => {}
        }
    }

    fn poll(&mut self, take: Take) -> Result<Option<Polled>, LogError> {
        let event = match self.later.take() {
            Some(event) => event,
            None => {
                self.overslept |= self.last_poll.elapsed() >= self.start.overslept_after;
                let wait = if take.waits && self.buffer.is_empty() {
                    POLL_TIMEOUT
                } else {
                    Duration::ZERO
                };
                let event = self.queue.poll(wait);
                self.last_poll = Instant::now();
                match event {
                    Some(event) => event,
                    None => {
                        let nothing = || (!take.waits).then_some(Polled::Nothing);
                        return Ok(self.batch(take.max_records).or_else(nothing));
                    }
                }
            }
        };
        match event {
            Event::Message(message) => {
                self.collect(message);
                Ok(self.batch(take.max_records))
            }
            Event::Assigned(partitions) => self.assigned(partitions),
            Event::Revoked(partitions) => self.revoked(partitions),
            Event::Error { code, text, fatal } => self.error(code, text, fatal),
            Event::Log { level, facility, text } => {
                rdkafka::ClientContext::log(&**self.consumer.context(), level, &facility, &text);
                Ok(None)
            }
            Event::PartitionEnd {
                topic,
                partition,
                offset,
            } => {
                self.ended(&topic, partition, offset);
                Ok(None)
            }
            Event::Other => Ok(None),
        }
    }

    // --- records -----------------------------------------------------------------------------------------------------

    /// Collects this record and all others that have arrived, as long as there is room.
    fn collect(&mut self, first: Message) {
        let mut next = Some(first);
        while let Some(message) = next.take() {
            if let Some(source) = self.wanted(&message) {
                self.buffer.push(source, self.arena.copy(&message));
            }
            if self.buffer.is_full() {
                break;
            }
            match self.queue.poll(Duration::ZERO) {
                Some(Event::Message(message)) => next = Some(message),
                event => self.later = event,
            }
        }
    }

    fn batch(&mut self, max_records: usize) -> Option<Polled> {
        let parts = self.buffer.take(max_records);
        (!parts.is_empty()).then_some(Polled::Records(parts))
    }

    /// Returns the record's partition, if it is active and the record is not older than its last start.
    fn wanted(&mut self, message: &Message) -> Option<TopicPartition> {
        let topic = self.topic(message.topic());
        let source = TopicPartition {
            topic,
            partition: message.partition(),
        };
        let partition = self.partitions.get_mut(&source)?;
        if !partition.active || message.offset() < partition.from {
            return None;
        }
        partition.next = message.offset() + 1;
        Some(source)
    }

    /// Notes that there are no records from the last collected one up to `offset`.
    fn ended(&mut self, topic: &str, partition: i32, offset: i64) {
        let topic = self.topic(topic.as_bytes());
        let source = TopicPartition { topic, partition };
        if let Some(partition) = self.partitions.get(&source).filter(|partition| partition.active) {
            self.start.gaps.insert(source, partition.next..offset);
        }
    }

    pub(crate) fn topic(&mut self, name: &[u8]) -> Arc<str> {
        if let Some(topic) = self.topics.iter().find(|topic| topic.as_bytes() == name) {
            return topic.clone();
        }
        let topic: Arc<str> = String::from_utf8_lossy(name).into();
        self.topics.push(topic.clone());
        topic
    }

    // --- errors ------------------------------------------------------------------------------------------------------

    fn error(&mut self, code: RDKafkaErrorCode, text: String, is_fatal: bool) -> Result<Option<Polled>, LogError> {
        use RDKafkaErrorCode as Code;
        let name = &self.start.name;
        let action = || format!("poll {name}");
        match code {
            Code::PollExceeded => {
                tracing::warn!(member = &*self.start.name, "{text}");
                self.left()
            }
            _ if is_fatal => Err(fatal(action(), text)),
            Code::AutoOffsetReset => Err(fatal(
                action(),
                format!("{text}: the log no longer keeps the offset to start at"),
            )),
            Code::UnknownTopicOrPartition | Code::UnknownTopic => Err(retriable(action(), text)),
            // librdkafka reconnects and rejoins by itself; a loss of partitions has its own event.
            _ if !is_hopeless(code) => {
                tracing::warn!(member = &*self.start.name, ?code, "{text}");
                Ok(None)
            }
            _ => Err(fatal(action(), text)),
        }
    }
}
