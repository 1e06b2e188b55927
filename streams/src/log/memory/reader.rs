//! Reads one partition outside of any group.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::broker::unknown;
use super::shared::Shared;
use crate::log::{LogError, Reader};
use crate::record::{Record, TopicPartition};

pub(super) struct MemoryReader {
    shared: Arc<Shared>,
    partition: TopicPartition,
    position: i64,
    listener: u64,
    notify: Arc<Notify>,
}

impl MemoryReader {
    pub(super) fn open(shared: Arc<Shared>, partition: TopicPartition, from: i64) -> Result<Self, LogError> {
        let notify = Arc::new(Notify::new());
        let mut state = shared.lock();
        let listener = state.next_id();
        let (found, _) = state.partition_mut(&partition).ok_or_else(|| unknown(&partition))?;
        found.listen(listener, &notify);
        drop(state);
        Ok(Self {
            shared,
            partition,
            position: from,
            listener,
            notify,
        })
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn next(&mut self, max_records: usize, wait: Duration) -> Result<Vec<Record>, LogError> {
        yield_now().await;
        let deadline = self.shared.deadline(wait);
        loop {
            let fetched = self.shared.lock().fetch(&self.partition, self.position, max_records);
            let (records, position) = fetched?;
            // Aborted records and markers can be all that there was.
            let has_moved = position > self.position;
            self.position = position;
            if has_moved || self.shared.is_past(deadline) {
                return Ok(records);
            }
            self.shared.wait(self.notify.notified(), deadline).await;
        }
    }

    fn position(&self) -> i64 {
        self.position
    }
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        if let Some(mut state) = self.shared.try_lock()
            && let Some((partition, _)) = state.partition_mut(&self.partition)
        {
            partition.unlisten(self.listener);
        }
    }
}
