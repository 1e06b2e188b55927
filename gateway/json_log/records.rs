//! Reads the records of a topic's partitions as one sequence.

use std::collections::VecDeque;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use interlock_schemas::registry::RegistryError;
use interlock_streams::log::{Log, LogError, Reader};
use interlock_streams::record::{Record, TopicPartition};
use serde::Serialize;

use crate::codec::{Codec, ValueError};
use crate::json::{HeaderJson, Shown, hex, instant_text};

/// Most records of a partition in memory.
const RECORDS_PER_READ: usize = 200;

/// Longest wait of one read for further records.
const READ_WAIT: Duration = Duration::from_millis(500);

/// Reads without progress below the high watermark after which a partition counts as read: the rest belongs to an open
/// transaction and is not committed yet.
const LOOKS_MAX: u32 = 6;

/// The position at which reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The first record kept.
    Beginning,
    /// Records that are written from now on.
    Latest,
    /// This offset, or the next later one, in each partition.
    Offset(i64),
}

/// The text is not a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a position; expected beginning, latest or an offset such as 0")]
pub struct UnknownFrom(String);

impl FromStr for From {
    type Err = UnknownFrom;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "latest" => Ok(Self::Latest),
            other => match other.parse() {
                Ok(offset) if offset >= 0 => Ok(Self::Offset(offset)),
                _ => Err(UnknownFrom(other.chars().take(40).collect())),
            },
        }
    }
}

/// A record as JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopicRecord {
    /// Partition of the record.
    pub partition: i32,
    /// Offset within the partition.
    pub offset: i64,
    /// Timestamp in RFC 3339: of writing or creation, depending on the topic.
    pub timestamp: String,
    /// The key as text.
    pub key: Option<String>,
    /// The headers as text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderJson>,
    /// Full name of its record type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<String>,
    /// The value; null for a tombstone, or if it cannot be decoded.
    pub value: Option<Shown>,
    /// The reason why the value cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecodable: Option<String>,
    /// The bytes of a value that cannot be decoded, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

impl TopicRecord {
    /// Formats the record as a line of JSON, including the line feed.
    pub fn line(&self) -> Vec<u8> {
        // Writing to memory can't fail, and all keys are text.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// The reason why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The schema registry, which is needed for decoding, failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Records of some partitions: existing ones in the order of their timestamps, then later ones as they are committed.
pub struct Records {
    codec: Arc<Codec>,
    sources: Vec<Source>,
    follow: bool,
}

struct Source {
    partition: i32,
    reader: Box<dyn Reader>,
    /// The high watermark at the start.
    end: i64,
    ready: VecDeque<Record>,
}

impl Records {
    pub(super) async fn open(
        log: &dyn Log,
        codec: Arc<Codec>,
        (topic, partitions): (&str, Range<i32>),
        from: From,
        follow: bool,
    ) -> Result<Self, LogError> {
        let mut sources = Vec::new();
        for partition in partitions {
            let source = TopicPartition::new(topic, partition);
            let (low, end) = log.watermarks(&source).await?;
            let start = match from {
                From::Beginning => low,
                From::Latest => end,
                From::Offset(offset) => offset.clamp(low, end),
            };
            // Skips the reader if there is nothing to read, because a reader costs a connection.
            if start < end || follow {
                sources.push(Source {
                    partition,
                    reader: log.reader(&source, start).await?,
                    end,
                    ready: VecDeque::new(),
                });
            }
        }
        Ok(Self { codec, sources, follow })
    }

    /// Returns the next record, or `None` at the end. With `follow` there is no end.
    pub async fn next(&mut self) -> Result<Option<TopicRecord>, ReadError> {
        loop {
            for source in &mut self.sources {
                source.fill().await?;
            }
            let waiting = self.sources.iter_mut().filter(|source| !source.ready.is_empty());
            let earliest = waiting.min_by_key(|source| (source.ready[0].timestamp, source.partition));
            if let Some(source) = earliest
                && let Some(record) = source.ready.pop_front()
            {
                return Ok(Some(show(&self.codec, source.partition, &record).await?));
            }
            if !self.follow {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    /// Waits until a partition has more. Readers that finish later keep their records for the next call.
    async fn wait(&mut self) -> Result<(), LogError> {
        let looks = self.sources.iter_mut().map(|source| {
            let look = async {
                let records = source.reader.next(RECORDS_PER_READ, READ_WAIT).await?;
                source.ready.extend(records);
                Ok(())
            };
            Box::pin(look)
        });
        let (first, _, _) = select_all(looks).await;
        first
    }
}

impl Source {
    /// Reads further in partitions that have nothing ready and had more at the start.
    async fn fill(&mut self) -> Result<(), LogError> {
        let mut looks = 0;
        while self.ready.is_empty() && self.reader.position() < self.end {
            let before = self.reader.position();
            let records = self.reader.next(RECORDS_PER_READ, READ_WAIT).await?;
            // Records written since the start do not count as the beginning, but a follower gets them too.
            self.ready.extend(records);
            looks = if self.reader.position() > before { 0 } else { looks + 1 };
            if looks == LOOKS_MAX {
                self.end = self.reader.position();
            }
        }
        Ok(())
    }
}

async fn show(codec: &Codec, partition: i32, record: &Record) -> Result<TopicRecord, RegistryError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut shown = TopicRecord {
        partition,
        offset: record.offset,
        timestamp: instant_text(record.timestamp),
        key: record.key.as_deref().map(text),
        headers: HeaderJson::list(&record.headers),
        record_type: None,
        value: None,
        undecodable: None,
        bytes: None,
    };
    let Some(value) = &record.value else {
        return Ok(shown);
    };
    match codec.decode(record).await {
        Ok(decoded) => (shown.record_type, shown.value) = (Some(decoded.record_type), Some(decoded.value)),
        Err(ValueError::Malformed(why)) => (shown.undecodable, shown.bytes) = (Some(why), Some(hex(value))),
        Err(ValueError::Registry(error)) => return Err(error),
    }
    Ok(shown)
}
