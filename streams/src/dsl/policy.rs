//! Policies for records that can't be processed, and for records that lie in the wrong partition.

use std::sync::Arc;

use bytes::Bytes;

use crate::record::{Header, OutputRecord, Record, TopicPartition};

/// Longest record that is written, in bytes of key, value and headers: with Kafka's framing it passes brokers at their
/// defaults (`max.message.bytes`, 1 MiB). A longer one is an error of the record that it came from.
pub const RECORD_BYTES_MAX: usize = 1_000_000;

/// The policy for a record that can't be decoded or processed, or whose results can't be written. Each choice has its
/// price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The topology stops at this record until an operator repairs it: nothing is lost, everything behind it waits.
    Fail,
    /// The record goes to `<topic>.dlq`, byte for byte, in the same transaction: nothing is lost, an operator must
    /// look.
    #[default]
    SendToDlq,
    /// The record is counted and dropped: it is lost.
    Skip,
}

/// Name of a topic's dead-letter queue.
pub fn dlq_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

/// Header of a record that was sent on: the partition that its key belongs to. Headers that begin with `__streams.` are
/// reserved, and a client may have set this one; see [`was_sent_on_to`].
pub const SENT_ON_HEADER: &str = "__streams.sent_on.to";

/// Returns the reason why a record can't be written; none if it can.
pub(crate) fn too_long(record: &OutputRecord) -> Option<String> {
    let bytes = record.bytes();
    (bytes > RECORD_BYTES_MAX).then(|| {
        format!(
            "a record of {bytes} bytes for {} is longer than the {RECORD_BYTES_MAX} that are written",
            record.topic
        )
    })
}

/// Returns whether a record was sent on to the partition in which it lies. A header that names another partition, or
/// none, is a client's own: it was copied with a record, or made up.
pub fn was_sent_on_to(partition: i32, headers: &[Header]) -> bool {
    let mark = partition.to_string();
    let is_mark = |(name, value): &Header| &**name == SENT_ON_HEADER && value.as_deref() == Some(mark.as_bytes());
    headers.iter().any(is_mark)
}

/// Returns the record, addressed to the partition that its key belongs to and marked.
pub(crate) fn forwarded(source: &TopicPartition, record: &Record, partition: i32) -> OutputRecord {
    let mut headers: Vec<Header> = record
        .headers
        .iter()
        .filter(|(name, _)| &**name != SENT_ON_HEADER)
        .cloned()
        .collect();
    headers.push((Arc::from(SENT_ON_HEADER), Some(Bytes::from(partition.to_string()))));
    OutputRecord {
        topic: source.topic.clone(),
        partition: Some(partition),
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_only_where_it_can_be_ours() {
        let record = |headers: &[(&str, &str)]| Record {
            offset: 7,
            timestamp: 1,
            key: None,
            value: None,
            headers: headers
                .iter()
                .map(|(name, value)| (Arc::from(*name), Some(Bytes::from((*value).to_owned()))))
                .collect(),
        };
        // A client's own, in the form of earlier marks, of others, and copied from a record that was sent on to 5.
        let theirs = record(&[("__streams.hops", "1"), (SENT_ON_HEADER, "x"), (SENT_ON_HEADER, "5")]);
        assert!(!was_sent_on_to(3, &theirs.headers));
        let sent_on = forwarded(&TopicPartition::new("t", 3), &theirs, 4);
        assert_eq!(sent_on.partition, Some(4));
        assert!(was_sent_on_to(4, &sent_on.headers) && !was_sent_on_to(5, &sent_on.headers));
        assert_eq!(sent_on.headers.len(), 2, "one mark, and the header that is none");
    }
}
