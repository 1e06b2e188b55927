//! A small installation in memory, with a worker that can be told to misbehave.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use interlock_inventory::{CommandContext, Ledger, Plan, decide, evolve};
use interlock_schemas::registry::{MemoryRegistry, register_all};
use interlock_schemas::{Command, Decoder, Encoder, Event, topics};
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::ledger::{DocumentWrites, FieldWrite, Holder, LedgerCommit, LedgerStore, Lineage, Token};
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::log::{
    CommittedOffset, Consumer, ConsumerConfig, Log, OffsetCommit, Polled, Producer, TopicSpec,
};
use interlock_streams::record::{OutputRecord, Record, TopicPartition};
use interlock_streams::runtime::log_entry;

use super::example::{TRAVEL_DATE, book, cancel, key, train};
use crate::report::{AuditReport, Verdict};
use crate::{Audit, AuditOptions};
use interlock_inventory::invariants::Invariant;

/// Partitions of all topics.
pub(super) const LEDGERS: i32 = 2;
/// When all commands arrive: a week before.
const NOW: i64 = (TRAVEL_DATE as i64 - 7) * 86_400_000;
const TOKEN: &str = "token-1";

/// Changes that the worker makes to the events of a command before it writes them.
pub(super) type Edit<'a> = &'a mut dyn FnMut(&mut Vec<Event>);

pub(super) struct World {
    pub(super) log: MemoryLog,
    pub(super) store: MemoryLedgerStore,
    pub(super) registry: Arc<MemoryRegistry>,
    encoder: Encoder,
    plan: Arc<Plan>,
    consumer: Box<dyn Consumer>,
    producer: Box<dyn Producer>,
    pub(super) ledgers: Vec<Worked>,
    pub(super) options: AuditOptions,
}

/// A ledger as the worker knows it.
pub(super) struct Worked {
    state: Ledger,
    pub(super) holder: Holder,
    pub(super) sequence: i64,
    pub(super) applied: Option<i64>,
}

impl World {
    pub(super) async fn new() -> World {
        let (log, store, registry) = (
            MemoryLog::new(),
            MemoryLedgerStore::default(),
            MemoryRegistry::default(),
        );
        let ids = register_all(&registry, &topics::contract()).await.unwrap();
        let dlq = topics::dlq(topics::BOOKING_REQUESTS);
        let names = topics::EVENTS.into_iter().chain([topics::BOOKING_REQUESTS, &dlq]);
        let spec = |name: &str| TopicSpec {
            name: name.to_owned(),
            partitions: LEDGERS,
            replication: 1,
            settings: Vec::new(),
        };
        log.create_topics(&names.map(spec).collect::<Vec<_>>()).await.unwrap();
        let group = ConsumerConfig {
            group: "app-booking".to_owned(),
            topics: vec![topics::BOOKING_REQUESTS.to_owned()],
            client_id: "worker".to_owned(),
            instance_id: None,
        };
        let mut consumer = log.consumer(&group).await.unwrap();
        let mut assigned = 0;
        while assigned < LEDGERS as usize {
            if let Polled::Assigned(more) = consumer.poll(1, Duration::from_millis(100)).await.unwrap() {
                assigned += more.len();
            }
        }
        let mut ledgers = Vec::new();
        for ledger in 0..LEDGERS {
            let token = Token(TOKEN.to_owned());
            let epoch = store.acquire(ledger, "worker", &token).await.unwrap().epoch;
            ledgers.push(Worked {
                state: Ledger::new(ledger, LEDGERS),
                holder: Holder { ledger, epoch, token },
                sequence: 0,
                applied: None,
            });
        }
        World {
            producer: log.producer("worker").await.unwrap(),
            log,
            store,
            registry: Arc::new(registry),
            encoder: Encoder::new(ids),
            plan: Arc::new(Plan::compile(train()).unwrap()),
            consumer,
            ledgers,
            options: AuditOptions {
                wait: Duration::ZERO,
                settled: false,
                violations_max: 50,
                parallel: 2,
            },
        }
    }

    /// Which ledger the train-date belongs to.
    pub(super) fn home(&self) -> i32 {
        interlock_streams::log::murmur2::partition_for_key(key().as_bytes(), LEDGERS)
    }

    /// Writes a command where its key belongs; gives its offset.
    pub(super) fn request(&self, command: &Command) -> i64 {
        self.request_to(self.home(), command)
    }

    pub(super) fn request_to(&self, partition: i32, command: &Command) -> i64 {
        self.append(topics::BOOKING_REQUESTS, partition, self.encoded(command), &[])
    }

    pub(super) fn encoded(&self, command: &Command) -> Vec<u8> {
        let mut value = Vec::new();
        self.encoder.encode(command, &mut value).unwrap();
        value
    }

    /// Writes a command in a transaction; gives the offset of its marker.
    pub(super) async fn request_in_transaction(&mut self, command: &Command) -> i64 {
        let (home, mut value) = (self.home(), Vec::new());
        self.encoder.encode(command, &mut value).unwrap();
        let record = OutputRecord {
            topic: topics::BOOKING_REQUESTS.into(),
            partition: Some(home),
            timestamp: Some(NOW),
            key: Some(key().into()),
            value: Some(value.into()),
            headers: Vec::new(),
        };
        self.producer.send(vec![record]);
        let next = self.waiting_offset(home);
        self.commit(home, next).await;
        let source = TopicPartition::new(topics::BOOKING_REQUESTS, home);
        self.log.watermarks(&source).await.unwrap().1 - 1
    }

    /// Writes a record outside of all transactions.
    pub(super) fn append(&self, topic: &str, partition: i32, value: Vec<u8>, headers: &[(&str, String)]) -> i64 {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).into(), Some(Bytes::from(value.clone()))));
        let record = OutputRecord {
            topic: topic.into(),
            partition: Some(partition),
            timestamp: Some(NOW),
            key: Some(key().into()),
            value: Some(value.into()),
            headers: headers.collect(),
        };
        self.log.append(vec![record]).unwrap()[0].1
    }

    /// The records of `booking-requests` that the worker has not come to.
    pub(super) fn waiting(&self, ledger: i32) -> Vec<Record> {
        let next = self.waiting_offset(ledger);
        self.log
            .read(&TopicPartition::new(topics::BOOKING_REQUESTS, ledger), next, 1_000)
            .unwrap()
    }

    /// Offset of the next record to apply.
    pub(super) fn waiting_offset(&self, ledger: i32) -> i64 {
        self.ledgers[ledger as usize].applied.map_or(0, |applied| applied + 1)
    }

    /// Decides what is there.
    pub(super) async fn work(&mut self) {
        self.work_with(&mut |_| {}).await;
    }

    /// Decides what is there; the events are edited before they are written, the store has them as they were.
    pub(super) async fn work_with(&mut self, edit: Edit<'_>) {
        for ledger in 0..LEDGERS {
            for record in self.waiting(ledger) {
                let command = Decoder::new(self.registry.clone())
                    .decode(record.value.as_deref().unwrap())
                    .await;
                let events = command
                    .map(|command| self.decide(ledger, &command, record.offset))
                    .unwrap_or_default();
                let mut written = events;
                edit(&mut written);
                self.apply(ledger, record.offset, &written).await;
            }
        }
    }

    fn decide(&mut self, ledger: i32, command: &Command, source_offset: i64) -> Vec<Event> {
        let worked = &mut self.ledgers[ledger as usize];
        let at = CommandContext {
            ledger,
            next_sequence: worked.sequence + 1,
            source_offset,
            time: NOW,
            token: &TOKEN.into(),
        };
        let events = decide(&worked.state, command, Some(&self.plan), &at);
        for event in &events {
            evolve(&mut worked.state, event);
        }
        worked.sequence += events.len() as i64;
        events
    }

    /// Writes the events' changes to the store, their records and the position to the log.
    pub(super) async fn apply(&mut self, ledger: i32, offset: i64, events: &[Event]) {
        self.store(ledger, offset).await;
        self.send(ledger, events);
        self.commit(ledger, offset + 1).await;
    }

    /// Decides the waiting records of the train-date, and stops before the log has their events.
    pub(super) async fn work_without_committing(&mut self) {
        let ledger = self.home();
        for record in self.waiting(ledger) {
            let value = record.value.as_deref().unwrap();
            let command = Decoder::new(self.registry.clone()).decode(value).await.unwrap();
            self.decide(ledger, &command, record.offset);
            self.store(ledger, record.offset).await;
        }
    }

    async fn store(&mut self, ledger: i32, offset: i64) {
        let worked = &mut self.ledgers[ledger as usize];
        let write = |change: interlock_inventory::Change| FieldWrite {
            document: Bytes::copy_from_slice(change.document.as_bytes()),
            field: change.field,
            value: change.value,
        };
        let state = self.store.state(ledger).await.unwrap();
        let (entry, chain) = log_entry(worked.applied, state.chain, offset, &[]);
        let writes = worked.state.take_changes().into_iter().map(write).collect();
        let commit = LedgerCommit {
            version: state.version,
            applied: offset,
            sequence: worked.sequence,
            lineage: Lineage(vec![(1, Token(TOKEN.to_owned()))]),
            documents: DocumentWrites::new(&state.index, writes, worked.sequence, &worked.holder.token, chain),
            entry,
            chain,
            trim: Vec::new(),
        };
        self.store.commit(&worked.holder, &commit).await.unwrap();
        worked.applied = Some(offset);
    }

    /// Sends events in the open transaction.
    pub(super) fn send(&mut self, ledger: i32, events: &[Event]) {
        let outputs = events.iter().map(|event| {
            let mut value = Vec::new();
            self.encoder.encode(event, &mut value).unwrap();
            OutputRecord {
                topic: topic_of(event).into(),
                partition: Some(ledger),
                timestamp: Some(NOW),
                key: Some(key().into()),
                value: Some(value.into()),
                headers: Vec::new(),
            }
        });
        self.producer.send(outputs.collect());
    }

    /// Commits the open transaction with a position.
    pub(super) async fn commit(&mut self, ledger: i32, offset: i64) {
        let sequence = self.ledgers[ledger as usize].sequence;
        let token = if sequence == 0 { "-" } else { TOKEN };
        let metadata = format!("il1 {sequence} {token} {LEDGERS}@0 worker");
        self.commit_as(ledger, offset, metadata).await;
    }

    pub(super) async fn commit_as(&mut self, ledger: i32, offset: i64, metadata: String) {
        let commit = OffsetCommit {
            source: TopicPartition::new(topics::BOOKING_REQUESTS, ledger),
            committed: CommittedOffset { offset, metadata },
        };
        let group = self.consumer.group_metadata().await.unwrap();
        self.producer.commit(vec![commit], group).await.unwrap();
    }

    /// Writes to a document behind the worker's back.
    pub(super) fn tamper(&self, document: &str, field: &str, value: Option<&[u8]>) {
        let (document, field) = (document.to_owned().into(), field.to_owned().into());
        let value = value.map(Bytes::copy_from_slice);
        self.store.set_field(self.home(), &document, &field, value);
    }

    /// Confirms two passengers, lets one wait, cancels the first and promotes the waiter; adds a replay, a refusal and
    /// a waiter.
    pub(super) async fn sell(&mut self) {
        for command in [
            book("b1", 1),
            book("b2", 1),
            book("b3", 1),
            book("b2", 1),
            cancel("c1", "b1"),
            book("none", 0),
            book("b4", 1),
        ] {
            self.request(&command);
        }
        self.work().await;
    }

    pub(super) async fn audit(&self) -> AuditReport {
        let (log, store) = (Arc::new(self.log.clone()), Arc::new(self.store.clone()));
        let audit = Audit::new(log, self.registry.clone(), store, "app", self.options.clone())
            .await
            .unwrap();
        audit.run(None).await.unwrap()
    }

    /// Audits; exactly these invariants are broken, and one of the violations says so.
    #[track_caller]
    pub(super) fn expect(report: &AuditReport, broken: &[Invariant], says: &str) {
        let found: Vec<Invariant> = report
            .invariants
            .iter()
            .filter(|line| line.verdict == Verdict::Broken)
            .map(|line| line.invariant)
            .collect();
        assert_eq!(found, broken, "{report:#?}");
        assert!(!report.holds());
        let said = report
            .violations
            .iter()
            .any(|v| format!("{}: {}", v.place, v.detail).contains(says));
        assert!(said, "`{says}` is not in\n{report:#?}");
    }

    /// Nothing is broken, and this could not be told.
    #[track_caller]
    pub(super) fn expect_untold(report: &AuditReport, says: &str) {
        assert!(report.violations.is_empty() && !report.holds(), "{report:#?}");
        assert!(
            report.inconclusive.iter().any(|reason| reason.reason.contains(says)),
            "{report:#?}"
        );
    }
}

pub(super) fn topic_of(event: &Event) -> &'static str {
    match event {
        Event::Confirmed(_) => topics::CONFIRMED,
        Event::Waitlisted(_) => topics::WAITLIST,
        Event::Cancelled(_) => topics::CANCELLED,
        Event::Rejected(_) => topics::REJECTED,
        Event::Opened(_) => topics::TRAIN_DATES,
    }
}
