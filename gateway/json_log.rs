//! Topics as JSON: appends records to the topics that clients may write to; reads and follows all topics.
//!
//! This module is free of HTTP, so that `interlock produce` and `interlock consume` can use it too.

mod records;

use std::sync::Arc;

use interlock_schemas::registry::{Ids, Registry};
use interlock_schemas::topics::{BOOKING_REQUESTS, INPUTS, TOPICS, dlq, records_of};
use interlock_schemas::{Command, DecodeError};
use interlock_streams::log::{Log, LogError};
use interlock_streams::policy::RECORD_BYTES_MAX;
use interlock_streams::record::{OutputRecord, Record};
use serde::Serialize;
use serde_json::Value as Json;

use crate::codec::Codec;
use crate::json::{FieldError, Shown};

pub use crate::codec::{Encoded, ValueError};
pub use records::{From, ReadError, Records, TopicRecord, UnknownFrom};

/// The log with a codec for its records.
pub struct JsonLog {
    log: Arc<dyn Log>,
    codec: Arc<Codec>,
}

/// Position of an appended record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Appended {
    /// Partition of the record.
    pub partition: i32,
    /// Offset within the partition.
    pub offset: i64,
}

/// An error in one of the records to append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordError {
    /// Index of the record, from 0.
    pub record: usize,
    /// The error and the field.
    #[serde(flatten)]
    pub error: FieldError,
}

/// The reason why an operation on a topic is impossible.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// No topic has this name.
    #[error("there is no topic {topic}; there are {}", names().join(", "))]
    Unknown {
        /// The requested topic.
        topic: String,
    },
    /// The topic belongs to the contract, but does not exist yet.
    #[error("topic {topic} is not created yet; run `interlock seed`")]
    Missing {
        /// The requested topic.
        topic: String,
    },
    /// Only topologies write to this topic.
    #[error(
        "topic {topic} is written by topologies only, because ledgers are rebuilt from it; clients may write to {}",
        INPUTS.join(" and ")
    )]
    NotAnInput {
        /// The requested topic.
        topic: String,
    },
    /// Records do not fit the topic's schemas; none was appended.
    #[error("{topic} doesn't take {}", told(errors))]
    Schema {
        /// The topic.
        topic: String,
        /// Every error that was found.
        errors: Vec<RecordError>,
    },
    /// A record is longer than a topic takes; none was appended.
    #[error("record {record} has {bytes} bytes, and {topic} takes {RECORD_BYTES_MAX} at most; nothing was appended")]
    TooLong {
        /// The topic.
        topic: String,
        /// Which record, from 0.
        record: usize,
        /// Bytes of its key and value.
        bytes: usize,
    },
    /// The topic has fewer partitions.
    #[error("topic {topic} has partitions 0 to {}, not {partition}", partitions - 1)]
    NoPartition {
        /// The topic.
        topic: String,
        /// The requested partition.
        partition: i32,
        /// The topic's number of partitions.
        partitions: i32,
    },
    /// The schema registry, which is needed to read them.
    #[error(transparent)]
    Registry(DecodeError),
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

fn told(errors: &[RecordError]) -> String {
    let Some(RecordError { record, error }) = errors.first() else {
        return "this".to_owned();
    };
    let more = match errors.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!("record {record}: {error}{more}")
}

/// Returns the names of all topics and of their dead-letter topics.
pub fn names() -> Vec<String> {
    let dead = TOPICS.iter().map(|(topic, _)| dlq(topic));
    TOPICS
        .iter()
        .map(|(topic, _)| (*topic).to_owned())
        .chain(dead)
        .collect()
}

impl JsonLog {
    /// Creates access to the topics. `ids` are those of the contract's schemas in the registry.
    pub fn new(log: Arc<dyn Log>, registry: Arc<dyn Registry>, ids: Ids) -> Self {
        let codec = Arc::new(Codec::new(registry, ids));
        Self { log, codec }
    }

    /// Appends all records, or none if one does not fit. The key defaults to the one that the topic's contract
    /// prescribes.
    pub async fn append(&self, topic: &str, key: Option<&str>, records: &[Json]) -> Result<Vec<Appended>, TopicError> {
        self.partitions(topic).await?;
        let encoded = self.encode(topic, records)?.into_iter();
        let outputs = encoded.map(|encoded| OutputRecord {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key: Some(key.map_or(encoded.key, str::to_owned).into()),
            value: Some(encoded.value.into()),
            headers: Vec::new(),
        });
        let outputs: Vec<OutputRecord> = outputs.collect();
        // Checked before anything is appended: the log would keep the records before one that it refuses.
        let bytes = outputs.iter().map(OutputRecord::bytes);
        if let Some((record, bytes)) = bytes.enumerate().find(|(_, bytes)| *bytes > RECORD_BYTES_MAX) {
            let topic = topic.to_owned();
            return Err(TopicError::TooLong { topic, record, bytes });
        }
        let places = self.log.append(outputs).await?;
        let appended = places
            .into_iter()
            .map(|(partition, offset)| Appended { partition, offset });
        Ok(appended.collect())
    }

    /// Encodes records for a topic. Fails if one does not fit.
    pub fn encode(&self, topic: &str, records: &[Json]) -> Result<Vec<Encoded>, TopicError> {
        let accepted = records_of(topic).filter(|_| INPUTS.contains(&topic));
        let accepted = accepted.ok_or_else(|| TopicError::NotAnInput {
            topic: topic.to_owned(),
        })?;
        let (mut encoded, mut errors) = (Vec::with_capacity(records.len()), Vec::new());
        for (record, json) in records.iter().enumerate() {
            match self.codec.encode(topic, accepted, json) {
                Ok(one) => encoded.push(one),
                Err(found) => errors.extend(found.into_iter().map(|error| RecordError { record, error })),
            }
        }
        if !errors.is_empty() {
            let topic = topic.to_owned();
            return Err(TopicError::Schema { topic, errors });
        }
        Ok(encoded)
    }

    /// Reads records as the commands that they are once they are encoded.
    pub(crate) async fn commands(&self, records: &[Json]) -> Result<Vec<Command>, TopicError> {
        let encoded = self.encode(BOOKING_REQUESTS, records)?;
        self.codec.commands(&encoded).await.map_err(TopicError::Registry)
    }

    /// Decodes a value into its record type and JSON.
    pub async fn decode(&self, record: &Record) -> Result<(String, Shown), ValueError> {
        let decoded = self.codec.decode(record).await?;
        Ok((decoded.record_type, decoded.value))
    }

    /// Reads one or all partitions of a topic from a position on. Existing records come in the order of their
    /// timestamps; with `follow`, further ones come as they are committed.
    pub async fn read(
        &self,
        topic: &str,
        partition: Option<i32>,
        from: From,
        follow: bool,
    ) -> Result<Records, TopicError> {
        let partitions = self.partitions(topic).await?;
        let wanted = match partition {
            None => 0..partitions,
            Some(partition) if (0..partitions).contains(&partition) => partition..partition + 1,
            Some(partition) => {
                let topic = topic.to_owned();
                return Err(TopicError::NoPartition {
                    topic,
                    partition,
                    partitions,
                });
            }
        };
        Ok(Records::open(&*self.log, Arc::clone(&self.codec), (topic, wanted), from, follow).await?)
    }

    async fn partitions(&self, topic: &str) -> Result<i32, TopicError> {
        if !names().iter().any(|known| known == topic) {
            return Err(TopicError::Unknown {
                topic: topic.to_owned(),
            });
        }
        let partitions = self.log.partitions(topic).await?;
        partitions.ok_or_else(|| TopicError::Missing {
            topic: topic.to_owned(),
        })
    }
}
