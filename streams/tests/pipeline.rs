//! Topologies without a ledger: words are marked over a repartition topic, through the production runtime.

use std::time::Duration;

use bytes::Bytes;
use interlock_streams::decider::{Deciders, Events};
use interlock_streams::record::{OutputRecord, Record, TopicPartition};
use interlock_streams::serde::Utf8;
use interlock_streams::testing::{DriverError, Failure, TopologyTestDriver};
use interlock_streams::{
    BuildError, Collector, Decider, LedgerSpec, Message, OnError, Processor, StreamsBuilder, Topology,
};
use serde::{Deserialize, Serialize};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Marks words, and wants none of some.
struct Mark;

impl Processor<String> for Mark {
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

/// Keeps the last value of each key.
#[derive(Default, Serialize, Deserialize)]
struct Last(String);

impl Decider for Last {
    type Command = String;
    type Event = String;

    fn decide(&self, command: &Message<String>) -> Vec<String> {
        vec![command.value.clone()]
    }

    fn evolve(&mut self, event: &String) {
        self.0.clone_from(event);
    }
}

fn words() -> Topology {
    let builder = StreamsBuilder::new("words");
    builder
        .stream("lines", || Utf8)
        .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
        .select_key(|message| message.value.clone())
        .filter(|message| message.value != "the")
        .repartition("words", Utf8, || Utf8)
        .process("mark", || Mark)
        .to("marks", Utf8);
    builder.build().expect("a valid topology")
}

fn strict(policy: OnError) -> Topology {
    let builder = StreamsBuilder::new("strict").on_error(policy);
    builder.stream("lines", || Utf8).to("out", Utf8);
    builder.build().expect("a valid topology")
}

fn header(record: &Record, name: &str) -> Bytes {
    record.header(name).cloned().unwrap_or_default()
}

fn bytes(topic: &str, value: &'static [u8]) -> OutputRecord {
    OutputRecord {
        topic: topic.into(),
        partition: None,
        timestamp: Some(1_700_000_000_000),
        key: None,
        value: Some(Bytes::from_static(value)),
        headers: Vec::new(),
    }
}

#[test]
fn words_come_together_by_key_over_a_repartition() -> Result {
    let driver = TopologyTestDriver::new(words(), 3)?;
    let lines = driver.input("lines", Utf8);
    let marks = driver.output::<String, _>("marks", Utf8);
    lines.pipe_all([
        ("a", "The quick brown fox"),
        ("b", "the lazy dog"),
        ("c", "quick QUICK"),
    ])?;
    let marked = marks.read_key_values()?;
    assert_eq!(marked.len(), 7);
    assert_eq!(marked.iter().filter(|(word, _)| word == "quick").count(), 3);
    assert_eq!(marks.read_values()?, Vec::<String>::new(), "each is read once");

    let used = (0..3).map(|partition| driver.log().read(&TopicPartition::new("marks", partition), 0, 1));
    let used: Vec<_> = used.collect::<std::result::Result<Vec<_>, _>>()?.concat();
    assert!(used.len() > 1, "the keys chose the partitions");
    lines.advance_time(Duration::from_secs(7));
    lines.pipe("d", "late")?;
    let first = driver.records("lines")?.iter().map(|record| record.timestamp).min();
    let late = marks.read_all()?.remove(0);
    assert_eq!(
        Some(late.timestamp - 7_000),
        first,
        "a record keeps the time that it was piped with"
    );
    Ok(())
}

#[test]
fn what_cannot_be_read_or_processed_goes_to_the_dead_letters() -> Result {
    let driver = TopologyTestDriver::new(words(), 1)?;
    driver.pipe(vec![bytes("lines", b"\xff\xfe"), bytes("lines", b"refuse this")])?;
    assert_eq!(driver.records("marks")?.len(), 1);
    let refused = driver.records("words.dlq")?.remove(0);
    assert_eq!(refused.value.as_deref(), Some(b"refuse".as_slice()));
    let dead = driver.records("lines.dlq")?.remove(0);
    assert_eq!(dead.value.as_deref(), Some(b"\xff\xfe".as_slice()), "byte for byte");
    assert_eq!(header(&dead, "__streams.errors.topic"), "lines");
    assert_eq!(header(&dead, "__streams.errors.exception"), "undecodable");
    Ok(())
}

#[test]
fn failures_repeat_and_lose_nothing() -> Result {
    let driver = TopologyTestDriver::new(words(), 2)?;
    let lines = driver.input("lines", Utf8);
    let marks = driver.output::<String, _>("marks", Utf8);
    for failure in [Failure::AbortedTransaction, Failure::RevokedPartitions, Failure::Crash] {
        let generation = driver.log().generation("test-words");
        driver.inject(failure)?;
        lines.pipe("k", "one two three")?;
        assert_eq!(marks.read_values()?.len(), 3, "{failure:?}");
        let rebalanced = driver.log().generation("test-words") > generation;
        assert_eq!(rebalanced, failure != Failure::AbortedTransaction, "{failure:?}");
    }
    assert_eq!(driver.records("lines.dlq")?.len(), 0);
    Ok(())
}

#[test]
fn a_topology_set_to_fail_stops_loudly_and_loses_nothing() -> Result {
    let driver = TopologyTestDriver::new(strict(OnError::Fail), 1)?;
    let stopped = driver.pipe(vec![bytes("lines", b"good"), bytes("lines", b"\xff")]);
    let Err(DriverError::Stopped(error)) = stopped else {
        panic!("it goes on: {stopped:?}")
    };
    assert!(error.to_string().contains("lines[0]@1"), "{error}");
    let committed = driver.records("out")?;
    assert_eq!(committed, [], "the transaction that it was part of is not committed");
    let nobody = driver.input("lines", Utf8).pipe("k", "good");
    assert!(matches!(nobody, Err(DriverError::NoWorker)), "{nobody:?}");

    // Once an operator has decided that the record may go, everything is there once.
    driver.redeploy(strict(OnError::Skip))?;
    let out = driver.output::<String, _>("out", Utf8);
    assert_eq!(out.read_values()?, ["good", "good"]);
    driver.redeploy(strict(OnError::Skip))?;
    assert_eq!(
        out.read_values()?,
        Vec::<String>::new(),
        "a clean hand-over repeats nothing"
    );
    Ok(())
}

#[test]
fn mistakes_are_told_when_building() {
    let empty = StreamsBuilder::new("empty").build();
    assert_eq!(empty.err(), Some(BuildError::NoSource("empty".into())));
    let twice = StreamsBuilder::new("twice");
    twice.stream("lines", || Utf8).to("a", Utf8);
    twice.stream("lines", || Utf8).to("b", Utf8);
    assert!(matches!(twice.build(), Err(BuildError::SourceTwice { topic, .. }) if topic == "lines"));
    let elsewhere = StreamsBuilder::new("elsewhere");
    let spec = LedgerSpec {
        name: "ledger".to_owned(),
        event_topics: vec!["events".to_owned()],
        processor: Deciders::<Last>::default,
        events: || Events,
    };
    let events = elsewhere.stream("lines", || Utf8).process_ledger(spec);
    events.map_values(|event| event.event).to("events", Utf8);
    assert!(
        matches!(elsewhere.build(), Err(BuildError::EventsNotWritten { topic, .. }) if topic == "events"),
        "by key is not in the ledger's own partition"
    );
}

#[test]
fn branches_and_forks_lead_where_they_should() {
    let builder = StreamsBuilder::new("ports");
    let long: interlock_streams::builder::Predicate<String> = Box::new(|message| message.value.len() > 3);
    let any: interlock_streams::builder::Predicate<String> = Box::new(|_| true);
    let mut branches = builder.stream("lines", || Utf8).split(vec![long, any]);
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

    let driver = TopologyTestDriver::new(topology, 1).expect("a driver");
    let lines = driver.input("lines", Utf8);
    lines.pipe_all([("k", "long one"), ("k", "two")]).expect("piped");
    let all = driver.output::<String, _>("all", Utf8).read_values().expect("read");
    assert_eq!(all, ["two", "long one", "long one"]);
}

#[test]
fn a_record_whose_result_is_too_long_goes_to_the_dlq() -> Result {
    let builder = StreamsBuilder::new("repeat");
    let repeated = |value: String| value.repeat(1_000);
    builder.stream("lines", || Utf8).map_values(repeated).to("out", Utf8);
    let driver = TopologyTestDriver::new(builder.build()?, 1)?;
    let long = "x".repeat(2_000);
    driver
        .input("lines", Utf8)
        .pipe_all([("k", "short"), ("k", &long), ("k", "last")])?;
    assert_eq!(driver.records("out")?.len(), 2, "what can be written");
    let dead = driver.records("lines.dlq")?;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].value.as_deref(), Some(long.as_bytes()));
    assert_eq!(header(&dead[0], "__streams.errors.exception"), "production");
    Ok(())
}
