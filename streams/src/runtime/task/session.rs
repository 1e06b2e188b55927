//! A ledger as its present owner knows it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::ledger::{
    FieldWrite, Holder, LedgerCommit, LedgerError, LedgerState, LedgerStore, Lineage, OutboxEntry, Token,
};
use crate::mutation::{Clause, left_out};
use crate::runtime::metadata::OffsetMetadata;

/// Repetitions of a commit whose reply was lost, before the ledger is given up and acquired again.
const LOST_REPLIES_MAX: usize = 3;

/// The right to a ledger, and where it stands.
pub(crate) struct LedgerSession {
    pub(crate) store: Arc<dyn LedgerStore>,
    pub(crate) holder: Holder,
    /// Number of ledgers: the partitions of the input topic.
    pub(crate) ledgers: i32,
    /// Last applied input offset.
    pub(crate) applied: Option<i64>,
    /// Last sequence given to an event, also to those of the batch being decided.
    pub(crate) sequence: i64,
    pub(crate) lineage: Lineage,
    /// Metadata of the log's committed offset: the last one that was acknowledged or read back.
    pub(crate) committed: OffsetMetadata,
    /// Outbox entries whose commit in the log is not known yet.
    unacknowledged: VecDeque<i64>,
    /// Outbox entries that may be trimmed: their commit in the log was acknowledged or read back.
    trim: Vec<i64>,
}

impl LedgerSession {
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
            applied: state.applied,
            sequence: state.sequence,
            lineage: state.lineage,
            committed,
            unacknowledged: VecDeque::new(),
            trim: Vec::new(),
        }
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

    /// Applies a batch to the ledger, all or nothing. A lost reply is asked again: the applied offset tells whether it
    /// happened.
    pub(crate) async fn commit(
        &mut self,
        applied: i64,
        writes: Vec<FieldWrite>,
        outbox: Bytes,
    ) -> Result<(), LedgerError> {
        if left_out(Clause::TrimBelowAcknowledged) {
            self.trim.extend(self.unacknowledged.iter());
        }
        let commit = LedgerCommit {
            expected_applied: self.applied,
            applied,
            sequence: self.sequence,
            lineage: self.lineage.clone(),
            writes,
            outbox,
            trim: std::mem::take(&mut self.trim),
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
            let state = self.store.state(self.holder.ledger).await?;
            self.check_holder(&state)?;
            if state.applied == Some(applied) {
                break;
            }
            self.check_applied(&state)?;
        }
        self.applied = Some(applied);
        self.unacknowledged.push_back(applied);
        Ok(())
    }

    /// Everything below `offset` is known to be committed in the log, with this metadata.
    pub(crate) fn acknowledge(&mut self, offset: i64, metadata: OffsetMetadata) {
        while self.unacknowledged.front().is_some_and(|last| *last < offset) {
            self.trim.extend(self.unacknowledged.pop_front());
        }
        self.lineage.prune(metadata.sequence);
        self.committed = metadata;
    }

    /// Outbox entries that an earlier owner left and whose commit was read back.
    pub(crate) fn trim_later(&mut self, entries: impl IntoIterator<Item = i64>) {
        self.trim.extend(entries);
    }

    /// These outbox entries, as far as they are not below `committed`, were just sent again.
    pub(crate) fn sent_again(&mut self, entries: &[OutboxEntry], committed: i64) {
        let sent = entries.iter().filter(|entry| entry.last_offset >= committed);
        self.unacknowledged.extend(sent.map(|entry| entry.last_offset));
    }

    /// Batches whose commit in the log is not known yet.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.unacknowledged.len()
    }

    /// Checks that the ledger is as this owner left it.
    pub(crate) async fn check(&self) -> Result<(), LedgerError> {
        if left_out(Clause::IdleCheck) {
            return Ok(());
        }
        self.confirm().await
    }

    /// Fails if the state just read may not have been this owner's: another owner took the ledger meanwhile, or another
    /// master answered.
    pub(crate) async fn confirm(&self) -> Result<(), LedgerError> {
        let state = self.store.state(self.holder.ledger).await?;
        self.check_holder(&state)?;
        self.check_applied(&state)
    }

    /// Begins to write under a fresh token after a rebuild.
    pub(crate) fn rebuilt(&mut self, token: Token, applied: Option<i64>, sequence: i64, lineage: Lineage) {
        self.holder.token = token;
        self.applied = applied;
        self.sequence = sequence;
        self.lineage = lineage;
        self.unacknowledged.clear();
        self.trim.clear();
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

    fn check_applied(&self, state: &LedgerState) -> Result<(), LedgerError> {
        if state.applied == self.applied {
            return Ok(());
        }
        Err(self.behind(state))
    }

    fn behind(&self, state: &LedgerState) -> LedgerError {
        LedgerError::Behind {
            ledger: self.holder.ledger,
            found: state.applied,
            expected: self.applied,
        }
    }
}
