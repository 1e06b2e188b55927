//! A topic's dead letters: which there are, what one says, and sending them again once.
//!
//! | file | is |
//! | --- | --- |
//! | `resend` | letters go back to the topic that they came from, each once |
//! | `show` | one letter for people and programs |
//!
//! Nothing is ever removed from a dead-letter queue: it is the account of what happened. That a letter was sent again is
//! a mark behind it ([`interlock_streams::dead_letter`]).

mod resend;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{bail, ensure};
use interlock_gateway::json::instant_text;
use interlock_gateway::json_log::TopicError;
use interlock_schemas::topics::{TOPICS, dlq};
use interlock_streams::dead_letter::{DeadLetter, marked};
use interlock_streams::log::Log;
use interlock_streams::record::{Record, TopicPartition};
use serde::{Serialize, Serializer};

use crate::partition_reader::PartitionReader;

pub(crate) use resend::{Choice, Mended, Order, Resent, resend};
pub(crate) use show::Shown;

/// Where a letter lies in its topic, written as `3:17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
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

/// The topics of dead letters.
pub(crate) fn topics() -> Vec<String> {
    TOPICS.iter().map(|(topic, _)| dlq(topic)).collect()
}

/// A dead letter as a line of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// When its record was written.
    #[serde(serialize_with = "as_instant")]
    pub(crate) timestamp: i64,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Where the record was read.
    pub(crate) source_topic: String,
    pub(crate) source_partition: i32,
    pub(crate) source_offset: i64,
    /// As text; what is none is escaped.
    pub(crate) key: Option<String>,
    pub(crate) sent_again: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format!("{}:{}", self.partition, self.offset);
        let source = format!(
            "{}[{}]@{}",
            self.source_topic, self.source_partition, self.source_offset
        );
        let again = if self.sent_again { "  sent again" } else { "" };
        write!(
            f,
            "{place:<10}  {}  {:<15}  {source:<28}  {:<24}  {}{again}",
            instant_text(self.timestamp),
            self.reason,
            self.key.as_deref().unwrap_or("-"),
            self.message.escape_debug()
        )
    }
}

fn as_instant<S: Serializer>(timestamp: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&instant_text(*timestamp))
}

/// A letter, whole.
pub(crate) struct Letter {
    pub(crate) place: Place,
    pub(crate) why: DeadLetter,
    pub(crate) record: Record,
    pub(crate) is_sent_again: bool,
}

/// The dead letters of a topic.
pub(crate) struct DeadLetters {
    log: Arc<dyn Log>,
    topic: String,
    partitions: i32,
}

impl DeadLetters {
    /// Of this topic, which must exist.
    pub(crate) async fn open(log: Arc<dyn Log>, topic: &str) -> anyhow::Result<Self> {
        let partitions = partitions_of(&*log, topic).await?;
        Ok(Self {
            log,
            topic: topic.to_owned(),
            partitions,
        })
    }

    /// The letters in the order of their records' time, the newest last; at most so many of the newest.
    pub(crate) async fn list(&self, limit: Option<usize>) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for partition in 0..self.partitions {
            let (mut found, mut sent_again) = (Vec::new(), BTreeSet::new());
            let mut reader = PartitionReader::open(&*self.log, &self.topic, partition).await?;
            while let Some(records) = reader.next().await? {
                for record in records {
                    sent_again.extend(marked(&record));
                    found.extend(DeadLetter::of(&record).map(|why| line(partition, &record, why)));
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

    /// The letter that lies here.
    pub(crate) async fn find(&self, place: Place) -> anyhow::Result<Letter> {
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
            bail!("{}", self.none_at(place));
        };
        Ok(Letter {
            place,
            why,
            record,
            is_sent_again,
        })
    }

    /// The topic that the letters' records came from.
    pub(crate) fn source_topic(&self) -> &str {
        self.topic.strip_suffix(dlq("").as_str()).unwrap_or(&self.topic)
    }

    fn source(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), partition)
    }

    /// Reads from a place, which may hold a letter, to the end of its partition.
    async fn read_from(&self, place: Place) -> anyhow::Result<PartitionReader> {
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
        PartitionReader::between(&*self.log, &self.topic, place.partition, (place.offset, high)).await
    }

    fn none_at(&self, place: Place) -> String {
        format!("there is no dead letter at {place} of {}", self.topic)
    }
}

async fn partitions_of(log: &dyn Log, topic: &str) -> anyhow::Result<i32> {
    let partitions = log.partitions(topic).await?;
    Ok(partitions.ok_or_else(|| TopicError::Missing {
        topic: topic.to_owned(),
    })?)
}

fn line(partition: i32, letter: &Record, why: DeadLetter) -> Line {
    Line {
        partition,
        offset: letter.offset,
        timestamp: letter.timestamp,
        reason: why.reason,
        message: why.message,
        source_topic: why.source.topic.to_string(),
        source_partition: why.source.partition,
        source_offset: why.offset,
        key: letter.key.as_deref().map(readable),
        sent_again: false,
    }
}

/// Bytes as text; those that are none, and what a terminal would obey, escaped.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}
