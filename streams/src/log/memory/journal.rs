//! Changes that must outlive the process: they are written before any reader sees them.
//!
//! ```text
//!  commit, append ─> State ──queue──> writer thread ─> Journal::write, one for all that waits
//!                      ^                                    │
//!                      └─── markers, records seen, answers <┘
//! ```
//!
//! So no reader, and no copy that a reader keeps, is ever ahead of the state that a restart restores. A change that was
//! not written when the process ended was neither seen nor acknowledged. An open transaction is simply not restored,
//! which aborts it.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::broker::State;
use super::partition::TransactionId;
use super::shared::Core;
use super::transactions::{Reply, answer};
use crate::log::{LogError, OffsetCommit, TopicSpec};
use crate::record::{OutputRecord, Record, TopicPartition};

/// Changes written at once, at most: bounds the memory of one write.
const CHANGES_MAX: usize = 1_000;

/// An atomic change of the log's contents, or its whole contents.
#[derive(Debug, Default)]
pub(in crate::log) struct Change {
    /// New topics.
    pub(in crate::log) topics: Vec<TopicSpec>,
    /// New records, with their offsets, by partition.
    pub(in crate::log) records: Vec<(TopicPartition, Vec<Record>)>,
    /// Positions committed, by group.
    pub(in crate::log) offsets: Vec<(String, Vec<OffsetCommit>)>,
    /// First offsets kept of the partitions concerned.
    pub(in crate::log) low: Vec<(TopicPartition, i64)>,
}

/// Keeps changes.
pub(in crate::log) trait Journal: Send + 'static {
    /// Returns when the changes are durable, in their order and all or none; else why not.
    fn write(&mut self, changes: &[Change]) -> Result<(), String>;
}

/// The action to take when a change is durable.
pub(super) enum Then {
    /// Nothing waits for it.
    Nothing,
    /// The transaction of this `transactional.id` ends.
    Commit(String, Reply),
    /// Records of no transaction are seen.
    Append(TransactionId, BTreeSet<TopicPartition>, Reply),
}

/// The way to the writer thread.
pub(super) type Queue = mpsc::Sender<(Change, Then)>;

/// Starts the writer thread, which ends after the last sender.
pub(super) fn start(mut journal: Box<dyn Journal>, log: Arc<Core>) -> std::io::Result<(Queue, JoinHandle<()>)> {
    let (queue, waiting) = mpsc::channel::<(Change, Then)>();
    let write = move || {
        let mut written = Ok(());
        while let Ok(first) = waiting.recv() {
            let all = std::iter::once(first).chain(waiting.try_iter().take(CHANGES_MAX));
            let (changes, thens): (Vec<_>, Vec<_>) = all.unzip();
            // After a failure nothing is written any more: a later change without an earlier one would leave a gap.
            if written.is_ok() {
                written = journal.write(&changes);
            }
            log.lock().written(thens, &written);
        }
    };
    let writer = std::thread::Builder::new().name("log-journal".into()).spawn(write)?;
    Ok((queue, writer))
}

impl State {
    /// Records of no transaction. With a journal they are seen once they are durable, and then there is an answer.
    pub(super) fn append_alone(&mut self, records: Vec<OutputRecord>) -> Result<Appended, LogError> {
        let count = records.len();
        let action = || format!("append {count} records");
        self.check_journal(action)?;
        let held = self.bytes();
        if held > self.bytes_max {
            return Err(LogError::Fatal {
                action: action(),
                reason: format!(
                    "the log is full: it holds {held} bytes and takes no more beyond {}",
                    self.bytes_max
                ),
            });
        }
        let placed: Result<Vec<i32>, String> = records.iter().map(|record| self.place(record)).collect();
        let partitions = placed.map_err(|reason| LogError::Fatal {
            action: action(),
            reason,
        })?;
        let within = self.journal.is_some().then(|| self.next_id());
        let touched = records.iter().zip(&partitions);
        let touched: BTreeSet<TopicPartition> = touched
            .map(|(record, partition)| TopicPartition::new(record.topic.clone(), *partition))
            .collect();
        let append = |(record, partition)| (partition, self.append(record, partition, within));
        let places = records.into_iter().zip(partitions).map(append).collect();
        let answer = within.map(|id| {
            let (reply, answer) = oneshot::channel();
            self.keep(id, touched.iter(), Vec::new(), Then::Append(id, touched.clone(), reply));
            answer
        });
        Ok(Appended { places, answer })
    }

    /// Hands the records of a transaction to the journal.
    pub(super) fn keep<'a>(
        &self,
        id: TransactionId,
        partitions: impl Iterator<Item = &'a TopicPartition>,
        offsets: Vec<(String, Vec<OffsetCommit>)>,
        then: Then,
    ) {
        let Some(journal) = &self.journal else {
            return;
        };
        let mut change = Change {
            offsets,
            ..Change::default()
        };
        for partition in partitions {
            if let Some(found) = self.partition(partition) {
                change.records.push((partition.clone(), found.open_records(id)));
                change.low.push((partition.clone(), found.low()));
            }
        }
        // The writer thread is there as long as there is a sender.
        let _ = journal.send((change, then));
    }

    /// Applies a change that the journal has written. After a failure no change can be written any more.
    fn written(&mut self, thens: Vec<Then>, written: &Result<(), String>) {
        if let Err(reason) = written {
            self.broken.get_or_insert_with(|| reason.clone());
        }
        for then in thens {
            let reply = match then {
                Then::Nothing => continue,
                Then::Commit(transactional_id, reply) => {
                    if written.is_ok() {
                        self.commit_is_durable(&transactional_id);
                    }
                    reply
                }
                Then::Append(id, partitions, reply) => {
                    for partition in partitions.iter().filter(|_| written.is_ok()) {
                        if let Some((found, retention)) = self.partition_mut(partition) {
                            found.release(id, retention);
                        }
                    }
                    reply
                }
            };
            answer(reply, self.check_journal(|| "write to the log's file".to_owned()));
        }
    }

    /// Refuses changes that the journal could not write.
    pub(super) fn check_journal(&self, action: impl Fn() -> String) -> Result<(), LogError> {
        match &self.broken {
            Some(reason) => Err(LogError::Fatal {
                action: action(),
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The result of an append outside of transactions.
pub(super) struct Appended {
    /// Partition and offset of each.
    pub(super) places: Vec<(i32, i64)>,
    /// Comes when they are durable; none where there is no journal.
    pub(super) answer: Option<oneshot::Receiver<Result<(), LogError>>>,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::log::memory::{MemoryLog, MemoryLogConfig};
    use crate::log::{GroupMetadata, Log, Producer};

    /// Takes a number of writes, fails once, and would take more.
    struct FailsOnce {
        writes_left: i32,
        values: Arc<Mutex<Vec<String>>>,
    }

    impl Journal for FailsOnce {
        fn write(&mut self, changes: &[Change]) -> Result<(), String> {
            self.writes_left -= 1;
            if self.writes_left == -1 {
                return Err("the disk is full".to_owned());
            }
            let records = changes.iter().flat_map(|change| &change.records);
            let values = records.flat_map(|(_, records)| records).map(|record| {
                let value = record.value.as_deref().unwrap_or_default();
                String::from_utf8_lossy(value).into_owned()
            });
            self.values.lock().unwrap().extend(values);
            Ok(())
        }
    }

    async fn commit(producer: &mut dyn Producer, value: &'static str) -> Result<(), LogError> {
        producer.send(vec![OutputRecord {
            topic: "t".into(),
            partition: Some(0),
            timestamp: None,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        }]);
        producer.commit(Vec::new(), GroupMetadata(Arc::new(()))).await
    }

    #[tokio::test]
    async fn after_a_failed_write_nothing_is_acknowledged_seen_or_written() {
        let values = Arc::default();
        let journal = FailsOnce {
            writes_left: 1,
            values: Arc::clone(&values),
        };
        let topic = TopicSpec {
            name: "t".to_owned(),
            partitions: 1,
            replication: 1,
            settings: Vec::new(),
        };
        let history = Change {
            topics: vec![topic],
            ..Change::default()
        };
        let log = MemoryLog::restore(MemoryLogConfig::default(), history, Box::new(journal)).unwrap();
        let (mut first, mut second) = (log.producer("a").await.unwrap(), log.producer("b").await.unwrap());
        commit(first.as_mut(), "kept").await.unwrap();
        for producer in [&mut first, &mut second] {
            let refused = commit(producer.as_mut(), "lost").await;
            assert!(
                matches!(&refused, Err(LogError::Fatal { reason, .. }) if reason.contains("full")),
                "{refused:?}"
            );
        }
        let alone = Log::append(&log, Vec::new()).await;
        assert!(matches!(alone, Err(LogError::Fatal { .. })), "{alone:?}");
        let seen = log.read(&TopicPartition::new("t", 0), 0, 10).unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(*values.lock().unwrap(), ["kept"]);
    }
}
