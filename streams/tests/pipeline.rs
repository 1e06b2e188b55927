//! Topologies without a ledger: words are counted by key over a repartition topic, through the production runtime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::log::{Log, TopicSpec};
use interlock_streams::record::{OutputRecord, Record, TopicPartition};
use interlock_streams::runtime::{Health, RuntimeConfig, Services, start};
use interlock_streams::serde::Utf8;
use interlock_streams::{BuildError, Collector, Message, OnError, Processor, StreamsBuilder, Topology};

/// Counts words within a batch; downstream adds the counts up.
struct Count;

impl Processor<String> for Count {
    type Out = String;

    fn process(&mut self, batch: Vec<Message<String>>, out: &mut Collector<String>) {
        for message in batch {
            if message.value == "refuse" {
                out.refuse(message.offset, "the word is not wanted");
            } else {
                out.emit(message.with_value("1".to_owned()));
            }
        }
    }
}

fn word_count() -> Topology {
    let builder = StreamsBuilder::new("words");
    builder
        .stream("lines", || Utf8)
        .flat_map(|message| {
            let words: Vec<String> = message.value.split_whitespace().map(str::to_lowercase).collect();
            words.into_iter().map(move |word| Message {
                key: Some(Bytes::from(word.clone())),
                value: word,
                timestamp: message.timestamp,
                headers: Vec::new(),
                offset: message.offset,
            })
        })
        .filter(|message| message.value != "the")
        .repartition("words", Utf8, || Utf8)
        .process("count", || Count)
        .to("counts", Utf8);
    builder.build().expect("a valid topology")
}

async fn log_with(topics: &[&str], partitions: i32) -> MemoryLog {
    let log = MemoryLog::new();
    let specs: Vec<TopicSpec> = topics
        .iter()
        .map(|name| TopicSpec {
            name: (*name).to_owned(),
            partitions,
            replication: 1,
            settings: Vec::new(),
        })
        .collect();
    log.create_topics(&specs).await.expect("topics");
    log
}

fn services(log: &MemoryLog) -> Services {
    Services {
        log: Arc::new(log.clone()),
        ledgers: None,
        sink: None,
    }
}

fn line(value: &'static [u8]) -> OutputRecord {
    OutputRecord {
        topic: "lines".into(),
        partition: None,
        timestamp: Some(1_700_000_000_000),
        key: None,
        value: Some(Bytes::from_static(value)),
        headers: Vec::new(),
    }
}

fn read_all(log: &MemoryLog, topic: &str, partitions: i32) -> Vec<Record> {
    let of = |partition| {
        log.read(&TopicPartition::new(topic, partition), 0, usize::MAX)
            .expect("read")
    };
    (0..partitions).flat_map(of).collect()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn counts_words_over_a_repartition_and_sends_what_it_cannot_read_to_the_dlq() {
    let log = log_with(&["lines", "words", "counts", "lines.dlq", "words.dlq"], 3).await;
    for value in [
        b"The quick brown fox".as_slice(),
        b"the lazy dog",
        b"quick QUICK refuse",
        b"\xff\xfe",
    ] {
        log.append(vec![line(value)]).expect("append");
    }
    let config = RuntimeConfig {
        threads: 2,
        ..RuntimeConfig::new("test", "one")
    };
    let running = start(&config, &[word_count()], &services(&log), &Health::default()).expect("start");
    until("seven counts and two dead letters", || {
        read_all(&log, "counts", 3).len() == 7
            && read_all(&log, "lines.dlq", 3).len() == 1
            && read_all(&log, "words.dlq", 3).len() == 1
    })
    .await;
    running.stop();
    tokio::task::spawn_blocking(move || running.wait())
        .await
        .expect("join")
        .expect("a clean end");

    let mut counts: BTreeMap<Bytes, usize> = BTreeMap::new();
    for record in read_all(&log, "counts", 3) {
        *counts.entry(record.key.expect("a key")).or_default() += 1;
    }
    assert_eq!(counts.get(b"quick".as_slice()), Some(&3));
    assert!(!counts.contains_key(b"the".as_slice()));
    let dead = read_all(&log, "lines.dlq", 3).remove(0);
    assert_eq!(dead.value.as_deref(), Some(b"\xff\xfe".as_slice()), "byte for byte");
    let header = |name: &str| {
        dead.headers
            .iter()
            .find(|(key, _)| &**key == name)
            .map(|(_, value)| value.clone())
    };
    assert_eq!(header("__streams.errors.topic").as_deref(), Some(b"lines".as_slice()));
    assert_eq!(
        header("__streams.errors.exception").as_deref(),
        Some(b"undecodable".as_slice())
    );
    let words: Vec<i32> = (0..3)
        .filter(|p| {
            log.read(&TopicPartition::new("counts", *p), 0, 1)
                .is_ok_and(|records| !records.is_empty())
        })
        .collect();
    assert!(words.len() > 1, "the keys chose the partitions: {words:?}");
}

#[tokio::test]
async fn a_topology_set_to_fail_stops_loudly_and_loses_nothing() {
    let log = log_with(&["lines", "out"], 1).await;
    log.append(vec![line(b"good")]).expect("append");
    log.append(vec![line(b"\xff")]).expect("append");
    let strict = |policy| {
        let builder = StreamsBuilder::new("strict").on_error(policy);
        builder.stream("lines", || Utf8).to("out", Utf8);
        builder.build().expect("a valid topology")
    };
    let config = RuntimeConfig::new("test", "one");
    let running = start(&config, &[strict(OnError::Fail)], &services(&log), &Health::default()).expect("start");
    let error = tokio::task::spawn_blocking(move || running.wait())
        .await
        .expect("join")
        .expect_err("it stops");
    assert!(error.to_string().contains("lines[0]@1"), "{error}");
    assert!(
        read_all(&log, "out", 1).is_empty(),
        "the transaction that it was part of is not committed"
    );

    // Once somebody has decided that the record may go, everything is there once.
    let running = start(&config, &[strict(OnError::Skip)], &services(&log), &Health::default()).expect("start");
    until("the good line", || !read_all(&log, "out", 1).is_empty()).await;
    running.stop();
    tokio::task::spawn_blocking(move || running.wait())
        .await
        .expect("join")
        .expect("a clean end");
    assert_eq!(read_all(&log, "out", 1).len(), 1);
}

#[test]
fn mistakes_are_told_when_building() {
    let empty = StreamsBuilder::new("empty").build();
    assert_eq!(empty.err(), Some(BuildError::NoSource("empty".into())));
    let twice = StreamsBuilder::new("twice");
    twice.stream("lines", || Utf8).to("a", Utf8);
    twice.stream("lines", || Utf8).to("b", Utf8);
    assert!(matches!(twice.build(), Err(BuildError::SourceTwice { topic, .. }) if topic == "lines"));
}

#[test]
fn branches_and_forks_lead_where_they_should() {
    let builder = StreamsBuilder::new("ports");
    let long: interlock_streams::builder::Predicate<String> = Box::new(|message| message.value.len() > 3);
    let any: interlock_streams::builder::Predicate<String> = Box::new(|_| true);
    let mut branches = builder.stream("lines", || Utf8).branch(vec![long, any]);
    let short = branches.remove(1);
    let forked = branches.remove(0).fork(2);
    short.merge(forked).to("all", Utf8);
    let topology = builder.build().expect("a valid topology");
    let text = topology.describe();
    for line in [
        "source-lines (source, topic: lines)",
        "--> fork-2, merge-3",
        "--> merge-3, merge-3",
        "to-all (to: all)",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(topology.mermaid().contains("t_lines --> ports_0"));
}

#[tokio::test]
async fn a_record_whose_result_is_too_long_goes_to_the_dlq() {
    let log = log_with(&["lines", "out", "lines.dlq"], 1).await;
    log.append(vec![line(b"short")]).expect("append");
    log.append(vec![line(&[b'x'; 2_000])]).expect("append");
    log.append(vec![line(b"last")]).expect("append");
    let builder = StreamsBuilder::new("repeat");
    let repeated = |value: String| value.repeat(1_000);
    builder.stream("lines", || Utf8).map_values(repeated).to("out", Utf8);
    let topology = builder.build().expect("a valid topology");
    let config = RuntimeConfig::new("test", "one");
    let running = start(&config, &[topology], &services(&log), &Health::default()).expect("start");
    until("what can be written", || read_all(&log, "out", 1).len() == 2).await;
    running.stop();
    tokio::task::spawn_blocking(move || running.wait())
        .await
        .expect("join")
        .expect("a clean end");
    let dead = read_all(&log, "lines.dlq", 1);
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].value.as_deref(), Some([b'x'; 2_000].as_slice()));
    let reason = (
        Arc::from("__streams.errors.exception"),
        Bytes::from_static(b"production"),
    );
    assert!(dead[0].headers.contains(&reason), "{dead:?}");
}
