//! A compacted topic kept whole in memory by every process, such as plans or prices.
//!
//! It is read to its end before the first decision and followed after. Readers take a snapshot without a lock. A value
//! that a decision depends on must be recorded in the ledger, because another worker's table may be ahead or behind.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use crate::dsl::serde::{DeserializeError, Deserializer, decode};
use crate::log::{Log, LogError};
use crate::record::{Record, TopicPartition};

/// Records that a follower reads at once.
const BATCH_RECORDS_MAX: usize = 1_000;
/// Longest wait of one read of a follower.
const READ_WAIT: Duration = Duration::from_millis(500);

/// A reader's handle on a global table.
pub struct GlobalTable<V> {
    rows: Arc<ArcSwap<FxHashMap<Bytes, V>>>,
}

impl<V> Clone for GlobalTable<V> {
    fn clone(&self) -> Self {
        Self {
            rows: self.rows.clone(),
        }
    }
}

impl<V: Clone + Send + Sync + 'static> GlobalTable<V> {
    pub(crate) fn empty() -> Self {
        Self {
            rows: Arc::new(ArcSwap::from_pointee(FxHashMap::default())),
        }
    }

    /// The value for a key, as of the last update read.
    pub fn get(&self, key: &[u8]) -> Option<V> {
        self.rows.load().get(key).cloned()
    }

    /// All rows, as of the last update read.
    pub fn snapshot(&self) -> Arc<FxHashMap<Bytes, V>> {
        self.rows.load_full()
    }
}

/// The writing side, with its types erased.
#[async_trait]
pub(crate) trait Follow: Send + Sync {
    fn topic(&self) -> &str;

    /// Follows the topic until an error; sends `true` when the end that it had at the start is reached.
    async fn follow(&self, log: &dyn Log, ready: watch::Sender<bool>) -> Result<Infallible, LogError>;
}

pub(crate) struct Follower<V, F> {
    pub(crate) topic: String,
    pub(crate) table: GlobalTable<V>,
    /// Makes a deserializer: each run of the follower has its own.
    pub(crate) deserializer: F,
}

#[async_trait]
impl<V, D, F> Follow for Follower<V, F>
where
    V: Clone + Send + Sync + 'static,
    D: Deserializer<V>,
    F: Fn() -> D + Send + Sync,
{
    fn topic(&self) -> &str {
        &self.topic
    }

    async fn follow(&self, log: &dyn Log, ready: watch::Sender<bool>) -> Result<Infallible, LogError> {
        let Some(partitions) = log.partitions(&self.topic).await? else {
            return Err(LogError::Fatal {
                action: format!("following {}", self.topic),
                reason: "the topic does not exist; create it first".into(),
            });
        };
        let mut deserializer = (self.deserializer)();
        let mut readers = Vec::new();
        for partition in 0..partitions {
            let partition = TopicPartition::new(self.topic.as_str(), partition);
            let (low, high) = log.watermarks(&partition).await?;
            readers.push((log.reader(&partition, low).await?, high));
        }
        for (reader, high) in &mut readers {
            while reader.position() < *high {
                let records = reader.next(BATCH_RECORDS_MAX, READ_WAIT).await?;
                self.apply(&mut deserializer, &records).await?;
            }
        }
        ready.send_replace(true);
        loop {
            let turns = readers
                .iter_mut()
                .map(|(reader, _)| reader.next(BATCH_RECORDS_MAX, READ_WAIT));
            for records in futures::future::join_all(turns).await {
                self.apply(&mut deserializer, &records?).await?;
            }
        }
    }
}

impl<V: Clone + Send + Sync + 'static, F> Follower<V, F> {
    async fn apply(&self, deserializer: &mut dyn Deserializer<V>, records: &[Record]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut rows = FxHashMap::clone(&self.table.rows.load());
        for record in records {
            let Some(key) = record.key.clone() else {
                tracing::warn!(
                    topic = self.topic,
                    offset = record.offset,
                    "record without a key left out"
                );
                continue;
            };
            if record.value.is_none() {
                rows.remove(&key);
                continue;
            }
            match decode(deserializer, record).await {
                Ok(value) => {
                    rows.insert(key, value);
                }
                Err(DeserializeError::Unavailable(reason)) => {
                    return Err(LogError::Retriable {
                        action: format!("following {}", self.topic),
                        reason,
                    });
                }
                Err(malformed) => {
                    tracing::error!(topic = self.topic, offset = record.offset, %malformed, "record left out");
                }
            }
        }
        self.table.rows.store(Arc::new(rows));
        Ok(())
    }
}
