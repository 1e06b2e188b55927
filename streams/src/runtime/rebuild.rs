//! Rebuilds a ledger from its events, when the store lost what it had acknowledged.
//!
//! The high watermarks are taken first and the event topics read, committed records only, until the position has passed
//! them: a commit whose marker has reached the offsets but not yet the event topics, or a transaction that hangs, holds
//! the position back until it is settled. Only events of input records below C are folded; W becomes C − 1 and not the
//! last event's offset, because dead letters and forwarded records leave no event.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::error::TaskError;
use super::metadata::OffsetMetadata;
use super::mutation::{Clause, left_out};
use super::session::LedgerSession;
use crate::ledger::{Lineage, RebuildStep, Token};
use crate::ledger_node::{LedgerSide, PastEvent};
use crate::log::{Log, Reader};
use crate::metric_definitions::{REBUILD_SECONDS, REBUILDS};
use crate::record::TopicPartition;

/// Events taken from a topic at once.
const READ_RECORDS_MAX: usize = 5_000;
/// How long one read waits before it says what it waits for.
const READ_WAIT: Duration = Duration::from_secs(5);
/// Fields written to the store at once: bounds the store's pause.
const WRITE_FIELDS_MAX: usize = 5_000;

/// What to rebuild and how far.
pub(crate) struct Rebuild<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) event_topics: &'a [String],
    /// C: events of input records below it are folded.
    pub(crate) committed: i64,
    pub(crate) metadata: &'a OffsetMetadata,
    /// The ledger's documents are a prefix of the log: fold from its own sequence on.
    pub(crate) keep: bool,
    /// A fresh token.
    pub(crate) token: Token,
}

impl Rebuild<'_> {
    pub(crate) async fn run(self, session: &mut LedgerSession, side: &mut dyn LedgerSide) -> Result<(), TaskError> {
        let ledger = session.claim.ledger;
        let began = Instant::now();
        tracing::warn!(
            ledger,
            committed = self.committed,
            sequence = self.metadata.sequence,
            watermark = session.watermark,
            keep = self.keep,
            "the ledger is not what the log committed: rebuilding it from its events"
        );
        side.clear();
        let (sequence, lineage, last_offset) = self.fold(session, side).await?;
        let may_differ = left_out(Clause::RebuildToHighWatermark) || left_out(Clause::FoldBelowCommitted);
        if sequence != self.metadata.sequence && !may_differ {
            return Err(TaskError::Fatal(format!(
                "ledger {ledger} can't be rebuilt: the log committed event {} but the topics {:?} hold events up to {sequence} only; \
                 restore them from a backup (their retention must outlive the sale)",
                self.metadata.sequence, self.event_topics
            )));
        }
        self.write(session, side, sequence, lineage, last_offset).await?;
        side.clear();
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

    /// Folds the events in order of their sequence; returns the last sequence, the lineage, and the offset of the record
    /// that caused the last event.
    async fn fold(
        &self,
        session: &LedgerSession,
        side: &mut dyn LedgerSide,
    ) -> Result<(i64, Lineage, Option<i64>), TaskError> {
        let ledger = session.claim.ledger;
        let mut topics = self.open(ledger).await?;
        let (mut sequence, mut lineage) = if self.keep {
            (session.sequence, session.lineage.clone())
        } else {
            (0, Lineage::default())
        };
        let mut last_offset = None;
        while let Some(event) = next_event(&mut topics, side).await? {
            let is_committed = event.source_offset < self.committed || left_out(Clause::FoldBelowCommitted);
            if !is_committed || (self.keep && event.sequence <= session.sequence) {
                continue;
            }
            if event.sequence != sequence + 1 {
                return Err(TaskError::Fatal(format!(
                    "ledger {ledger} can't be rebuilt: event {} follows event {sequence} in the topics {:?}; \
                     events are missing or repeated there (their retention must outlive the sale)",
                    event.sequence, self.event_topics
                )));
            }
            sequence = event.sequence;
            last_offset = Some(event.source_offset);
            lineage.extend(sequence, &event.token);
            side.fold(event, session, self.keep).await?;
        }
        lineage.prune(sequence);
        Ok((sequence, lineage, last_offset))
    }

    async fn open(&self, ledger: i32) -> Result<Vec<EventTopic>, TaskError> {
        let mut topics = Vec::with_capacity(self.event_topics.len());
        // All marks are taken before the first read: what comes after them was not committed below C.
        for topic in self.event_topics {
            let source = TopicPartition::new(topic.as_str(), ledger);
            let (low, high) = self.log.watermarks(&source).await?;
            topics.push((source, low, high));
        }
        let mut open = Vec::with_capacity(topics.len());
        for (source, low, high) in topics {
            let reader = self.log.reader(&source, low).await?;
            open.push(EventTopic {
                source,
                reader,
                high,
                events: VecDeque::new(),
            });
        }
        Ok(open)
    }

    async fn write(
        &self,
        session: &mut LedgerSession,
        side: &mut dyn LedgerSide,
        sequence: i64,
        lineage: Lineage,
        last_offset: Option<i64>,
    ) -> Result<(), TaskError> {
        let begin = RebuildStep::Begin {
            expected_watermark: session.watermark,
            token: self.token.clone(),
            keep: self.keep,
        };
        session.store.rebuild(&session.claim, &begin).await?;
        session.claim.token = self.token.clone();
        let writes = side.take_changes();
        for chunk in writes.chunks(WRITE_FIELDS_MAX) {
            session
                .store
                .rebuild(&session.claim, &RebuildStep::Write(chunk.to_vec()))
                .await?;
        }
        let watermark = if left_out(Clause::WatermarkBelowCommitted) {
            last_offset
        } else {
            (self.committed > 0).then(|| self.committed - 1)
        };
        let finish = RebuildStep::Finish {
            watermark,
            sequence,
            lineage: lineage.clone(),
        };
        session.store.rebuild(&session.claim, &finish).await?;
        session.rebuilt(self.token.clone(), watermark, sequence, lineage);
        Ok(())
    }
}

/// An event topic's partition, read up to the high watermark that it had at the beginning.
struct EventTopic {
    source: TopicPartition,
    reader: Box<dyn Reader>,
    high: i64,
    events: VecDeque<PastEvent>,
}

/// The event with the lowest sequence among all topics: each topic holds its own in ascending order.
async fn next_event(topics: &mut [EventTopic], side: &mut dyn LedgerSide) -> Result<Option<PastEvent>, TaskError> {
    for topic in topics.iter_mut() {
        while topic.events.is_empty() && topic.reader.position() < topic.high {
            let records = topic.reader.next(READ_RECORDS_MAX, READ_WAIT).await?;
            if records.is_empty() && left_out(Clause::RebuildToHighWatermark) {
                break;
            }
            if records.is_empty() && topic.reader.position() < topic.high {
                tracing::warn!(
                    source = %topic.source,
                    position = topic.reader.position(),
                    high = topic.high,
                    "waiting for an open transaction to end before the ledger can be rebuilt"
                );
            }
            for record in records {
                let event = side
                    .decode_event(&record)
                    .await
                    .map_err(|error| match TaskError::from(error) {
                        TaskError::Fatal(reason) => TaskError::Fatal(format!(
                            "{}@{} is no event that this program can read: {reason}",
                            topic.source, record.offset
                        )),
                        other => other,
                    })?;
                topic.events.push_back(event);
            }
        }
    }
    let next = topics
        .iter_mut()
        .filter(|topic| !topic.events.is_empty())
        .min_by_key(|topic| topic.events.front().map(|event| event.sequence));
    Ok(next.and_then(|topic| topic.events.pop_front()))
}
