//! What is done with a record that can't be processed, and the dead-letter queue.

use std::sync::Arc;

use bytes::Bytes;

use crate::dead_letter::{MESSAGE, NOT_COPIED, OFFSET, PARTITION, REASON, TIMESTAMP, TOPIC, VERSION};
use crate::record::{Header, OutputRecord, Record, TopicPartition};

/// Longest record that is written, in bytes of key, value and headers: with Kafka's framing it passes brokers at their
/// defaults (`max.message.bytes`, 1 MiB). A longer one is an error of the record that it came from.
pub const RECORD_BYTES_MAX: usize = 1_000_000;

/// Longest dead letter, in bytes of key, value and headers: what a broker takes at its defaults, and why. A longer record, which
/// can come in well compressed, is not copied: its letter says where it is.
pub const DEAD_LETTER_BYTES_MAX: usize = 2_000_000;

/// What is done with a record that can't be decoded or processed, or whose results can't be written. Each choice states
/// its price.
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
/// version (header names after KIP-1034). Of one longer than [`DEAD_LETTER_BYTES_MAX`], only the latter.
pub fn dead_letter(source: &TopicPartition, record: &Record, reason: &str, message: &str) -> OutputRecord {
    let mut letter = OutputRecord {
        topic: Arc::from(dlq_topic(&source.topic)),
        partition: Some(source.partition),
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
    };
    let mut message = message.to_owned();
    let is_copied = is_copied(record);
    if !is_copied {
        message = format!(
            "{message}; not copied, since its {} bytes are too many: read {source}@{}",
            record.bytes(),
            record.offset
        );
        (letter.key, letter.value) = (None, None);
        letter.headers.clear();
    }
    let mut add = |name: &str, value: String| letter.headers.push((Arc::from(name), Bytes::from(value)));
    add(REASON, reason.to_owned());
    add(MESSAGE, message);
    add(TOPIC, source.topic.to_string());
    add(PARTITION, source.partition.to_string());
    add(OFFSET, record.offset.to_string());
    add(TIMESTAMP, record.timestamp.to_string());
    add(
        VERSION,
        concat!("interlock-streams ", env!("CARGO_PKG_VERSION")).to_owned(),
    );
    if !is_copied {
        add(NOT_COPIED, record.bytes().to_string());
    }
    letter
}

/// Is the record itself part of its dead letter?
pub fn is_copied(record: &Record) -> bool {
    record.bytes() <= DEAD_LETTER_BYTES_MAX
}

/// Why a record can't be written, if it can't.
pub(crate) fn too_long(record: &OutputRecord) -> Option<String> {
    let bytes = record.bytes();
    (bytes > RECORD_BYTES_MAX).then(|| {
        format!(
            "a record of {bytes} bytes for {} is longer than the {RECORD_BYTES_MAX} that are written",
            record.topic
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn letter_of(bytes: usize) -> OutputRecord {
        let record = Record {
            offset: 7,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::from(vec![0; bytes])),
            headers: vec![(Arc::from("theirs"), Bytes::from_static(b"h"))],
            ..Record::default()
        };
        dead_letter(&TopicPartition::new("in", 3), &record, "undecodable", "no magic byte")
    }

    fn message(letter: &OutputRecord) -> String {
        let header = letter
            .headers
            .iter()
            .find(|(name, _)| &**name == "__streams.errors.message");
        let (_, message) = header.expect("a message");
        String::from_utf8_lossy(message).into_owned()
    }

    #[test]
    fn a_record_that_is_too_long_to_be_copied_is_told_where_it_is() {
        let letter = letter_of(DEAD_LETTER_BYTES_MAX);
        assert_eq!((&letter.key, &letter.value), (&None, &None));
        assert!(letter.bytes() < 1_000, "{letter:?}");
        let message = message(&letter);
        assert!(
            message.contains("no magic byte") && message.contains("in[3]@7"),
            "{message}"
        );

        let copied = letter_of(DEAD_LETTER_BYTES_MAX - 10);
        assert_eq!(copied.value.as_ref().map(Bytes::len), Some(DEAD_LETTER_BYTES_MAX - 10));
        assert!(copied.headers.iter().any(|(name, _)| &**name == "theirs"));
    }
}
