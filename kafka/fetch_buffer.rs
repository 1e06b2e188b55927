//! Collects records from librdkafka before the caller requests them.
//!
//! Under a backlog, Kafka sends runs of thousands of records of one partition. A batch made of one run would be the
//! work of one task, and the other tasks of the thread would wait while it waits for its ledger. The runs are therefore
//! collected, and a batch has a share of each partition.

use std::collections::VecDeque;

use interlock_streams::record::{PartitionRecords, Record, TopicPartition};

/// Bytes of keys, values and headers after which collecting stops.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Records after which collecting stops.
const RECORDS_MAX: usize = 16_384;

/// Bytes of keys, values and headers after which a batch ends, so that large records don't pile up.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Records by partition, in order.
#[derive(Debug, Default)]
pub(crate) struct FetchBuffer {
    parts: Vec<(TopicPartition, VecDeque<Record>)>,
    records: usize,
    bytes: usize,
}

impl FetchBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records >= RECORDS_MAX || self.bytes >= BYTES_MAX
    }

    /// Adds a record behind those of its partition.
    pub(crate) fn push(&mut self, source: TopicPartition, record: Record) {
        self.records += 1;
        self.bytes += record.bytes();
        // Records of a partition come in runs, so the last partition is the most likely one.
        match self.parts.iter_mut().rev().find(|(known, _)| *known == source) {
            Some((_, records)) => records.push_back(record),
            None => self.parts.push((source, VecDeque::from([record]))),
        }
    }

    /// Drops the collected records of a partition.
    pub(crate) fn drop_partition(&mut self, source: &TopicPartition) {
        self.parts.retain(|(known, records)| {
            if known == source {
                self.records -= records.len();
                self.bytes -= records.iter().map(Record::bytes).sum::<usize>();
            }
            known != source
        });
    }

    /// Takes up to this number of records (at least one), in equal shares from each partition as far as possible.
    pub(crate) fn take(&mut self, max_records: usize) -> Vec<PartitionRecords> {
        let (mut room, mut bytes) = (max_records.max(1), 0);
        // Long partitions share the places that short ones leave.
        self.parts.sort_by_key(|(_, records)| records.len());
        let mut taken = Vec::with_capacity(self.parts.len());
        for (others, (source, waiting)) in (0..self.parts.len()).rev().zip(&mut self.parts) {
            let share = room.div_ceil(others + 1);
            let mut records = Vec::with_capacity(share.min(waiting.len()));
            while records.len() < share && bytes < BATCH_BYTES_MAX {
                let Some(record) = waiting.pop_front() else { break };
                bytes += record.bytes();
                records.push(record);
            }
            room -= records.len();
            self.records -= records.len();
            if !records.is_empty() {
                taken.push(PartitionRecords {
                    source: source.clone(),
                    records,
                });
            }
        }
        self.bytes -= bytes;
        self.parts.retain(|(_, records)| !records.is_empty());
        taken
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn source(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn push(buffer: &mut FetchBuffer, partition: i32, offsets: std::ops::Range<i64>, bytes: usize) {
        for offset in offsets {
            let record = Record {
                offset,
                timestamp: 0,
                key: None,
                value: Some(Bytes::from(vec![0; bytes])),
                headers: Vec::new(),
            };
            buffer.push(source(partition), record);
        }
    }

    fn offsets(taken: Vec<PartitionRecords>) -> Vec<(i32, Vec<i64>)> {
        let of_part = |part: PartitionRecords| {
            let offsets = part.records.iter().map(|record| record.offset).collect();
            (part.source.partition, offsets)
        };
        let mut offsets: Vec<_> = taken.into_iter().map(of_part).collect();
        offsets.sort_unstable();
        offsets
    }

    #[test]
    fn each_partition_has_its_share_in_order() {
        let mut buffer = FetchBuffer::default();
        push(&mut buffer, 0, 0..10, 1);
        push(&mut buffer, 1, 5..6, 1);
        push(&mut buffer, 2, 7..10, 1);
        push(&mut buffer, 0, 10..12, 1);
        assert_eq!(
            offsets(buffer.take(7)),
            [(0, vec![0, 1, 2]), (1, vec![5]), (2, vec![7, 8, 9])]
        );
        assert_eq!(offsets(buffer.take(100)), [(0, (3..12).collect())]);
        assert!(buffer.is_empty());
        assert_eq!((buffer.records, buffer.bytes), (0, 0));
    }

    #[test]
    fn fewer_records_than_partitions() {
        let mut buffer = FetchBuffer::default();
        (0..3).for_each(|partition| push(&mut buffer, partition, 0..1, 1));
        let taken: usize = (0..3).map(|_| buffer.take(1).len()).sum();
        assert_eq!(taken, 3, "one by one");
        assert!(buffer.take(0).is_empty(), "there is nothing more");
    }

    #[test]
    fn large_records_end_a_batch_and_the_collection() {
        let mut buffer = FetchBuffer::default();
        push(&mut buffer, 0, 0..3, BATCH_BYTES_MAX);
        assert!(buffer.is_full());
        assert_eq!(offsets(buffer.take(100)), [(0, vec![0])]);
        buffer.drop_partition(&source(0));
        assert_eq!((buffer.records, buffer.bytes), (0, 0));
    }

    #[test]
    fn what_is_dropped_does_not_come_back() {
        let mut buffer = FetchBuffer::default();
        push(&mut buffer, 0, 0..3, 1);
        push(&mut buffer, 1, 0..3, 1);
        buffer.drop_partition(&source(0));
        push(&mut buffer, 0, 1..2, 1);
        assert_eq!(offsets(buffer.take(100)), [(0, vec![1]), (1, vec![0, 1, 2])]);
    }
}
