//! The events of one ledger, read from its partition of the event topics in the order of their sequence.

use std::collections::VecDeque;
use std::time::Duration;

use super::error::TaskError;
use crate::log::{Log, Reader};
use crate::mutation::{Clause, left_out};
use crate::record::TopicPartition;
use crate::runtime::task::ledger_node::{LedgerNode, PastEvent};

/// Events taken from a topic at once.
const READ_RECORDS_MAX: usize = 5_000;
/// Longest wait of one read before a message names the partition that it waits for.
const READ_WAIT: Duration = Duration::from_secs(5);

/// A ledger's events, up to the high watermarks at its opening.
pub(crate) struct History {
    ledger: i32,
    /// Each holds its own in ascending order.
    topics: Vec<EventTopic>,
    /// Events up to this one are passed over.
    after: i64,
    /// Sequence of the last event given out.
    pub(crate) sequence: i64,
}

/// An event topic's partition.
struct EventTopic {
    source: TopicPartition,
    reader: Box<dyn Reader>,
    high: i64,
    events: VecDeque<PastEvent>,
}

impl History {
    /// Opens at the first event kept, and skips events up to the sequence `after`.
    pub(crate) async fn open(
        log: &dyn Log,
        event_topics: &[String],
        ledger: i32,
        after: i64,
    ) -> Result<Self, TaskError> {
        let mut marks = Vec::with_capacity(event_topics.len());
        // All marks are taken before the first read: later events were not committed below C.
        for topic in event_topics {
            let source = TopicPartition::new(topic.as_str(), ledger);
            let (low, high) = log.watermarks(&source).await?;
            marks.push((source, low, high));
        }
        let mut topics = Vec::with_capacity(marks.len());
        for (source, low, high) in marks {
            let reader = log.reader(&source, low).await?;
            topics.push(EventTopic {
                source,
                reader,
                high,
                events: VecDeque::new(),
            });
        }
        Ok(Self {
            ledger,
            topics,
            after,
            sequence: after,
        })
    }

    /// The next event of an input record below this offset; none where there are no more of these.
    pub(crate) async fn next(&mut self, below: i64, node: &mut dyn LedgerNode) -> Result<Option<PastEvent>, TaskError> {
        loop {
            self.fill(node).await?;
            let events = self.topics.iter_mut().map(|topic| &mut topic.events);
            let next = events
                .filter(|events| events.front().is_some_and(|event| event.source_offset < below))
                .min_by_key(|events| events.front().map(|event| event.sequence));
            let Some(event) = next.and_then(VecDeque::pop_front) else {
                return Ok(None);
            };
            if event.sequence <= self.after {
                continue;
            }
            if event.sequence != self.sequence + 1 {
                return Err(TaskError::Fatal(format!(
                    "ledger {}: event {} follows event {} in the topics {:?}; events are missing or repeated there (their \
                     retention must outlive the sale), and nothing can be rebuilt from them",
                    self.ledger,
                    event.sequence,
                    self.sequence,
                    self.names()
                )));
            }
            self.sequence = event.sequence;
            return Ok(Some(event));
        }
    }

    async fn fill(&mut self, node: &mut dyn LedgerNode) -> Result<(), TaskError> {
        for topic in &mut self.topics {
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
                    let event = node.decode_event(&record).await.map_err(|error| match error {
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
        Ok(())
    }

    fn names(&self) -> Vec<&str> {
        self.topics.iter().map(|topic| &*topic.source.topic).collect()
    }
}
