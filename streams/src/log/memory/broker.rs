//! The broker's state, behind one lock: topics, transactional producers, groups, and their time-outs.
//!
//! Nothing here waits. A reader that waits for records, or a commit that waits for a held marker, sleeps outside the
//! lock and checks again when it is woken. All maps are ordered, so that the same calls have the same outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::groups::Group;
use super::journal::{Change, Queue, Then};
use super::partition::{OutOfRange, Partition, Retention, TransactionId};
use super::transactions::Coordinated;
use crate::log::murmur2::partition_for_key;
use crate::log::{LogError, TopicSpec};
use crate::record::{OutputRecord, Record, TopicPartition};

/// Kafka's `max.message.bytes` where a topic doesn't set it.
const MESSAGE_BYTES_MAX: usize = 1_048_588;

/// Time-outs, as the broker has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) session: Duration,
    pub(super) transaction: Duration,
}

/// The operations that a test holds back.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Transaction markers of these partitions.
    pub(super) markers: BTreeSet<TopicPartition>,
    /// Transaction markers of these groups' offsets.
    pub(super) offsets: BTreeSet<String>,
    /// The ends of these producers' transactions, on their way to the coordinator.
    pub(super) commits: BTreeSet<String>,
    /// Messages between groups and the members of these clients.
    pub(super) news: BTreeSet<String>,
}

pub(super) struct State {
    pub(super) timeouts: Timeouts,
    pub(super) bytes_max: usize,
    pub(super) topics: BTreeMap<Arc<str>, Topic>,
    pub(super) producers: BTreeMap<String, Coordinated>,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) held: Held,
    /// The journal that keeps changes; none if they end with the process.
    pub(super) journal: Option<Queue>,
    /// The reason why nothing can be kept any more.
    pub(super) broken: Option<String>,
    /// Wakes those who wait for transactions to be completed.
    pub(super) settled: Arc<Notify>,
    /// Wakes those who sleep until the next expiry, when it comes earlier than they thought.
    rearmed: Arc<Notify>,
    /// Nothing expires before this moment.
    next_expiry: Duration,
    now: Duration,
    timestamp: i64,
    last_id: u64,
}

/// A topic and the settings that matter here.
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    /// Its specification with the present number of partitions, as the journal keeps it.
    spec: TopicSpec,
    pub(super) partitions: Vec<Partition>,
    pub(super) retention: Retention,
    log_append_time: bool,
    message_bytes_max: usize,
    /// Partition of the next record without a key.
    next_keyless: usize,
}

impl State {
    pub(super) fn new(timeouts: Timeouts, bytes_max: usize, settled: Arc<Notify>, rearmed: Arc<Notify>) -> Self {
        Self {
            timeouts,
            bytes_max,
            topics: BTreeMap::new(),
            producers: BTreeMap::new(),
            groups: BTreeMap::new(),
            held: Held::default(),
            journal: None,
            broken: None,
            settled,
            rearmed,
            next_expiry: Duration::MAX,
            now: Duration::ZERO,
            timestamp: 0,
            last_id: 0,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn next_expiry(&self) -> Duration {
        self.next_expiry
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Sets the time and expires transactions, then members, whose time-out has passed.
    pub(super) fn advance(&mut self, now: Duration, timestamp: i64) {
        self.now = self.now.max(now);
        self.timestamp = timestamp;
        if self.now >= self.next_expiry {
            self.expire_transactions();
            self.expire_members();
            let transactions = self.producers.values().filter_map(Coordinated::expiry);
            let members = self.groups.values().flat_map(Group::expiries);
            self.next_expiry = transactions.chain(members).min().unwrap_or(Duration::MAX);
        }
    }

    /// Something will expire at this moment. An earlier moment is only ever forgotten by looking, in
    /// [`State::advance`]: a moment too early costs a look, one too late would be a time-out that doesn't come.
    pub(super) fn expires_at(&mut self, moment: Duration) {
        if moment < self.next_expiry {
            self.next_expiry = moment;
            self.rearmed.notify_waiters();
        }
    }

    /// Creates a topic; false where it exists already.
    pub(super) fn create_topic(&mut self, spec: &TopicSpec) -> Result<bool, LogError> {
        if self.topics.contains_key(spec.name.as_str()) {
            return Ok(false);
        }
        let topic = Topic::new(spec)?;
        self.topics.insert(Arc::clone(&topic.name), topic);
        self.journal_topic(spec.clone());
        Ok(true)
    }

    /// Adds partitions to a topic up to this number; returns whether any were added.
    pub(super) fn grow_topic(&mut self, name: &str, partitions: i32) -> Result<bool, LogError> {
        let Some(topic) = self.topics.get_mut(name) else {
            return Err(LogError::Fatal {
                action: format!("grow topic {name} to {partitions} partitions"),
                reason: "there is no such topic".to_owned(),
            });
        };
        let count = usize::try_from(partitions).unwrap_or(0);
        if topic.partitions.len() >= count {
            return Ok(false);
        }
        topic.partitions.resize_with(count, Partition::default);
        topic.spec.partitions = partitions;
        let spec = topic.spec.clone();
        self.journal_topic(spec);
        Ok(true)
    }

    fn journal_topic(&self, spec: TopicSpec) {
        if let Some(journal) = &self.journal {
            let change = Change {
                topics: vec![spec],
                ..Change::default()
            };
            // The writer thread is there as long as there is a sender.
            let _ = journal.send((change, Then::Nothing));
        }
    }

    /// Restores the contents of a journal.
    pub(super) fn restore(&mut self, history: Change) -> Result<(), LogError> {
        for spec in &history.topics {
            self.create_topic(spec)?;
        }
        for (partition, low) in history.low {
            let (found, _) = self.partition_mut(&partition).ok_or_else(|| unknown(&partition))?;
            found.begin_at(low);
        }
        for (partition, records) in history.records {
            let (found, _) = self.partition_mut(&partition).ok_or_else(|| unknown(&partition))?;
            found.restore(records);
        }
        for (group, offsets) in history.offsets {
            self.groups.entry(group).or_default().restore(offsets);
        }
        Ok(())
    }

    /// Bytes held, in all partitions.
    pub(super) fn bytes(&self) -> usize {
        let partitions = self.topics.values().flat_map(|topic| &topic.partitions);
        partitions.map(Partition::bytes).sum()
    }

    /// Gives new partitions of topics to those who are subscribed to them already.
    pub(super) fn announce(&mut self, topics: &BTreeSet<&str>) {
        let subscribed = |group: &Group| topics.iter().any(|topic| group.subscribes_to(topic));
        let groups = self.groups.iter().filter(|(_, group)| subscribed(group));
        let names: Vec<String> = groups.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.rebalance(&name);
        }
    }

    pub(super) fn partition(&self, partition: &TopicPartition) -> Option<&Partition> {
        let topic = self.topics.get(&partition.topic)?;
        topic.partitions.get(usize::try_from(partition.partition).ok()?)
    }

    pub(super) fn partition_mut(&mut self, partition: &TopicPartition) -> Option<(&mut Partition, Retention)> {
        let topic = self.topics.get_mut(&partition.topic)?;
        let found = topic.partitions.get_mut(usize::try_from(partition.partition).ok()?)?;
        Some((found, topic.retention))
    }

    /// Committed records and the position after them.
    pub(super) fn fetch(
        &self,
        partition: &TopicPartition,
        from: i64,
        max_records: usize,
    ) -> Result<(Vec<Record>, i64), LogError> {
        let found = self.partition(partition).ok_or_else(|| unknown(partition))?;
        found
            .fetch(from, max_records)
            .map_err(|OutOfRange { low, high }| LogError::Fatal {
                action: format!("read {partition} from offset {from}"),
                reason: format!("out of range: the partition has {low} to {high}"),
            })
    }

    /// Which partition a record goes to, or why it goes nowhere.
    pub(super) fn place(&mut self, record: &OutputRecord) -> Result<i32, String> {
        let Some(topic) = self.topics.get_mut(&record.topic) else {
            return Err(format!("no topic {}", record.topic));
        };
        topic.place(record)
    }

    /// Appends a record to a partition found by [`State::place`].
    pub(super) fn append(&mut self, record: OutputRecord, partition: i32, within: Option<TransactionId>) -> i64 {
        let timestamp = self.timestamp;
        let topic = self.topics.get_mut(&record.topic).expect("placed in this topic");
        let record_timestamp = if topic.log_append_time { None } else { record.timestamp };
        let index = usize::try_from(partition).expect("placed in this partition");
        let partition = &mut topic.partitions[index];
        let offset = partition.append(
            Record {
                offset: 0,
                timestamp: record_timestamp.unwrap_or(timestamp),
                key: record.key,
                value: record.value,
                headers: record.headers,
            },
            within,
        );
        partition.settle(topic.retention);
        offset
    }
}

impl Topic {
    fn new(spec: &TopicSpec) -> Result<Self, LogError> {
        let fatal = |reason: String| LogError::Fatal {
            action: format!("create topic {}", spec.name),
            reason,
        };
        let count = usize::try_from(spec.partitions).unwrap_or(0);
        if count == 0 || spec.name.is_empty() {
            return Err(fatal(format!("{} partitions, name {:?}", spec.partitions, spec.name)));
        }
        let mut topic = Self {
            name: Arc::from(spec.name.as_str()),
            spec: spec.clone(),
            partitions: std::iter::repeat_with(Partition::default).take(count).collect(),
            retention: Retention::default(),
            log_append_time: false,
            message_bytes_max: MESSAGE_BYTES_MAX,
            next_keyless: 0,
        };
        for (name, value) in &spec.settings {
            topic
                .set(name, value)
                .map_err(|()| fatal(format!("{name} can't be {value:?}")))?;
        }
        Ok(topic)
    }

    /// Takes the settings that have a meaning in memory and leaves the others alone. Negative limits mean none.
    fn set(&mut self, name: &str, value: &str) -> Result<(), ()> {
        let limit = || {
            value
                .parse::<i64>()
                .map(|limit| usize::try_from(limit).ok())
                .map_err(|_| ())
        };
        match name {
            "message.timestamp.type" => {
                self.log_append_time = match value {
                    "LogAppendTime" => true,
                    "CreateTime" => false,
                    _ => return Err(()),
                }
            }
            "retention.records" => self.retention.records = limit()?,
            "retention.bytes" => self.retention.bytes = limit()?,
            "max.message.bytes" => self.message_bytes_max = limit()?.ok_or(())?,
            _ => {}
        }
        Ok(())
    }

    fn place(&mut self, record: &OutputRecord) -> Result<i32, String> {
        let bytes = record.bytes();
        if bytes > self.message_bytes_max {
            return Err(format!("{bytes} bytes for {}, more than max.message.bytes", self.name));
        }
        let count = self.partitions.len();
        let partitions = i32::try_from(count).expect("made from an i32");
        match (record.partition, &record.key) {
            (Some(partition), _) if (0..partitions).contains(&partition) => Ok(partition),
            (Some(partition), _) => Err(format!("no partition {}[{partition}]", self.name)),
            (None, Some(key)) => Ok(partition_for_key(key, partitions)),
            (None, None) => {
                let partition = self.next_keyless;
                self.next_keyless = (partition + 1) % count;
                Ok(i32::try_from(partition).expect("less than an i32"))
            }
        }
    }
}

pub(super) fn unknown(partition: &TopicPartition) -> LogError {
    LogError::Fatal {
        action: format!("find {partition}"),
        reason: "no such topic or partition".to_owned(),
    }
}
