//! What must hold when everything has settled, found out from the log and the store alone.
//!
//! The commands are decided once more, in the order of their offsets, by one thread that keeps everything in memory: that
//! is what the workers must have done, whatever happened to them meanwhile. Only the tokens may differ.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use interlock_inventory::invariants::{EventAuditor, same_state};
use interlock_inventory::{Ledger, Plan, Provenance, TrainDate, command_key, decide, evolve};
use interlock_schemas::{Command, Decoder, Event, Text, topics, train_date_key};
use interlock_streams::ledger::LedgerStore as _;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::log::murmur2::partition_for_key;
use interlock_streams::policy::HOPS_HEADER;
use interlock_streams::record::{Record, TopicPartition};
use interlock_streams::window::MemorySink;

use super::workload::{contract, plans};

/// What doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant: `I1` to `I6`, `progress`, `stopped`, `oracle`, `forwarded`, `dead letters`.
    pub invariant: String,
    /// Where, and what was found instead.
    pub detail: String,
}

impl Violation {
    pub(super) fn new(invariant: &str, detail: impl Into<String>) -> Self {
        Self {
            invariant: invariant.to_owned(),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// What a run amounted to, so that one that shows nothing is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Events of all kinds.
    pub events: u64,
    /// Promotions from waitlists.
    pub promotions: u64,
    /// Repeated answers.
    pub replays: u64,
    /// Acquisitions whose events were committed: distinct tokens.
    pub tokens: u64,
}

/// The world as it is left behind.
pub(super) struct Remains<'a> {
    pub(super) log: &'a MemoryLog,
    pub(super) store: &'a MemoryLedgerStore,
    /// Where windows are kept.
    pub(super) sink: Option<&'a MemorySink>,
    pub(super) seed: u64,
    pub(super) partitions: i32,
}

impl Remains<'_> {
    /// Checks everything; the first violation is returned.
    pub(super) async fn check(&self) -> Result<Result<Amounts, Violation>> {
        let mut amounts = Amounts::default();
        let mut tokens = std::collections::BTreeSet::new();
        for ledger in 0..self.partitions {
            let events = self.events(ledger).await?;
            let checked = async {
                audit(&events)?;
                self.compare_with_oracle(ledger, &events).await?;
                self.compare_with_store(ledger, &events).await
            };
            if let Err(violation) = checked.await {
                return Ok(Err(violation));
            }
            for event in &events {
                let header = event.header();
                amounts.events += 1;
                amounts.promotions += u64::from(header.kind == interlock_schemas::EventKind::Promotion);
                amounts.replays += u64::from(header.replay);
                tokens.insert(header.token.clone());
            }
        }
        amounts.tokens = tokens.len() as u64;
        if let Err(violation) = self.compare_with_windows().await? {
            return Ok(Err(violation));
        }
        Ok(self.records_sent_on().await.map(|()| amounts))
    }

    fn records(&self, topic: &str, partition: i32) -> Vec<Record> {
        let source = TopicPartition::new(topic, partition);
        self.log.read(&source, 0, usize::MAX).expect("the topic exists")
    }

    /// The committed events of a ledger, in order of sequence.
    pub(super) async fn events(&self, ledger: i32) -> Result<Vec<Event>> {
        let mut decoder = Decoder::<Event>::new(contract().0.clone());
        let mut events = Vec::new();
        for topic in topics::EVENTS {
            for record in self.records(topic, ledger) {
                events.push(decoder.decode(record.value.as_deref().unwrap_or_default()).await?);
            }
        }
        events.sort_by_key(|event| event.header().sequence);
        Ok(events)
    }

    /// Decides the commands of a ledger once more.
    async fn compare_with_oracle(&self, ledger: i32, events: &[Event]) -> Result<(), Violation> {
        // Which version of a plan a train-date was opened with depends on who read it when; the event says it.
        let mut sold_by: BTreeMap<Text, Arc<Plan>> = BTreeMap::new();
        for event in events {
            if let Event::Opened(opened) = event {
                let mut service = (*opened.plan).clone();
                service.running_dates = vec![opened.header.travel_date];
                let key = train_date_key(&opened.header.train_id, opened.header.travel_date);
                let plan = Plan::compile(service).map_err(|error| {
                    Violation::new(
                        "oracle",
                        format!("ledger {ledger}: {key} is opened by a wrong plan: {error}"),
                    )
                })?;
                sold_by.insert(key, Arc::new(plan));
            }
        }
        let first: BTreeMap<Text, Arc<Plan>> = plans(self.seed, 1)
            .into_iter()
            .filter_map(|plan| Some((plan.train_id.clone(), Arc::new(Plan::compile(plan).ok()?))))
            .collect();
        let mut oracle = Ledger::new(ledger, self.partitions);
        let mut found = events.iter();
        let mut sequence = 0;
        let mut dead = Vec::new();
        let mut decoder = Decoder::<Command>::new(contract().0.clone());
        for record in self.records(topics::BOOKING_REQUESTS, ledger) {
            let Some(command) = decode(&mut decoder, &record).await else {
                dead.push(record);
                continue;
            };
            let key = command_key(&command);
            if partition_for_key(key.as_bytes(), self.partitions) != ledger {
                continue;
            }
            let (Command::Book(interlock_schemas::BookingRequest { train_id, .. })
            | Command::Cancel(interlock_schemas::CancellationRequest { train_id, .. })) = &command;
            let provenance = Provenance {
                ledger,
                next_sequence: sequence + 1,
                source_offset: record.offset,
                time: record.timestamp,
                token: &"oracle".into(),
            };
            let plan = sold_by.get(&key).or_else(|| first.get(train_id));
            for expected in decide(&oracle, &command, plan, &provenance) {
                evolve(&mut oracle, &expected);
                sequence += 1;
                let mut actual = found.next().cloned();
                if let Some(actual) = &mut actual {
                    actual.header_mut().token = "oracle".into();
                }
                if actual.as_ref() != Some(&expected) {
                    let detail = format!(
                        "ledger {ledger}, offset {}, sequence {sequence}:\nexpected {expected:?}\nfound    {actual:?}",
                        record.offset
                    );
                    return Err(Violation::new("oracle", detail));
                }
            }
        }
        if let Some(more) = found.next() {
            let detail = format!("ledger {ledger}: nothing causes {more:?}");
            return Err(Violation::new("oracle", detail));
        }
        self.dead_letters(ledger, &dead)
    }

    /// Every record that can't be decoded has one dead letter, byte for byte.
    fn dead_letters(&self, ledger: i32, dead: &[Record]) -> Result<(), Violation> {
        let letters = self.records(&topics::dlq(topics::BOOKING_REQUESTS), ledger);
        let offset = |letter: &Record| {
            let header =
                |(name, value): &(Arc<str>, Bytes)| (&**name == "__streams.errors.offset").then(|| value.clone());
            letter.headers.iter().find_map(header).unwrap_or_default()
        };
        let found: Vec<_> = letters
            .iter()
            .map(|l| (offset(l), l.key.clone(), l.value.clone()))
            .collect();
        let expected: Vec<_> = dead
            .iter()
            .map(|d| (Bytes::from(d.offset.to_string()), d.key.clone(), d.value.clone()))
            .collect();
        if found == expected {
            return Ok(());
        }
        let offsets = |letters: &[(Bytes, Option<Bytes>, Option<Bytes>)]| -> Vec<String> {
            letters
                .iter()
                .map(|(at, ..)| String::from_utf8_lossy(at).into_owned())
                .collect()
        };
        Err(Violation::new(
            "dead letters",
            format!(
                "ledger {ledger}: expected those of {:?}, found {:?}",
                offsets(&expected),
                offsets(&found)
            ),
        ))
    }

    /// Every decodable record in the wrong partition was sent on once.
    async fn records_sent_on(&self) -> Result<(), Violation> {
        let mut decoder = Decoder::<Command>::new(contract().0.clone());
        let mut copies: BTreeMap<(Option<Bytes>, Option<Bytes>), i64> = BTreeMap::new();
        for ledger in 0..self.partitions {
            for record in self.records(topics::BOOKING_REQUESTS, ledger) {
                let Some(key) = record.key.clone() else { continue };
                let is_copy = record.headers.iter().any(|(name, _)| &**name == HOPS_HEADER);
                let is_home = partition_for_key(&key, self.partitions) == ledger;
                if decode(&mut decoder, &record).await.is_none() {
                    continue;
                }
                let balance = copies.entry((Some(key), record.value.clone())).or_default();
                *balance += i64::from(is_copy) - i64::from(!is_home);
            }
        }
        match copies.into_iter().find(|(_, balance)| *balance != 0) {
            None => Ok(()),
            Some(((key, _), balance)) => Err(Violation::new(
                "forwarded",
                format!("a record of {key:?} was sent on {balance} times too often"),
            )),
        }
    }

    /// I5, and whether the store and the committed offset are where the events are.
    async fn compare_with_store(&self, ledger: i32, events: &[Event]) -> Result<(), Violation> {
        let wrong = |detail: String| Violation::new("I5", format!("ledger {ledger}: {detail}"));
        let mut folded = Ledger::new(ledger, self.partitions);
        for event in events {
            evolve(&mut folded, event);
        }
        let names = self.store.documents(ledger);
        let loaded = self
            .store
            .load(ledger, &names, None)
            .await
            .map_err(|e| wrong(e.to_string()))?;
        let mut keys: Vec<String> = folded.keys().map(str::to_owned).collect();
        keys.sort_unstable();
        let stored: Vec<String> = names
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .filter(|name| !name.is_empty())
            .collect();
        if keys != stored {
            return Err(wrong(format!(
                "the events are of {keys:?}, the documents of {stored:?}"
            )));
        }
        for (name, fields) in names.iter().zip(loaded) {
            let name = String::from_utf8_lossy(name);
            if name.is_empty() {
                let counter = Ledger::restore(ledger, self.partitions, fields).map_err(|e| wrong(e.to_string()))?;
                if counter.bookings != folded.bookings {
                    return Err(wrong(format!(
                        "{} bookings, the events say {}",
                        counter.bookings, folded.bookings
                    )));
                }
                continue;
            }
            let stored = TrainDate::from_fields(&name, fields).map_err(|e| wrong(format!("{name}: {e}")))?;
            let expected = folded.get(&name).cloned().unwrap_or_default();
            same_state(&expected, &stored).map_err(|e| wrong(format!("{name}: {e}")))?;
        }
        let state = self.store.state(ledger).await.map_err(|e| wrong(e.to_string()))?;
        let last = events.last().map_or(0, |event| event.header().sequence);
        if state.sequence != last {
            return Err(wrong(format!("sequence {}, the last event has {last}", state.sequence)));
        }
        Ok(())
    }
}

/// I1 to I4.
fn audit(events: &[Event]) -> Result<(), Violation> {
    let mut auditor = EventAuditor::new();
    let mut violations = Vec::new();
    for event in events {
        violations.extend(auditor.observe(event));
    }
    violations.extend(auditor.finish());
    match violations.first() {
        None => Ok(()),
        Some(first) => Err(Violation::new(
            first.invariant,
            format!("{} violations, the first: {first:?}", violations.len()),
        )),
    }
}

/// The command of a record, if it is one and lies under its train-date's key.
async fn decode(decoder: &mut Decoder<Command>, record: &Record) -> Option<Command> {
    let command = decoder.decode(record.value.as_deref()?).await.ok()?;
    let key = command_key(&command);
    interlock_inventory::TrainDateKey::parse(&key).ok()?;
    (record.key.as_deref()? == key.as_bytes()).then_some(command)
}
