//! One partition: its records, the state of their transactions, and the last stable offset.
//!
//! ```text
//!  low                     stable (LSO)                    next (high watermark)
//!   │ a b c ■ d e x x □ f  │ o p o o p                      │
//!           └ commit marker  └ first record of the oldest open transaction
//!                     └ abort marker; x are aborted records
//! ```
//!
//! As in Kafka (KIP-98) a marker occupies an offset, records of open transactions count in the high watermark, and
//! readers of committed records stop at the last stable offset even where later records are committed already.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::record::Record;

/// Identifies one transaction, over the whole log.
pub(super) type TransactionId = u64;

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Commit,
    Abort,
}

/// A position that the partition doesn't have (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfRange {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// Limits of a partition's size. Records of an open transaction are always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Retention {
    pub(super) records: Option<usize>,
    pub(super) bytes: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    aborted: bool,
}

#[derive(Default)]
pub(super) struct Partition {
    low: i64,
    stable: i64,
    next: i64,
    bytes: usize,
    entries: VecDeque<Entry>,
    /// The ranges of offsets that each open transaction wrote here; never empty.
    open: BTreeMap<TransactionId, Vec<Range<i64>>>,
    listeners: Vec<(u64, Arc<Notify>)>,
}

impl Partition {
    pub(super) fn low(&self) -> i64 {
        self.low
    }

    pub(super) fn high(&self) -> i64 {
        self.next
    }

    /// Appends a record (its offset is set here), inside a transaction or on its own. [`Partition::settle`] must
    /// follow.
    pub(super) fn append(&mut self, mut record: Record, transaction: Option<TransactionId>) -> i64 {
        let offset = self.next;
        self.next += 1;
        if let Some(transaction) = transaction {
            let ranges = self.open.entry(transaction).or_default();
            match ranges.last_mut() {
                Some(last) if last.end == offset => last.end += 1,
                _ => ranges.push(offset..offset + 1),
            }
        }
        record.offset = offset;
        self.bytes += size(&record);
        self.entries.push_back(Entry { record, aborted: false });
        offset
    }

    /// Writes the marker that ends a transaction here.
    pub(super) fn end(&mut self, transaction: TransactionId, outcome: Outcome, retention: Retention) {
        let ranges = self.open.remove(&transaction).unwrap_or_default();
        if outcome == Outcome::Abort {
            for range in ranges {
                let start = self.index_of(range.start);
                for entry in self.entries.range_mut(start..) {
                    if entry.record.offset >= range.end {
                        break;
                    }
                    entry.aborted = true;
                }
            }
        }
        self.next += 1;
        self.settle(retention);
    }

    /// Makes records that were written under an id of their own readable, without a marker: no transaction wrote them.
    pub(super) fn release(&mut self, id: TransactionId, retention: Retention) {
        self.open.remove(&id);
        self.settle(retention);
    }

    /// The records that an open transaction wrote here.
    pub(super) fn open_records(&self, transaction: TransactionId) -> Vec<Record> {
        let ranges = self.open.get(&transaction).into_iter().flatten();
        let records = ranges.flat_map(|range| {
            let (start, end) = (self.index_of(range.start), self.index_of(range.end));
            self.entries.range(start..end).map(|entry| entry.record.clone())
        });
        records.collect()
    }

    /// Begins an empty partition at an offset.
    pub(super) fn begin_at(&mut self, low: i64) {
        (self.low, self.stable, self.next) = (low, low, low);
    }

    /// Takes over committed records of an earlier process, in order of their offsets; older ones than are kept don't
    /// count.
    pub(super) fn restore(&mut self, records: Vec<Record>) {
        for record in records.into_iter().filter(|record| record.offset >= self.low) {
            self.next = record.offset + 1;
            self.bytes += size(&record);
            self.entries.push_back(Entry { record, aborted: false });
        }
        self.stable = self.next;
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves the last stable offset, wakes its readers, and drops records that retention no longer keeps.
    pub(super) fn settle(&mut self, retention: Retention) {
        let stable = self.open.values().map(|ranges| ranges[0].start).min();
        let stable = stable.unwrap_or(self.next);
        if stable > self.stable {
            self.stable = stable;
            for (_, listener) in &self.listeners {
                listener.notify_one();
            }
            self.retain(retention);
        }
    }

    /// Drops records below this offset, as far as they are stable.
    pub(super) fn truncate(&mut self, before: i64) {
        let before = before.min(self.stable);
        while self.entries.front().is_some_and(|entry| entry.record.offset < before) {
            self.drop_first();
        }
        self.low = self.low.max(before);
    }

    /// Returns up to `max_records` committed records from this position on, and the position after them, which also
    /// passes markers and aborted records.
    pub(super) fn fetch(&self, from: i64, max_records: usize) -> Result<(Vec<Record>, i64), OutOfRange> {
        if from < self.low || from > self.next {
            return Err(OutOfRange {
                low: self.low,
                high: self.next,
            });
        }
        let mut records = Vec::new();
        for entry in self.entries.range(self.index_of(from)..) {
            if entry.record.offset >= self.stable {
                break;
            }
            if entry.aborted {
                continue;
            }
            if records.len() == max_records {
                return Ok((records, entry.record.offset));
            }
            records.push(entry.record.clone());
        }
        Ok((records, from.max(self.stable)))
    }

    /// Wakes this listener whenever there is more to read.
    pub(super) fn listen(&mut self, id: u64, listener: &Arc<Notify>) {
        self.unlisten(id);
        self.listeners.push((id, Arc::clone(listener)));
    }

    pub(super) fn unlisten(&mut self, id: u64) {
        self.listeners.retain(|(listener, _)| *listener != id);
    }

    fn index_of(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.record.offset < offset)
    }

    fn retain(&mut self, retention: Retention) {
        let records = retention.records.unwrap_or(usize::MAX);
        let bytes = retention.bytes.unwrap_or(usize::MAX);
        while self.entries.len() > records || self.bytes > bytes {
            match self.entries.front() {
                Some(first) if first.record.offset < self.stable => self.drop_first(),
                _ => return,
            }
        }
    }

    fn drop_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= size(&entry.record);
            self.low = entry.record.offset + 1;
        }
    }
}

/// Returns the approximate memory of a record: its content and its structure.
fn size(record: &Record) -> usize {
    record.bytes() + size_of::<Entry>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(partition: &Partition, from: i64) -> (Vec<i64>, i64) {
        let (records, position) = partition.fetch(from, usize::MAX).expect("in range");
        (records.iter().map(|record| record.offset).collect(), position)
    }

    fn write(partition: &mut Partition, transaction: Option<TransactionId>) -> i64 {
        let offset = partition.append(Record::default(), transaction);
        partition.settle(Retention::default());
        offset
    }

    #[test]
    fn the_oldest_open_transaction_holds_back_later_committed_records() {
        let mut partition = Partition::default();
        write(&mut partition, None); // 0
        write(&mut partition, Some(1)); // 1
        write(&mut partition, Some(2)); // 2
        write(&mut partition, Some(1)); // 3
        write(&mut partition, None); // 4
        assert_eq!(offsets(&partition, 0), (vec![0], 1));
        partition.end(2, Outcome::Commit, Retention::default()); // marker at 5
        assert_eq!(offsets(&partition, 0), (vec![0], 1));
        assert_eq!(partition.high(), 6);
        partition.end(1, Outcome::Abort, Retention::default()); // marker at 6
        assert_eq!(offsets(&partition, 0), (vec![0, 2, 4], 7));
        assert_eq!(partition.high(), 7);
    }

    #[test]
    fn a_limited_fetch_goes_on_where_it_stopped() {
        let mut partition = Partition::default();
        for _ in 0..3 {
            write(&mut partition, Some(1));
        }
        partition.end(1, Outcome::Commit, Retention::default());
        let (records, position) = partition.fetch(0, 2).expect("in range");
        assert_eq!((records.len(), position), (2, 2));
        assert_eq!(offsets(&partition, position), (vec![2], 4));
    }

    #[test]
    fn retention_moves_the_low_watermark_but_spares_open_transactions() {
        let retention = Retention {
            records: Some(2),
            bytes: None,
        };
        let mut partition = Partition::default();
        for _ in 0..5 {
            partition.append(Record::default(), None);
            partition.settle(retention);
        }
        assert_eq!((partition.low(), partition.high()), (3, 5));
        assert_eq!(partition.fetch(2, 1), Err(OutOfRange { low: 3, high: 5 }));
        for _ in 0..5 {
            partition.append(Record::default(), Some(1));
            partition.settle(retention);
        }
        partition.append(Record::default(), None);
        partition.settle(retention);
        assert_eq!(offsets(&partition, 3), (vec![3, 4], 5));
        partition.end(1, Outcome::Commit, retention);
        assert_eq!(offsets(&partition, 9), (vec![9, 10], 12));
    }
}
