//! Reads a partition's committed records up to a high watermark, and gives up where a transaction holds it back for long.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::bail;
use interlock_streams::log::{Log, Reader};
use interlock_streams::record::{Record, TopicPartition};
use tokio::time::Instant;

/// Records asked for at once.
const RECORDS_PER_READ: usize = 2_000;

/// How long one read waits.
const READ_WAIT: Duration = Duration::from_millis(500);

/// How long a partition may stand still below its high watermark: an open transaction holds everything behind it back,
/// and brokers abort it after a minute by default.
const STANDSTILL_MAX: Duration = Duration::from_secs(90);

/// A partition, read up to an offset that may be raised.
pub(crate) struct PartitionReader {
    source: TopicPartition,
    reader: Box<dyn Reader>,
    /// First offset kept when reading began.
    pub(crate) low: i64,
    /// Offset up to which records are wanted.
    end: i64,
    /// Records at or past `end` that came along.
    early: VecDeque<Record>,
}

impl PartitionReader {
    /// Begins at the first record kept; the end is the present high watermark.
    pub(crate) async fn open(log: &dyn Log, topic: &str, partition: i32) -> anyhow::Result<PartitionReader> {
        let (low, end) = log.watermarks(&TopicPartition::new(topic, partition)).await?;
        Self::between(log, topic, partition, (low, end)).await
    }

    /// From one offset to another.
    pub(crate) async fn between(
        log: &dyn Log,
        topic: &str,
        partition: i32,
        (low, end): (i64, i64),
    ) -> anyhow::Result<PartitionReader> {
        let source = TopicPartition::new(topic, partition);
        let reader = log.reader(&source, low).await?;
        Ok(PartitionReader {
            source,
            reader,
            low,
            end,
            early: VecDeque::new(),
        })
    }

    /// Wants what has been written since, too.
    pub(crate) async fn extend(&mut self, log: &dyn Log) -> anyhow::Result<()> {
        self.end = log.watermarks(&self.source).await?.1.max(self.end);
        Ok(())
    }

    /// Offset up to which records are wanted.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// The next records below the end; none at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Vec<Record>>> {
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
            } else if moved.0.elapsed() > STANDSTILL_MAX {
                bail!(
                    "{} can't be read past offset {position}, its high watermark is {}: a transaction has been open for \
                     longer than {} s; Kafka's kafka-transactions.sh shows whose it is",
                    self.source,
                    self.end,
                    STANDSTILL_MAX.as_secs()
                );
            }
        }
    }
}
