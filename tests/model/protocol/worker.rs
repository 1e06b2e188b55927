//! The model's worker, call by call. Anything else may happen between two calls, including a crash.

use super::kafka::{ASIDE, Committed, Output, after};
use super::store::{Ledger, Lineage};
use super::{DOCUMENTS, Protocol, World};
use interlock_streams::mutation::Clause;

/// The next call of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Next {
    /// Nothing: another worker owns the partition.
    #[default]
    Wait,
    /// Acquire the ledger, with a new producer if there is none.
    Acquire,
    /// Fence earlier owners.
    Fence,
    /// Read C.
    Read,
    /// Commit C unchanged; then compare.
    SignOffset,
    /// Send the outbox again and commit.
    Resend,
    /// Read the events, from the ledger's own last one on or from the first.
    Fold {
        /// The ledger's state is a prefix, which is kept.
        keeps: bool,
    },
    /// Write the folded state.
    Rebuild,
    /// Take records, write or commit.
    Run,
    /// Write the batch to the ledger.
    Apply,
    /// Ask whether the batch was written.
    Ask,
    /// Send the batch's outputs.
    Send,
    /// Abort the open transaction and start over.
    Recover,
    /// The worker has died.
    Dead,
    /// The worker has stopped with an error.
    Stopped(&'static str),
}

/// A worker. `ledger` is its copy of the ledger; the documents there are its cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Its next call.
    pub next: Next,
    /// True if it belongs to the group's present generation, so its offsets are accepted.
    pub is_member: bool,
    /// Epoch of its producer.
    pub producer: Option<u8>,
    /// The master it is connected to.
    pub master: usize,
    /// The worker's copy of the ledger.
    pub ledger: Ledger,
    /// True for each cached document.
    cached: [bool; DOCUMENTS],
    /// C, as last read or acknowledged.
    pub committed: Committed,
    /// Outputs of the current batch.
    batch: Vec<Output>,
    /// Number of records of the batch.
    taken: u8,
    /// The state folded from the events.
    folded: Option<(u8, Lineage, [u32; DOCUMENTS])>,
    /// True if the transaction contains uncommitted records.
    pub is_uncommitted: bool,
}

impl Worker {
    fn forget(&mut self) {
        *self = Worker {
            next: self.next,
            is_member: self.is_member,
            producer: self.producer,
            master: self.master,
            ..Worker::default()
        };
    }

    /// Kills the worker; its memory is lost.
    pub fn die(&mut self) {
        *self = Worker {
            next: Next::Dead,
            ..Worker::default()
        };
    }

    fn in_trouble(&mut self) {
        self.next = Next::Recover;
    }

    /// Returns the applied position as offset and metadata.
    fn position(&self, id: usize) -> Committed {
        Committed {
            offset: self.ledger.next,
            sequence: self.ledger.sequence,
            token: self.ledger.lineage.token(self.ledger.sequence),
            id,
        }
    }
}

impl Protocol {
    fn omits(&self, clause: Clause) -> bool {
        self.without == Some(clause)
    }

    fn token(&self, world: &mut World, id: usize) -> u8 {
        world.tokens += 1;
        match self.omits(Clause::FreshToken) {
            true => id as u8 + 1,
            false => world.tokens,
        }
    }

    /// Makes the next call of worker `id`; returns false if it can't be made now.
    pub fn call(&self, world: &mut World, id: usize) -> bool {
        match world.workers[id].next {
            Next::Acquire => self.acquire(world, id),
            Next::Fence => self.fence(world, id),
            Next::Read => self.read(world, id),
            Next::SignOffset => self.sign_offset(world, id),
            Next::Resend => self.resend(world, id),
            Next::Fold { keeps } => self.fold(world, id, keeps),
            Next::Rebuild => self.rebuild(world, id),
            Next::Apply => self.apply(world, id),
            Next::Ask => Self::ask(world, id),
            Next::Send => Self::send_batch(world, id),
            Next::Recover => self.recover(world, id),
            Next::Wait | Next::Run | Next::Dead | Next::Stopped(_) => false,
        }
    }

    fn acquire(&self, world: &mut World, id: usize) -> bool {
        if world.workers[id].is_uncommitted {
            return self.commit_applied(world, id);
        }
        if world.workers[id].producer.is_none() {
            if world.kafka.is_completing(id) {
                return false;
            }
            world.workers[id].producer = Some(world.kafka.init(id));
        }
        let token = self.token(world, id);
        let worker = &mut world.workers[id];
        let stored = world.store.ledger_mut(worker.master);
        worker.ledger = stored.clone();
        stored.token = token;
        stored.owners |= 1 << id;
        if self.omits(Clause::ForgetAfterFencing) {
            stored.owners = 1 << id;
        }
        if stored.released.is_some_and(|(released, _)| released == id) {
            stored.released = None;
        }
        worker.ledger.token = token;
        worker.next = Next::Fence;
        true
    }

    fn fence(&self, world: &mut World, id: usize) -> bool {
        let known = &world.workers[id].ledger;
        let mut fence = known.owners;
        if let Some(last) = world.kafka.committed
            && known.released != Some((last.id, last.token))
            && !self.omits(Clause::FenceNamed)
        {
            fence |= 1 << last.id;
        }
        fence &= !(1 << id);
        if self.omits(Clause::FenceOwners) {
            fence = 0;
        }
        let fenced = |other: &usize| fence & 1 << other != 0;
        if (0..super::WORKERS)
            .filter(fenced)
            .any(|other| world.kafka.is_completing(other))
        {
            return false;
        }
        for other in (0..super::WORKERS).filter(fenced) {
            world.kafka.init(other);
        }
        let worker = &mut world.workers[id];
        let stored = world.store.ledger_mut(worker.master);
        if self.holds(worker, stored) {
            stored.owners = 1 << id;
            worker.next = Next::Read;
        } else {
            worker.in_trouble();
        }
        true
    }

    fn holds(&self, worker: &Worker, stored: &Ledger) -> bool {
        stored.token == worker.ledger.token || self.omits(Clause::StateToken)
    }

    fn read(&self, world: &mut World, id: usize) -> bool {
        if !world.kafka.are_offsets_stable() && !self.omits(Clause::StableOffsets) {
            return false;
        }
        let worker = &mut world.workers[id];
        worker.next = match world.kafka.committed {
            None if worker.ledger.next > 0 => Next::Stopped("the ledger has an applied offset, Kafka no committed one"),
            committed => {
                worker.committed = committed.unwrap_or_default();
                Next::SignOffset
            }
        };
        true
    }

    fn sign_offset(&self, world: &mut World, id: usize) -> bool {
        if !self.omits(Clause::SignOffset) {
            let signed = Committed {
                id,
                ..world.workers[id].committed
            };
            match self.commit(world, id, signed) {
                None => return false,
                Some(false) => return true,
                // The transaction contains only offsets, so its marker arrives at once.
                Some(true) => world.kafka.mark_all(id),
            }
        }
        let worker = &mut world.workers[id];
        worker.next = self.compare(&worker.ledger, worker.committed);
        if worker.next == Next::Run {
            worker.ledger.owners = 1 << id;
        }
        true
    }

    /// Compares ledger and log by docs/PROTOCOL.md, section 3, clause 4.
    fn compare(&self, ledger: &Ledger, committed: Committed) -> Next {
        let by = |sequence| ledger.lineage.token(sequence);
        let agrees = if self.omits(Clause::CompareLineage) {
            true
        } else if ledger.sequence >= committed.sequence {
            committed.sequence == 0 || by(committed.sequence) == committed.token
        } else {
            ledger.sequence == 0 || self.omits(Clause::AgreeByLastToken) || by(ledger.sequence) == committed.token
        };
        if agrees && ledger.next > committed.offset && ledger.sequence >= committed.sequence {
            Next::Resend
        } else if agrees && ledger.next == committed.offset && ledger.sequence == committed.sequence {
            Next::Run
        } else {
            Next::Fold {
                keeps: agrees && ledger.next < committed.offset && ledger.sequence <= committed.sequence,
            }
        }
    }

    /// Ends the transaction with these offsets. Returns `None` if it can't be decided now, and false if it is refused.
    fn commit(&self, world: &mut World, id: usize, offset: Committed) -> Option<bool> {
        if world.kafka.is_completing(id) {
            return None;
        }
        let worker = &mut world.workers[id];
        let is_valid = worker.producer.is_some_and(|epoch| world.kafka.is_valid(id, epoch));
        if !is_valid {
            worker.producer = None;
        }
        if !is_valid || !worker.is_member {
            worker.in_trouble();
            return Some(false);
        }
        world.kafka.commit(id, offset);
        world.workers[id].is_uncommitted = false;
        Some(true)
    }

    fn send(world: &mut World, id: usize, outputs: &[Output]) {
        let worker = &mut world.workers[id];
        worker.is_uncommitted = true;
        // Records of a fenced producer are refused.
        if worker.producer.is_some_and(|epoch| world.kafka.is_valid(id, epoch)) {
            world.kafka.send(id, outputs);
        }
    }

    fn resend(&self, world: &mut World, id: usize) -> bool {
        if world.kafka.is_completing(id) {
            return false;
        }
        let worker = &mut world.workers[id];
        let stored = world.store.ledger(worker.master);
        let from = worker.committed.offset;
        let wanted = from..worker.ledger.next;
        let outbox: Vec<Output> = stored
            .outbox
            .iter()
            .filter(|output| wanted.contains(&output.record))
            .copied()
            .collect();
        if outbox.len() != wanted.len() {
            // A worker that has lost the ledger meanwhile sees another worker's outbox.
            if stored.token == worker.ledger.token || self.omits(Clause::JudgeAsHolder) {
                worker.next = Next::Stopped("the outbox lacks answers");
            } else {
                worker.in_trouble();
            }
            return true;
        }
        if !self.omits(Clause::Resend) {
            Self::send(world, id, &outbox);
        }
        self.commit_applied(world, id)
    }

    /// Commits everything applied.
    pub fn commit_applied(&self, world: &mut World, id: usize) -> bool {
        let position = world.workers[id].position(id);
        match self.commit(world, id, position) {
            None => false,
            Some(false) => true,
            Some(true) => {
                let worker = &mut world.workers[id];
                worker.committed = position;
                if worker.next == Next::Resend {
                    worker.next = Next::Run;
                }
                true
            }
        }
    }

    fn fold(&self, world: &mut World, id: usize, keeps: bool) -> bool {
        if !world.kafka.are_events_stable() && !self.omits(Clause::RebuildToHighWatermark) {
            return false;
        }
        let worker = &mut world.workers[id];
        let (mut sequence, mut lineage, mut documents) = match keeps {
            true => {
                let stored = world.store.ledger(worker.master);
                (worker.ledger.sequence, worker.ledger.lineage, stored.documents)
            }
            false => Default::default(),
        };
        worker.next = Next::Rebuild;
        for event in world.kafka.read_events() {
            let is_below = event.record < worker.committed.offset || self.omits(Clause::FoldBelowCommitted);
            if !is_below || (keeps && event.sequence <= worker.ledger.sequence) {
                continue;
            }
            if event.sequence != sequence + 1 {
                worker.next = Next::Stopped("an event is missing, or repeated");
            }
            sequence = event.sequence;
            lineage.decided(sequence, event.token);
            let document = &mut documents[super::document(event.record)];
            *document = after(*document, event);
        }
        let may_differ = self.omits(Clause::RebuildToHighWatermark) || self.omits(Clause::FoldBelowCommitted);
        if sequence != worker.committed.sequence && !may_differ {
            worker.next = Next::Stopped("the topics lack events");
        }
        worker.folded = Some((sequence, lineage, documents));
        true
    }

    fn rebuild(&self, world: &mut World, id: usize) -> bool {
        let token = self.token(world, id);
        let worker = &mut world.workers[id];
        let stored = world.store.ledger_mut(worker.master);
        let (Some((sequence, lineage, documents)), true) = (worker.folded.take(), self.accepts(worker, stored)) else {
            worker.in_trouble();
            return true;
        };
        let next = match self.omits(Clause::AppliedBelowCommitted) {
            true => (0..worker.committed.offset)
                .rev()
                .find(|record| self.aside != Some(*record))
                .map_or(0, |last| last + 1),
            false => worker.committed.offset,
        };
        *stored = Ledger {
            token,
            next,
            sequence,
            lineage,
            documents,
            outbox: Vec::new(),
            owners: stored.owners,
            released: stored.released,
        };
        worker.ledger = stored.clone();
        worker.next = Next::Run;
        true
    }

    /// Returns whether the store accepts a write that states this token and applied offset.
    fn accepts(&self, worker: &Worker, stored: &Ledger) -> bool {
        self.holds(worker, stored) && (stored.next == worker.ledger.next || self.omits(Clause::StateApplied))
    }

    /// Takes `count` records, loads the documents that are not cached, and decides.
    pub fn decide(&self, world: &mut World, id: usize, count: u8) {
        let worker = &mut world.workers[id];
        let stored = world.store.ledger(worker.master);
        worker.batch.clear();
        worker.taken = count;
        for record in worker.ledger.next..worker.ledger.next + count {
            let mut output = Output {
                record,
                topic: ASIDE,
                sequence: 0,
                token: worker.ledger.token,
                before: 0,
            };
            if self.aside != Some(record) {
                let document = super::document(record);
                output.topic = document as u8;
                if !worker.cached[document] {
                    worker.cached[document] = true;
                    worker.ledger.documents[document] = stored.documents[document];
                }
                worker.ledger.sequence += 1;
                output.sequence = worker.ledger.sequence;
                output.before = worker.ledger.documents[document];
                worker.ledger.lineage.decided(output.sequence, output.token);
                worker.ledger.documents[document] = after(output.before, output);
            }
            worker.batch.push(output);
        }
        worker.next = Next::Apply;
    }

    fn apply(&self, world: &mut World, id: usize) -> bool {
        world.workers[id].next = match self.write(world, id) {
            true => Next::Send,
            false => Next::Recover,
        };
        true
    }

    /// Writes the batch; the answer is lost.
    pub fn apply_unanswered(&self, world: &mut World, id: usize) {
        self.write(world, id);
        world.workers[id].next = Next::Ask;
    }

    fn write(&self, world: &mut World, id: usize) -> bool {
        let worker = &mut world.workers[id];
        let stored = world.store.ledger_mut(worker.master);
        if !self.accepts(worker, stored) {
            return false;
        }
        let trim_below = match self.omits(Clause::TrimBelowAcknowledged) {
            true => worker.ledger.next,
            false => worker.committed.offset,
        };
        stored.outbox.retain(|output| output.record >= trim_below);
        stored.outbox.extend(&worker.batch);
        stored.next = worker.ledger.next + worker.taken;
        stored.sequence = worker.ledger.sequence;
        stored.lineage = worker.ledger.lineage;
        for document in (0..DOCUMENTS).filter(|document| worker.cached[*document]) {
            stored.documents[document] = worker.ledger.documents[document];
        }
        true
    }

    fn send_batch(world: &mut World, id: usize) -> bool {
        if world.kafka.is_completing(id) {
            return false;
        }
        let worker = &mut world.workers[id];
        worker.ledger.next += worker.taken;
        worker.taken = 0;
        worker.next = Next::Run;
        let batch = std::mem::take(&mut worker.batch);
        Self::send(world, id, &batch);
        true
    }

    fn ask(world: &mut World, id: usize) -> bool {
        let worker = &mut world.workers[id];
        let stored = world.store.ledger(worker.master);
        if stored.token == worker.ledger.token && stored.next == worker.ledger.next + worker.taken {
            worker.next = Next::Send;
        } else {
            worker.in_trouble();
        }
        true
    }

    /// Checks whether the ledger has changed; returns true if it has.
    pub fn check(&self, world: &mut World, id: usize) -> bool {
        let worker = &mut world.workers[id];
        let stored = world.store.ledger(worker.master);
        let differs = stored.token != worker.ledger.token || stored.next != worker.ledger.next;
        if differs && !self.omits(Clause::IdleCheck) {
            worker.in_trouble();
            return true;
        }
        false
    }

    fn recover(&self, world: &mut World, id: usize) -> bool {
        if world.kafka.is_completing(id) {
            return false;
        }
        let worker = &mut world.workers[id];
        let is_valid = worker.producer.is_some_and(|epoch| world.kafka.is_valid(id, epoch));
        if !is_valid {
            worker.producer = None;
        } else if !self.omits(Clause::AbortBeforeAcquiring) {
            world.kafka.abort(id);
        }
        worker.forget();
        worker.is_member = true;
        if world.owner != id {
            worker.next = Next::Wait;
        } else if std::mem::take(&mut world.revoking) {
            worker.next = Next::Wait;
            world.assign(1 - id);
        } else {
            worker.next = Next::Acquire;
        }
        true
    }

    /// Gives the partition up after committing everything.
    pub fn give_up(&self, world: &mut World, id: usize) {
        let worker = &mut world.workers[id];
        if !self.omits(Clause::SettleBeforeRevocation) {
            let stored = world.store.ledger_mut(worker.master);
            if self.holds(worker, stored) {
                stored.owners &= !(1 << id);
                stored.released = Some((id, worker.committed.token));
            }
        }
        // Without that clause, the unsettled part is committed later.
        if !worker.is_uncommitted {
            worker.forget();
        }
        worker.next = Next::Wait;
        world.revoking = false;
        world.assign(1 - id);
    }
}
