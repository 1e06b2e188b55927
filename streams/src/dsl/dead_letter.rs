//! Dead letters: written, read back, and sent again once.
//!
//! ```text
//!   in.dlq[3]    … letter@17 ……………………… mark "17 was sent again" …
//!                      │                       │ one transaction
//!   in[5]              └──────────────> the record as it was
//! ```
//!
//! The mark is in the letter's own partition, after the letter. So retention that keeps the letter keeps its mark, and
//! one partition tells which of its letters were sent again.

use std::sync::Arc;

use bytes::Bytes;

use super::policy::{SENT_ON_HEADER, dlq_topic};
use crate::record::{Header, OutputRecord, Record, TopicPartition};

/// Headers of a dead letter: reason, record and writer (names after KIP-1034).
const REASON: &str = "__streams.errors.exception";
const MESSAGE: &str = "__streams.errors.message";
const TOPIC: &str = "__streams.errors.topic";
const PARTITION: &str = "__streams.errors.partition";
const OFFSET: &str = "__streams.errors.offset";
const TIMESTAMP: &str = "__streams.errors.timestamp";
const VERSION: &str = "__streams.errors.version";
/// Length of a record that was too long to be copied, in bytes.
const NOT_COPIED: &str = "__streams.errors.not_copied";

/// All of the above.
const OF_THE_LETTER: &str = "__streams.errors.";
/// Header of a record that was sent again: the letter that it comes from, as `topic[partition]@offset`.
const RESENT_FROM: &str = "__streams.resent.from";
/// Header of a mark: the offset of the letter that was sent again.
const RESENT: &str = "__streams.resent.offset";

/// Longest dead letter, in bytes of key, value and headers: a broker with default settings accepts it. A longer record,
/// which can arrive if it compresses well, is not copied: its letter names its place.
pub const DEAD_LETTER_BYTES_MAX: usize = 2_000_000;

/// The headers of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Kind of error: `undecodable`, `processing`, `production` or `wrong_partition`.
    pub reason: String,
    /// Description of the error.
    pub message: String,
    /// Partition of the record.
    pub source: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// Program that wrote the letter, with its version.
    pub version: String,
    /// Length of a record that was too long to be copied, in bytes; none: the letter holds the record.
    pub not_copied: Option<u64>,
}

impl DeadLetter {
    /// Reads the headers; none if they don't say where the record comes from.
    pub fn of(letter: &Record) -> Option<Self> {
        // The last of a name: the letter's own headers come after those of the record.
        let text = |name: &str| {
            letter
                .header(name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let number = |name: &str| text(name)?.parse::<i64>().ok();
        Some(Self {
            reason: text(REASON).unwrap_or_default(),
            message: text(MESSAGE).unwrap_or_default(),
            source: TopicPartition::new(text(TOPIC)?, text(PARTITION)?.parse().ok()?),
            offset: number(OFFSET)?,
            version: text(VERSION).unwrap_or_default(),
            // It is the very last; another one was the record's.
            not_copied: letter
                .headers
                .last()
                .filter(|(name, _)| &**name == NOT_COPIED)
                .and_then(|(_, bytes)| std::str::from_utf8(bytes.as_deref()?).ok()?.parse().ok()),
        })
    }
}

/// The dead letter of a record: key, value and headers byte for byte, and beside them why, from where and by which
/// version (header names after KIP-1034). Of one longer than [`DEAD_LETTER_BYTES_MAX`], only the latter.
pub fn compose(source: &TopicPartition, record: &Record, reason: &str, message: &str) -> OutputRecord {
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
    let mut add = |name: &str, value: String| letter.headers.push((Arc::from(name), Some(Bytes::from(value))));
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

/// Returns whether the record itself is part of its dead letter.
pub fn is_copied(record: &Record) -> bool {
    record.bytes() <= DEAD_LETTER_BYTES_MAX
}

/// Returns the headers that the record had: without those of the letter, and without the mark of a record that was sent
/// on, which may be sent on again.
pub fn original_headers(letter: &Record) -> Vec<Header> {
    let of_the_record = |(name, _): &&Header| !name.starts_with(OF_THE_LETTER) && **name != *SENT_ON_HEADER;
    letter.headers.iter().filter(of_the_record).cloned().collect()
}

/// Returns a record to be sent again, with a header that names its letter. It replaces the name of an earlier letter,
/// whose record this letter holds.
pub fn resent(from: &TopicPartition, offset: i64, mut record: OutputRecord) -> OutputRecord {
    record.headers.retain(|(name, _)| **name != *RESENT_FROM);
    let place = Bytes::from(format!("{from}@{offset}"));
    record.headers.push((Arc::from(RESENT_FROM), Some(place)));
    record
}

/// The mark that the letter at `offset` was sent again, to be written in the same transaction.
pub fn mark(letters: &TopicPartition, offset: i64) -> OutputRecord {
    OutputRecord {
        topic: letters.topic.clone(),
        partition: Some(letters.partition),
        timestamp: None,
        key: None,
        value: None,
        headers: vec![(Arc::from(RESENT), Some(Bytes::from(offset.to_string())))],
    }
}

/// Which letter a mark is about; none if the record isn't one. A letter is none, whatever headers its record brought
/// along.
pub fn marked(record: &Record) -> Option<i64> {
    if record.header(TOPIC).is_some() {
        return None;
    }
    std::str::from_utf8(record.header(RESENT)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a written record as it is read.
    fn read(written: OutputRecord) -> Record {
        Record {
            offset: 17,
            timestamp: written.timestamp.unwrap_or_default(),
            key: written.key,
            value: written.value,
            headers: written.headers,
        }
    }

    fn record(bytes: usize) -> Record {
        Record {
            offset: 7,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::from(vec![0; bytes])),
            headers: vec![
                (Arc::from("theirs"), Some(Bytes::from_static(b"h"))),
                (Arc::from("theirs"), None),
                (Arc::from(SENT_ON_HEADER), Some(Bytes::from_static(b"1"))),
            ],
            ..Record::default()
        }
    }

    fn letter_of(record: &Record) -> Record {
        let source = TopicPartition::new("in", 3);
        read(compose(&source, record, "undecodable", "no magic byte"))
    }

    #[test]
    fn a_letter_tells_what_was_written_in_it() {
        let letter = DeadLetter::of(&letter_of(&record(10))).expect("a letter");
        assert_eq!((letter.source, letter.offset), (TopicPartition::new("in", 3), 7));
        assert_eq!(
            (letter.reason.as_str(), letter.message.as_str()),
            ("undecodable", "no magic byte")
        );
        assert_eq!(letter.not_copied, None);
        assert_eq!(DeadLetter::of(&record(10)), None);

        let too_long = DeadLetter::of(&letter_of(&record(DEAD_LETTER_BYTES_MAX + 1))).expect("a letter");
        assert!(too_long.not_copied > Some(DEAD_LETTER_BYTES_MAX as u64));

        // Headers of a client that look like those of a letter.
        let mut impostor = record(10);
        for name in [NOT_COPIED, REASON, TOPIC, OFFSET] {
            impostor.headers.push((Arc::from(name), Some(Bytes::from_static(b"5"))));
        }
        let letter = DeadLetter::of(&letter_of(&impostor)).expect("a letter");
        assert_eq!((letter.source, letter.offset), (TopicPartition::new("in", 3), 7));
        assert_eq!((letter.reason.as_str(), letter.not_copied), ("undecodable", None));
    }

    #[test]
    fn a_letter_of_a_letter_tells_of_the_last_trouble_and_keeps_nothing_of_the_first() {
        let first = letter_of(&record(10));
        let second = read(compose(&TopicPartition::new("in", 5), &first, "processing", "closed"));
        let letter = DeadLetter::of(&second).expect("a letter");
        assert_eq!(
            (letter.reason.as_str(), letter.source.partition, letter.offset),
            ("processing", 5, 17)
        );
        assert_eq!(
            original_headers(&second),
            [
                (Arc::from("theirs"), Some(Bytes::from_static(b"h"))),
                (Arc::from("theirs"), None)
            ]
        );
    }

    #[test]
    fn what_is_sent_again_names_the_last_letter_only() {
        let letters = TopicPartition::new("in.dlq", 3);
        let letter = letter_of(&record(10));
        let output = |headers| OutputRecord {
            topic: "in".into(),
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers,
        };
        let once = resent(&letters, 17, output(original_headers(&letter)));
        let twice = resent(&letters, 40, output(original_headers(&read(once))));
        let named = twice.headers.iter().filter(|(name, _)| &**name == RESENT_FROM);
        let named: Vec<Option<&[u8]>> = named.map(|(_, value)| value.as_deref()).collect();
        assert_eq!(named, [Some(&b"in.dlq[3]@40"[..])]);
    }

    #[test]
    fn a_mark_is_no_letter_and_a_letter_no_mark() {
        let mark = read(mark(&TopicPartition::new("in.dlq", 3), 17));
        assert_eq!((marked(&mark), DeadLetter::of(&mark)), (Some(17), None));
        let impostor = Record {
            headers: mark.headers,
            ..record(10)
        };
        assert_eq!(marked(&letter_of(&impostor)), None);
    }

    fn written(bytes: usize) -> OutputRecord {
        let record = Record {
            offset: 7,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::from(vec![0; bytes])),
            headers: vec![(Arc::from("theirs"), Some(Bytes::from_static(b"h")))],
            ..Record::default()
        };
        compose(&TopicPartition::new("in", 3), &record, "undecodable", "no magic byte")
    }

    fn message(letter: &OutputRecord) -> String {
        let header = letter
            .headers
            .iter()
            .find(|(name, _)| &**name == "__streams.errors.message");
        let message = header.and_then(|(_, message)| message.as_deref()).expect("a message");
        String::from_utf8_lossy(message).into_owned()
    }

    #[test]
    fn a_record_that_is_too_long_to_be_copied_is_told_where_it_is() {
        let letter = written(DEAD_LETTER_BYTES_MAX);
        assert_eq!((&letter.key, &letter.value), (&None, &None));
        assert!(letter.bytes() < 1_000, "{letter:?}");
        let message = message(&letter);
        assert!(
            message.contains("no magic byte") && message.contains("in[3]@7"),
            "{message}"
        );

        let copied = written(DEAD_LETTER_BYTES_MAX - 10);
        assert_eq!(copied.value.as_ref().map(Bytes::len), Some(DEAD_LETTER_BYTES_MAX - 10));
        assert!(copied.headers.iter().any(|(name, _)| &**name == "theirs"));
    }
}
