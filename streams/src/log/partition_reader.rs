//! Reads the committed records of a partition up to a high watermark, and gives up if an open transaction holds them
//! back.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Log, LogError, Reader};
use crate::record::{Record, TopicPartition};

/// Most records per read.
const RECORDS_PER_READ: usize = 2_000;

/// Longest wait of one read.
const READ_WAIT: Duration = Duration::from_millis(500);

/// Default time without progress below the high watermark after which the reader gives up. An open transaction holds
/// back everything behind it, and brokers abort it after a minute by default.
const STANDSTILL_MAX: Duration = Duration::from_secs(90);

/// The reason why a partition could not be read to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A transaction has been open for too long.
    #[error(
        "{partition} can't be read past offset {position}, its high watermark is {end}: a transaction has been open for \
         longer than {patience:?}; Kafka's tool `kafka-transactions.sh find-hanging` shows whose it is"
    )]
    #[allow(missing_docs, reason = "plain fields")]
    HeldBack {
        partition: TopicPartition,
        /// The offset at which reading has stopped.
        position: i64,
        /// The high watermark.
        end: i64,
        /// Time without progress.
        patience: Duration,
    },
}

/// Reads a partition up to an offset that may be raised.
pub struct PartitionReader {
    source: TopicPartition,
    reader: Box<dyn Reader>,
    /// First offset kept when reading began.
    pub low: i64,
    /// Offset before which reading ends.
    end: i64,
    /// Records at or after `end` that were fetched too.
    early: VecDeque<Record>,
    /// Time without progress after which the reader gives up.
    patience: Duration,
}

impl PartitionReader {
    /// Creates a reader from the first record kept up to the present high watermark.
    pub async fn open(log: &dyn Log, topic: &str, partition: i32) -> Result<PartitionReader, ReadError> {
        let (low, end) = log.watermarks(&TopicPartition::new(topic, partition)).await?;
        Self::between(log, topic, partition, (low, end)).await
    }

    /// Creates a reader from one offset to another.
    pub async fn between(
        log: &dyn Log,
        topic: &str,
        partition: i32,
        (low, end): (i64, i64),
    ) -> Result<PartitionReader, ReadError> {
        let source = TopicPartition::new(topic, partition);
        let reader = log.reader(&source, low).await?;
        Ok(PartitionReader {
            source,
            reader,
            low,
            end,
            early: VecDeque::new(),
            patience: STANDSTILL_MAX,
        })
    }

    /// Sets the time without progress after which the reader gives up.
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Raises the end to the present high watermark.
    pub async fn extend(&mut self, log: &dyn Log) -> Result<(), ReadError> {
        self.end = log.watermarks(&self.source).await?.1.max(self.end);
        Ok(())
    }

    /// Offset before which reading ends.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Returns the next records before the end; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        let mut moved = (Instant::now(), self.reader.position());
        loop {
            let ready = self.early.partition_point(|record| record.offset < self.end);
            if ready > 0 {
                return Ok(Some(self.early.drain(..ready).collect()));
            }
            if !self.early.is_empty() || self.reader.position() >= self.end {
                return Ok(None);
            }
            self.early.extend(self.reader.next(RECORDS_PER_READ, READ_WAIT).await?);
            let position = self.reader.position();
            if position > moved.1 {
                moved = (Instant::now(), position);
            } else if moved.0.elapsed() > self.patience {
                return Err(ReadError::HeldBack {
                    partition: self.source.clone(),
                    position,
                    end: self.end,
                    patience: self.patience,
                });
            }
        }
    }
}
