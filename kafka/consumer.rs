//! A member of a group: the asynchronous side.
//!
//! ```text
//!  stream thread                      consumer thread (`member.rs`)
//!  KafkaConsumer ── Command ────────> owns the rdkafka consumer; commands wake its poll
//!       ^                                   │
//!       └───────── Item (one at a time) ────┘
//! ```
//!
//! The thread answers each request with the records that have arrived, at most a batch, and polls only on request.
//! Further records stay in librdkafka's bounded queue, and `max.poll.interval.ms` detects a hung stream thread.
//!
//! Each `start` and `stop` has a number, and an item carries the number of the last one that the thread had seen. A
//! record is delivered only if its item is at least as new as the last `start` or `stop` of its partition. Older
//! records are thus dropped, even if the future of that call was dropped half-way.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use interlock_streams::log::{CommittedOffset, Consumer, ConsumerConfig, GroupMetadata, LogError, Polled};
use interlock_streams::record::{PartitionRecords, TopicPartition};
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc as async_mpsc, oneshot};

use crate::config::KafkaConfig;
use crate::errors::{fatal, retriable};
use crate::ffi::Waker;
use crate::gaps::Gaps;
use crate::member;

/// Time after the deadline by which the thread must have answered; its own calls end at the deadline.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// Margin by which a member counts as hung before librdkafka, which checks twice a second.
const OVERSLEPT_MARGIN: Duration = Duration::from_secs(1);

/// A request to the consumer thread.
pub(crate) enum Command {
    /// Asks for an item.
    Take(Take),
    Start {
        number: u64,
        positions: Vec<(TopicPartition, i64)>,
        reply: Reply<()>,
    },
    Stop {
        number: u64,
        partitions: Vec<TopicPartition>,
        reply: Reply<()>,
    },
    CompleteRevocation {
        reply: Reply<()>,
    },
    GroupMetadata {
        reply: Reply<GroupMetadata>,
    },
    Committed {
        partitions: Vec<TopicPartition>,
        reply: Reply<Vec<Option<CommittedOffset>>>,
    },
    Close {
        reply: Reply<()>,
    },
}

/// A request for one item. A newer request replaces one without an answer.
#[derive(Clone, Copy)]
pub(crate) struct Take {
    /// Number of the request.
    pub(crate) question: u64,
    pub(crate) max_records: usize,
    /// True to wait for an item; otherwise the answer may be [`Polled::Nothing`].
    pub(crate) waits: bool,
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, LogError>>;

/// An item from the consumer thread.
pub(crate) struct Item {
    /// Number of the last request that the thread had seen.
    pub(crate) question: u64,
    /// Number of the last `start` or `stop` before the item.
    pub(crate) number: u64,
    pub(crate) polled: Result<Polled, LogError>,
}

/// A member of a consumer group.
pub(crate) struct KafkaConsumer {
    name: String,
    deadline: Duration,
    commands: mpsc::Sender<Command>,
    waker: Waker,
    items: async_mpsc::UnboundedReceiver<Item>,
    /// Numbers of the last request and of the last answered one.
    asked: Option<Take>,
    answered: u64,
    /// The rest of a batch that was larger than the caller wanted.
    rest: VecDeque<Item>,
    /// Number of the last `start` or `stop`, of all and of each partition.
    number: u64,
    numbers: FxHashMap<TopicPartition, u64>,
    /// Offset after the last delivered record of each started partition.
    positions: FxHashMap<TopicPartition, i64>,
    gaps: Gaps,
}

impl KafkaConsumer {
    /// Creates the client and subscribes. Joining the group continues in the background.
    pub(crate) async fn join(config: &KafkaConfig, consumer: &ConsumerConfig) -> Result<Self, LogError> {
        let name = format!(
            "group {} ({}) at {}",
            consumer.group,
            consumer.client_id,
            config.place()
        );
        let (commands, received) = mpsc::channel();
        let (sender, items) = async_mpsc::unbounded_channel();
        let (ready, joined) = oneshot::channel();
        let (waker, gaps) = (Waker::none(), Gaps::default());
        let start = member::Start {
            name: name.clone(),
            client: config.consumer(consumer),
            topics: consumer.topics.clone(),
            deadline: config.call_deadline,
            overslept_after: config.max_poll_interval.saturating_sub(OVERSLEPT_MARGIN),
            protocol: config.group_protocol,
            waker: waker.clone(),
            gaps: gaps.clone(),
        };
        thread::Builder::new()
            .name(format!("consume {}", consumer.client_id))
            .spawn(move || member::run(&start, &received, &sender, ready))
            .map_err(|error| fatal(format!("start a thread for {name}"), error))?;
        joined
            .await
            .map_err(|_| fatal(format!("join {name}"), "its thread ended"))??;
        let (deadline, numbers) = (config.call_deadline, FxHashMap::default());
        Ok(Self {
            name,
            deadline,
            commands,
            waker,
            items,
            asked: None,
            answered: 0,
            rest: VecDeque::new(),
            number: 0,
            numbers,
            positions: FxHashMap::default(),
            gaps,
        })
    }

    fn tell(&self, command: Command) -> Result<(), LogError> {
        let ended = |_| fatal(format!("use {}", self.name), "its thread ended");
        self.commands.send(command).map_err(ended)?;
        self.waker.wake();
        Ok(())
    }

    async fn ask<T>(&self, action: &str, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply))?;
        let what = || format!("{action} in {}", self.name);
        match tokio::time::timeout(self.deadline + ANSWER_GRACE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(fatal(what(), "its thread ended")),
            Err(_) => Err(retriable(
                what(),
                format!("no answer within {:?}", self.deadline + ANSWER_GRACE),
            )),
        }
    }

    /// Requests an item, unless an answer is sure to come. A waiting request is of no use to a caller that cannot wait.
    fn ask_for_item(&mut self, max_records: usize, waits: bool) -> Result<(), LogError> {
        let pending = self.asked.filter(|take| take.question > self.answered);
        if pending.is_some_and(|take| waits || !take.waits) {
            return Ok(());
        }
        let take = Take {
            question: self.asked.map_or(0, |take| take.question) + 1,
            max_records,
            waits,
        };
        self.asked = Some(take);
        self.tell(Command::Take(take))
    }

    /// Returns a number for a `start` or `stop` of these partitions. From now on, older records of them are dropped.
    fn renumber<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) -> u64 {
        self.number += 1;
        for partition in partitions {
            self.numbers.insert(partition.clone(), self.number);
        }
        self.number
    }

    /// Returns the deliverable part of an item, and keeps surplus records for the next call.
    fn deliver(&mut self, item: Item, max_records: usize) -> Result<Option<Polled>, LogError> {
        let Item {
            question,
            number,
            polled,
        } = item;
        let mut parts = match polled? {
            Polled::Records(parts) => parts,
            event => {
                if let Polled::Assigned(partitions) | Polled::Revoked(partitions) | Polled::Lost(partitions) = &event {
                    for partition in partitions {
                        self.positions.remove(partition);
                    }
                }
                return Ok(Some(event));
            }
        };
        parts.retain(|part| self.numbers.get(&part.source).is_none_or(|latest| number >= *latest));
        let rest = split(&mut parts, max_records.max(1));
        if !rest.is_empty() {
            self.rest.push_front(Item {
                question,
                number,
                polled: Ok(Polled::Records(rest)),
            });
        }
        for part in &parts {
            if let (Some(position), Some(last)) = (self.positions.get_mut(&part.source), part.records.last()) {
                *position = last.offset + 1;
            }
        }
        Ok((!parts.is_empty()).then_some(Polled::Records(parts)))
    }
}

/// Leaves `max` records and returns the others.
fn split(parts: &mut Vec<PartitionRecords>, max: usize) -> Vec<PartitionRecords> {
    let mut room = max;
    let mut rest = Vec::new();
    for part in parts.iter_mut() {
        if part.records.len() > room {
            let records = part.records.split_off(room);
            rest.push(PartitionRecords {
                source: part.source.clone(),
                records,
            });
        }
        room -= part.records.len();
    }
    parts.retain(|part| !part.records.is_empty());
    rest
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError> {
        let until = Instant::now() + wait;
        loop {
            let item = match self.rest.pop_front() {
                Some(item) => item,
                None => {
                    self.ask_for_item(max_records, !wait.is_zero())?;
                    // A caller that cannot wait gets an answer at once, as long as the thread lives.
                    let left = match wait.is_zero() {
                        true => self.deadline + ANSWER_GRACE,
                        false => until.saturating_duration_since(Instant::now()),
                    };
                    match tokio::time::timeout(left, self.items.recv()).await {
                        Err(_) => return Ok(Polled::Nothing),
                        Ok(None) => return Err(fatal(format!("poll {}", self.name), "its thread ended")),
                        Ok(Some(item)) => {
                            self.answered = item.question;
                            item
                        }
                    }
                }
            };
            // There is no await since the item was taken, so it is either returned, or dropped because it is stale.
            if let Some(polled) = self.deliver(item, max_records)? {
                return Ok(polled);
            }
        }
    }

    async fn start(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        let number = self.renumber(positions.iter().map(|(partition, _)| partition));
        self.positions.extend(positions.iter().cloned());
        let positions = positions.to_vec();
        self.ask("start partitions", |reply| Command::Start {
            number,
            positions,
            reply,
        })
        .await
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let position = *self.positions.get(partition)?;
        Some(self.gaps.after(partition, position))
    }

    async fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let number = self.renumber(partitions.iter());
        for partition in partitions {
            self.positions.remove(partition);
        }
        let partitions = partitions.to_vec();
        self.ask("stop partitions", |reply| Command::Stop {
            number,
            partitions,
            reply,
        })
        .await
    }

    async fn complete_revocation(&mut self) -> Result<(), LogError> {
        self.ask("complete a revocation", |reply| Command::CompleteRevocation { reply })
            .await
    }

    async fn group_metadata(&mut self) -> Result<GroupMetadata, LogError> {
        self.ask("read the membership", |reply| Command::GroupMetadata { reply })
            .await
    }

    async fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        let partitions = partitions.to_vec();
        self.ask("read committed offsets", |reply| Command::Committed {
            partitions,
            reply,
        })
        .await
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        self.ask("leave", |reply| Command::Close { reply }).await
    }
}

impl Drop for KafkaConsumer {
    /// The thread sees that the commands end, and leaves the group.
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        let _ = self.tell(Command::Close { reply });
    }
}
