//! What is done with a record that can't be processed, and the dead-letter queue.

use std::sync::Arc;

use bytes::Bytes;

use crate::record::{Header, OutputRecord, Record, TopicPartition};

/// What is done with a record that can't be decoded or processed. Each choice states its price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The topology stops at this record until somebody mends it: nothing is lost, everything behind it waits.
    Fail,
    /// The record goes to `<topic>.dlq`, byte for byte, in the same transaction: nothing is lost, somebody must look.
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

/// The dead letter of a record: key, value and headers byte for byte, and beside them why, from where and by which
/// version (header names after KIP-1034).
pub fn dead_letter(source: &TopicPartition, record: &Record, reason: &str, message: &str) -> OutputRecord {
    let mut headers = record.headers.clone();
    let mut add = |name: &str, value: String| headers.push((Arc::from(name), Bytes::from(value)));
    add("__streams.errors.exception", reason.to_owned());
    add("__streams.errors.message", message.to_owned());
    add("__streams.errors.topic", source.topic.to_string());
    add("__streams.errors.partition", source.partition.to_string());
    add("__streams.errors.offset", record.offset.to_string());
    add("__streams.errors.timestamp", record.timestamp.to_string());
    add(
        "__streams.errors.version",
        concat!("interlock-streams ", env!("CARGO_PKG_VERSION")).to_owned(),
    );
    OutputRecord {
        topic: Arc::from(dlq_topic(&source.topic)),
        partition: Some(source.partition),
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}

/// How often a record was sent on already.
pub(crate) fn hops(headers: &[Header]) -> u32 {
    headers
        .iter()
        .rev()
        .find(|(name, _)| &**name == HOPS_HEADER)
        .and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok())
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
    headers.push((Arc::from(HOPS_HEADER), Bytes::from(count.to_string())));
    OutputRecord {
        topic: source.topic.clone(),
        partition: Some(partition),
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers,
    }
}
