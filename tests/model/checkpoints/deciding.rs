//! The model's worker while it decides: documents are loaded, batches decided, written and sent.

use super::clause::Clause;
use super::record::{DOCUMENTS, Document, Kind, Output, Record, decide_request};
use super::shared::edit;
use super::store::{Entry, Ledger, Meta, Stored};
use super::worker::{Batch, Next, Worker};
use super::{Checkpoints, World};

impl Checkpoints {
    /// Returns a document's checkpoint, `None` if it is lost (L4, L5).
    pub(super) fn checkpoint(&self, worker: &Worker, stored: &Ledger, document: usize) -> Option<Document> {
        let found = stored.documents[document].map(|stored| match self.omits(Clause::CompareSegments) {
            true => Stored {
                head: Document {
                    answers: stored.segments,
                    ..stored.head
                },
                ..stored
            },
            false => stored,
        });
        let Some(named) = worker.meta.index[document] else {
            let is_read = self.omits(Clause::UnnamedIsNotRead);
            let read = found.filter(|_| is_read);
            return Some(read.map_or(Document::default(), |found| found.head));
        };
        let Some(Stored { head, segments }) = found else {
            return self.omits(Clause::NoticeAbsent).then(Document::default);
        };
        let is_accepted = segments == head.answers
            && if head.sequence < named.sequence {
                self.omits(Clause::NoticeOlder)
            } else if head.sequence > named.sequence {
                self.omits(Clause::NoticeNewer)
            } else {
                head == named || self.omits(Clause::CompareDigest) || self.omits(Clause::CompareSegments)
            };
        is_accepted.then_some(head)
    }

    /// Returns the events of a document that its checkpoint lacks.
    fn tail(&self, log: &[Entry], document: usize, sequence: u8) -> Vec<Output> {
        let mut tail = Vec::new();
        for output in log.iter().flat_map(Entry::outputs) {
            let ends = output.kind == Kind::Closed && self.is_of_day(document);
            if ends && !self.omits(Clause::ClosingEndsTail) {
                tail.clear();
            } else if output.touches(document) && output.sequence > sequence {
                tail.push(*output);
            }
        }
        tail
    }

    /// Returns whether a document has a tail after its checkpoint.
    pub(super) fn has_tail(&self, worker: &Worker, log: &[Entry], document: usize) -> bool {
        let sequence = worker.meta.index[document].map_or(0, |named| named.sequence);
        !self.tail(log, document, sequence).is_empty()
    }

    /// Loads a document: its checkpoint and the tail; `None` if it is lost.
    pub(super) fn load(&self, worker: &Worker, stored: &Ledger, document: usize) -> Option<Document> {
        let checkpoint = self.checkpoint(worker, stored, document)?;
        if self.omits(Clause::FoldTail) {
            return Some(checkpoint);
        }
        let tail = self.tail(&worker.log, document, checkpoint.sequence);
        Some(tail.iter().fold(checkpoint, Document::after))
    }

    /// Returns whether a document has a timer (T1).
    pub(super) fn is_due(&self, worker: &Worker, document: usize) -> bool {
        let is_indexed = worker.meta.index[document].is_some_and(|named| named.due);
        if self.omits(Clause::OverlayByLog) {
            return worker.cache[document].map_or(is_indexed, |cached| cached.due);
        }
        let is_after = |entry: &Entry| {
            let closes = |output: &Output| output.kind == Kind::Closed && self.is_of_day(document);
            if entry.outputs().any(closes) {
                return Some(false);
            }
            let touches = entry.outputs().any(|output| output.touches(document));
            touches.then_some(entry.due & 1 << document != 0)
        };
        worker.log.iter().rev().find_map(is_after).unwrap_or(is_indexed)
    }

    /// Takes `count` records, decides them, and chooses which documents to checkpoint. Returns false if this can't be
    /// done.
    pub(super) fn decide(&self, world: &mut World, id: usize, count: u8, checkpoints: u8) -> bool {
        let worker = edit(&mut world.workers[id]);
        let stored: &Ledger = &world.masters[worker.master];
        let mut meta = worker.meta;
        let mut outputs = [None; 2];
        for slot in outputs.iter_mut().take(usize::from(count)) {
            let Some((record, offset)) = world.kafka.readable(meta.next) else {
                return false;
            };
            meta.next = offset + 1;
            let Ok(kind) = self.decide_record(worker, stored, record, meta.closed) else {
                worker.next = Next::Mark;
                return true;
            };
            *slot = kind.map(|kind| self.output(worker, &mut meta, record, offset, kind));
        }
        let closes = outputs.iter().flatten().any(|output| output.kind == Kind::Closed);
        let due = worker.cache.iter().enumerate();
        let due = due.filter(|(_, cached)| cached.is_some_and(|document| document.due));
        let entry = Entry {
            next: meta.next,
            from: worker.meta.next,
            before: meta.chain,
            outputs,
            due: due.fold(0, |bits, (document, _)| bits | 1 << document),
        };
        let has_entry = count > 0 && (outputs != [None; 2] || !self.omits(Clause::EntryWithoutOutput));
        if has_entry {
            meta.chain = entry.digest();
        }
        meta.version += 1;
        let mut log = worker.log.clone();
        log.extend(has_entry.then_some(entry));
        for document in (0..DOCUMENTS).filter(|document| checkpoints & 1 << document != 0) {
            if !self.has_tail(worker, &log, document) {
                return false;
            }
            if worker.cache[document].is_none() {
                let Some(loaded) = self.load(worker, stored, document) else {
                    worker.next = Next::Mark;
                    return true;
                };
                worker.cache[document] = Some(loaded);
            }
        }
        let is_trimmable = |entry: &&Entry| self.is_trimmable(worker, &log, entry, checkpoints, meta.closed);
        let trim = worker.log.iter().take_while(is_trimmable).count();
        meta.floor = match self.omits(Clause::ExactFloor) && trim > 0 {
            true => log[trim.min(log.len() - 1)].next,
            false => trim.checked_sub(1).map_or(meta.floor, |last| log[last].next),
        };
        worker.batch = Some(Batch {
            entry: has_entry.then_some(entry),
            meta,
            trim,
            checkpoints,
            closes,
            is_halfway: false,
        });
        worker.next = Next::Apply;
        true
    }

    /// Returns the output of a decision, and changes `meta` and the cache by it.
    fn output(&self, worker: &mut Worker, meta: &mut Meta, record: Record, offset: u8, kind: Kind) -> Output {
        let (document, id) = match record {
            Record::Request { document, id, .. } => (document, id),
            Record::Timer { document, .. } => (document, 0),
            Record::CloseDay => (0, 0),
        };
        let mut output = Output {
            record: offset,
            kind,
            document,
            id,
            sequence: 0,
            token: meta.token,
            before: 0,
        };
        if output.is_event() {
            meta.sequence += 1;
            output.sequence = meta.sequence;
            meta.lineage.decided(meta.sequence, meta.token);
        }
        let document = usize::from(document);
        if output.touches(document) {
            let before = worker.cache[document].unwrap_or_default();
            output.before = before.fold;
            worker.cache[document] = Some(before.after(&output));
        }
        if kind == Kind::Closed {
            meta.closed = true;
            for document in (0..DOCUMENTS).filter(|document| self.is_of_day(*document)) {
                worker.cache[document] = None;
            }
        }
        output
    }

    /// Decides a record; fails if a document is lost.
    fn decide_record(
        &self,
        worker: &mut Worker,
        stored: &Ledger,
        record: Record,
        closed: bool,
    ) -> Result<Option<Kind>, ()> {
        let (Record::Request { document, .. } | Record::Timer { document, .. }) = record else {
            let is_due = |document: usize| match worker.cache[document] {
                Some(cached) => cached.due,
                None => self.is_due(worker, document),
            };
            let is_refused = closed || (0..DOCUMENTS).any(|document| self.is_of_day(document) && is_due(document));
            let obeys = !is_refused || (!closed && self.omits(Clause::NothingDue));
            return Ok(obeys.then_some(Kind::Closed));
        };
        let document = usize::from(document);
        let is_closed = closed && self.is_of_day(document) && !self.omits(Clause::RefuseClosed);
        if let Record::Timer { .. } = record
            && !self.omits(Clause::ForgetSentWhenDecided)
        {
            worker.sent &= !(1 << document);
        }
        if is_closed {
            return Ok(matches!(record, Record::Request { .. }).then_some(Kind::Refused));
        }
        if worker.cache[document].is_none() {
            worker.cache[document] = Some(self.load(worker, stored, document).ok_or(())?);
        }
        let cached = worker.cache[document].unwrap_or_default();
        Ok(match record {
            Record::Request { id, holds, .. } => Some(decide_request(&cached, id, holds)),
            Record::Timer { is_due, .. } => {
                let is_obeyed = cached.due && (is_due || self.omits(Clause::TimeOfRecord));
                // The note goes when the timer is obeyed, in any case.
                worker.sent &= !(u8::from(is_obeyed) << document);
                is_obeyed.then_some(Kind::Ended)
            }
            Record::CloseDay => None,
        })
    }

    /// Returns whether an entry can go with a write that has these checkpoints (L3).
    fn is_trimmable(&self, worker: &Worker, log: &[Entry], entry: &Entry, checkpoints: u8, closed: bool) -> bool {
        let is_checkpointed = |output: &Output| {
            let document = usize::from(output.document);
            let indexed = match checkpoints & 1 << document != 0 {
                true => worker.cache[document],
                false => worker.meta.index[document],
            };
            !output.touches(document)
                || indexed.is_some_and(|checkpoint| checkpoint.sequence >= output.sequence)
                || (closed && self.is_of_day(document) && !self.tail(log, document, 0).contains(output))
                || (worker.cache[document].is_none() && self.omits(Clause::DirtyThoughNotLoaded))
        };
        (entry.next <= worker.committed.offset || self.omits(Clause::TrimAcknowledged))
            && (entry.outputs().all(is_checkpointed) || self.omits(Clause::TrimCheckpointed))
    }

    /// Lets a document go. The tail is kept.
    pub(super) fn evict(world: &mut World, id: usize, document: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        worker.cache[document].take().is_some()
    }

    /// Reads a document again while a batch is under way, which only happens without a clause.
    pub(super) fn reload(&self, world: &mut World, id: usize, document: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        let loaded = self.load(worker, &world.masters[worker.master], document);
        let is_changed = loaded.is_some() && worker.cache[document] != loaded;
        worker.cache[document] = loaded;
        is_changed
    }

    pub(super) fn apply(&self, world: &mut World, id: usize) -> bool {
        let next = match self.write(world, id) {
            Some(true) => Next::Send,
            Some(false) => Next::Recover,
            None => return true,
        };
        edit(&mut world.workers[id]).next = next;
        true
    }

    /// Writes the batch; the answer is lost.
    pub(super) fn apply_unanswered(&self, world: &mut World, id: usize) {
        if self.write(world, id).is_some() {
            edit(&mut world.workers[id]).next = Next::Ask;
        }
    }

    /// Writes the batch (L1). Returns false if it is refused, `None` if it is half written, which only happens without
    /// a clause.
    fn write(&self, world: &mut World, id: usize) -> Option<bool> {
        let worker = edit(&mut world.workers[id]);
        let meta = &world.masters[worker.master].meta;
        let is_marked = meta.is_rebuilding && !self.omits(Clause::RefuseMarked);
        let Some(batch) = worker.batch.filter(|_| self.accepts(worker, meta) && !is_marked) else {
            return Some(false);
        };
        let stored = edit(&mut world.masters[worker.master]);
        let index = stored.meta.index;
        for document in (0..DOCUMENTS).filter(|document| batch.checkpoints & 1 << document != 0) {
            if let Some(checkpoint) = worker.cache[document] {
                self.write_checkpoint(stored, document, checkpoint, worker.meta.index[document]);
            }
        }
        if self.omits(Clause::OneTransaction) && batch.checkpoints != 0 && !batch.is_halfway {
            stored.meta.index = index;
            worker.batch = Some(Batch {
                is_halfway: true,
                ..batch
            });
            return None;
        }
        for document in (0..DOCUMENTS).filter(|document| batch.closes && self.is_of_day(*document)) {
            if !self.omits(Clause::DropIndexFields) {
                stored.meta.index[document] = None;
            }
            if !self.keeps_closed {
                stored.documents[document] = None;
            }
        }
        for entry in &worker.log[..batch.trim] {
            stored.log.retain(|other| other.next != entry.next);
        }
        if let Some(entry) = batch.entry {
            stored.put(entry);
        }
        let closed = match self.omits(Clause::StoreClosed) {
            true => stored.meta.closed,
            false => batch.meta.closed,
        };
        stored.meta = Meta {
            index: stored.meta.index,
            owners: stored.meta.owners,
            released: stored.meta.released,
            closed,
            ..batch.meta
        };
        Some(true)
    }

    /// Writes a checkpoint and its index field. `named` is the checkpoint that the writer's index names.
    pub(super) fn write_checkpoint(
        &self,
        stored: &mut Ledger,
        document: usize,
        checkpoint: Document,
        named: Option<Document>,
    ) {
        let is_appended = named.is_some() || self.omits(Clause::UnlinkFirst);
        let old = stored.documents[document].filter(|_| is_appended);
        let new = checkpoint.answers & !named.map_or(0, |named| named.answers);
        stored.documents[document] = Some(Stored {
            head: checkpoint,
            segments: old.map_or(0, |old| old.segments) | new,
        });
        stored.meta.index[document] = Some(checkpoint);
    }

    /// Takes note that the batch was written, and sends its outputs.
    pub(super) fn send_batch(&self, world: &mut World, id: usize) -> bool {
        if world.kafka.is_completing(id) {
            return false;
        }
        let worker = edit(&mut world.workers[id]);
        let Some(batch) = worker.batch.take() else { return false };
        let mut index = worker.meta.index;
        for (document, field) in index.iter_mut().enumerate() {
            if batch.checkpoints & 1 << document != 0 {
                *field = worker.cache[document];
            }
            if batch.closes && self.is_of_day(document) && !self.omits(Clause::DropIndexFields) {
                *field = None;
            }
        }
        let is_moved = batch.meta.next != worker.meta.next;
        worker.meta = Meta { index, ..batch.meta };
        worker.log.drain(..batch.trim);
        worker.log.extend(batch.entry);
        worker.next = Next::Run;
        if is_moved {
            let outputs: Vec<Output> = batch.entry.iter().flat_map(Entry::outputs).copied().collect();
            Self::send(world, id, &outputs);
        }
        true
    }

    /// Sends a timer as the last record of the transaction.
    pub(super) fn send_timer(&self, world: &mut World, id: usize, document: usize) -> bool {
        let worker = edit(&mut world.workers[id]);
        if world.kafka.is_completing(id) || worker.sent & 1 << document != 0 || !self.is_due(worker, document) {
            return false;
        }
        worker.sent |= 1 << document;
        worker.is_uncommitted = true;
        worker.next = Next::CommitTimer;
        if worker.has_producer && world.kafka.is_valid(id) {
            let is_due = world.is_time_up;
            let document = document as u8;
            edit(&mut world.kafka).send_timer(id, Record::Timer { document, is_due });
        }
        if self.omits(Clause::DueByDecision) && self.accepts(worker, &world.masters[worker.master].meta) {
            let stored = edit(&mut world.masters[worker.master]);
            for meta in [&mut worker.meta, &mut stored.meta] {
                if let Some(named) = &mut meta.index[document] {
                    named.due = false;
                }
            }
            if let Some(stored) = &mut stored.documents[document] {
                stored.head.due = false;
            }
        }
        true
    }
}
