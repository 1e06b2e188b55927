//! Runs the whole booking topology over in-process parts: log, ledger store and schema registry.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use interlock_inventory::command_key;
use interlock_inventory::invariants::EventAuditor;
use interlock_operate::topics::{TopicSettings, specs};
use interlock_schemas::registry::{Ids, MemoryRegistry, Registry, register_all};
use interlock_schemas::{Command, Decoder, Encoder, Event, TrainService, topics};
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::log::Log;
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::record::{OutputRecord, TopicPartition};
use interlock_streams::runtime::{Health, RuntimeConfig, Services, StreamThreads, start};
use interlock_streams::window::MemorySink;
use interlock_topologies::Context;

/// In-process services that several workers share.
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct World {
    pub log: MemoryLog,
    /// The ledger store.
    pub store: MemoryLedgerStore,
    /// The sink of the windows.
    pub sink: Arc<MemorySink>,
    pub registry: Arc<dyn Registry>,
    /// Ids of the registered schemas.
    pub ids: Ids,
    /// Partitions of the booking topics.
    pub partitions: i32,
}

impl World {
    /// Makes a world with all topics, still empty.
    pub async fn new(partitions: i32) -> Result<World> {
        let log = MemoryLog::new();
        log.create_topics(&specs(&TopicSettings::in_process(partitions)))
            .await?;
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
        let ids = register_all(&*registry, &topics::contract()).await?;
        Ok(World {
            log,
            store: MemoryLedgerStore::default(),
            sink: Arc::default(),
            registry,
            ids,
            partitions,
        })
    }

    /// Writes plans.
    pub fn seed(&self, plans: &[TrainService]) -> Result<()> {
        let encoder = Encoder::new(self.ids);
        for plan in plans {
            let mut value = Vec::new();
            encoder.encode(plan, &mut value)?;
            self.append(topics::TRAIN_SERVICES, Some(0), &plan.train_id, value)?;
        }
        Ok(())
    }

    /// Writes a command as a well-behaved client does.
    pub fn send(&self, command: &Command) -> Result<(i32, i64)> {
        self.send_to(None, command)
    }

    /// Writes a command to a partition that the sender chooses.
    pub fn send_to(&self, partition: Option<i32>, command: &Command) -> Result<(i32, i64)> {
        let mut value = Vec::new();
        Encoder::new(self.ids).encode(command, &mut value)?;
        self.append(topics::BOOKING_REQUESTS, partition, &command_key(command), value)
    }

    fn append(&self, topic: &str, partition: Option<i32>, key: &str, value: Vec<u8>) -> Result<(i32, i64)> {
        let record = OutputRecord {
            topic: topic.into(),
            partition,
            timestamp: None,
            key: Some(key.to_owned().into()),
            value: Some(value.into()),
            headers: Vec::new(),
        };
        let written = self.log.append(vec![record])?;
        written.into_iter().next().context("nothing was written")
    }

    /// Starts a worker with one stream thread of the booking topology.
    pub fn worker(&self, instance: &str) -> Result<(StreamThreads, Health)> {
        self.worker_of(&["booking"], instance)
    }

    /// Starts a worker with one stream thread of each of these topologies.
    pub fn worker_of(&self, names: &[&str], instance: &str) -> Result<(StreamThreads, Health)> {
        let context = Context {
            registry: self.registry.clone(),
            ids: self.ids,
        };
        let wanted = interlock_topologies::all()
            .iter()
            .filter(|definition| names.contains(&definition.name));
        let topologies = wanted
            .map(|definition| (definition.build)(&context))
            .collect::<Result<Vec<_>, _>>()?;
        let (log, store) = (Arc::new(self.log.clone()), Arc::new(self.store.clone()));
        let services = Services::shared(log, store, self.sink.clone());
        let health = Health::default();
        let config = RuntimeConfig::new("interlock", instance);
        Ok((start(&config, &topologies, &services, &health)?, health))
    }

    /// Returns all committed events of a ledger, in order of sequence.
    pub async fn events(&self, ledger: i32) -> Result<Vec<Event>> {
        let mut decoder = Decoder::<Event>::new(self.registry.clone());
        let mut events = Vec::new();
        for topic in topics::EVENTS {
            let source = TopicPartition::new(topic, ledger);
            let (low, high) = self.log.watermarks(&source).await?;
            let mut reader = self.log.reader(&source, low).await?;
            while reader.position() < high {
                let before = reader.position();
                for record in reader.next(10_000, Duration::from_secs(1)).await? {
                    events.push(decoder.decode(record.value.as_deref().unwrap_or_default()).await?);
                }
                if reader.position() == before {
                    break;
                }
            }
        }
        events.sort_by_key(|event| event.header().sequence);
        Ok(events)
    }

    /// Waits until `count` commands have an answer.
    pub async fn wait_for_answers(&self, count: usize, patience: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let mut answered = std::collections::BTreeSet::new();
            for ledger in 0..self.partitions {
                for event in self.events(ledger).await? {
                    let header = event.header();
                    if header.kind == interlock_schemas::EventKind::Answer {
                        answered.insert((ledger, header.source_offset));
                    }
                }
            }
            if answered.len() >= count {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{} of {count} commands are answered after {patience:?}", answered.len());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Checks I1 to I4 over all ledgers.
    pub async fn audit(&self) -> Result<usize> {
        let mut count = 0;
        for ledger in 0..self.partitions {
            let mut auditor = EventAuditor::new();
            let mut violations = Vec::new();
            for event in self.events(ledger).await? {
                violations.extend(auditor.observe(&event));
                count += 1;
            }
            violations.extend(auditor.finish());
            if let Some(violation) = violations.first() {
                bail!("{} violations, the first: {violation:?}", violations.len());
            }
        }
        Ok(count)
    }
}
