//! Checks the invariants after everything has settled, from the log and the store alone.
//!
//! The commands are decided once more, in the order of their offsets, by one thread that keeps everything in memory:
//! that is what the workers must have done, whatever happened to them meanwhile. Only the tokens may differ.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use interlock_inventory::invariants::{EventAuditor, Invariant, same_state};
use interlock_inventory::{CommandContext, Ledger, Plan, TrainDate, command_key, decide, evolve};
use interlock_schemas::{Command, Decoder, Event, Text, VALUE_SCHEMA_HEADER, topics, train_date_key};
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::ledger::{Document, LedgerStore as _};
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::log::murmur2::partition_for_key;
use interlock_streams::policy::was_sent_on_to;
use interlock_streams::record::{Record, TopicPartition};
use interlock_streams::window::MemorySink;

use super::workload::{contract, plans};

/// A promise that every schedule must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// An invariant.
    Invariant(Invariant),
    /// Everything is answered in the end.
    Progress,
    /// No worker ends by itself.
    Running,
    /// The events are those of the oracle.
    Oracle,
    /// Every record is sent on once.
    Forwarded,
    /// Every record that can't be read is a dead letter.
    DeadLetters,
    /// The simulator itself does its work.
    Simulator,
}

impl From<Invariant> for Promise {
    fn from(invariant: Invariant) -> Self {
        Self::Invariant(invariant)
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invariant(invariant) => invariant.fmt(f),
            Self::Progress => f.write_str("progress"),
            Self::Running => f.write_str("stopped"),
            Self::Oracle => f.write_str("oracle"),
            Self::Forwarded => f.write_str("forwarded"),
            Self::DeadLetters => f.write_str("dead letters"),
            Self::Simulator => f.write_str("simulator"),
        }
    }
}

/// A promise that a schedule broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise that is broken.
    pub promise: Promise,
    /// Where, and what was found instead.
    pub detail: String,
}

impl Violation {
    pub(super) fn new(promise: impl Into<Promise>, detail: impl Into<String>) -> Self {
        Self {
            promise: promise.into(),
            detail: detail.into(),
        }
    }
}

/// The simulator itself could not go on.
impl From<anyhow::Error> for Violation {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Promise::Simulator, format!("{error:#}"))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.detail)
    }
}

/// The amounts of a run, so that a run without events is noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Events of all kinds.
    pub events: u64,
    /// Promotions from waitlists.
    pub promotions: u64,
    /// Repeated answers.
    pub replays: u64,
    /// Acquisitions whose events were committed: distinct tokens.
    pub tokens: u64,
    /// Bookings that each ledger has counted.
    pub bookings: Vec<i64>,
}

/// A layout of ledgers.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) ledgers: i32,
    /// From where they count bookings.
    pub(super) first_booking: i64,
    /// The offset up to which each decided under it; none as long as they do.
    pub(super) ends: Vec<i64>,
}

impl Stage {
    pub(super) fn first(ledgers: i32) -> Self {
        Self {
            ledgers,
            first_booking: 0,
            ends: Vec::new(),
        }
    }

    /// Is a ledger's record or event of this offset from before the end of this layout?
    fn is_before_end(&self, ledger: i32, source_offset: i64) -> bool {
        let end = usize::try_from(ledger).ok().and_then(|ledger| self.ends.get(ledger));
        self.ends.is_empty() || end.is_some_and(|end| source_offset < *end)
    }

    fn ledger_of(&self, key: &[u8]) -> i32 {
        partition_for_key(key, self.ledgers)
    }

    /// The same train-dates in the ledgers of this layout.
    fn lay_out(&self, before: Vec<Ledger>) -> Vec<Ledger> {
        let mut ledgers: Vec<Ledger> = (0..self.ledgers)
            .map(|number| {
                let mut ledger = Ledger::new(number, self.ledgers);
                ledger.bookings = self.first_booking;
                ledger
            })
            .collect();
        for mut ledger in before {
            let keys: Vec<String> = ledger.keys().map(str::to_owned).collect();
            for key in keys {
                if let Some(train_date) = ledger.remove(&key) {
                    ledgers[self.ledger_of(key.as_bytes()) as usize].insert(key.as_str(), train_date);
                }
            }
        }
        ledgers
    }
}

/// The world as it is left behind.
pub(super) struct Remains<'a> {
    pub(super) log: &'a MemoryLog,
    pub(super) store: &'a MemoryLedgerStore,
    /// The sink of the windows.
    pub(super) sink: Option<&'a MemorySink>,
    pub(super) seed: u64,
    /// Layouts of ledgers, the present one last.
    pub(super) stages: &'a [Stage],
}

impl Remains<'_> {
    /// Checks everything; the first violation is returned.
    pub(super) async fn check(&self) -> Result<Amounts, Violation> {
        let mut amounts = Amounts::default();
        let mut tokens = std::collections::BTreeSet::new();
        let mut events = Vec::new();
        for ledger in 0..self.partitions() {
            events.push(self.events(ledger).await?);
        }
        let folded = self.fold(&events);
        self.compare_with_oracle(&events).await?;
        self.audit(&events)?;
        for (folded, events) in folded.iter().zip(&events) {
            self.compare_with_store(folded, events).await?;
        }
        for event in events.iter().flatten() {
            let header = event.header();
            amounts.events += 1;
            amounts.promotions += u64::from(header.kind == interlock_schemas::EventKind::Promotion);
            amounts.replays += u64::from(header.replay);
            tokens.insert(header.token.clone());
        }
        amounts.tokens = tokens.len() as u64;
        amounts.bookings = folded.iter().map(|ledger| ledger.bookings).collect();
        self.compare_with_windows().await?;
        self.records_sent_on().await?;
        Ok(amounts)
    }

    pub(super) fn partitions(&self) -> i32 {
        self.stages.last().map_or(0, |stage| stage.ledgers)
    }

    /// Ledgers as the events make them, layout by layout.
    fn fold(&self, events: &[Vec<Event>]) -> Vec<Ledger> {
        let mut rest: Vec<_> = events.iter().map(|events| events.iter().peekable()).collect();
        let mut folded = Vec::new();
        for stage in self.stages {
            folded = stage.lay_out(folded);
            for (ledger, rest) in folded.iter_mut().zip(&mut rest) {
                let number = ledger.number;
                while let Some(event) = rest.next_if(|event| stage.is_before_end(number, event.header().source_offset))
                {
                    evolve(ledger, event);
                }
            }
        }
        folded
    }

    /// I1 to I4: each ledger judges the events of the train-dates that are its own now, whichever ledger decided them,
    /// and the numbers of all that it decided.
    fn audit(&self, events: &[Vec<Event>]) -> Result<(), Violation> {
        let Some(present) = self.stages.last() else {
            return Ok(());
        };
        for ledger in 0..present.ledgers {
            let (mut auditor, mut violations) = (EventAuditor::new(), Vec::new());
            let mut rest: Vec<_> = (0..)
                .zip(events.iter().map(|events| events.iter().peekable()))
                .collect();
            for stage in self.stages {
                for (decider, rest) in rest.iter_mut().take(stage.ledgers as usize) {
                    while let Some(event) =
                        rest.next_if(|event| stage.is_before_end(*decider, event.header().source_offset))
                    {
                        let header = event.header();
                        let key = train_date_key(&header.train_id, header.travel_date);
                        let is_here = present.ledger_of(key.as_bytes()) == ledger;
                        violations.extend(match (*decider == ledger, is_here) {
                            (true, true) => auditor.observe(event),
                            (true, false) => auditor.pass_over(event),
                            (false, true) => auditor.observe_elsewhere(event),
                            (false, false) => Vec::new(),
                        });
                    }
                }
            }
            violations.extend(auditor.finish());
            if let Some(first) = violations.first() {
                return Err(Violation::new(
                    first.invariant,
                    format!("{} violations, the first: {first:?}", violations.len()),
                ));
            }
        }
        Ok(())
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

    /// Decides all commands once more, layout by layout.
    async fn compare_with_oracle(&self, events: &[Vec<Event>]) -> Result<(), Violation> {
        let sold_by = plans_of(events)?;
        let first: BTreeMap<Text, Arc<Plan>> = plans(self.seed, 1)
            .into_iter()
            .filter_map(|plan| Some((plan.train_id.clone(), Arc::new(Plan::compile(plan).ok()?))))
            .collect();
        let mut found: Vec<_> = events.iter().map(|events| events.iter()).collect();
        let mut commands: Vec<_> = (0..self.partitions())
            .map(|ledger| self.records(topics::BOOKING_REQUESTS, ledger).into_iter().peekable())
            .collect();
        let mut sequences = vec![0; commands.len()];
        let mut dead = vec![Vec::new(); commands.len()];
        let mut decoder = Decoder::<Command>::new(contract().0.clone());
        let mut oracles = Vec::new();
        for stage in self.stages {
            oracles = stage.lay_out(oracles);
            for (at, oracle) in oracles.iter_mut().enumerate() {
                let ledger = oracle.number;
                while let Some(record) = commands[at].next_if(|record| stage.is_before_end(ledger, record.offset)) {
                    let Some(command) = decode(&mut decoder, &record).await else {
                        dead[at].push(record);
                        continue;
                    };
                    let key = command_key(&command);
                    if stage.ledger_of(key.as_bytes()) != ledger {
                        continue;
                    }
                    let (Command::Book(interlock_schemas::BookingRequest { train_id, .. })
                    | Command::Cancel(interlock_schemas::CancellationRequest { train_id, .. })) = &command;
                    let context = CommandContext {
                        ledger,
                        next_sequence: sequences[at] + 1,
                        source_offset: record.offset,
                        time: record.timestamp,
                        token: &"oracle".into(),
                    };
                    let plan = sold_by.get(&key).or_else(|| first.get(train_id));
                    for expected in decide(oracle, &command, plan, &context) {
                        evolve(oracle, &expected);
                        sequences[at] += 1;
                        let mut actual = found[at].next().cloned();
                        if let Some(actual) = &mut actual {
                            actual.header_mut().token = "oracle".into();
                        }
                        if actual.as_ref() != Some(&expected) {
                            let detail = format!(
                                "ledger {ledger}, offset {}, sequence {}:\nexpected {expected:?}\nfound    {actual:?}",
                                record.offset, sequences[at]
                            );
                            return Err(Violation::new(Promise::Oracle, detail));
                        }
                    }
                }
            }
        }
        for ((ledger, mut found), dead) in (0..).zip(found).zip(&dead) {
            if let Some(more) = found.next() {
                let detail = format!("ledger {ledger}: nothing causes {more:?}");
                return Err(Violation::new(Promise::Oracle, detail));
            }
            self.dead_letters(ledger, dead)?;
        }
        Ok(())
    }

    /// Every record that can't be decoded has one dead letter, byte for byte.
    fn dead_letters(&self, ledger: i32, dead: &[Record]) -> Result<(), Violation> {
        let letters = self.records(&topics::dlq(topics::BOOKING_REQUESTS), ledger);
        let offset = |letter: &Record| letter.header("__streams.errors.offset").cloned().unwrap_or_default();
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
            Promise::DeadLetters,
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
        for ledger in 0..self.partitions() {
            for record in self.records(topics::BOOKING_REQUESTS, ledger) {
                let stage = self
                    .stages
                    .iter()
                    .find(|stage| stage.is_before_end(ledger, record.offset));
                let Some(key) = record.key.clone() else { continue };
                let is_copy = was_sent_on_to(ledger, &record.headers);
                let is_home = stage.is_some_and(|stage| stage.ledger_of(&key) == ledger);
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
                Promise::Forwarded,
                format!("a record of {key:?} was sent on {balance} times too often"),
            )),
        }
    }

    /// I5, and whether the store and the committed offset are where the events are.
    async fn compare_with_store(&self, folded: &Ledger, events: &[Event]) -> Result<(), Violation> {
        let ledger = folded.number;
        let wrong = |detail: String| Violation::new(Invariant::I5, format!("ledger {ledger}: {detail}"));
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
        let state = self.store.state(ledger).await.map_err(|e| wrong(e.to_string()))?;
        for (name, Document { head, fields }) in names.iter().zip(loaded) {
            if head.as_ref() != state.index.get(name) {
                let named = state.index.get(name);
                return Err(wrong(format!("{name:?} has {head:?}, the index {named:?}")));
            }
            let name = String::from_utf8_lossy(name);
            if name.is_empty() {
                let counter = Ledger::restore(ledger, self.partitions(), fields).map_err(|e| wrong(e.to_string()))?;
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
        let last = events.last().map_or(0, |event| event.header().sequence);
        if state.sequence != last {
            return Err(wrong(format!("sequence {}, the last event has {last}", state.sequence)));
        }
        Ok(())
    }
}

/// The plan of each train-date. Which version it was opened with depends on who read it when; the event says it.
fn plans_of(events: &[Vec<Event>]) -> Result<BTreeMap<Text, Arc<Plan>>, Violation> {
    let mut sold_by = BTreeMap::new();
    for event in events.iter().flatten() {
        if let Event::Opened(opened) = event {
            let mut service = (*opened.plan).clone();
            service.running_dates = vec![opened.header.travel_date];
            let key = train_date_key(&opened.header.train_id, opened.header.travel_date);
            let plan = Plan::compile(service).map_err(|error| {
                Violation::new(Promise::Oracle, format!("{key} is opened by a wrong plan: {error}"))
            })?;
            sold_by.insert(key, Arc::new(plan));
        }
    }
    Ok(sold_by)
}

/// The command of a record, if it is one and lies under its train-date's key.
async fn decode(decoder: &mut Decoder<Command>, record: &Record) -> Option<Command> {
    let header = record.header(VALUE_SCHEMA_HEADER).map(|header| &header[..]);
    let command = decoder.decode_with(record.value.as_deref()?, header).await.ok()?;
    let key = command_key(&command);
    interlock_inventory::TrainDateKey::parse(&key).ok()?;
    (record.key.as_deref()? == key.as_bytes()).then_some(command)
}
