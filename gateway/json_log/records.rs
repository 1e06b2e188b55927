//! The records of a topic's partitions as one sequence.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use interlock_schemas::registry::RegistryError;
use interlock_streams::log::{Log, LogError, Reader};
use interlock_streams::record::{Record, TopicPartition};
use serde::Serialize;

use crate::codec::Codec;
use crate::json::{Shown, hex, instant_text};

/// Records of a partition that are held at once.
const RECORDS_PER_READ: usize = 200;

/// How long one look for further records waits.
const LOOK: Duration = Duration::from_millis(500);

/// Looks without progress below the high watermark after which a partition counts as read: what is left there belongs
/// to a transaction that is still open, and is not committed yet.
const LOOKS_MAX: u32 = 6;

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first record kept.
    Beginning,
    /// With what comes from now on.
    Latest,
    /// With the first record of each partition that has this offset or a later one.
    Offset(i64),
}

/// A text is no place to begin at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place to begin at; expected beginning, latest or an offset such as 0")]
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

/// A record as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopicRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was written (or made, as the topic has it), in RFC 3339.
    pub timestamp: String,
    /// Its key, as text.
    pub key: Option<String>,
    /// Its headers, as texts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Full name of its record type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<String>,
    /// What it says; null is a tombstone, or one that can't be decoded.
    pub value: Option<Shown>,
    /// Why it can't be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undecodable: Option<String>,
    /// The bytes of one that can't be decoded, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

impl TopicRecord {
    /// As a line of JSON, with its end.
    pub fn line(&self) -> Vec<u8> {
        // Writing to memory can't fail, and all of its keys are texts.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Why records can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The schema registry, which is needed to decode them.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Records of some partitions: those that were there at the start in the order of their timestamps, later ones as they
/// come.
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
            // A reader costs a connection.
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

    /// The next record; none at the end, which doesn't come where records are followed.
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

    /// Waits until some partition has more. A reader that isn't the first to have something keeps what it has.
    async fn wait(&mut self) -> Result<(), LogError> {
        let looks = self.sources.iter_mut().map(|source| {
            let look = async {
                let records = source.reader.next(RECORDS_PER_READ, LOOK).await?;
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
    /// Reads on where nothing is ready and there was more at the start.
    async fn fill(&mut self) -> Result<(), LogError> {
        let mut looks = 0;
        while self.ready.is_empty() && self.reader.position() < self.end {
            let before = self.reader.position();
            let records = self.reader.next(RECORDS_PER_READ, LOOK).await?;
            // What was written since the start is not part of it, but a follower's all the same.
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
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut shown = TopicRecord {
        partition,
        offset: record.offset,
        timestamp: instant_text(record.timestamp),
        key: record.key.as_ref().map(text),
        headers: record
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        record_type: None,
        value: None,
        undecodable: None,
        bytes: None,
    };
    let Some(value) = &record.value else {
        return Ok(shown);
    };
    match codec.decode(value).await? {
        Ok(decoded) => (shown.record_type, shown.value) = (Some(decoded.record_type), Some(decoded.value)),
        Err(why) => (shown.undecodable, shown.bytes) = (Some(why), Some(hex(value))),
    }
    Ok(shown)
}
