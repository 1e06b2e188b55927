//! Reads a ledger's events in order of sequence, and distinguishes bad records from a registry that doesn't answer.
//!
//! ```text
//!  confirmed[p]  ──┐
//!  waitlist[p]   ──┤
//!  cancelled[p]  ──┼─> the one with the least sequence comes next
//!  rejected[p]   ──┤
//!  train-dates[p]──┘
//! ```
//!
//! Only a few records of each topic are in memory. A topic's records come in the order of their sequence, because one
//! producer wrote them in that order; if they don't, the merged sequences don't follow on each other, and I4 says so.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use interlock_schemas::registry::Registry;
use interlock_schemas::{Decoder, Event, Remedy, VALUE_SCHEMA_HEADER, topics};
use interlock_streams::log::Log;
use interlock_streams::record::Record;

use crate::AuditError;

use interlock_streams::log::partition_reader::PartitionReader;

/// The reason why a record's value can't be decoded, now or permanently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable(pub(crate) String);

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A decoded value, or the reason why there is none.
pub(crate) type Decoded<P> = Result<P, Undecodable>;

/// Decodes a value, and distinguishes bad records from a registry that doesn't answer.
pub(crate) async fn decode<P: interlock_schemas::Payload>(
    decoder: &mut Decoder<P>,
    record: &Record,
) -> crate::Result<Decoded<P>> {
    let Some(value) = &record.value else {
        return Ok(Err(Undecodable("it has no value".to_owned())));
    };
    let header = record.header(VALUE_SCHEMA_HEADER).map(|header| &header[..]);
    match decoder.decode_with(value, header).await {
        Ok(decoded) => Ok(Ok(decoded)),
        Err(error) if error.remedy() == Remedy::Reject => Ok(Err(Undecodable(error.to_string()))),
        Err(error) => Err(AuditError::Registry(error)),
    }
}

/// An event and its place, or the reason why it can't be decoded.
pub(crate) struct Found {
    pub(crate) topic: &'static str,
    pub(crate) offset: i64,
    pub(crate) event: Decoded<Event>,
}

/// One topic of a ledger's events.
struct Source {
    topic: &'static str,
    reader: PartitionReader,
    ready: VecDeque<(i64, Decoded<Event>)>,
    /// Offset after the last record given out; the first one kept before that.
    after_last: i64,
}

impl Source {
    /// Returns whether the next event follows from a record below this offset. This is unknown for one that can't be
    /// decoded.
    fn is_ready(&self, below: i64) -> bool {
        let is_below = |event: &Event| event.header().source_offset < below;
        self.ready
            .front()
            .is_some_and(|(_, event)| event.as_ref().map_or(true, is_below))
    }

    /// Returns the next event's sequence. An event that can't be decoded comes first.
    fn sequence(&self) -> Option<i64> {
        let (_, event) = self.ready.front()?;
        Some(event.as_ref().map_or(i64::MIN, |event| event.header().sequence))
    }
}

/// The events of one ledger in the order of their sequence.
///
/// The high watermarks of its topics can't be read at one moment, so the ends may be ragged: of one transaction the
/// events of one topic lie below its applied offset, those of another don't. A reader that sees an event also sees all
/// events written before it and with it, below the watermarks read *afterwards*. So before a gap is believed, the
/// watermarks are read again.
pub(crate) struct LedgerEvents {
    log: Arc<dyn Log>,
    decoder: Decoder<Event>,
    sources: Vec<Source>,
    /// The sequence that comes next, and whether the watermarks were read again because it was missing.
    expected: (i64, bool),
}

/// The extent to which a partition of an event topic was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) topic: &'static str,
    pub(crate) partition: i32,
    /// First offset kept when reading began.
    pub(crate) low: i64,
    /// Offset after the last record given out; `low` if there was none. Everything below was given out, nothing above.
    pub(crate) after_last: i64,
}

impl LedgerEvents {
    /// Opens a ledger's events, from the first ones kept to the present high watermarks.
    pub(crate) async fn open(
        log: Arc<dyn Log>,
        registry: Arc<dyn Registry>,
        ledger: i32,
        patience: Duration,
    ) -> crate::Result<LedgerEvents> {
        let mut sources = Vec::with_capacity(topics::EVENTS.len());
        for topic in topics::EVENTS {
            let reader = PartitionReader::open(&*log, topic, ledger).await?.patient_for(patience);
            sources.push(Source {
                topic,
                after_last: reader.low,
                reader,
                ready: VecDeque::new(),
            });
        }
        Ok(LedgerEvents {
            log,
            decoder: Decoder::new(registry),
            sources,
            expected: (1, false),
        })
    }

    /// Extends the range to events written since.
    pub(crate) async fn extend(&mut self) -> crate::Result<()> {
        for source in &mut self.sources {
            source.reader.extend(&*self.log).await?;
        }
        Ok(())
    }

    /// Returns the next event, or `None` at the end.
    pub(crate) async fn next(&mut self) -> crate::Result<Option<Found>> {
        self.next_below(i64::MAX).await
    }

    /// Returns the next event that follows from a record below this offset, or `None` if there are no more.
    pub(crate) async fn next_below(&mut self, source_offset: i64) -> crate::Result<Option<Found>> {
        self.fill().await?;
        let (expected, looked_again) = self.expected;
        let next = self.sources.iter().filter_map(Source::sequence).min();
        if next.is_some_and(|next| next > expected) && !looked_again {
            self.expected.1 = true;
            self.extend().await?;
            self.fill().await?;
        }
        Ok(self.take(source_offset))
    }

    async fn fill(&mut self) -> crate::Result<()> {
        for source in self.sources.iter_mut().filter(|source| source.ready.is_empty()) {
            for record in source.reader.next().await?.unwrap_or_default() {
                let event = decode(&mut self.decoder, &record).await?;
                source.ready.push_back((record.offset, event));
            }
        }
        Ok(())
    }

    fn take(&mut self, below: i64) -> Option<Found> {
        let ready = self.sources.iter_mut().filter(|source| source.is_ready(below));
        let source = ready.min_by_key(|source| source.sequence())?;
        let (offset, event) = source.ready.pop_front()?;
        source.after_last = offset + 1;
        if let Ok(event) = &event {
            self.expected = (event.header().sequence + 1, false);
        }
        Some(Found {
            topic: source.topic,
            offset,
            event,
        })
    }

    /// Returns the positions up to which each topic was read.
    pub(crate) fn reached(&self, ledger: i32) -> Vec<Reached> {
        let reached = self.sources.iter().map(|source| Reached {
            topic: source.topic,
            partition: ledger,
            low: source.reader.low,
            after_last: source.after_last,
        });
        reached.collect()
    }
}
