//! Lists and reads the dead letters of a topic, and sends each again once.
//!
//! | file | is |
//! | --- | --- |
//! | `dump` | bytes as `hexdump -C` shows them |
//! | `resend` | letters go back to the topic that they came from, each once |
//!
//! Nothing is ever removed from a dead-letter topic, which is a record of failures. A letter that was sent again is
//! followed by a mark ([`interlock_streams::dead_letter`]).

mod dump;
mod resend;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use interlock_schemas::topics::{TOPICS, dlq};
use interlock_streams::dead_letter::{DeadLetter, marked};
use interlock_streams::log::Log;
use interlock_streams::log::partition_reader::PartitionReader;
use interlock_streams::record::{Record, TopicPartition};
use serde::Serialize;

use crate::{Result, ensure, refused};

pub use dump::dump;
pub use resend::{Choice, Mended, Order, Resent, resend};

/// The place of a letter in its topic, written as `3:17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The partition of the dead-letter topic.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once(':').and_then(|(partition, offset)| {
            let place = Place {
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            };
            (place.partition >= 0 && place.offset >= 0).then_some(place)
        });
        numbers.ok_or_else(|| "expected PARTITION:OFFSET, such as 3:17".to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

/// Returns the dead-letter topics.
pub fn topics() -> Vec<String> {
    TOPICS.iter().map(|(topic, _)| dlq(topic)).collect()
}

/// A dead letter as a line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The partition of the dead-letter topic.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// Timestamp of the record, in milliseconds since 1970; serialized by the caller, in the format of other times.
    #[serde(skip)]
    pub timestamp: i64,
    /// The kind of error, such as `undecodable`.
    pub reason: String,
    /// The error, as a sentence.
    pub message: String,
    /// The topic where the record was read.
    pub source_topic: String,
    /// The partition where the record was read.
    pub source_partition: i32,
    /// The offset where the record was read.
    pub source_offset: i64,
    /// Key of the record as text; other bytes are escaped.
    pub key: Option<String>,
    /// True if a mark says that the record was sent again.
    pub sent_again: bool,
}

/// A whole letter.
pub struct Letter {
    /// The place of the letter.
    pub place: Place,
    /// The error information in its headers.
    pub why: DeadLetter,
    /// The letter itself: key, value and headers of the record, with the error information.
    pub record: Record,
    /// True if a mark says that the record was sent again.
    pub is_sent_again: bool,
}

impl Letter {
    /// Returns the letter's line in the list.
    pub fn line(&self) -> Line {
        Line {
            sent_again: self.is_sent_again,
            ..line(self.place.partition, &self.record, &self.why)
        }
    }
}

/// The dead letters of a topic.
pub struct DeadLetters {
    log: Arc<dyn Log>,
    topic: String,
    partitions: i32,
}

impl DeadLetters {
    /// Creates access to the dead letters of this topic, which must exist.
    pub async fn open(log: Arc<dyn Log>, topic: &str) -> Result<Self> {
        let partitions = partitions_of(&*log, topic).await?;
        Ok(Self {
            log,
            topic: topic.to_owned(),
            partitions,
        })
    }

    /// Returns the letters in the order of their records' timestamps, the newest last; with a limit, only the newest
    /// ones.
    pub async fn list(&self, limit: Option<usize>) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for partition in 0..self.partitions {
            let (mut found, mut sent_again) = (Vec::new(), BTreeSet::new());
            let mut reader = PartitionReader::open(&*self.log, &self.topic, partition).await?;
            while let Some(records) = reader.next().await? {
                for record in records {
                    sent_again.extend(marked(&record));
                    found.extend(DeadLetter::of(&record).map(|why| line(partition, &record, &why)));
                }
            }
            for line in &mut found {
                line.sent_again = sent_again.contains(&line.offset);
            }
            lines.append(&mut found);
            lines.sort_by_key(|line| (line.timestamp, line.partition, line.offset));
            let older = lines.len().saturating_sub(limit.unwrap_or(usize::MAX));
            lines.drain(..older);
        }
        Ok(lines)
    }

    /// Returns the letter at this place.
    pub async fn find(&self, place: Place) -> Result<Letter> {
        let mut reader = self.read_from(place).await?;
        let (mut letter, mut is_sent_again) = (None, false);
        while let Some(records) = reader.next().await? {
            for record in records {
                is_sent_again |= marked(&record) == Some(place.offset);
                if record.offset == place.offset {
                    letter = DeadLetter::of(&record).map(|why| (why, record));
                }
            }
        }
        let Some((why, record)) = letter else {
            return Err(refused(self.none_at(place)));
        };
        Ok(Letter {
            place,
            why,
            record,
            is_sent_again,
        })
    }

    /// Returns the topic that the letters' records came from.
    pub fn source_topic(&self) -> &str {
        self.topic.strip_suffix(dlq("").as_str()).unwrap_or(&self.topic)
    }

    fn source(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), partition)
    }

    /// Reads from a place to the end of its partition.
    async fn read_from(&self, place: Place) -> Result<PartitionReader> {
        ensure!(
            place.partition < self.partitions,
            "{}: {} has partitions 0 to {}",
            self.none_at(place),
            self.topic,
            self.partitions - 1
        );
        let (low, high) = self.log.watermarks(&self.source(place.partition)).await?;
        ensure!(
            (low..high).contains(&place.offset),
            "{}: the partition holds offsets {low} to {}",
            self.none_at(place),
            high - 1
        );
        let range = (place.offset, high);
        Ok(PartitionReader::between(&*self.log, &self.topic, place.partition, range).await?)
    }

    fn none_at(&self, place: Place) -> String {
        format!("there is no dead letter at {place} of {}", self.topic)
    }
}

async fn partitions_of(log: &dyn Log, topic: &str) -> Result<i32> {
    let partitions = log.partitions(topic).await?;
    partitions.ok_or_else(|| refused(format!("topic {topic} is not created yet; run `interlock seed`")))
}

fn line(partition: i32, letter: &Record, why: &DeadLetter) -> Line {
    Line {
        partition,
        offset: letter.offset,
        timestamp: letter.timestamp,
        reason: why.reason.clone(),
        message: why.message.clone(),
        source_topic: why.source.topic.to_string(),
        source_partition: why.source.partition,
        source_offset: why.offset,
        key: letter.key.as_deref().map(readable),
        sent_again: false,
    }
}

/// Returns bytes as text, with control characters and invalid bytes escaped.
pub fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}
