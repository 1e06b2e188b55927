//! Measures the pure part of a worker on a backlog, stage by stage: decode, decide, apply, encode, take the changes,
//! release settled outcomes. It uses one thread, without a server or the engine.
//!
//! ```sh
//! cargo run --release -p interlock-benches --bin drain -- 1000000    # requests; the shape of scripts/bench
//! ```
//!
//! The load is that of `scripts/bench`: 500 trains on 30 dates with very unequal demand, over eight ledgers that take
//! turns with batches of 500, so that the data of a command is seldom in a processor's cache. The last line is a hash
//! of all events: if two versions print different hashes, they decide differently.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first error"
)]

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use interlock_benches::{NOW, timetable};
use interlock_inventory::{Change, CommandContext, Decision, Ledger, Plan, SETTLED, apply, command_key, settled_field};
use interlock_loadgen::{Profile, Workload};
use interlock_schemas::{Command, Event, Payload as _, Text};
use rustc_hash::FxHashMap;

/// The worker's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LEDGERS: usize = 8;
const BATCH: usize = 500;
const REQUESTS: u64 = 300_000;
const SEED: u64 = 5;
const TOKEN: &str = "7b1f0c52-1f0e-4c57-9c3b-7d6f1f8f8a10";

const STAGES: [&str; 6] = ["decode", "decide", "apply", "encode", "changes", "settle"];

/// A command in its encoded form.
struct Request {
    key: String,
    /// Index of its record type.
    kind: usize,
    datum: Vec<u8>,
}

/// A ledger, and the settled outcomes in its store.
struct Partition {
    ledger: Ledger,
    requests: std::vec::IntoIter<Request>,
    sequence: i64,
    offset: i64,
    /// Bytes of the last batch's events, which the next buffer starts with.
    room: usize,
    store: FxHashMap<Vec<u8>, Vec<u8>>,
}

/// The time spent in each stage.
#[derive(Default)]
struct Measured {
    times: [Duration; STAGES.len()],
    events: u64,
    event_bytes: u64,
    fields: u64,
    field_bytes: u64,
    hash: DefaultHasher,
}

fn main() {
    let requests = std::env::args()
        .nth(1)
        .map_or(REQUESTS, |count| count.parse().expect("a number"));
    let services = timetable();
    let plans: FxHashMap<String, Arc<Plan>> = services
        .iter()
        .map(|service| {
            let plan = Plan::compile(service.clone()).expect("a valid plan");
            (service.train_id.to_string(), Arc::new(plan))
        })
        .collect();
    let profile = Profile::named("backlog").expect("a profile");
    let workload = Workload::new(&profile, &services, requests, None, SEED).expect("a load");
    let mut queues: Vec<Vec<Request>> = (0..LEDGERS).map(|_| Vec::new()).collect();
    for planned in workload {
        let request = written(&planned.command);
        queues[partition_of(&request.key)].push(request);
    }
    let mut partitions: Vec<Partition> = queues.into_iter().zip(0..).map(Partition::new).collect();
    let mut measured = Measured::default();
    while partitions.iter().any(|partition| partition.requests.len() > 0) {
        for partition in &mut partitions {
            partition.batch(&plans, &mut measured);
        }
    }
    measured.print(requests);
}

fn written(command: &Command) -> Request {
    let mut datum = Vec::new();
    command.encode_datum(&mut datum);
    let kind = Command::ACCEPTED
        .iter()
        .position(|(kind, _)| *kind == command.record_type());
    Request {
        key: command_key(command).to_string(),
        kind: kind.expect("one of them"),
        datum,
    }
}

fn partition_of(key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish() as usize % LEDGERS
}

impl Partition {
    fn new((requests, number): (Vec<Request>, i32)) -> Partition {
        Partition {
            ledger: Ledger::new(number, LEDGERS as i32),
            requests: requests.into_iter(),
            sequence: 0,
            offset: 0,
            room: 0,
            store: FxHashMap::default(),
        }
    }

    fn batch(&mut self, plans: &FxHashMap<String, Arc<Plan>>, measured: &mut Measured) {
        let token = Text::new(TOKEN);
        let batch: Vec<Request> = self.requests.by_ref().take(BATCH).collect();
        let mut clock = Clock::start(&mut measured.times);
        let commands: Vec<Command> = batch
            .iter()
            .map(|request| (Command::ACCEPTED[request.kind].1)(&request.datum).expect("as it was written"))
            .collect();
        clock.stop(0);
        for (request, command) in batch.iter().zip(&commands) {
            self.load(&request.key, command);
        }
        let mut events = Vec::new();
        clock.restart();
        for (command, request) in commands.into_iter().zip(&batch) {
            let train = request.key.split('|').next().unwrap_or_default();
            let at = CommandContext {
                ledger: self.ledger.number,
                next_sequence: self.sequence + 1,
                source_offset: self.offset,
                time: NOW,
                token: &token,
            };
            let decision = Decision::of(&self.ledger, &request.key, &command, || plans.get(train).cloned(), &at);
            drop(command);
            clock.stop(1);
            let decided = apply(&mut self.ledger, decision);
            clock.stop(2);
            self.offset += 1;
            self.sequence += decided.len() as i64;
            events.extend(decided);
        }
        clock.restart();
        let mut values = Vec::with_capacity(self.room);
        events.iter().for_each(|event: &Event| event.encode_datum(&mut values));
        self.room = values.len();
        measured.events += events.len() as u64;
        drop(events);
        clock.stop(3);
        let changes = self.ledger.take_changes();
        clock.stop(4);
        measured.count(&values, &changes);
        self.keep(changes);
        let mut clock = Clock::start(&mut measured.times);
        self.ledger.leave_in_store();
        clock.stop(5);
    }

    /// Loads the train-date of a command, as a worker does before it decides.
    fn load(&mut self, key: &str, command: &Command) {
        let needed: Vec<Vec<u8>> = self
            .ledger
            .outcomes_of_command(key, command)
            .map(settled_field)
            .collect();
        for field in needed {
            if let Some(value) = self.store.get(&stored_under(key, &field)) {
                self.ledger.load_outcome(key, &field, value).expect("as it was written");
            }
        }
    }

    fn keep(&mut self, changes: Vec<Change>) {
        for change in changes {
            if let (true, Some(value)) = (change.field.starts_with(SETTLED.as_bytes()), change.value) {
                self.store
                    .insert(stored_under(&change.document, &change.field), value.to_vec());
            }
        }
    }
}

fn stored_under(key: &str, field: &[u8]) -> Vec<u8> {
    [key.as_bytes(), field].concat()
}

/// Adds the elapsed time to the stages.
struct Clock<'a> {
    times: &'a mut [Duration; STAGES.len()],
    since: Instant,
}

impl<'a> Clock<'a> {
    fn start(times: &'a mut [Duration; STAGES.len()]) -> Self {
        Clock {
            times,
            since: Instant::now(),
        }
    }

    fn restart(&mut self) {
        self.since = Instant::now();
    }

    fn stop(&mut self, stage: usize) {
        let now = Instant::now();
        self.times[stage] += now - self.since;
        self.since = now;
    }
}

impl Measured {
    fn count(&mut self, values: &[u8], changes: &[Change]) {
        self.event_bytes += values.len() as u64;
        self.hash.write(values);
        for change in changes {
            self.fields += 1;
            self.field_bytes += (change.field.len() + change.value.as_ref().map_or(0, |value| value.len())) as u64;
        }
    }

    fn print(&self, requests: u64) {
        let per = |amount: f64| amount / requests as f64;
        for (stage, time) in STAGES.iter().zip(&self.times) {
            println!("{stage:8} {:6.0} ns", per(time.as_nanos() as f64));
        }
        let whole: Duration = self.times.iter().sum();
        println!(
            "{:8} {:6.0} ns for each of {requests} requests",
            "whole",
            per(whole.as_nanos() as f64)
        );
        println!(
            "{:.3} events of {:.0} bytes, {:.2} fields of {:.0} bytes with their names",
            per(self.events as f64),
            self.event_bytes as f64 / self.events as f64,
            per(self.fields as f64),
            self.field_bytes as f64 / self.fields as f64
        );
        println!("events {:016x}", self.hash.finish());
    }
}
