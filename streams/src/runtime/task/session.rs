//! A ledger as its present owner knows it.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::ledger::index::shown;
use crate::ledger::{
    Contents, Digest, Document, DocumentWrites, FieldWrite, Holder, Index, LedgerCommit, LedgerError, LedgerState,
    LedgerStore, Lineage, Loss, RESERVED_FIELDS, RebuildStep, Token,
};
use crate::mutation::{Clause, left_out};
use crate::runtime::entry::{self, Kept};
use crate::runtime::error::{Reason, TaskError};
use crate::runtime::metadata::OffsetMetadata;

/// Repetitions of a commit whose reply was lost, before the ledger is given up and acquired again.
const LOST_REPLIES_MAX: usize = 3;
/// Documents whose heads one idle check compares: a worker with many ledgers asks for them every second.
const CHECKED_DOCUMENTS: usize = 64;
/// Log entries that one idle check compares.
const CHECKED_ENTRIES: usize = 4;

/// The right to a ledger, and where it stands.
pub(crate) struct LedgerSession {
    pub(crate) store: Arc<dyn LedgerStore>,
    pub(crate) holder: Holder,
    /// Number of ledgers: the partitions of the input topic.
    pub(crate) ledgers: i32,
    /// Number of writes that this owner has made under its token.
    version: u64,
    /// Last applied input offset.
    pub(crate) applied: Option<i64>,
    /// Last sequence given to an event, also to those of the batch being decided.
    pub(crate) sequence: i64,
    pub(crate) lineage: Lineage,
    /// Digest of the last log entry.
    pub(crate) chain: Option<Digest>,
    /// The head of each document. It changes only when a write is known to have happened.
    index: Index,
    /// Metadata of the log's committed offset: the last one that was acknowledged or read back.
    pub(crate) committed: OffsetMetadata,
    /// Log entries whose commit in Kafka is not known yet.
    unacknowledged: VecDeque<Kept>,
    /// Log entries that may be trimmed: their commit in Kafka was acknowledged or read back.
    trim: Vec<Kept>,
    /// The last document and the last log entry that an idle check has compared; the next check begins after them.
    checked: (Option<Bytes>, i64),
}

impl LedgerSession {
    /// Begins with a ledger as it was acquired.
    pub(crate) fn new(
        store: Arc<dyn LedgerStore>,
        holder: Holder,
        ledgers: i32,
        state: LedgerState,
        committed: OffsetMetadata,
    ) -> Self {
        Self {
            store,
            holder,
            ledgers,
            version: state.version,
            applied: state.applied,
            sequence: state.sequence,
            lineage: state.lineage,
            chain: state.chain,
            index: state.index,
            committed,
            unacknowledged: VecDeque::new(),
            trim: Vec::new(),
            checked: (None, -1),
        }
    }

    /// Takes the entries of the log over from the owner before. Those of records below C may be trimmed.
    pub(crate) fn take_log(&mut self, kept: Vec<Kept>, committed: i64) {
        let (below, above): (Vec<Kept>, Vec<Kept>) = kept.into_iter().partition(|kept| kept.last_offset < committed);
        self.trim = below;
        self.unacknowledged = above.into();
    }

    /// Offset of the next record to apply.
    pub(crate) fn position(&self, committed: i64) -> i64 {
        self.applied.map_or(committed, |applied| applied + 1)
    }

    /// Counts a decided event: its number must be the next one (I4).
    pub(crate) fn number(&mut self, sequence: i64) -> Result<(), String> {
        if sequence != self.sequence + 1 {
            return Err(format!(
                "ledger {}: the processor numbered an event {sequence}, the next number is {}",
                self.holder.ledger,
                self.sequence + 1
            ));
        }
        self.lineage.extend(sequence, &self.holder.token);
        self.sequence = sequence;
        Ok(())
    }

    /// Returns the metadata for the offset when everything up to the applied offset is committed.
    pub(crate) fn metadata(&self, transactional_id: &str) -> OffsetMetadata {
        OffsetMetadata {
            sequence: self.sequence,
            token: self.lineage.last().cloned().unwrap_or_default(),
            transactional_id: transactional_id.to_owned(),
            layouts: self.committed.layouts.clone(),
        }
    }

    /// Returns whether the document exists.
    pub(crate) fn names(&self, document: &Bytes) -> bool {
        self.index.contains_key(document)
    }

    /// Compares a document that was read with the index (L5 of docs/LEDGER.md).
    pub(crate) fn difference(&self, name: &Bytes, read: &Document) -> Option<Loss> {
        self.index.get(name)?.difference(read.head)
    }

    /// Marks the ledger as one that has lost a part (L7 of docs/LEDGER.md), so that its next owner, likely this one,
    /// rebuilds it. A worker that only started over would find the same loss again.
    pub(crate) async fn lost(&mut self, document: &[u8], loss: Loss) -> TaskError {
        let ledger = self.holder.ledger;
        let detail = format!(
            "ledger {ledger}: {} {loss}; it is rebuilt from its events",
            shown(document)
        );
        if left_out(Clause::MarkLost) {
            return TaskError::restart(Reason::LedgerDamaged, detail);
        }
        let demand = RebuildStep::Demand { version: self.version };
        match self.rebuild(&demand).await {
            Ok(()) => TaskError::restart(Reason::LedgerDamaged, detail),
            // Most likely another owner has taken the ledger meanwhile, and this was the other's document.
            Err(error) => error.into(),
        }
    }

    /// Makes a step of a rebuild, and counts it.
    async fn rebuild(&mut self, step: &RebuildStep) -> Result<(), LedgerError> {
        self.store.rebuild(&self.holder, step).await?;
        self.version += 1;
        Ok(())
    }

    /// Begins a rebuild under a fresh token.
    pub(crate) async fn begin_rebuild(&mut self, token: &Token, keep: bool) -> Result<(), LedgerError> {
        let begin = RebuildStep::Begin {
            version: self.version,
            token: token.clone(),
            keep,
        };
        self.rebuild(&begin).await?;
        self.holder.token = token.clone();
        self.version = 0;
        if !keep {
            self.index.clear();
        }
        self.unacknowledged.clear();
        self.trim.clear();
        Ok(())
    }

    /// Writes some of the documents of a rebuild that reaches this sequence.
    pub(crate) async fn write_rebuilt(&mut self, writes: Vec<FieldWrite>, sequence: i64) -> Result<(), LedgerError> {
        let (token, batch) = (&self.holder.token, self.version.to_be_bytes());
        let documents = DocumentWrites::new(&self.index, writes, sequence, token, batch);
        let write = RebuildStep::Write {
            version: self.version,
            documents: documents.clone(),
        };
        self.rebuild(&write).await?;
        documents.enter(&mut self.index);
        Ok(())
    }

    /// Ends a rebuild.
    pub(crate) async fn finish_rebuild(
        &mut self,
        applied: Option<i64>,
        sequence: i64,
        lineage: Lineage,
    ) -> Result<(), LedgerError> {
        let finish = RebuildStep::Finish {
            version: self.version,
            applied,
            sequence,
            lineage: lineage.clone(),
        };
        self.rebuild(&finish).await?;
        self.applied = applied;
        self.sequence = sequence;
        self.lineage = lineage;
        self.chain = None;
        Ok(())
    }

    /// Applies a batch to the ledger, all or nothing. A lost reply is asked again: the version tells whether it
    /// happened.
    pub(crate) async fn commit(
        &mut self,
        applied: i64,
        writes: Vec<FieldWrite>,
        entry: Bytes,
    ) -> Result<(), LedgerError> {
        if let Some(write) = writes.iter().find(|write| RESERVED_FIELDS.contains(&&*write.field)) {
            return Err(LedgerError::Fatal {
                ledger: Some(self.holder.ledger),
                reason: format!(
                    "the processor writes field {:?} of a document, which is reserved",
                    write.field
                ),
            });
        }
        if left_out(Clause::TrimBelowAcknowledged) {
            self.trim.extend(self.unacknowledged.drain(..));
        }
        let digest = entry::digest(applied, &entry);
        let commit = LedgerCommit {
            version: self.version,
            applied,
            sequence: self.sequence,
            lineage: self.lineage.clone(),
            documents: DocumentWrites::new(&self.index, writes, self.sequence, &self.holder.token, digest),
            entry,
            chain: digest,
            trim: std::mem::take(&mut self.trim)
                .iter()
                .map(|kept| kept.last_offset)
                .collect(),
        };
        let mut lost = 0;
        while let Err(error) = self.store.commit(&self.holder, &commit).await {
            if !matches!(error, LedgerError::Unavailable { .. }) || lost == LOST_REPLIES_MAX {
                return Err(error);
            }
            lost += 1;
            tracing::warn!(ledger = self.holder.ledger, %error, "the reply to a ledger commit was lost");
            if left_out(Clause::AskAfterLostReply) {
                continue;
            }
            let state = self.look().await?;
            self.check_holder(&state)?;
            if state.version == self.version + 1 {
                break;
            }
            self.check_version(&state)?;
        }
        commit.documents.enter(&mut self.index);
        self.version += 1;
        self.applied = Some(applied);
        self.chain = Some(digest);
        self.unacknowledged.push_back(Kept {
            last_offset: applied,
            digest,
        });
        Ok(())
    }

    /// Everything below `offset` is known to be committed in the log, with this metadata.
    pub(crate) fn acknowledge(&mut self, offset: i64, metadata: OffsetMetadata) {
        while self
            .unacknowledged
            .front()
            .is_some_and(|last| last.last_offset < offset)
        {
            self.trim.extend(self.unacknowledged.pop_front());
        }
        self.lineage.prune(metadata.sequence);
        self.committed = metadata;
    }

    /// Batches whose commit in the log is not known yet.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Checks that the ledger is as this owner left it (L10 of docs/LEDGER.md): the state each time, and some documents
    /// and log entries, going round. Removes times to live on the way.
    pub(crate) async fn check(&mut self) -> Result<(), TaskError> {
        if left_out(Clause::IdleCheck) {
            return Ok(());
        }
        let ledger = self.holder.ledger;
        self.store.check_fitness(ledger).await?;
        let (documents, entries) = (self.next_documents(), self.next_entries());
        let offsets: Vec<i64> = entries.iter().map(|kept| kept.last_offset).collect();
        self.store.persist(ledger, &documents).await?;
        let view = self.store.view(ledger, &documents, Contents::Head, &offsets).await?;
        self.check_holder(&view.state)?;
        self.check_version(&view.state)?;
        if left_out(Clause::IdleParts) {
            return Ok(());
        }
        let is_entry_whole = |(kept, found): (&Kept, &Option<Bytes>)| {
            let found = found.as_ref().map(|found| entry::digest(kept.last_offset, found));
            found == Some(kept.digest)
        };
        // More than this owner keeps may have come back, and is passed over.
        let is_log_whole = view.entries >= (self.trim.len() + self.unacknowledged.len()) as u64
            && entries.iter().zip(&view.log).all(is_entry_whole);
        if !is_log_whole {
            let detail = format!("ledger {ledger}: entries of its log are missing, or are others");
            return Err(TaskError::restart(Reason::LedgerDamaged, detail));
        }
        for (document, found) in documents.iter().zip(&view.documents) {
            let is_named = view.state.index.get(document) == self.index.get(document);
            let other = (!is_named).then_some(Loss::Other);
            if let Some(loss) = other.or_else(|| self.difference(document, found)) {
                return Err(self.lost(document, loss).await);
            }
        }
        Ok(())
    }

    /// Returns the documents that the next idle check compares.
    fn next_documents(&mut self) -> Vec<Bytes> {
        let after = match &self.checked.0 {
            None => Bound::Unbounded,
            Some(last) => Bound::Excluded(last.clone()),
        };
        let names = self
            .index
            .range((after, Bound::Unbounded))
            .map(|(name, _)| name.clone());
        let names: Vec<Bytes> = names.take(CHECKED_DOCUMENTS).collect();
        let is_round = names.len() < CHECKED_DOCUMENTS;
        self.checked.0 = names.last().filter(|_| !is_round).cloned();
        names
    }

    /// Returns the log entries that the next idle check compares.
    fn next_entries(&mut self) -> Vec<Kept> {
        let all = self.trim.iter().chain(&self.unacknowledged);
        let after = all.filter(|kept| kept.last_offset > self.checked.1);
        let entries: Vec<Kept> = after.take(CHECKED_ENTRIES).copied().collect();
        let is_round = entries.len() < CHECKED_ENTRIES;
        self.checked.1 = entries.last().filter(|_| !is_round).map_or(-1, |kept| kept.last_offset);
        entries
    }

    /// Fails if the state just read may not have been this owner's: another owner took the ledger meanwhile, or another
    /// master answered.
    pub(crate) async fn confirm(&self) -> Result<(), LedgerError> {
        let state = self.look().await?;
        self.check_holder(&state)?;
        self.check_version(&state)
    }

    async fn look(&self) -> Result<LedgerState, LedgerError> {
        Ok(self
            .store
            .view(self.holder.ledger, &[], Contents::Head, &[])
            .await?
            .state)
    }

    fn check_holder(&self, state: &LedgerState) -> Result<(), LedgerError> {
        if state.epoch == self.holder.epoch && state.token == self.holder.token {
            // A master came back that lacks the end of this owner's own rebuild: nothing of it can be trusted.
            return match state.rebuilding {
                true => Err(self.behind(state)),
                false => Ok(()),
            };
        }
        Err(LedgerError::Fenced {
            ledger: self.holder.ledger,
            epoch: state.epoch,
            token: state.token.clone(),
        })
    }

    fn check_version(&self, state: &LedgerState) -> Result<(), LedgerError> {
        if state.version == self.version || left_out(Clause::StateVersion) {
            return Ok(());
        }
        Err(self.behind(state))
    }

    fn behind(&self, state: &LedgerState) -> LedgerError {
        LedgerError::Behind {
            ledger: self.holder.ledger,
            found: state.version,
            expected: self.version,
            rebuilding: state.rebuilding,
        }
    }
}
