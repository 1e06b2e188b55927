//! Gaps at the ends of partitions: offsets of transaction markers and aborted records.
//!
//! The member's thread notes a gap when librdkafka reports the end of a partition. The stream thread may still have
//! records before the gap to take, so a gap counts only for a position at its beginning.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use interlock_streams::record::TopicPartition;
use rustc_hash::FxHashMap;

/// The last gap of each partition, shared by the two threads of a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gaps(Arc<Mutex<FxHashMap<TopicPartition, Range<i64>>>>);

impl Gaps {
    /// Notes that a partition has no records at these offsets.
    pub(crate) fn insert(&self, partition: TopicPartition, gap: Range<i64>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(partition, gap);
    }

    /// Returns the position after the gap that begins at this position, or the position itself.
    pub(crate) fn after(&self, partition: &TopicPartition, position: i64) -> i64 {
        let gaps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = gaps.get(partition).filter(|gap| gap.start == position);
        gap.map_or(position, |gap| gap.end.max(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_from_its_beginning_only() {
        let (gaps, partition) = (Gaps::default(), TopicPartition::new("t", 0));
        gaps.insert(partition.clone(), 5..7);
        assert_eq!(
            [4, 5, 6, 7].map(|position| gaps.after(&partition, position)),
            [4, 7, 6, 7]
        );
        assert_eq!(gaps.after(&TopicPartition::new("t", 1), 5), 5);
        // The fetch was restarted beyond an end that was reported late.
        let (start, end) = (9, 7);
        gaps.insert(partition.clone(), start..end);
        assert_eq!(gaps.after(&partition, start), start);
    }
}
