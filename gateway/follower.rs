//! Keeps the [`View`] up to date. The follower is the only member of its consumer group, reads plans and events from
//! the first ones kept, and never commits an offset.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use interlock_schemas::registry::Registry;
use interlock_schemas::topics::{BOOKING_REQUESTS, CANCELLED, CONFIRMED, REJECTED, TRAIN_SERVICES, WAITLIST};
use interlock_schemas::{DecodeError, Decoder, Event, Payload, Remedy, TrainService, VALUE_SCHEMA_HEADER};
use interlock_streams::log::{Consumer, ConsumerConfig, Log, LogError, Polled};
use interlock_streams::record::{PartitionRecords, Record, TopicPartition};
use interlock_streams::runtime::Health;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::MissedTickBehavior;

use crate::view::View;

/// Most records returned by one poll.
const RECORDS_PER_POLL: usize = 1_000;
/// Longest wait of a poll. What is not read after a poll without records belongs to open transactions.
const POLL: Duration = Duration::from_secs(1);
/// How often the follower asks whether a repartitioning has added partitions.
const GROWTH_INTERVAL: Duration = Duration::from_secs(2);
/// Pause before the follower asks the log or the registry again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Changes that a slow listener may be behind before it gets `Lagged`.
const CHANGES_MAX: usize = 1_024;
/// Name of the follower among the reasons why a gateway is not ready.
const FOLLOWER: &str = "follower";

/// A [`View`] that the follower keeps up to date. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Followed {
    view: Arc<RwLock<View>>,
    changes: broadcast::Sender<Arc<str>>,
    /// Set once all records that were there at the start have been read.
    up_to_date: Arc<AtomicBool>,
}

impl Followed {
    /// Returns whether all records that were there at the start have been read.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.up_to_date.load(Ordering::Acquire)
    }

    /// Locks the view for reading.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to the keys of the train-dates that change from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Arc<str>> {
        self.changes.subscribe()
    }

    fn write(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a train-date may have changed. Returns false if no further change can come.
pub(crate) async fn change_of(changes: &mut broadcast::Receiver<Arc<str>>, key: &str) -> bool {
    loop {
        match changes.recv().await {
            Ok(changed) if *changed != *key => {}
            // The changes that were missed may include one of this train-date.
            Ok(_) | Err(RecvError::Lagged(_)) => return true,
            Err(RecvError::Closed) => return false,
        }
    }
}

/// Reads plans and events and applies them to the view, until the process ends.
pub(crate) struct Follower {
    log: Arc<dyn Log>,
    group: String,
    health: Health,
    plans: Decoder<TrainService>,
    events: Decoder<Event>,
    /// The next offset of each partition.
    positions: FxHashMap<TopicPartition, i64>,
    /// The assigned partitions of which not all is read that was there at the start, and where that ends.
    unread: FxHashMap<TopicPartition, i64>,
    followed: Followed,
}

/// The reason why the follower cannot continue at the moment.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Registry(DecodeError),
    #[error("there are more partitions than before, and their events are not read yet")]
    Grown,
}

impl Follower {
    /// Creates a follower that has read nothing yet. No other consumer may use the group.
    pub(crate) fn new(log: Arc<dyn Log>, registry: Arc<dyn Registry>, group: String, health: Health) -> Self {
        health.set(FOLLOWER, Some("the existing events are still being read".to_owned()));
        Self {
            log,
            group,
            health,
            plans: Decoder::new(Arc::clone(&registry)),
            events: Decoder::new(registry),
            positions: FxHashMap::default(),
            unread: FxHashMap::default(),
            followed: Followed {
                view: Arc::default(),
                changes: broadcast::channel(CHANGES_MAX).0,
                up_to_date: Arc::default(),
            },
        }
    }

    /// Returns the view that the follower keeps up to date.
    pub(crate) fn followed(&self) -> Followed {
        self.followed.clone()
    }

    /// Follows without end. Reports trouble to the health and the log, and tries again.
    pub(crate) async fn run(mut self) {
        loop {
            let Err(trouble) = self.follow().await;
            tracing::warn!("the gateway's view is not up to date: {trouble}");
            if let Trouble::Grown = trouble {
                self.followed.up_to_date.store(false, Ordering::Release);
            }
            self.health.set(FOLLOWER, Some(trouble.to_string()));
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, Trouble> {
        let config = ConsumerConfig {
            group: self.group.clone(),
            topics: [TRAIN_SERVICES, CONFIRMED, WAITLIST, CANCELLED, REJECTED]
                .map(str::to_owned)
                .into(),
            client_id: self.group.clone(),
            instance_id: None,
        };
        let mut consumer = self.log.consumer(&config).await?;
        let mut assigned = FxHashSet::default();
        self.unread.clear();
        let mut growth = tokio::time::interval(GROWTH_INTERVAL);
        growth.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let polled = tokio::select! {
                polled = consumer.poll(RECORDS_PER_POLL, POLL) => polled?,
                _ = growth.tick() => {
                    if self.has_grown(&assigned).await? {
                        consumer.close().await?;
                        return Err(Trouble::Grown);
                    }
                    continue;
                }
            };
            match polled {
                Polled::Assigned(partitions) => {
                    self.start(&mut *consumer, &partitions).await?;
                    assigned.extend(partitions);
                }
                Polled::Revoked(partitions) => {
                    assigned.retain(|partition| !partitions.contains(partition));
                    consumer.complete_revocation().await?;
                }
                Polled::Lost(partitions) => assigned.retain(|partition| !partitions.contains(partition)),
                Polled::Nothing => self.unread.clear(),
                Polled::Records(records) => {
                    for records in records {
                        self.apply(records).await?;
                    }
                }
            }
            // The end may be that of a transaction's marker, which no record follows.
            self.unread
                .retain(|source, end| consumer.position(source).is_none_or(|position| position < *end));
            if !assigned.is_empty() && self.unread.is_empty() {
                self.followed.up_to_date.store(true, Ordering::Release);
                self.health.set(FOLLOWER, None);
            }
        }
    }

    /// Returns whether a repartitioning has added partitions. `booking-requests` grows after the topics of events.
    async fn has_grown(&self, assigned: &FxHashSet<TopicPartition>) -> Result<bool, LogError> {
        let followed = assigned.iter().filter(|partition| &*partition.topic == CONFIRMED);
        let (followed, partitions) = (followed.count(), self.log.partitions(BOOKING_REQUESTS).await?);
        Ok(followed > 0 && partitions.is_some_and(|partitions| partitions as usize > followed))
    }

    async fn start(&mut self, consumer: &mut dyn Consumer, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let mut positions = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let (low, high) = self.log.watermarks(partition).await?;
            let position = self.positions.get(partition).copied().unwrap_or(low);
            if position < high {
                self.unread.insert(partition.clone(), high);
            }
            positions.push((partition.clone(), position));
        }
        consumer.start(&positions).await
    }

    async fn apply(&mut self, PartitionRecords { source, records }: PartitionRecords) -> Result<(), Trouble> {
        for record in records {
            if &*source.topic == TRAIN_SERVICES {
                self.plan(&source, &record).await?;
            } else if let Some(event) = decode(&mut self.events, &source, &record).await? {
                let changed = self.followed.write().event(&event);
                // Fails if there is no receiver, which is fine.
                let _ = changed.map(|key| self.followed.changes.send(key));
            }
            self.positions.insert(source.clone(), record.offset + 1);
        }
        Ok(())
    }

    async fn plan(&mut self, source: &TopicPartition, record: &Record) -> Result<(), Trouble> {
        if record.value.is_none() {
            let train_id = record.key.as_deref().map(String::from_utf8_lossy);
            self.followed.write().forget_plan(&train_id.unwrap_or_default());
        } else if let Some(plan) = decode(&mut self.plans, source, record).await?
            && let Err(error) = self.followed.write().plan(plan)
        {
            tracing::warn!(%source, offset = record.offset, "the plan is ignored: {error}");
        }
        Ok(())
    }
}

/// Decodes a record. Returns `None` for one that cannot be read; the workers have refused it too.
async fn decode<P: Payload>(
    decoder: &mut Decoder<P>,
    source: &TopicPartition,
    record: &Record,
) -> Result<Option<P>, Trouble> {
    let header = record.header(VALUE_SCHEMA_HEADER).map(|header| &header[..]);
    let value = record.value.as_deref().unwrap_or_default();
    match decoder.decode_with(value, header).await {
        Ok(decoded) => Ok(Some(decoded)),
        Err(error) if error.remedy() == Remedy::Reject => {
            tracing::warn!(%source, offset = record.offset, "the record is ignored: {error}");
            Ok(None)
        }
        Err(error) => Err(Trouble::Registry(error)),
    }
}
