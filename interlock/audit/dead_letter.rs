//! Records of the DLQ, and the headers by which they say which record they are.

use interlock_schemas::topics;
use interlock_streams::record::Record;

use super::requests::content;

/// A record of the DLQ: where it says it comes from, and a hash of what it carries.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    topic: String,
    partition: i32,
    pub(super) offset: i64,
    /// Hash of key and value.
    pub(super) content: u64,
}

impl DeadLetter {
    /// Reads the headers; none if they don't say where the record comes from.
    pub(crate) fn new(record: &Record) -> Option<DeadLetter> {
        let header = |name: &str| {
            let found = record.headers.iter().rev().find(|(known, _)| **known == *name);
            found.and_then(|(_, value)| std::str::from_utf8(value).ok())
        };
        Some(DeadLetter {
            topic: header("__streams.errors.topic")?.to_owned(),
            partition: header("__streams.errors.partition")?.parse().ok()?,
            offset: header("__streams.errors.offset")?.parse().ok()?,
            content: content(record),
        })
    }

    /// The partition of `booking-requests` that it comes from; none if it comes from another topic.
    pub(crate) fn partition(&self) -> Option<i32> {
        (self.topic == topics::BOOKING_REQUESTS).then_some(self.partition)
    }
}
