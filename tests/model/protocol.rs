//! A model of the ledger protocol (docs/PROTOCOL.md, sections 2 and 3).
//!
//! ```text
//!  group ── assigns ──> workers ── call by call ──> Kafka (markers come later, in any order)
//!                          └──────────────────────> ledger store (two masters, the second one behind)
//! ```
//!
//! There are one ledger of two documents, two workers and at most three input records. The events of each document have
//! a topic of their own; one record may leave no event, like dead letters and forwarded records. A batch has one or two
//! records, a transaction any number. Decisions differ between acquisitions. No time-out ends a transaction: a worker
//! that would have to wait for one counts as stopped.

mod kafka;
mod store;
mod worker;

use self::kafka::{Kafka, after};
use self::store::Store;
use self::worker::{Next, Worker};
use super::Model;

pub use interlock_streams::mutation::Clause;

/// Number of workers, and of `transactional.id`s.
const WORKERS: usize = 2;
/// Number of documents of the ledger.
const DOCUMENTS: usize = 2;
/// Largest number of acquisitions and rebuilds.
const TOKENS_MAX: u8 = 12;

/// Returns the document of a record; its event goes to the topic of the same number.
fn document(record: u8) -> usize {
    usize::from(record / 2) % DOCUMENTS
}

/// Most occurrences of each fault.
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
}

/// The state in which a run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beginning {
    /// Everything is empty.
    #[default]
    Empty,
    /// Worker 0 has committed the first record, given the ledger up and acquired it again.
    Released,
    /// Worker 0 has committed the first record and continues; the replica lacks it.
    Running,
    /// As `Running`, and the replica has become master already; worker 0 has not noticed.
    FailedOver,
}

/// The model and its bounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protocol {
    /// The clause that is left out.
    pub without: Option<Clause>,
    /// Number of input records.
    pub records: u8,
    /// The record that leaves no event: a dead letter, or a forwarded record.
    pub aside: Option<u8>,
    /// Largest number of records in a batch.
    pub batch_max: u8,
    /// The faults that may happen.
    pub budget: Budget,
    /// Where it begins.
    pub beginning: Beginning,
}

/// The complete state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct World {
    /// The log.
    pub kafka: Kafka,
    /// The ledger.
    pub store: Store,
    pub workers: [Worker; WORKERS],
    /// The owner of the partition.
    pub owner: usize,
    /// The owner was asked to give the partition up.
    pub revoking: bool,
    /// Number of tokens given out.
    pub tokens: u8,
    budget: Budget,
}

impl World {
    /// Gives the partition to a worker.
    pub fn assign(&mut self, owner: usize) {
        self.owner = owner;
        let worker = &mut self.workers[owner];
        if worker.next == Next::Wait {
            worker.next = Next::Acquire;
        }
    }
}

/// A step of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The worker makes its next call, which the state before names.
    Call(usize, Next),
    /// The worker takes this many records and decides.
    Decide(usize, u8),
    /// The worker commits its transaction.
    Commit(usize),
    /// The log refuses the worker's commit.
    CommitRefused(usize),
    /// The worker commits, and the answer is lost: its producer is unusable from then on.
    CommitUnanswered(usize),
    /// The worker writes to the ledger, and the answer is lost.
    ApplyUnanswered(usize),
    /// The idle worker finds its ledger changed.
    Check(usize),
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
    /// An expelled worker learns of its expulsion.
    Hear(usize),
    /// A transaction's marker reaches a topic, or the offsets.
    Mark(usize, u8),
    /// The replica catches up.
    Replicate,
    /// The replica becomes master.
    FailOver,
}

/// Returns whether the committed outputs answer each record below the offset once, in order, and whether each event was
/// decided on the document that the events before it make.
fn has_one_history(world: &World) -> bool {
    let (mut outputs, offset) = world.kafka.decided();
    outputs.sort_unstable_by_key(|output| (output.record, output.sequence));
    if !outputs.iter().map(|output| output.record).eq(0..offset) {
        return false;
    }
    let mut documents = [0; DOCUMENTS];
    let mut sequence = 0;
    outputs.iter().filter(|output| output.sequence > 0).all(|event| {
        let document = &mut documents[document(event.record)];
        let is_next = event.before == *document && event.sequence == sequence + 1;
        *document = after(*document, *event);
        sequence = event.sequence;
        is_next
    })
}

impl Protocol {
    /// Returns whether everything is answered and the ledger is the fold of the events (I5).
    fn is_complete(&self, world: &World) -> bool {
        let ledger = world.store.ledger(world.store.master);
        let (outputs, offset) = world.kafka.decided();
        let mut documents = [0; DOCUMENTS];
        for event in outputs.iter().filter(|output| output.sequence > 0) {
            let document = &mut documents[document(event.record)];
            *document = after(*document, *event);
        }
        offset == self.records && ledger.next == self.records && ledger.documents == documents
    }

    /// Lets worker 0 answer the first record.
    fn first_record(&self, world: &mut World) {
        let all = Protocol { without: None, ..*self };
        for _ in 0..4 {
            all.call(world, 0);
        }
        all.decide(world, 0, 1);
        all.call(world, 0);
        all.call(world, 0);
        all.commit_applied(world, 0);
        world.kafka.mark_all(0);
        if self.beginning == Beginning::FailedOver {
            world.store.fail_over();
            world.workers[1].master = 1;
        }
        if self.beginning == Beginning::Released {
            all.give_up(world, 0);
            world.assign(0);
            world.workers[1].next = Next::Wait;
            world.store.replicate();
        }
    }

    fn of_worker(&self, world: &World, id: usize, steps: &mut Vec<Step>) {
        let worker = &world.workers[id];
        let budget = &world.budget;
        match worker.next {
            Next::Dead | Next::Stopped(_) => return,
            Next::Wait => {
                // This happens only if the clause that forbids it is left out.
                if worker.is_uncommitted {
                    steps.push(Step::Commit(id));
                }
            }
            Next::Run => {
                let left = self.records.saturating_sub(worker.ledger.next);
                steps.extend((1..=left.min(self.batch_max)).map(|count| Step::Decide(id, count)));
                if worker.is_uncommitted {
                    steps.push(Step::Commit(id));
                    steps.extend((budget.lost_replies > 0).then_some(Step::CommitUnanswered(id)));
                    steps.extend((budget.aborts > 0).then_some(Step::CommitRefused(id)));
                }
                steps.push(Step::Check(id));
                let is_settled = !worker.is_uncommitted || self.without == Some(Clause::SettleBeforeRevocation);
                if world.revoking && world.owner == id && is_settled {
                    steps.push(Step::GiveUp(id));
                }
                steps.extend((!worker.is_member).then_some(Step::Hear(id)));
            }
            call => {
                steps.push(Step::Call(id, call));
                if call == Next::Apply && budget.lost_replies > 0 {
                    steps.push(Step::ApplyUnanswered(id));
                }
            }
        }
        if worker.master != world.store.master {
            steps.push(Step::Reconnect(id));
        }
        if budget.crashes > 0 {
            steps.push(Step::Crash(id));
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Step = Step;

    fn beginning(&self) -> World {
        let mut world = World {
            budget: self.budget,
            ..World::default()
        };
        for worker in &mut world.workers {
            worker.is_member = true;
        }
        world.workers[0].next = Next::Acquire;
        if self.beginning != Beginning::Empty {
            self.first_record(&mut world);
        }
        world
    }

    fn steps(&self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        if world.tokens >= TOKENS_MAX {
            return steps;
        }
        for id in 0..WORKERS {
            self.of_worker(world, id, &mut steps);
        }
        steps.extend(world.kafka.markers().map(|(id, marker)| Step::Mark(id, marker)));
        let budget = &world.budget;
        let (owner, other) = (&world.workers[world.owner], &world.workers[1 - world.owner]);
        let can_move = !matches!(other.next, Next::Dead | Next::Stopped(_));
        if can_move && (budget.expulsions > 0 || owner.next == Next::Dead) {
            steps.push(Step::Expel);
        }
        if can_move && budget.revocations > 0 && !world.revoking && owner.next != Next::Dead {
            steps.push(Step::Revoke);
        }
        if world.store.master == 0 && self.budget.fail_overs > 0 {
            steps.extend((budget.replications > 0).then_some(Step::Replicate));
            steps.extend((budget.fail_overs > 0).then_some(Step::FailOver));
        }
        steps
    }

    fn after(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        let took_place = match step {
            Step::Call(id, _) => self.call(&mut world, id),
            Step::Decide(id, count) => {
                self.decide(&mut world, id, count);
                true
            }
            Step::Commit(id) => self.commit_applied(&mut world, id),
            Step::CommitRefused(id) => {
                world.budget.aborts -= 1;
                world.workers[id].next = Next::Recover;
                true
            }
            Step::CommitUnanswered(id) => {
                world.budget.lost_replies -= 1;
                let took_place = self.commit_applied(&mut world, id);
                world.workers[id].producer = None;
                world.workers[id].next = Next::Recover;
                took_place
            }
            Step::ApplyUnanswered(id) => {
                world.budget.lost_replies -= 1;
                self.apply_unanswered(&mut world, id);
                true
            }
            Step::Check(id) => self.check(&mut world, id),
            Step::Reconnect(id) => {
                world.workers[id].master = world.store.master;
                true
            }
            Step::GiveUp(id) => {
                self.give_up(&mut world, id);
                true
            }
            Step::Crash(id) => {
                world.budget.crashes -= 1;
                world.workers[id].die();
                true
            }
            Step::Revoke => {
                world.budget.revocations -= 1;
                world.revoking = true;
                true
            }
            Step::Expel => {
                let owner = &mut world.workers[world.owner];
                if owner.next != Next::Dead {
                    world.budget.expulsions -= 1;
                }
                owner.is_member = false;
                world.revoking = false;
                world.assign(1 - world.owner);
                true
            }
            Step::Hear(id) => {
                world.workers[id].next = Next::Recover;
                true
            }
            Step::Mark(id, marker) => {
                world.kafka.mark(id, marker);
                true
            }
            Step::Replicate => {
                world.budget.replications -= 1;
                world.store.replicate()
            }
            Step::FailOver => {
                world.budget.fail_overs -= 1;
                world.store.fail_over();
                true
            }
        };
        took_place.then_some(world)
    }

    fn check(&self, world: &World) -> Result<(), &'static str> {
        let stopped = world.workers.iter().find_map(|worker| match worker.next {
            Next::Stopped(why) => Some(why),
            _ => None,
        });
        match stopped {
            Some(why) => Err(why),
            None if has_one_history(world) => Ok(()),
            None => Err("a record is answered twice, or not in its turn, or on another state than it found"),
        }
    }

    fn check_at_rest(&self, world: &World) -> Result<(), &'static str> {
        match (self.is_complete(world), world.tokens >= TOKENS_MAX) {
            (true, _) => Ok(()),
            // Without a clause, a worker may start over forever, which is not judged here.
            (false, true) if self.without.is_some() => Ok(()),
            (false, true) => Err("it begins anew again and again"),
            (false, false) => Err("it stands still, and isn't complete, or the ledger is not the fold of its events"),
        }
    }
}
