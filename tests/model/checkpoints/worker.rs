//! The model's worker, call by call. Anything else may happen between two calls, including a crash.

use super::clause::Clause;
use super::kafka::Committed;
use super::record::{DOCUMENTS, Document, Output};
use super::shared::edit;
use super::store::{Entry, Ledger, Lineage, Meta};
use super::{Checkpoints, WORKERS, World};

/// The next call of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Next {
    /// Nothing: another worker owns the partition.
    #[default]
    Wait,
    /// Acquire the ledger, with a new producer if there is none, and read `meta` with its index.
    Acquire,
    /// Fence earlier owners.
    Fence,
    /// Read C.
    Read,
    /// Commit C unchanged.
    SignOffset,
    /// Read the log, and compare.
    ReadLog,
    /// Send the log's outputs from C on again, and commit.
    Resend,
    /// Read the events, from the ledger's own last one on or from the first.
    Fold {
        /// The ledger's state is a prefix, which is kept.
        keeps: bool,
    },
    /// Make the next write of a rebuild.
    Rebuild {
        /// The ledger's state is a prefix, which is kept.
        keeps: bool,
        /// Number of writes before this one.
        written: u8,
    },
    /// Take records, write, commit or send a timer.
    Run,
    /// Write the batch to the ledger.
    Apply,
    /// Ask whether the batch was written.
    Ask,
    /// Send the batch's outputs.
    Send,
    /// Commit the transaction that has a timer.
    CommitTimer,
    /// Mark the ledger as one that has to be rebuilt, as a document is lost.
    Mark,
    /// Abort the open transaction and start over.
    Recover,
    /// The worker has died.
    Dead,
    /// The worker has stopped with an error.
    Stopped(&'static str),
}

/// A batch that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Batch {
    /// The log entry; absent if the write has checkpoints only.
    pub entry: Option<Entry>,
    /// `meta` after the batch, apart from the index.
    pub meta: Meta,
    /// Number of entries to trim.
    pub trim: usize,
    /// Bits of the documents to checkpoint.
    pub checkpoints: u8,
    /// True if the batch closes the day.
    pub closes: bool,
    /// True if the documents are written already, which only happens without a clause.
    pub is_halfway: bool,
}

/// The state that was folded from the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Folded {
    /// The last sequence.
    pub sequence: u8,
    /// The lineage.
    pub lineage: Lineage,
    /// True if the day is closed.
    pub closed: bool,
    /// The documents to write.
    pub documents: [Option<Document>; DOCUMENTS],
}

/// A worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    /// Its next call.
    pub next: Next,
    /// True if it belongs to the group's present generation, so its offsets are accepted.
    pub is_member: bool,
    /// True if it has a producer, which may have been fenced.
    pub has_producer: bool,
    /// The master it is connected to.
    pub master: usize,
    /// Its copy of `meta`, index included.
    pub meta: Meta,
    /// Its copy of the log from `floor` on.
    pub log: Vec<Entry>,
    /// The documents that are loaded.
    pub cache: [Option<Document>; DOCUMENTS],
    /// C, as last read or acknowledged.
    pub committed: Committed,
    /// The batch under way.
    pub batch: Option<Batch>,
    /// Result of a rebuild's fold.
    pub folded: Option<Folded>,
    /// True if the transaction contains uncommitted records.
    pub is_uncommitted: bool,
    /// Bits of the documents whose timer was sent.
    pub sent: u8,
}

impl Worker {
    fn forget(&mut self, keeps_sent: bool) {
        *self = Worker {
            next: self.next,
            is_member: self.is_member,
            has_producer: self.has_producer,
            master: self.master,
            sent: if keeps_sent { self.sent } else { 0 },
            ..Worker::default()
        };
    }

    /// Kills the worker; its memory is lost.
    pub(super) fn die(&mut self) {
        *self = Worker {
            next: Next::Dead,
            ..Worker::default()
        };
    }

    pub(super) fn in_trouble(&mut self) {
        self.next = Next::Recover;
    }

    /// Returns the applied position as offset and metadata.
    fn position(&self, id: usize) -> Committed {
        Committed {
            offset: self.meta.next,
            sequence: self.meta.sequence,
            token: self.meta.lineage.token(self.meta.sequence),
            id: id as u8,
        }
    }
}

impl Checkpoints {
    pub(super) fn omits(&self, clause: Clause) -> bool {
        self.without.contains(&clause)
    }

    pub(super) fn is_of_day(&self, document: usize) -> bool {
        self.day & 1 << document != 0
    }

    /// Makes the next call of worker `id`; returns false if it can't be made now.
    pub(super) fn call(&self, world: &mut World, id: usize) -> bool {
        match world.workers[id].next {
            Next::Acquire => self.acquire(world, id),
            Next::Fence => self.fence(world, id),
            Next::Read => Self::read(world, id),
            Next::SignOffset => self.sign_offset(world, id),
            Next::ReadLog => self.read_log(world, id),
            Next::Resend => self.resend(world, id),
            Next::Fold { keeps } => self.fold(world, id, keeps),
            Next::Rebuild { keeps, written } => self.rebuild(world, id, keeps, written),
            Next::Apply => self.apply(world, id),
            Next::Ask => Self::ask(world, id),
            Next::Send => self.send_batch(world, id),
            Next::CommitTimer => self.commit_applied(world, id),
            Next::Mark => self.mark_lost(world, id),
            Next::Recover => self.recover(world, id),
            Next::Wait | Next::Run | Next::Dead | Next::Stopped(_) => false,
        }
    }

    fn acquire(&self, world: &mut World, id: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        if !worker.has_producer {
            if world.kafka.is_completing(id) {
                return false;
            }
            edit(&mut world.kafka).init(id, true);
            worker.has_producer = true;
        }
        world.tokens += 1;
        let stored = &mut edit(&mut world.masters[worker.master]).meta;
        worker.meta = *stored;
        for meta in [stored, &mut worker.meta] {
            meta.token = world.tokens;
            meta.version = 0;
        }
        let stored = &mut edit(&mut world.masters[worker.master]).meta;
        stored.owners |= 1 << id;
        if stored.released.is_some_and(|(released, _)| usize::from(released) == id) {
            stored.released = None;
        }
        worker.next = Next::Fence;
        true
    }

    fn fence(&self, world: &mut World, id: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        let mut fence = worker.meta.owners;
        if let Some(last) = world.kafka.committed
            && worker.meta.released != Some((last.id, last.token))
        {
            fence |= 1 << last.id;
        }
        let is_fenced = |other: &usize| *other != id && fence & 1 << other != 0;
        if (0..WORKERS)
            .filter(is_fenced)
            .any(|other| world.kafka.is_completing(other))
        {
            return false;
        }
        for other in (0..WORKERS).filter(is_fenced) {
            edit(&mut world.kafka).init(other, false);
        }
        let stored = &mut edit(&mut world.masters[worker.master]).meta;
        if self.holds(worker, stored) {
            stored.owners = 1 << id;
            worker.meta.owners = 1 << id;
            worker.next = Next::Read;
        } else {
            worker.in_trouble();
        }
        true
    }

    fn holds(&self, worker: &Worker, stored: &Meta) -> bool {
        stored.token == worker.meta.token || self.omits(Clause::StateToken)
    }

    /// Returns whether the store accepts a write that states token and version (L1).
    pub(super) fn accepts(&self, worker: &Worker, stored: &Meta) -> bool {
        let is_same = match self.omits(Clause::StateVersion) {
            true => stored.next == worker.meta.next,
            false => stored.version == worker.meta.version,
        };
        self.holds(worker, stored) && is_same
    }

    fn read(world: &mut World, id: usize) -> bool {
        if !world.kafka.are_offsets_stable() {
            return false;
        }
        let worker = edit(&mut world.workers[id]);
        worker.next = match world.kafka.committed {
            None if worker.meta.next > 0 => Next::Stopped("the ledger has an applied offset, Kafka no committed one"),
            committed => {
                worker.committed = committed.unwrap_or_default();
                Next::SignOffset
            }
        };
        true
    }

    fn sign_offset(&self, world: &mut World, id: usize) -> bool {
        let signed = Committed {
            id: id as u8,
            ..world.workers[id].committed
        };
        match self.commit(world, id, signed) {
            None => return false,
            Some(false) => return true,
            // The transaction contains only offsets, so its marker arrives at once.
            Some(true) => edit(&mut world.kafka).mark_all(id),
        }
        edit(&mut world.workers[id]).next = Next::ReadLog;
        true
    }

    fn read_log(&self, world: &mut World, id: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        let stored = &world.masters[worker.master].log;
        let meta = &worker.meta;
        let committed = worker.committed.offset;
        worker.next = if meta.is_rebuilding {
            Next::Fold { keeps: false }
        } else if !self.is_whole(meta, stored) {
            match self.omits(Clause::RebuildInsteadOfStop) && meta.next >= committed {
                true => Next::Stopped("the log lacks answers"),
                false => Next::Fold { keeps: false },
            }
        } else if meta.floor > committed && !self.omits(Clause::FloorBelowCommitted) {
            Next::Fold { keeps: false }
        } else {
            compare(meta, worker.committed)
        };
        worker.log = stored.iter().filter(|entry| entry.next > meta.floor).copied().collect();
        true
    }

    /// Returns whether a log is whole (L2).
    fn is_whole(&self, meta: &Meta, log: &[Entry]) -> bool {
        let mut at = meta.floor;
        let mut chain = None;
        for entry in log.iter().filter(|entry| entry.next > meta.floor) {
            let is_next = entry.from == at && chain.is_none_or(|chain| chain == entry.before);
            if !is_next && !self.omits(Clause::WholeLog) {
                return false;
            }
            at = entry.next;
            if !self.omits(Clause::ChainByDigest) {
                chain = Some(entry.digest());
            }
        }
        (at == meta.next && chain.is_none_or(|chain| chain == meta.chain)) || self.omits(Clause::WholeLog)
    }

    /// Ends the transaction with these offsets. Returns `None` if it can't be decided now, and false if it is refused.
    fn commit(&self, world: &mut World, id: usize, offset: Committed) -> Option<bool> {
        if world.kafka.is_completing(id) {
            return None;
        }
        let worker = edit(&mut world.workers[id]);
        let is_valid = worker.has_producer && world.kafka.is_valid(id);
        worker.has_producer = is_valid;
        if !is_valid || !worker.is_member {
            worker.in_trouble();
            return Some(false);
        }
        edit(&mut world.kafka).commit(id, offset);
        worker.is_uncommitted = false;
        Some(true)
    }

    pub(super) fn send(world: &mut World, id: usize, outputs: &[Output]) {
        let worker = edit(&mut world.workers[id]);
        worker.is_uncommitted = true;
        // Records of a fenced producer are refused.
        if worker.has_producer && world.kafka.is_valid(id) {
            edit(&mut world.kafka).send(id, outputs);
        }
    }

    fn resend(&self, world: &mut World, id: usize) -> bool {
        if world.kafka.is_completing(id) {
            return false;
        }
        let worker = &world.workers[id];
        let from = worker.committed.offset;
        let outputs = worker.log.iter().flat_map(Entry::outputs);
        let outputs: Vec<Output> = outputs.filter(|output| output.record >= from).copied().collect();
        Self::send(world, id, &outputs);
        self.commit_applied(world, id)
    }

    /// Commits everything applied.
    pub(super) fn commit_applied(&self, world: &mut World, id: usize) -> bool {
        let position = world.workers[id].position(id);
        match self.commit(world, id, position) {
            None => false,
            Some(false) => true,
            Some(true) => {
                let worker = edit(&mut world.workers[id]);
                worker.committed = position;
                worker.next = Next::Run;
                true
            }
        }
    }

    fn ask(world: &mut World, id: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        let stored = &world.masters[worker.master].meta;
        let is_written = |batch: &Batch| stored.token == batch.meta.token && stored.version == batch.meta.version;
        worker.next = match worker.batch.as_ref().is_some_and(is_written) {
            true => Next::Send,
            false => Next::Recover,
        };
        true
    }

    /// Checks whether the ledger has changed; returns true if it has.
    pub(super) fn look(&self, world: &mut World, id: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        let stored: &Ledger = &world.masters[worker.master];
        let looks = !self.omits(Clause::LookWhileIdle);
        let entries = stored.log.iter().filter(|entry| entry.next > worker.meta.floor);
        let is_log_same = entries.eq(worker.log.iter()) && stored.meta.index == worker.meta.index;
        if stored.meta.token != worker.meta.token
            || stored.meta.version != worker.meta.version
            || (looks && !is_log_same)
        {
            worker.next = Next::Recover;
            return true;
        }
        if looks && (0..DOCUMENTS).any(|document| self.checkpoint(worker, stored, document).is_none()) {
            worker.next = Next::Mark;
            return true;
        }
        false
    }

    fn mark_lost(&self, world: &mut World, id: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        if !self.omits(Clause::MarkLost) && self.accepts(worker, &world.masters[worker.master].meta) {
            let stored = &mut edit(&mut world.masters[worker.master]).meta;
            if !stored.is_rebuilding {
                world.rebuilds += 1;
            }
            stored.is_rebuilding = true;
            stored.version += 1;
        }
        worker.in_trouble();
        true
    }

    fn recover(&self, world: &mut World, id: usize) -> bool {
        if world.kafka.is_completing(id) {
            return false;
        }
        let worker = edit(&mut world.workers[id]);
        worker.has_producer &= world.kafka.is_valid(id);
        if worker.has_producer {
            edit(&mut world.kafka).abort(id);
        }
        worker.forget(self.omits(Clause::ForgetSent));
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
    pub(super) fn give_up(&self, world: &mut World, id: usize) {
        let worker = edit(&mut world.workers[id]);
        let stored = &mut edit(&mut world.masters[worker.master]).meta;
        if self.holds(worker, stored) {
            stored.owners &= !(1 << id);
            stored.released = Some((id as u8, worker.committed.token));
        }
        worker.forget(false);
        worker.next = Next::Wait;
        world.revoking = false;
        world.assign(1 - id);
    }
}

/// Compares a whole ledger and the log by docs/PROTOCOL.md, section 3, clause 4.
fn compare(meta: &Meta, committed: Committed) -> Next {
    let by = |sequence| meta.lineage.token(sequence);
    let agrees = if meta.sequence >= committed.sequence {
        committed.sequence == 0 || by(committed.sequence) == committed.token
    } else {
        meta.sequence == 0 || by(meta.sequence) == committed.token
    };
    if agrees && meta.next > committed.offset && meta.sequence >= committed.sequence {
        Next::Resend
    } else if agrees && meta.next == committed.offset && meta.sequence == committed.sequence {
        Next::Run
    } else {
        Next::Fold {
            keeps: agrees && meta.next < committed.offset && meta.sequence <= committed.sequence,
        }
    }
}
