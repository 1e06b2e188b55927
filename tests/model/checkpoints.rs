//! A model of the ledger as a log with checkpoints (docs/LEDGER.md).
//!
//! ```text
//!  group ── assigns ──> workers ── call by call ──> Kafka (markers come later, in any order)
//!                        │   ^                        │ input: requests, timers, the closing of a day
//!                        │   └────────────────────────┘
//!                        └────────> ledger store: `meta` with the index, `log`, two documents
//!                                   (two masters, the second one behind; each key may be lost alone)
//! ```
//!
//! There are one ledger of two documents, which are loaded when first needed, and two workers. A batch has one or two
//! records and any checkpoints; a write may also have checkpoints only. Decisions differ between acquisitions. Digests
//! of documents are the documents themselves, and those of log entries have 32 bits.
//!
//! The model of the protocol beside this one shows the clauses that don't change. Their omissions are not repeated
//! here.

mod clause;
mod deciding;
mod kafka;
mod rebuilding;
mod record;
mod shared;
mod store;
mod worker;

use self::kafka::Kafka;
use self::record::{DOCUMENTS, Document, Fold, Output};
use self::shared::{Shared, edit};
use self::store::{Ledger, Part};
use self::worker::{Next, Worker};
use super::Model;

pub use self::clause::Clause;
pub use self::record::Record;

/// Number of workers, and of `transactional.id`s.
const WORKERS: usize = 2;
/// Largest number of acquisitions and rebuilds: faults cause them, so that no run with all clauses has as many.
const TOKENS_MAX: u8 = 12;
/// Largest number of timers that are sent, as for `TOKENS_MAX`.
const TIMERS_MAX: usize = 6;

/// How often each fault may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// A worker dies.
    pub crashes: u8,
    /// The group asks the owner to give the partition up.
    pub revocations: u8,
    /// The group takes the partition away from a worker that it considers dead.
    pub expulsions: u8,
    /// The ledger's replica catches up.
    pub replications: u8,
    /// The replica becomes master (once).
    pub fail_overs: u8,
    /// The answer of the ledger store, or of the log to a commit, is lost.
    pub lost_replies: u8,
    /// The log refuses a commit: the transaction is aborted.
    pub aborts: u8,
    /// A key, or an entry of the log, vanishes.
    pub losses: u8,
    /// A key, or an entry of the log, is replaced by an older version, namely by that of any one earlier moment.
    pub restorations: u8,
    /// An owner's clock is ahead of the time of records.
    pub early: u8,
    /// A document is let go from the cache.
    pub evictions: u8,
}

/// The model and its bounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checkpoints {
    /// The clauses that are left out.
    pub without: &'static [Clause],
    /// The records, in the order in which they come.
    pub records: &'static [Record],
    /// Number of records that are there from the beginning.
    pub present: usize,
    /// Bits of the documents of the day that may be closed.
    pub day: u8,
    /// True if documents of the closed day stay in the store, although nothing names them.
    pub keeps_closed: bool,
    /// Largest number of records in a batch.
    pub batch_max: u8,
    /// True if a write may have checkpoints only.
    pub has_idle_checkpoints: bool,
    /// The faults that may happen.
    pub budget: Budget,
}

/// The complete state at one moment. States that follow each other share what is the same in both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    kafka: Shared<Kafka>,
    /// The ledger on the first master, and the one on its successor.
    masters: [Shared<Ledger>; 2],
    /// The replica's ledger, which takes the first master's place.
    replica: Shared<Ledger>,
    /// The ledger of an earlier moment, from which parts may come back.
    old: Option<Shared<Ledger>>,
    workers: [Shared<Worker>; WORKERS],
    /// Index of the present master.
    master: usize,
    /// The owner of the partition.
    owner: usize,
    /// The owner was asked to give the partition up.
    revoking: bool,
    /// True if the time of the timers has passed.
    is_time_up: bool,
    /// Number of records of the script that have arrived.
    arrived: usize,
    /// Number of tokens given out.
    tokens: u8,
    /// Number of rebuilds begun.
    rebuilds: u8,
    budget: Budget,
}

impl World {
    /// Gives the partition to a worker.
    fn assign(&mut self, owner: usize) {
        self.owner = owner;
        if self.workers[owner].next == Next::Wait {
            edit(&mut self.workers[owner]).next = Next::Acquire;
        }
    }

    /// Returns whether the run is longer than any that ends.
    fn is_endless(&self) -> bool {
        let is_timer = |(record, _): &(Record, u8)| matches!(record, Record::Timer { .. });
        self.tokens >= TOKENS_MAX || self.kafka.input().filter(is_timer).count() > TIMERS_MAX
    }

    fn worker_mut(&mut self, id: usize) -> &mut Worker {
        edit(&mut self.workers[id])
    }
}

/// A step of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The worker makes its next call, which the state before names.
    Call(usize, Next),
    /// The worker takes this many records, decides, and chooses checkpoints (bits of documents).
    Decide(usize, u8, u8),
    /// The worker commits its transaction.
    Commit(usize),
    /// The log refuses the worker's commit.
    CommitRefused(usize),
    /// The worker commits, and the answer is lost: its producer is unusable from then on.
    CommitUnanswered(usize),
    /// The worker writes to the ledger, and the answer is lost.
    Unanswered(usize, Next),
    /// The worker sends the timer of a document.
    SendTimer(usize, usize),
    /// The worker lets a document go.
    Evict(usize, usize),
    /// The worker reads a document again while a batch that changes it is under way.
    Reload(usize, usize),
    /// The idle worker finds its ledger changed.
    Look(usize),
    /// The worker notices that another server is master.
    Reconnect(usize),
    /// The worker gives the partition up, as it was asked to.
    GiveUp(usize),
    /// The worker dies.
    Crash(usize),
    /// The group asks for the partition.
    Revoke,
    /// The group gives the partition of a silent worker to the other.
    Expel,
    /// The group gives a dead worker's partition to the other.
    Inherit,
    /// An expelled worker learns of its expulsion.
    Hear(usize),
    /// A transaction's marker reaches a topic, the input or the offsets.
    Mark(usize, u8),
    /// The next record of the script arrives.
    Arrive,
    /// The time of the timers has passed.
    PassTime,
    /// The replica catches up.
    Replicate,
    /// The replica becomes master.
    FailOver,
    /// A part of the ledger vanishes.
    Lose(Part),
    /// The ledger of this moment will be the source of older versions.
    Remember,
    /// A part of the ledger is replaced by its older version.
    Restore(Part),
}

impl Checkpoints {
    /// Returns the state that the decided records make, or why their outputs are wrong.
    fn history(&self, world: &World) -> Result<(Fold, u8), &'static str> {
        let (outputs, offset) = world.kafka.decided();
        let mut outputs = outputs.iter().peekable();
        let mut fold = Fold::default();
        for (record, number) in world.kafka.input().filter(|(_, number)| *number < offset) {
            let answer = outputs.next_if(|output| output.record == number);
            if answer.map(|output| output.kind) != fold.decide(record, self.day) {
                return Err("a record is not answered, or not as the state before it demands");
            }
            if outputs.peek().is_some_and(|output| output.record == number) {
                return Err("a record is answered twice");
            }
            let Some(event) = answer.filter(|output| output.is_event()) else {
                continue;
            };
            let document = usize::from(event.document);
            if event.sequence != fold.sequence + 1 {
                return Err("a sequence is missing or repeated");
            }
            if event.touches(document) && event.before != fold.documents[document].fold {
                return Err("a record is decided on another state than the events before it make");
            }
            fold.add(event, self.day);
        }
        match outputs.next() {
            None => Ok((fold, offset)),
            Some(_) => Err("an output is committed without its record"),
        }
    }

    /// Returns whether a stored ledger is this fold.
    fn is_fold(&self, ledger: &Ledger, fold: &Fold) -> bool {
        let is_same = |document: usize| {
            let mut found = Document::default();
            if let Some(named) = ledger.meta.index[document] {
                match ledger.documents[document] {
                    Some(stored) if stored.head == named && stored.segments == named.answers => found = named,
                    _ => return false,
                }
            }
            let mut outputs = ledger.log.iter().filter(|entry| entry.next > ledger.meta.floor);
            let tail = |found: Document, output: &Output| match output.kind {
                record::Kind::Closed if self.is_of_day(document) => Document::default(),
                _ if output.touches(document) && output.sequence > found.sequence => found.after(output),
                _ => found,
            };
            let all = outputs.try_fold(found, |found, entry| Some(entry.outputs().fold(found, tail)));
            all == Some(fold.documents[document])
        };
        ledger.meta.closed == fold.closed && ledger.meta.sequence == fold.sequence && (0..DOCUMENTS).all(is_same)
    }

    fn of_worker(&self, world: &World, id: usize, steps: &mut Vec<Step>) {
        let worker = &world.workers[id];
        let budget = &world.budget;
        match worker.next {
            Next::Dead | Next::Stopped(_) => return,
            Next::Wait => {}
            Next::Run => {
                for count in u8::from(!self.has_idle_checkpoints)..=self.batch_max {
                    let checkpoints = u8::from(count == 0)..1 << DOCUMENTS;
                    steps.extend(checkpoints.map(|checkpoints| Step::Decide(id, count, checkpoints)));
                }
                if worker.is_uncommitted {
                    steps.push(Step::Commit(id));
                    steps.extend((budget.lost_replies > 0).then_some(Step::CommitUnanswered(id)));
                    steps.extend((budget.aborts > 0).then_some(Step::CommitRefused(id)));
                }
                if world.is_time_up || budget.early > 0 {
                    steps.extend((0..DOCUMENTS).map(|document| Step::SendTimer(id, document)));
                }
                if budget.evictions > 0 {
                    steps.extend((0..DOCUMENTS).map(|document| Step::Evict(id, document)));
                }
                steps.push(Step::Look(id));
                if world.revoking && world.owner == id && !worker.is_uncommitted {
                    steps.push(Step::GiveUp(id));
                }
                steps.extend((!worker.is_member).then_some(Step::Hear(id)));
            }
            call => {
                steps.push(Step::Call(id, call));
                let is_write = matches!(call, Next::Acquire | Next::Rebuild { .. } | Next::Apply | Next::Mark);
                if is_write && budget.lost_replies > 0 {
                    steps.push(Step::Unanswered(id, call));
                }
                if call == Next::CommitTimer && budget.aborts > 0 {
                    steps.push(Step::CommitRefused(id));
                }
                if call == Next::Apply && self.omits(Clause::KeepUnderWay) && budget.evictions > 0 {
                    steps.extend((0..DOCUMENTS).map(|document| Step::Reload(id, document)));
                }
            }
        }
        if worker.master != world.master {
            steps.push(Step::Reconnect(id));
        }
        if budget.crashes > 0 && world.workers[1 - id].next != Next::Dead {
            steps.push(Step::Crash(id));
        }
    }

    fn of_store(&self, world: &World, steps: &mut Vec<Step>) {
        let budget = &world.budget;
        if world.master == 0 && self.budget.fail_overs > 0 {
            steps.extend((budget.replications > 0).then_some(Step::Replicate));
            steps.extend((budget.fail_overs > 0).then_some(Step::FailOver));
        }
        let parts = |log: &[store::Entry]| {
            let keys = [Part::Meta, Part::Log, Part::Document(0), Part::Document(1)];
            let entries: Vec<Part> = log.iter().map(|entry| Part::Entry(entry.next)).collect();
            let index = self.omits(Clause::IndexInMeta).then_some(Part::Index);
            keys.into_iter().chain(index).chain(entries)
        };
        let present = &world.masters[world.master];
        if budget.losses > 0 {
            steps.extend(parts(&present.log).map(Step::Lose));
        }
        match &world.old {
            Some(old) => steps.extend(parts(&old.log).map(Step::Restore)),
            None if budget.restorations > 0 => steps.push(Step::Remember),
            None => {}
        }
    }

    /// Makes a call whose answer is lost.
    fn unanswered(&self, world: &mut World, id: usize) {
        world.budget.lost_replies -= 1;
        if world.workers[id].next == Next::Apply {
            self.apply_unanswered(world, id);
        } else {
            self.call(world, id);
            world.worker_mut(id).in_trouble();
        }
    }
}

impl Model for Checkpoints {
    type State = World;
    type Step = Step;

    fn beginning(&self) -> World {
        let mut world = World {
            budget: self.budget,
            arrived: self.present,
            ..World::default()
        };
        for record in &self.records[..self.present] {
            edit(&mut world.kafka).arrive(*record);
        }
        for id in 0..WORKERS {
            world.worker_mut(id).is_member = true;
        }
        world.worker_mut(0).next = Next::Acquire;
        world
    }

    fn steps(&self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        if world.is_endless() {
            return steps;
        }
        for id in 0..WORKERS {
            self.of_worker(world, id, &mut steps);
        }
        steps.extend(world.kafka.markers().map(|(id, marker)| Step::Mark(id, marker)));
        steps.extend((world.arrived < self.records.len()).then_some(Step::Arrive));
        let has_timers = self
            .records
            .iter()
            .any(|record| matches!(record, Record::Request { holds: true, .. }));
        steps.extend((has_timers && !world.is_time_up).then_some(Step::PassTime));
        let budget = &world.budget;
        let (owner, other) = (&world.workers[world.owner], &world.workers[1 - world.owner]);
        if !matches!(other.next, Next::Dead | Next::Stopped(_)) {
            steps.extend((owner.next == Next::Dead).then_some(Step::Inherit));
            steps.extend((budget.expulsions > 0 && owner.next != Next::Dead).then_some(Step::Expel));
            let can_revoke = budget.revocations > 0 && !world.revoking && owner.next != Next::Dead;
            steps.extend(can_revoke.then_some(Step::Revoke));
        }
        self.of_store(world, &mut steps);
        steps
    }

    fn after(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        let took_place = match step {
            Step::Call(id, _) => self.call(&mut world, id),
            Step::Decide(id, count, checkpoints) => self.decide(&mut world, id, count, checkpoints),
            Step::Commit(id) => self.commit_applied(&mut world, id),
            Step::CommitRefused(id) => {
                world.budget.aborts -= 1;
                world.worker_mut(id).in_trouble();
                true
            }
            Step::CommitUnanswered(id) => {
                world.budget.lost_replies -= 1;
                let took_place = self.commit_applied(&mut world, id);
                let worker = world.worker_mut(id);
                worker.has_producer = false;
                worker.in_trouble();
                took_place
            }
            Step::Unanswered(id, _) => {
                self.unanswered(&mut world, id);
                true
            }
            Step::SendTimer(id, document) => {
                if !world.is_time_up {
                    world.budget.early -= 1;
                }
                self.send_timer(&mut world, id, document)
            }
            Step::Evict(id, document) => {
                world.budget.evictions -= 1;
                Self::evict(&mut world, id, document)
            }
            Step::Reload(id, document) => {
                world.budget.evictions -= 1;
                self.reload(&mut world, id, document)
            }
            Step::Look(id) => self.look(&mut world, id),
            Step::Reconnect(id) => {
                world.worker_mut(id).master = world.master;
                true
            }
            Step::GiveUp(id) => {
                self.give_up(&mut world, id);
                true
            }
            Step::Crash(id) => {
                world.budget.crashes -= 1;
                world.worker_mut(id).die();
                true
            }
            Step::Revoke => {
                world.budget.revocations -= 1;
                world.revoking = true;
                true
            }
            Step::Expel | Step::Inherit => {
                world.budget.expulsions -= u8::from(step == Step::Expel);
                let owner = world.owner;
                world.worker_mut(owner).is_member = false;
                world.revoking = false;
                world.assign(1 - owner);
                true
            }
            Step::Hear(id) => {
                world.worker_mut(id).in_trouble();
                true
            }
            Step::Mark(id, marker) => {
                edit(&mut world.kafka).mark(id, marker);
                true
            }
            Step::Arrive => {
                edit(&mut world.kafka).arrive(self.records[world.arrived]);
                world.arrived += 1;
                true
            }
            Step::PassTime => {
                world.is_time_up = true;
                true
            }
            Step::Replicate => {
                world.budget.replications -= 1;
                let lags = world.replica != world.masters[0];
                world.replica = world.masters[0].clone();
                lags
            }
            Step::FailOver => {
                world.budget.fail_overs -= 1;
                world.masters[1] = std::mem::take(&mut world.replica);
                world.master = 1;
                true
            }
            Step::Lose(part) => {
                world.budget.losses -= 1;
                edit(&mut world.masters[world.master]).replace(part, &Ledger::default())
            }
            Step::Remember => {
                world.old = Some(world.masters[world.master].clone());
                true
            }
            Step::Restore(part) => {
                world.budget.restorations -= 1;
                let old = match world.budget.restorations {
                    0 => world.old.take(),
                    _ => world.old.clone(),
                };
                let ledger = edit(&mut world.masters[world.master]);
                old.is_some_and(|old| ledger.replace(part, &old))
            }
        };
        took_place.then_some(world)
    }

    fn check(&self, world: &World) -> Result<(), &'static str> {
        let stopped = world.workers.iter().find_map(|worker| match worker.next {
            Next::Stopped(why) => Some(why),
            _ => None,
        });
        if let Some(why) = stopped {
            return Err(why);
        }
        self.history(world)?;
        let budget = &world.budget;
        let lost = self.budget.losses - budget.losses + self.budget.restorations - budget.restorations;
        if budget.fail_overs == self.budget.fail_overs && world.rebuilds > lost {
            return Err("a ledger is rebuilt though nothing was lost");
        }
        match world.is_endless() {
            true => Err("it begins anew, or sends a timer, again and again"),
            false => Ok(()),
        }
    }

    fn check_at_rest(&self, _: &World) -> Result<(), &'static str> {
        Ok(())
    }

    fn is_complete(&self, world: &World) -> Option<bool> {
        let ledger = &world.masters[world.master];
        let is_applied = world.kafka.input().all(|(_, number)| number < ledger.meta.next);
        if !is_applied || world.arrived < self.records.len() || ledger.meta.is_rebuilding {
            return Some(false);
        }
        let Ok((fold, offset)) = self.history(world) else {
            return Some(false);
        };
        let is_ended = fold.documents.iter().all(|document| !document.due);
        Some(is_ended && ledger.meta.next == offset && self.is_fold(ledger, &fold))
    }

    fn is_fault(&self, step: Step) -> bool {
        match step {
            Step::CommitRefused(_)
            | Step::CommitUnanswered(_)
            | Step::Unanswered(..)
            | Step::Evict(..)
            | Step::Reload(..)
            | Step::Crash(_)
            | Step::Revoke
            | Step::Expel
            | Step::Replicate
            | Step::FailOver
            | Step::Lose(_)
            | Step::Remember
            | Step::Restore(_) => true,
            Step::Call(..)
            | Step::Decide(..)
            | Step::Commit(_)
            | Step::SendTimer(..)
            | Step::Look(_)
            | Step::Reconnect(_)
            | Step::GiveUp(_)
            | Step::Inherit
            | Step::Hear(_)
            | Step::Mark(..)
            | Step::Arrive
            | Step::PassTime => false,
        }
    }
}
