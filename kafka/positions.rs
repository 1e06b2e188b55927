//! A member of a group: its positions, and the committed offsets.

use std::time::{Duration, Instant};

use interlock_streams::log::{CommittedOffset, LogError};
use interlock_streams::record::TopicPartition;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::errors::{fatal, from_code, from_kafka, retriable};
use crate::ffi;
use crate::member::Member;

/// Pause before a retry of a call that Kafka refused for the moment.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

impl Member<'_> {
    pub(crate) fn start(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        let (mut assign, mut seek) = (TopicPartitionList::new(), TopicPartitionList::new());
        for (name, offset) in positions {
            // The partition is lost or about to be revoked; the event is on its way.
            let Some(partition) = self.partitions.get_mut(name) else {
                continue;
            };
            if partition.doubted.is_some() || self.revoking.contains(name) {
                continue;
            }
            let list = if partition.started { &mut seek } else { &mut assign };
            let added = list.add_partition_offset(&name.topic, name.partition, Offset::Offset(*offset));
            added.map_err(|error| from_kafka(format!("start {name} at {offset} in {}", self.start.name), &error))?;
            (partition.started, partition.active) = (true, true);
            (partition.from, partition.next) = (*offset, *offset);
            self.buffer.drop_partition(name);
        }
        let failed = |error: KafkaError| from_kafka(format!("start partitions of {}", self.start.name), &error);
        // A pause outlives even the loss of the partition. It has to end before the start, which wakes librdkafka's
        // fetcher: a fetcher that finds the partition paused sleeps for up to a second, and the end of the pause does
        // not wake it.
        for list in [&assign, &seek].into_iter().filter(|list| list.count() > 0) {
            self.consumer.resume(list).map_err(failed)?;
        }
        if assign.count() > 0 {
            self.consumer.incremental_assign(&assign).map_err(failed)?;
        }
        if seek.count() > 0 {
            self.seek(seek)?;
        }
        Ok(())
    }

    /// Seeks and waits for the answers. Without the wait, a seek fails silently if the fetcher has not started yet.
    fn seek(&self, mut list: TopicPartitionList) -> Result<(), LogError> {
        let until = Instant::now() + self.start.deadline;
        loop {
            let action = || format!("seek in {}", self.start.name);
            let sought = self.consumer.seek_partitions(list.clone(), left(until));
            list = sought.map_err(|error| retriable(action(), error))?;
            let refused = ffi::partition_errors(&list);
            let Some((partition, code)) = refused.first() else {
                return Ok(());
            };
            let passing = matches!(code, RDKafkaErrorCode::State | RDKafkaErrorCode::PreviousInProgress);
            if !passing || left(until).is_zero() {
                return Err(from_code(
                    format!("seek {partition} in {}", self.start.name),
                    *code,
                    code,
                ));
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
    }

    pub(crate) fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        for name in partitions {
            if let Some(partition) = self.partitions.get_mut(name).filter(|partition| partition.active) {
                partition.active = false;
                self.buffer.drop_partition(name);
                list.add_partition(&name.topic, name.partition);
            }
        }
        let paused = if list.count() > 0 {
            self.consumer.pause(&list)
        } else {
            Ok(())
        };
        paused.map_err(|error| from_kafka(format!("stop partitions of {}", self.start.name), &error))
    }

    /// Reads committed offsets, and repeats until no transaction is open on them. librdkafka requires stable offsets
    /// because of the isolation level (`rd_kafka_committed`), and gives up after a few tries.
    pub(crate) fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        let until = Instant::now() + self.start.deadline;
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition);
        }
        loop {
            let action = || format!("read committed offsets of {}", self.start.name);
            let answer = self.consumer.committed_offsets(list.clone(), left(until));
            let (code, reason) = match answer {
                Ok(answered) => {
                    let answers = ffi::committed(&answered);
                    match answers
                        .iter()
                        .find_map(|answer| Some((answer.error?, &answer.partition)))
                    {
                        None => return Ok(ffi::in_order(partitions, answers)),
                        Some((code, partition)) => (code, format!("{partition}: {code}")),
                    }
                }
                Err(error) => match error.rdkafka_error_code() {
                    Some(code) => (code, error.to_string()),
                    None => return Err(fatal(action(), error)),
                },
            };
            let error = from_code(action(), code, reason);
            if !matches!(error, LogError::Retriable { .. }) || left(until).is_zero() {
                return Err(error);
            }
            std::thread::sleep(RETRY_INTERVAL);
        }
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
