//! Topics, and records as they are written and read.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::support::{
    Member, commit, high_watermark, output, producer, read_all, read_values, topic, value, within, write,
};
use crate::log::murmur2::partition_for_key;
use crate::log::{Log, LogError};
use crate::record::{OutputRecord, TopicPartition};

/// Creating a topic that exists changes nothing; one that doesn't exist has no partitions.
pub async fn creates_topics_once(log: &dyn Log, name: &str) {
    let missing = within("ask for partitions", log.partitions(name)).await;
    assert_eq!(missing.expect("answers"), None);
    topic(log, name, 3).await;
    topic(log, name, 5).await;
    within("the topic", async {
        // A real cluster needs a moment to tell everybody.
        while log.partitions(name).await.expect("answers").is_none() {}
    })
    .await;
    assert_eq!(log.partitions(name).await.expect("answers"), Some(3));
    let watermarks = log
        .watermarks(&TopicPartition::new(name, 2))
        .await
        .expect("has watermarks");
    assert_eq!(watermarks, (0, 0));
}

/// A topic that grows keeps its records where they are; keys find their partition among all from then on, and nothing
/// shrinks.
pub async fn grows_topics_and_moves_nothing(log: &dyn Log, name: &str) {
    topic(log, name, 2).await;
    write(log, name, name, 1, &["before"]).await;
    for (wanted, is) in [(5, 5), (5, 5), (3, 5)] {
        within("grow", log.create_partitions(name, wanted))
            .await
            .expect("grows");
        assert_eq!(log.partitions(name).await.expect("answers"), Some(is));
    }
    assert_eq!(read_values(log, &TopicPartition::new(name, 1)).await, ["before"]);
    write(log, name, name, 4, &["after"]).await;
    assert_eq!(read_values(log, &TopicPartition::new(name, 4)).await, ["after"]);
    let mut member = Member::join(log, name, &[name]).await;
    member.gets(5).await;
    member.consumer.close().await.expect("leaves");
    let missing = within("grow", log.create_partitions(&format!("{name}-missing"), 3)).await;
    assert!(missing.is_err(), "a topic that doesn't exist can't grow");
}

/// Keys, values and headers come back byte for byte; none and empty are not the same.
pub async fn keeps_records_as_they_are(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let record = |key: Option<&'static [u8]>,
                  value: Option<&'static [u8]>,
                  headers: &[(&str, Option<&'static [u8]>)]| {
        let header = |(name, value): &(&str, Option<&'static [u8]>)| ((*name).into(), value.map(Bytes::from_static));
        OutputRecord {
            topic: name.into(),
            partition: Some(0),
            timestamp: Some(1_700_000_000_123),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: headers.iter().map(header).collect(),
        }
    };
    let written = vec![
        record(
            Some(b"key"),
            Some(b"value"),
            &[("one", Some(b"1")), ("two", Some(b"2")), ("one", Some(b"3"))],
        ),
        record(None, Some(b"no key"), &[]),
        record(Some(b"tombstone"), None, &[]),
        record(Some(b""), Some(b""), &[("empty", Some(b"")), ("null", None)]),
        record(None, None, &[]),
        record(
            Some(b"\x00\xff"),
            Some(b"\xfe\x00\x80"),
            &[("binary", Some(b"\x00\xff"))],
        ),
    ];
    let mut producer = producer(log, name).await;
    producer.send(written.clone());
    commit(producer.as_mut()).await;
    let read = read_all(log, &TopicPartition::new(name, 0)).await;
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(&written) {
        assert_eq!((&read.key, &read.value), (&written.key, &written.value));
        assert_eq!(read.headers, written.headers);
        assert_eq!(read.timestamp, 1_700_000_000_123);
    }
}

/// 20,000 records in one transaction arrive once each, in order, with ascending offsets.
pub async fn keeps_a_large_batch_in_order(log: &dyn Log, name: &str) {
    const RECORDS: usize = 20_000;
    topic(log, name, 1).await;
    let mut producer = producer(log, name).await;
    producer.send(
        (0..RECORDS)
            .map(|number| output(name, 0, &number.to_string()))
            .collect(),
    );
    commit(producer.as_mut()).await;
    let read = read_all(log, &TopicPartition::new(name, 0)).await;
    assert_eq!(read.len(), RECORDS);
    assert!(read.is_sorted_by(|one, next| one.offset < next.offset));
    assert!(
        read.iter()
            .enumerate()
            .all(|(number, record)| value(record) == number.to_string())
    );
}

/// A reader begins at the offset it is given, also in a gap.
pub async fn reads_from_any_offset(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    write(log, name, name, 0, &["a"]).await;
    write(log, name, name, 0, &["b", "c"]).await;
    let partition = TopicPartition::new(name, 0);
    let all = read_all(log, &partition).await;
    let (_, high) = log.watermarks(&partition).await.expect("has watermarks");
    for from in 0..high {
        let expected: Vec<_> = all.iter().filter(|record| record.offset >= from).cloned().collect();
        let mut reader = log.reader(&partition, from).await.expect("opens a reader");
        assert_eq!(reader.position(), from);
        let mut read = Vec::new();
        within("read", async {
            while reader.position() < high {
                read.extend(reader.next(1, super::support::STEP).await.expect("reads"));
            }
        })
        .await;
        assert_eq!(read, expected);
    }
}

/// Records without a partition go where murmur2 of their key says; those without a key go somewhere.
pub async fn places_records_by_key_as_java_does(log: &dyn Log, name: &str) {
    const PARTITIONS: i32 = 5;
    topic(log, name, PARTITIONS).await;
    let keyed = |number: i32| OutputRecord {
        partition: None,
        key: Some(Bytes::from(format!("{number}|2026-12-01"))),
        ..output(name, 0, "keyed")
    };
    let keyless = OutputRecord {
        partition: None,
        ..output(name, 0, "keyless")
    };
    let mut producer = producer(log, name).await;
    producer.send((0..50).map(keyed).chain([keyless]).collect());
    commit(producer.as_mut()).await;
    let mut keys = BTreeSet::new();
    let mut keyless = 0;
    for partition in 0..PARTITIONS {
        for record in read_all(log, &TopicPartition::new(name, partition)).await {
            match record.key {
                Some(key) => {
                    assert_eq!(partition, partition_for_key(&key, PARTITIONS), "{key:?}");
                    keys.insert(key);
                }
                None => keyless += 1,
            }
        }
    }
    assert_eq!((keys.len(), keyless), (50, 1));
}

/// Records appended outside of any transaction can be read at once, where the answer says.
pub async fn appends_outside_of_transactions(log: &dyn Log, name: &str) {
    const PARTITIONS: i32 = 3;
    topic(log, name, PARTITIONS).await;
    let keyed = |number: i32| OutputRecord {
        partition: None,
        key: Some(Bytes::from(format!("{number}|2026-12-01"))),
        ..output(name, 0, &number.to_string())
    };
    let records: Vec<OutputRecord> = (0..200).map(keyed).collect();
    let appended = within("append", async {
        loop {
            match log.append(records.clone()).await {
                // A real cluster needs a moment to tell everybody of the topic.
                Err(LogError::Retriable { .. }) => {}
                other => return other,
            }
        }
    });
    let places = appended.await.expect("appends");
    assert_eq!(places.len(), records.len());
    for (record, (partition, offset)) in records.iter().zip(places) {
        let key = record.key.as_deref().expect("has a key");
        assert_eq!(partition, partition_for_key(key, PARTITIONS));
        let all = read_all(log, &TopicPartition::new(name, partition)).await;
        let read = all.iter().find(|read| read.offset == offset).expect("is where it says");
        assert_eq!((&read.key, &read.value), (&record.key, &record.value));
    }
    assert_eq!(log.append(Vec::new()).await.expect("appends nothing"), []);
}

/// A reader's position passes transaction markers and aborted records, so that it reaches the high watermark.
pub async fn moves_the_position_to_the_high_watermark(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    write(log, name, name, 0, &["a"]).await;
    let mut producer = producer(log, name).await;
    producer.send(vec![output(name, 0, "aborted")]);
    high_watermark(log, &partition, 3).await;
    within("abort", producer.abort()).await.expect("aborts");
    // a, marker, aborted, marker
    let high = high_watermark(log, &partition, 4).await;
    let mut reader = log.reader(&partition, 0).await.expect("opens a reader");
    let mut last = -1;
    within("the position", async {
        while reader.position() < high {
            for record in reader.next(10, super::support::STEP).await.expect("reads") {
                last = record.offset;
            }
        }
    })
    .await;
    assert!(last + 1 < high, "the last record is followed by markers");
    assert_eq!(read_values(log, &partition).await, ["a"]);
}
