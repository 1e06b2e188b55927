//! Reads one partition outside of any group.
//!
//! Its position comes from records *and* from librdkafka's end-of-partition events, which name the offset reached. With
//! transactions, the last offsets of a partition are often markers or aborted records, which are never delivered, so
//! the offset after the last record would never reach the high watermark.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use interlock_streams::log::{LogError, Reader};
use interlock_streams::record::{Record, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use crate::config::KafkaConfig;
use crate::context::Context;
use crate::errors::{fatal, from_kafka, is_hopeless};
use crate::ffi::{Event, EventQueue, Message, Waker};
use crate::record_arena::RecordArena;

/// Bytes after which a batch ends.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest wait of one poll; the end of the reader wakes it.
const POLL_TIMEOUT: Duration = Duration::from_secs(1);

type Item = Result<Step, LogError>;

/// One step forward.
struct Step {
    records: Vec<Record>,
    /// Position after the step.
    position: i64,
}

/// Reads one partition.
pub(crate) struct KafkaReader {
    name: String,
    position: i64,
    /// Requests to the thread: the maximum number of records of the next step.
    requests: mpsc::Sender<usize>,
    waker: Waker,
    steps: async_mpsc::UnboundedReceiver<Item>,
    /// True if a requested step has not been taken yet.
    asked: bool,
    /// Records beyond what the caller wanted, and the position after them.
    rest: VecDeque<Record>,
    rest_position: i64,
}

impl KafkaReader {
    /// Starts reading.
    pub(crate) async fn open(config: &KafkaConfig, partition: &TopicPartition, from: i64) -> Result<Self, LogError> {
        let name = format!("{partition} at {}", config.place());
        let (requests, received) = mpsc::channel();
        let (sender, steps) = async_mpsc::unbounded_channel();
        let (ready, opened) = oneshot::channel();
        let waker = Waker::none();
        let start = Start {
            name: name.clone(),
            client: config.reader(),
            partition: partition.clone(),
            from,
            waker: waker.clone(),
        };
        thread::Builder::new()
            .name(format!("read {partition}"))
            .spawn(move || run(&start, &received, &sender, ready))
            .map_err(|error| fatal(format!("start a thread to read {name}"), error))?;
        opened
            .await
            .map_err(|_| fatal(format!("read {name}"), "its thread ended"))??;
        let rest = VecDeque::new();
        Ok(Self {
            name,
            position: from,
            requests,
            waker,
            steps,
            asked: false,
            rest,
            rest_position: from,
        })
    }

    fn take(&mut self, max_records: usize) -> Vec<Record> {
        let count = self.rest.len().min(max_records.max(1));
        let records: Vec<Record> = self.rest.drain(..count).collect();
        let following = match self.rest.is_empty() {
            true => Some(self.rest_position),
            false => records.last().map(|record| record.offset + 1),
        };
        self.position = following.unwrap_or(self.position).max(self.position);
        records
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Vec<Record>, LogError> {
        if self.rest.is_empty() {
            let ended = || fatal(format!("read {}", self.name), "its thread ended");
            if !self.asked {
                self.requests.send(max_records).map_err(|_| ended())?;
                self.asked = true;
            }
            let step = match tokio::time::timeout(wait, self.steps.recv()).await {
                Err(_) => return Ok(Vec::new()),
                Ok(step) => step.ok_or_else(ended)?,
            };
            self.asked = false;
            let step = step?;
            self.rest = step.records.into();
            self.rest_position = step.position;
        }
        Ok(self.take(max_records))
    }

    fn position(&self) -> i64 {
        self.position
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // Closes the channel, which the thread notices when it wakes.
        self.requests = mpsc::channel().0;
        self.waker.wake();
    }
}

struct Start {
    name: String,
    client: ClientConfig,
    partition: TopicPartition,
    from: i64,
    waker: Waker,
}

fn run(
    start: &Start,
    requests: &Receiver<usize>,
    steps: &async_mpsc::UnboundedSender<Item>,
    ready: oneshot::Sender<Result<(), LogError>>,
) {
    let consumer = match assign(start) {
        Ok(consumer) => consumer,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let Some(queue) = EventQueue::new(&consumer, start.waker.clone()) else {
        let _ = ready.send(Err(fatal(
            format!("read {}", start.name),
            "librdkafka has no queue for it",
        )));
        return;
    };
    let _ = ready.send(Ok(()));
    let mut fetcher = Fetcher {
        start,
        consumer: &consumer,
        queue: &queue,
        later: None,
        arena: RecordArena::default(),
    };
    while let Ok(max_records) = requests.recv() {
        loop {
            if let Some(step) = fetcher.poll(max_records).transpose() {
                if steps.send(step).is_err() {
                    return;
                }
                break;
            }
            if let Err(TryRecvError::Disconnected) = requests.try_recv() {
                return;
            }
        }
    }
}

fn assign(start: &Start) -> Result<BaseConsumer<Context>, LogError> {
    let action = || format!("read {} from {}", start.name, start.from);
    let context = Context::new(&*start.name);
    let consumer: BaseConsumer<Context> = start
        .client
        .create_with_context(context)
        .map_err(|error| from_kafka(action(), &error))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(
        &start.partition.topic,
        start.partition.partition,
        Offset::Offset(start.from),
    )
    .and_then(|()| consumer.assign(&list))
    .map_err(|error| from_kafka(action(), &error))?;
    Ok(consumer)
}

struct Fetcher<'a> {
    start: &'a Start,
    consumer: &'a BaseConsumer<Context>,
    queue: &'a EventQueue<'a>,
    later: Option<Event>,
    arena: RecordArena,
}

impl Fetcher<'_> {
    fn poll(&mut self, max_records: usize) -> Result<Option<Step>, LogError> {
        let event = match self.later.take() {
            Some(event) => event,
            None => match self.queue.poll(POLL_TIMEOUT) {
                Some(event) => event,
                None => return Ok(None),
            },
        };
        match event {
            Event::Message(message) => Ok(Some(self.batch(message, max_records))),
            Event::PartitionEnd { offset, .. } => Ok(Some(Step {
                records: Vec::new(),
                position: offset,
            })),
            Event::Error { code, text, fatal } => self.error(code, &text, fatal),
            Event::Log { level, facility, text } => {
                rdkafka::ClientContext::log(&**self.consumer.context(), level, &facility, &text);
                Ok(None)
            }
            Event::Assigned(_) | Event::Revoked(_) | Event::Other => Ok(None),
        }
    }

    fn batch(&mut self, first: Message, max_records: usize) -> Step {
        let (mut records, mut size) = (Vec::new(), 0);
        let mut message = first;
        loop {
            let record = self.arena.copy(&message);
            size += record.bytes();
            records.push(record);
            if records.len() >= max_records || size >= BATCH_BYTES_MAX {
                break;
            }
            match self.queue.poll(Duration::ZERO) {
                Some(Event::Message(next)) => message = next,
                Some(event) => {
                    self.later = Some(event);
                    break;
                }
                None => break,
            }
        }
        let position = records.last().map_or(self.start.from, |record| record.offset + 1);
        Step { records, position }
    }

    fn error(&self, code: RDKafkaErrorCode, text: &str, is_fatal: bool) -> Result<Option<Step>, LogError> {
        let action = || format!("read {} from {}", self.start.name, self.start.from);
        match code {
            RDKafkaErrorCode::AutoOffsetReset => Err(fatal(
                action(),
                format!("{text}: the log doesn't keep that offset (retention, or a new topic?)"),
            )),
            // The reader's group is only a name, and needs no rights.
            RDKafkaErrorCode::GroupAuthorizationFailed => Ok(None),
            RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopicOrPartition => {
                Err(fatal(action(), text))
            }
            _ if is_fatal || is_hopeless(code) => Err(fatal(action(), text)),
            _ => {
                tracing::warn!(partition = self.start.name, ?code, "{text}");
                Ok(None)
            }
        }
    }
}
