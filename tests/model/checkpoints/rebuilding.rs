//! The model's worker while it rebuilds the ledger from the events (L9).

use super::clause::Clause;
use super::record::{DOCUMENTS, Document, Kind};
use super::shared::edit;
use super::store::{Ledger, Meta};
use super::worker::{Folded, Next};
use super::{Checkpoints, World};

impl Checkpoints {
    /// Reads and folds the events. Documents are loaded only if the ledger's state is kept.
    pub(super) fn fold(&self, world: &mut World, id: usize, keeps: bool) -> bool {
        if !world.kafka.are_events_stable() {
            return false;
        }
        let worker = edit(&mut world.workers[id]);
        let stored: &Ledger = &world.masters[worker.master];
        let kept = if keeps { worker.meta } else { Meta::default() };
        let mut events = world.kafka.events();
        events.retain(|event| event.record < worker.committed.offset && event.sequence > kept.sequence);
        let mut folded = Folded {
            sequence: kept.sequence,
            lineage: kept.lineage,
            closed: kept.closed,
            documents: [None; DOCUMENTS],
        };
        for document in 0..DOCUMENTS {
            let has_tail = self.has_tail(worker, &worker.log, document) && !self.omits(Clause::CheckpointTails);
            let has_event = events.iter().any(|event| event.touches(document));
            if !has_event && (!keeps || !has_tail) {
                continue;
            }
            folded.documents[document] = match keeps {
                false => Some(Document::default()),
                true => self.load(worker, stored, document),
            };
            if folded.documents[document].is_none() {
                worker.next = Next::Fold { keeps: false };
                return true;
            }
        }
        worker.next = Next::Rebuild { keeps, written: 0 };
        for event in events {
            if event.sequence != folded.sequence + 1 {
                worker.next = Next::Stopped("an event is missing, or repeated");
            }
            folded.sequence = event.sequence;
            folded.lineage.decided(event.sequence, event.token);
            let closes = event.kind == Kind::Closed && !self.omits(Clause::FoldClosing);
            folded.closed |= closes;
            for (index, document) in folded.documents.iter_mut().enumerate() {
                if closes && self.is_of_day(index) {
                    *document = None;
                } else if event.touches(index) {
                    *document = document.map(|document| document.after(&event));
                }
            }
        }
        if folded.sequence != worker.committed.sequence {
            worker.next = Next::Stopped("the topics lack events");
        }
        worker.folded = Some(folded);
        true
    }

    /// Makes one of two writes: each has one document; the first one clears what isn't kept, the last one makes the
    /// ledger whole.
    pub(super) fn rebuild(&self, world: &mut World, id: usize, keeps: bool, written: u8) -> bool {
        let worker = edit(&mut world.workers[id]);
        let meta = &world.masters[worker.master].meta;
        let is_accepted = match self.omits(Clause::CountRebuildWrites) && written > 0 {
            true => meta.token == worker.meta.token,
            false => self.accepts(worker, meta),
        };
        let Some(folded) = worker.folded.filter(|_| is_accepted) else {
            worker.in_trouble();
            return true;
        };
        let stored = edit(&mut world.masters[worker.master]);
        if written == 0 {
            if !stored.meta.is_rebuilding {
                world.rebuilds += 1;
            }
            stored.meta.is_rebuilding = true;
            if !keeps {
                for document in (0..DOCUMENTS).filter(|document| worker.meta.index[*document].is_some()) {
                    stored.documents[document] = None;
                }
                stored.meta.index = [None; DOCUMENTS];
                stored.log.clear();
                worker.meta.index = [None; DOCUMENTS];
            }
        }
        let document = usize::from(written);
        if let Some(checkpoint) = folded.documents[document] {
            self.write_checkpoint(stored, document, checkpoint, worker.meta.index[document]);
            worker.meta.index[document] = Some(checkpoint);
        }
        stored.meta.version += 1;
        worker.meta.version += 1;
        if written == 0 {
            worker.next = Next::Rebuild { keeps, written: 1 };
            return true;
        }
        world.tokens += 1;
        for document in (0..DOCUMENTS).filter(|document| folded.closed && self.is_of_day(*document)) {
            stored.meta.index[document] = None;
        }
        stored.log.clear();
        stored.meta = Meta {
            token: world.tokens,
            version: 0,
            next: worker.committed.offset,
            sequence: folded.sequence,
            lineage: folded.lineage,
            chain: 0,
            floor: worker.committed.offset,
            closed: folded.closed,
            is_rebuilding: false,
            ..stored.meta
        };
        worker.meta = stored.meta;
        worker.log.clear();
        worker.cache = [None; DOCUMENTS];
        worker.folded = None;
        worker.next = Next::Run;
        true
    }
}
