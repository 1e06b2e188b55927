//! Records of the DLQ, which say by their headers which record they are.

use interlock_schemas::topics;
use interlock_streams::dead_letter;
use interlock_streams::record::{Record, TopicPartition};

use super::requests::content;

/// A record of the DLQ: where it says it comes from, and a hash of what it carries.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    source: TopicPartition,
    pub(super) offset: i64,
    /// Hash of key and value.
    pub(super) content: u64,
}

impl DeadLetter {
    /// Reads the headers; none if they don't say where the record comes from.
    pub(crate) fn new(record: &Record) -> Option<DeadLetter> {
        let letter = dead_letter::DeadLetter::of(record)?;
        Some(DeadLetter {
            source: letter.source,
            offset: letter.offset,
            content: content(record),
        })
    }

    /// The partition of `booking-requests` that it comes from; none if it comes from another topic.
    pub(crate) fn partition(&self) -> Option<i32> {
        (*self.source.topic == *topics::BOOKING_REQUESTS).then_some(self.source.partition)
    }
}
