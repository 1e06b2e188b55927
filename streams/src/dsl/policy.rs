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

/// Header that counts how often a record was sent on to the partition that its key belongs to.
pub const HOPS_HEADER: &str = "__streams.hops";

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

/// Returns how often a record was forwarded.
pub(crate) fn hops(headers: &[Header]) -> u32 {
    headers
        .iter()
        .rev()
        .find(|(name, _)| &**name == HOPS_HEADER)
        .and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok()?.parse().ok())
        .unwrap_or(0)
}

/// The record, addressed to the partition that its key belongs to, with its hop counted.
pub(crate) fn forwarded(source: &TopicPartition, record: &Record, partition: i32) -> OutputRecord {
    let count = hops(&record.headers) + 1;
    let mut headers: Vec<Header> = record
        .headers
        .iter()
        .filter(|(name, _)| &**name != HOPS_HEADER)
        .cloned()
        .collect();
    headers.push((Arc::from(HOPS_HEADER), Some(Bytes::from(count.to_string()))));
    OutputRecord {
        topic: source.topic.clone(),
        partition: Some(partition),
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}
