//! The topics as JSON: append records to those that clients write to, read and follow all of them.
//!
//! Without HTTP, so that `interlock produce` and `interlock consume` do the same from the command line.

mod records;

use std::sync::Arc;

use interlock_schemas::registry::{Ids, Registry, RegistryError};
use interlock_schemas::topics::{INPUTS, TOPICS, dlq, records_of};
use interlock_streams::log::{Log, LogError};
use interlock_streams::record::OutputRecord;
use serde::Serialize;
use serde_json::Value as Json;

use crate::codec::Codec;
use crate::json::{FieldError, Shown};

pub use crate::codec::Encoded;
pub use records::{From, ReadError, Records, TopicRecord, UnknownFrom};

/// The log, and what its records are in JSON.
pub struct JsonLog {
    log: Arc<dyn Log>,
    codec: Arc<Codec>,
}

/// Where an appended record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Appended {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// What is wrong with one of the records to be appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordError {
    /// Which record, from 0.
    pub record: usize,
    /// What is wrong, and where in it.
    #[serde(flatten)]
    pub error: FieldError,
}

/// Why a topic can't be used as asked.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// There is none of this name.
    #[error("there is no topic {topic}; there are {}", names().join(", "))]
    Unknown {
        /// The name.
        topic: String,
    },
    /// It is of the contract, but nobody has created it.
    #[error("topic {topic} is not created yet; run `interlock seed`")]
    Missing {
        /// The name.
        topic: String,
    },
    /// Only topologies write to it.
    #[error(
        "topic {topic} is written by topologies alone, and ledgers are rebuilt from what it holds; clients write to {}",
        INPUTS.join(" and ")
    )]
    NotAnInput {
        /// The name.
        topic: String,
    },
    /// Records don't fit the topic's schemas; none was appended.
    #[error("{topic} doesn't take {}", told(errors))]
    Schema {
        /// The topic.
        topic: String,
        /// All that is wrong.
        errors: Vec<RecordError>,
    },
    /// It has fewer partitions.
    #[error("topic {topic} has partitions 0 to {}, not {partition}", partitions - 1)]
    NoPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many there are.
        partitions: i32,
    },
    /// The log did not do it.
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

/// Every topic, and where each sends what can't be decoded.
pub fn names() -> Vec<String> {
    let dead = TOPICS.iter().map(|(topic, _)| dlq(topic));
    TOPICS
        .iter()
        .map(|(topic, _)| (*topic).to_owned())
        .chain(dead)
        .collect()
}

impl JsonLog {
    /// With the ids that the contract's schemas were registered under.
    pub fn new(log: Arc<dyn Log>, registry: Arc<dyn Registry>, ids: Ids) -> Self {
        let codec = Arc::new(Codec::new(registry, ids));
        Self { log, codec }
    }

    /// Appends records, all or (where one doesn't fit) none. The key is what the topic's contract makes of the record,
    /// unless one is given.
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
        let places = self.log.append(outputs.collect()).await?;
        let appended = places
            .into_iter()
            .map(|(partition, offset)| Appended { partition, offset });
        Ok(appended.collect())
    }

    /// Records as they are appended; an error if one doesn't fit.
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

    /// The record type of a value and what it says; `Err(why)` inside where it is none of a registered schema.
    pub async fn decode(&self, value: &[u8]) -> Result<Result<(String, Shown), String>, RegistryError> {
        let decoded = self.codec.decode(value).await?;
        Ok(decoded.map(|decoded| (decoded.record_type, decoded.value)))
    }

    /// The records of a topic from a place on, ordered by time as far as they are there; then, if they are to be
    /// followed, as they come. Of one partition or of all.
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
