//! Rebuilds a ledger from its events, when the store lost acknowledged writes.
//!
//! The rebuild takes the high watermarks first. Then it reads committed records of the event topics until its position
//! has passed them. A transaction that hangs, or whose marker has reached the offsets but not yet the event topics,
//! holds the position back until it ends. Only events of input records below C are folded. W becomes C − 1, not the
//! offset of the last event, because dead letters and forwarded records leave no event.
//!
//! After a repartitioning (`layout`), the events that other ledgers decided for this ledger's keys come first, layout
//! by layout. Of the ledger's own events, those of keys that went to other ledgers are counted and not folded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tokio::time::Instant;

use super::acquire::RESTORE;
use super::error::TaskError;
use super::history::History;
use super::layout::Layouts;
use super::metadata::OffsetMetadata;
use super::task::session::LedgerSession;
use crate::ledger::{Lineage, Token};
use crate::log::Log;
use crate::metric_definitions::{REBUILD_SECONDS, REBUILDS};
use crate::mutation::{Clause, left_out};
use crate::record::TopicPartition;
use crate::runtime::task::ledger_node::LedgerNode;

/// Fields written to the store at once: bounds the store's pause.
const WRITE_FIELDS_MAX: usize = 5_000;

/// A rebuild of one ledger, and its limits.
pub(crate) struct Rebuild<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) event_topics: &'a [String],
    /// The group, and the input partition of the ledger.
    pub(crate) group: &'a str,
    pub(crate) source: &'a TopicPartition,
    /// C: events of input records below it are folded.
    pub(crate) committed: i64,
    pub(crate) metadata: OffsetMetadata,
    /// The ledger's documents are a prefix of the log: fold from its own sequence on.
    pub(crate) keep: bool,
    /// A fresh token.
    pub(crate) token: Token,
}

impl Rebuild<'_> {
    pub(crate) async fn run(self, session: &mut LedgerSession, node: &mut dyn LedgerNode) -> Result<(), TaskError> {
        let ledger = session.holder.ledger;
        let began = Instant::now();
        tracing::warn!(
            ledger,
            committed = self.committed,
            sequence = self.metadata.sequence,
            applied = session.applied,
            keep = self.keep,
            "the ledger is not what the log committed: rebuilding it from its events"
        );
        node.clear();
        let (sequence, lineage, last_offset) = self.fold(session, node).await?;
        let may_differ = left_out(Clause::RebuildToHighWatermark) || left_out(Clause::FoldBelowCommitted);
        if sequence != self.metadata.sequence && !may_differ {
            return Err(TaskError::Fatal(format!(
                "ledger {ledger} can't be rebuilt: the log committed event {} but the topics {:?} hold events up to {sequence} only; \
                 restore them from a backup (their retention must outlive the sale)",
                self.metadata.sequence, self.event_topics
            )));
        }
        self.write(session, node, sequence, lineage, last_offset).await?;
        node.clear();
        metrics::counter!(REBUILDS).increment(1);
        metrics::histogram!(REBUILD_SECONDS).record(began.elapsed().as_secs_f64());
        tracing::warn!(
            ledger,
            sequence,
            seconds = began.elapsed().as_secs_f64(),
            "the ledger is rebuilt"
        );
        Ok(())
    }

    /// Folds the events in order of their sequence; returns the last sequence, the lineage, and the offset of the
    /// record that caused the last event.
    async fn fold(
        &self,
        session: &mut LedgerSession,
        node: &mut dyn LedgerNode,
    ) -> Result<(i64, Lineage, Option<i64>), TaskError> {
        let ledger = session.holder.ledger;
        let (after, lineage) = match self.keep {
            true => (session.sequence, session.lineage.clone()),
            false => (0, Lineage::default()),
        };
        let history = History::open(self.log, self.event_topics, ledger, after).await?;
        let mut own = OwnEvents {
            history,
            lineage,
            last_offset: None,
        };
        // Documents that are kept have the present layout: otherwise the lineage would not agree.
        let layouts = self.metadata.layouts.as_deref();
        if let Some(layouts) = layouts.filter(|layouts| !self.keep && !layouts.past.is_empty()) {
            self.fold_past(layouts, &mut own, session, node).await?;
            node.renumber(layouts.first_number);
        }
        let below = match left_out(Clause::FoldBelowCommitted) {
            true => i64::MAX,
            false => self.committed,
        };
        own.fold(below, layouts, session, node, self.keep).await?;
        let OwnEvents {
            history,
            mut lineage,
            last_offset,
        } = own;
        if history.sequence == self.metadata.sequence && !self.metadata.token.0.is_empty() {
            // Nothing was decided since the offset was written by an operator: that token is in no event.
            lineage.extend(history.sequence, &self.metadata.token);
        }
        lineage.prune(history.sequence);
        Ok((history.sequence, lineage, last_offset))
    }

    /// Folds the events of this ledger's keys from before the present layout, whichever ledger decided them.
    async fn fold_past(
        &self,
        layouts: &Layouts,
        own: &mut OwnEvents,
        session: &mut LedgerSession,
        node: &mut dyn LedgerNode,
    ) -> Result<(), TaskError> {
        let ledger = session.holder.ledger;
        // Where past layouts ended never changes once it is written.
        let topic = &self.source.topic;
        let ends = OffsetMetadata::layouts_of_partitions(self.log, self.group, topic, layouts.ledgers).await?;
        let mut others: BTreeMap<i32, History> = BTreeMap::new();
        for (index, past) in layouts.past.iter().enumerate() {
            for holder in layouts.holders(past, ledger) {
                let seen = ends.get(holder as usize).and_then(Option::as_ref);
                let end = seen.and_then(|layouts| layouts.past.get(index)).ok_or_else(|| {
                    TaskError::Fatal(format!(
                        "the offset of partition {holder} that group {} committed does not name the layout of {} ledgers that \
                         there was; {RESTORE}",
                        self.group, past.ledgers
                    ))
                })?;
                let reached = if holder == ledger {
                    own.fold(end.end_offset, Some(layouts), session, node, false).await?;
                    own.history.sequence
                } else {
                    let history = match others.entry(holder) {
                        Entry::Occupied(open) => open.into_mut(),
                        Entry::Vacant(closed) => {
                            closed.insert(History::open(self.log, self.event_topics, holder, 0).await?)
                        }
                    };
                    while let Some(event) = history.next(end.end_offset, node).await? {
                        if event.is_of(ledger, layouts) {
                            node.fold(event, session, false).await?;
                        }
                    }
                    history.sequence
                };
                if reached != end.end_sequence {
                    return Err(TaskError::Fatal(format!(
                        "ledger {ledger} can't be rebuilt: of the events that ledger {holder} decided before there were more than \
                         {} ledgers, the topics {:?} hold those up to {reached} and not up to {}; restore them from a backup \
                         (their retention must outlive the sale)",
                        past.ledgers, self.event_topics, end.end_sequence
                    )));
                }
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        session: &mut LedgerSession,
        node: &mut dyn LedgerNode,
        sequence: i64,
        lineage: Lineage,
        last_offset: Option<i64>,
    ) -> Result<(), TaskError> {
        session.begin_rebuild(&self.token, self.keep).await?;
        let writes = node.take_changes();
        for chunk in writes.chunks(WRITE_FIELDS_MAX) {
            session.write_rebuilt(chunk.to_vec(), sequence).await?;
        }
        let applied = if left_out(Clause::AppliedBelowCommitted) {
            last_offset
        } else {
            (self.committed > 0).then(|| self.committed - 1)
        };
        session.finish_rebuild(applied, sequence, lineage).await?;
        Ok(())
    }
}

/// The ledger's own events as they are folded.
struct OwnEvents {
    history: History,
    lineage: Lineage,
    /// Offset of the record that caused the last event.
    last_offset: Option<i64>,
}

impl OwnEvents {
    async fn fold(
        &mut self,
        below: i64,
        layouts: Option<&Layouts>,
        session: &mut LedgerSession,
        node: &mut dyn LedgerNode,
        load: bool,
    ) -> Result<(), TaskError> {
        while let Some(event) = self.history.next(below, node).await? {
            self.last_offset = Some(event.source_offset);
            self.lineage.extend(event.sequence, &event.token);
            if layouts.is_none_or(|layouts| event.is_of(session.holder.ledger, layouts)) {
                node.fold(event, session, load).await?;
            }
        }
        Ok(())
    }
}
