//! The in-memory log passes the suite, and shows what only it can be made to show: time stands still until it is made
//! to pass, and markers, offsets and commits are held back.

#![allow(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use interlock_streams::log::memory::{Clock, ManualClock, MemoryLog, MemoryLogConfig};
use interlock_streams::log::{
    CommittedOffset, Consumer, ConsumerConfig, GroupMetadata, Log, LogError, OffsetCommit, Polled, Producer, TopicSpec,
};
use interlock_streams::record::{OutputRecord, TopicPartition};

async fn memory_log() -> Option<MemoryLog> {
    Some(MemoryLog::new())
}

interlock_streams::log_conformance!(memory_log);

const START: i64 = 1_800_000_000_000;
const SESSION: Duration = Duration::from_secs(10);
const TRANSACTION: Duration = Duration::from_secs(30);

/// A log whose time stands still, with the topics `in` (4 partitions) and `out` (2).
struct Stage {
    log: MemoryLog,
    clock: Arc<ManualClock>,
}

impl Stage {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let log = MemoryLog::with(MemoryLogConfig {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            session_timeout: SESSION,
            transaction_timeout: TRANSACTION,
            request_timeout: Duration::from_secs(3600),
            bytes_max: usize::MAX,
        });
        let stage = Self { log, clock };
        stage.topic("in", 4, &[]).await;
        stage.topic("out", 2, &[]).await;
        stage
    }

    async fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let setting = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions,
            replication: 1,
            settings: settings.iter().map(setting).collect(),
        };
        self.log.create_topics(&[spec]).await.unwrap();
    }

    async fn member(&self, name: &str, instance_id: Option<&str>) -> Box<dyn Consumer> {
        let config = ConsumerConfig {
            group: "group".to_owned(),
            topics: vec!["in".to_owned()],
            client_id: name.to_owned(),
            instance_id: instance_id.map(str::to_owned),
        };
        self.log.consumer(&config).await.unwrap()
    }

    async fn producer(&self, id: &str) -> Box<dyn Producer> {
        self.log.producer(id).await.unwrap()
    }

    fn values(&self, partition: &TopicPartition) -> Vec<String> {
        let records = self.log.read(partition, 0, usize::MAX).unwrap();
        let value = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        records
            .iter()
            .map(|record| value(record.value.as_ref().unwrap()))
            .collect()
    }

    async fn unstable(&self, partition: &TopicPartition) -> Option<i64> {
        let asked = std::slice::from_ref(partition);
        let mut offsets = self.log.committed_unstable("group", asked).await.unwrap();
        offsets.pop().unwrap().map(|committed| committed.offset)
    }
}

fn input(partition: i32) -> TopicPartition {
    TopicPartition::new("in", partition)
}

fn out(partition: i32) -> TopicPartition {
    TopicPartition::new("out", partition)
}

fn record(to: &TopicPartition, value: &'static str) -> OutputRecord {
    OutputRecord {
        topic: to.topic.clone(),
        partition: Some(to.partition),
        timestamp: None,
        key: None,
        value: Some(Bytes::from_static(value.as_bytes())),
        headers: Vec::new(),
    }
}

fn position(source: &TopicPartition, offset: i64) -> Vec<OffsetCommit> {
    let metadata = "by us".to_owned();
    vec![OffsetCommit {
        source: source.clone(),
        committed: CommittedOffset { offset, metadata },
    }]
}

fn no_group() -> GroupMetadata {
    GroupMetadata(Arc::new(()))
}

async fn event(consumer: &mut dyn Consumer) -> Polled {
    consumer.poll(100, Duration::ZERO).await.unwrap()
}

async fn assigned(consumer: &mut dyn Consumer) -> Vec<i32> {
    match event(consumer).await {
        Polled::Assigned(partitions) => partitions.iter().map(|partition| partition.partition).collect(),
        other => panic!("not assigned: {other:?}"),
    }
}

/// Polls a future often enough that it would be done unless it waits for another party.
async fn is_waiting<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    for _ in 0..10 {
        if (&mut *future).now_or_never().is_some() {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

#[tokio::test]
async fn offsets_may_be_visible_before_the_events() {
    let stage = Stage::new().await;
    let mut member = stage.member("a", None).await;
    assigned(member.as_mut()).await;
    let mut producer = stage.producer("id").await;
    stage.log.hold_markers(&out(0));
    producer.send(vec![record(&out(0), "zero"), record(&out(1), "one")]);
    let metadata = member.group_metadata().await.unwrap();
    producer.commit(position(&input(0), 3), metadata).await.unwrap();
    // PROTOCOL-CHECK: the commit marker reached the offsets and one event topic, but not yet the other.
    assert_eq!(
        member.committed(&[input(0)]).await.unwrap()[0].as_ref().unwrap().offset,
        3
    );
    assert_eq!(
        (stage.values(&out(0)), stage.values(&out(1))),
        (vec![], vec!["one".to_owned()])
    );
    assert_eq!(stage.log.watermarks(&out(0)).await.unwrap(), (0, 1));
    stage.log.release_markers(&out(0));
    assert_eq!(stage.values(&out(0)), ["zero"]);
    assert_eq!(stage.log.watermarks(&out(0)).await.unwrap(), (0, 2));
}

#[tokio::test]
async fn events_may_be_visible_before_the_offsets() {
    let stage = Stage::new().await;
    let mut member = stage.member("a", None).await;
    assigned(member.as_mut()).await;
    let mut producer = stage.producer("id").await;
    stage.log.hold_offsets("group");
    producer.send(vec![record(&out(0), "zero")]);
    let metadata = member.group_metadata().await.unwrap();
    producer.commit(position(&input(0), 3), metadata).await.unwrap();
    assert_eq!(stage.values(&out(0)), ["zero"]);
    assert_eq!(stage.unstable(&input(0)).await, None);
    let asked = [input(0)];
    let mut stable = member.committed(&asked);
    assert!(is_waiting(&mut stable).await);
    stage.log.release_offsets("group");
    assert_eq!(stable.await.unwrap()[0].as_ref().unwrap().offset, 3);
}

#[tokio::test]
async fn the_next_transaction_and_the_next_producer_wait_for_the_markers() {
    let stage = Stage::new().await;
    let mut producer = stage.producer("id").await;
    stage.log.hold_markers(&out(0));
    producer.send(vec![record(&out(0), "a")]);
    producer.commit(vec![], no_group()).await.unwrap();
    producer.send(vec![record(&out(0), "b")]);
    let mut second = producer.commit(vec![], no_group());
    assert!(is_waiting(&mut second).await);
    assert_eq!(stage.log.watermarks(&out(0)).await.unwrap(), (0, 1));
    stage.log.release_markers(&out(0));
    second.await.unwrap();
    assert_eq!(stage.values(&out(0)), ["a", "b"]);

    stage.log.hold_markers(&out(0));
    producer.send(vec![record(&out(0), "c")]);
    producer.commit(vec![], no_group()).await.unwrap();
    producer.send(vec![record(&out(0), "never written")]);
    let mut next = stage.log.producer("id");
    assert!(is_waiting(&mut next).await);
    stage.log.release_markers(&out(0));
    next.await.unwrap();
    // Decided records stay committed; those that waited behind them belong to the fenced producer.
    assert_eq!(stage.values(&out(0)), ["a", "b", "c"]);
}

#[tokio::test]
async fn stable_offsets_wait_for_the_open_transaction_which_a_new_producer_ends() {
    let stage = Stage::new().await;
    let mut member = stage.member("a", None).await;
    assigned(member.as_mut()).await;
    let mut producer = stage.producer("id").await;
    stage.log.hold_commits("id");
    producer.send(vec![record(&out(0), "a")]);
    let metadata = member.group_metadata().await.unwrap();
    let mut unheard = producer.commit(position(&input(0), 3), metadata);
    assert!(is_waiting(&mut unheard).await);
    assert_eq!(stage.unstable(&input(0)).await, None);
    let (first, second) = ([input(0)], [input(1)]);
    assert_eq!(
        member.committed(&second).await.unwrap(),
        [None],
        "only its own partitions wait"
    );
    let mut stable = member.committed(&first);
    assert!(is_waiting(&mut stable).await);
    let _owner = stage.producer("id").await;
    assert_eq!(stable.await.unwrap(), [None]);
    assert!(matches!(unheard.await, Err(LogError::Fenced { .. })));
    assert!(stage.values(&out(0)).is_empty());
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced() {
    let stage = Stage::new().await;
    let mut hanging = stage.producer("hanging").await;
    hanging.send(vec![record(&out(0), "hanging")]);
    stage.log.append(vec![record(&out(0), "behind")]).unwrap();
    let mut reader = stage.log.reader(&out(0), 0).await.unwrap();
    let mut next = reader.next(10, Duration::from_secs(3600));
    stage.clock.advance(TRANSACTION - Duration::from_millis(1));
    assert!(is_waiting(&mut next).await);
    // All parties only wait: the time-out itself frees the record behind.
    stage.clock.advance(Duration::from_millis(1));
    let records = next.await.unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value, Some(Bytes::from_static(b"behind")));
    for _ in 0..2 {
        hanging.send(vec![record(&out(0), "too late")]);
        let refused = hanging.commit(vec![], no_group()).await;
        assert!(matches!(refused, Err(LogError::Fenced { .. })), "{refused:?}");
        assert!(matches!(hanging.abort().await, Err(LogError::Fenced { .. })));
    }
    assert_eq!(stage.values(&out(0)), ["behind"]);
}

#[tokio::test]
async fn a_member_that_falls_silent_loses_its_partitions_and_learns_it() {
    let stage = Stage::new().await;
    let mut silent = stage.member("silent", None).await;
    assert_eq!(assigned(silent.as_mut()).await, [0, 1, 2, 3]);
    silent.start(&[(input(0), 0)]).await.unwrap();
    let stale = silent.group_metadata().await.unwrap();
    let mut other = stage.member("other", None).await;
    assert!(matches!(event(other.as_mut()).await, Polled::Nothing));
    stage.clock.advance(SESSION / 2);
    assert!(matches!(event(other.as_mut()).await, Polled::Nothing));
    stage.clock.advance(SESSION / 2);
    assert_eq!(assigned(other.as_mut()).await, [0, 1, 2, 3]);

    stage.log.append(vec![record(&input(0), "for the other")]).unwrap();
    let gone = silent.group_metadata().await.unwrap();
    let mut producer = stage.producer("id").await;
    for metadata in [stale, gone] {
        let refused = producer.commit(position(&input(0), 1), metadata).await;
        assert!(matches!(refused, Err(LogError::Abortable { .. })), "{refused:?}");
        producer.abort().await.unwrap();
    }
    match event(silent.as_mut()).await {
        Polled::Lost(partitions) => assert_eq!(partitions.len(), 4),
        other => panic!("not lost: {other:?}"),
    }
    assert!(
        matches!(event(silent.as_mut()).await, Polled::Nothing),
        "joined again, owns nothing"
    );
    assert!(matches!(event(other.as_mut()).await, Polled::Revoked(_)));
    other.complete_revocation().await.unwrap();
    assert_eq!(assigned(silent.as_mut()).await.len(), 2);
}

#[tokio::test]
async fn a_member_that_waits_in_a_poll_is_alive() {
    let stage = Stage::new().await;
    let mut member = stage.member("a", None).await;
    assigned(member.as_mut()).await;
    let mut poll = member.poll(10, Duration::from_secs(3600));
    assert!(is_waiting(&mut poll).await);
    stage.clock.advance(SESSION * 5);
    assert!(is_waiting(&mut poll).await);
    drop(poll);
    stage.clock.advance(SESSION / 2);
    assert!(matches!(event(member.as_mut()).await, Polled::Nothing));
}

#[tokio::test]
async fn a_crashed_owner_frees_what_it_was_asked_to_give_back() {
    let stage = Stage::new().await;
    let mut first = stage.member("first", None).await;
    assigned(first.as_mut()).await;
    let mut second = stage.member("second", None).await;
    assert!(matches!(event(first.as_mut()).await, Polled::Revoked(_)));
    drop(first);
    stage.clock.advance(SESSION / 2);
    assert!(matches!(event(second.as_mut()).await, Polled::Nothing));
    stage.clock.advance(SESSION / 2);
    assert_eq!(assigned(second.as_mut()).await, [0, 1, 2, 3]);
}

#[tokio::test]
async fn offsets_of_a_partition_not_owned_are_accepted_as_a_real_broker_does() {
    let stage = Stage::new().await;
    let mut first = stage.member("first", None).await;
    assigned(first.as_mut()).await;
    let mut second = stage.member("second", None).await;
    let metadata = second.group_metadata().await.unwrap();
    let mut producer = stage.producer("id").await;
    producer.commit(position(&input(0), 9), metadata).await.unwrap();
    assert_eq!(stage.unstable(&input(0)).await, Some(9));
}

#[tokio::test]
async fn a_static_member_comes_back_to_what_it_had_without_a_rebalance() {
    let stage = Stage::new().await;
    let mut first = stage.member("first", Some("one")).await;
    assigned(first.as_mut()).await;
    let mut second = stage.member("second", Some("two")).await;
    assert!(matches!(event(first.as_mut()).await, Polled::Revoked(_)));
    first.complete_revocation().await.unwrap();
    let share = assigned(second.as_mut()).await;
    let generation = stage.log.generation("group");
    second.close().await.unwrap();
    let mut again = stage.member("second again", Some("two")).await;
    assert_eq!(assigned(again.as_mut()).await, share);
    assert_eq!(stage.log.generation("group"), generation);
    assert!(matches!(event(first.as_mut()).await, Polled::Nothing));

    let _usurper = stage.member("usurper", Some("two")).await;
    let superseded = again.poll(1, Duration::ZERO).await;
    assert!(matches!(superseded, Err(LogError::Fatal { .. })), "{superseded:?}");
}

#[tokio::test]
async fn a_new_topic_goes_to_those_who_are_subscribed_already() {
    let stage = Stage::new().await;
    let config = ConsumerConfig {
        group: "early".to_owned(),
        topics: vec!["later".to_owned()],
        client_id: "early".to_owned(),
        instance_id: None,
    };
    let mut early = stage.log.consumer(&config).await.unwrap();
    assert!(matches!(event(early.as_mut()).await, Polled::Nothing));
    stage.topic("later", 2, &[]).await;
    assert_eq!(assigned(early.as_mut()).await, [0, 1]);
}

#[tokio::test]
async fn timestamps_are_the_logs_or_the_records() {
    let stage = Stage::new().await;
    stage
        .topic("log-time", 1, &[("message.timestamp.type", "LogAppendTime")])
        .await;
    stage.clock.advance(Duration::from_millis(7));
    for (topic, expected) in [("log-time", [START + 7, START + 7]), ("in", [5, START + 7])] {
        let to = TopicPartition::new(topic, 0);
        let claimed = OutputRecord {
            timestamp: Some(5),
            ..record(&to, "claimed")
        };
        stage.log.append(vec![claimed, record(&to, "unclaimed")]).unwrap();
        let read = stage.log.read(&to, 0, 10).unwrap();
        assert_eq!([read[0].timestamp, read[1].timestamp], expected, "{topic}");
    }
}

#[tokio::test]
async fn old_records_go_as_the_topic_says_and_reading_them_is_an_error() {
    let stage = Stage::new().await;
    stage.topic("short", 1, &[("retention.records", "2")]).await;
    let short = TopicPartition::new("short", 0);
    stage.log.append(vec![record(&short, "x"); 5]).unwrap();
    assert_eq!(stage.log.watermarks(&short).await.unwrap(), (3, 5));
    let mut reader = stage.log.reader(&short, 0).await.unwrap();
    assert!(matches!(
        reader.next(1, Duration::ZERO).await,
        Err(LogError::Fatal { .. })
    ));
    stage.log.truncate(&short, 4).unwrap();
    assert_eq!(stage.log.watermarks(&short).await.unwrap(), (4, 5));
}

#[tokio::test]
async fn an_append_is_all_or_nothing() {
    let stage = Stage::new().await;
    let refused = stage.log.append(vec![record(&out(0), "a"), record(&out(9), "b")]);
    assert!(matches!(refused, Err(LogError::Fatal { .. })));
    assert_eq!(stage.log.watermarks(&out(0)).await.unwrap(), (0, 0));
    let appended = stage.log.append(vec![record(&out(1), "a"), record(&out(1), "b")]);
    assert_eq!(appended.unwrap(), [(1, 0), (1, 1)]);
}

#[tokio::test]
async fn a_failed_send_surfaces_at_the_commit_until_it_is_aborted() {
    let stage = Stage::new().await;
    let mut producer = stage.producer("id").await;
    producer.send(vec![
        record(&out(0), "a"),
        record(&TopicPartition::new("nowhere", 0), "b"),
    ]);
    for _ in 0..2 {
        let refused = producer.commit(vec![], no_group()).await;
        assert!(matches!(refused, Err(LogError::Abortable { .. })), "{refused:?}");
    }
    producer.abort().await.unwrap();
    producer.send(vec![record(&out(0), "c")]);
    producer.commit(vec![], no_group()).await.unwrap();
    assert_eq!(stage.values(&out(0)), ["c"]);
}

/// The same calls bring about the same log and the same assignment.
#[tokio::test]
async fn nothing_is_left_to_chance() {
    async fn run() -> String {
        let stage = Stage::new().await;
        let mut trace = String::new();
        let mut members = Vec::new();
        for number in 0..3 {
            members.push(stage.member(&number.to_string(), None).await);
            for _ in 0..4 {
                for member in &mut members {
                    trace += &format!("{:?}\n", event(member.as_mut()).await);
                    member.complete_revocation().await.unwrap();
                }
            }
        }
        members.remove(0).close().await.unwrap();
        for member in &mut members {
            trace += &format!("{:?}\n", event(member.as_mut()).await);
        }
        trace
    }
    assert_eq!(run().await, run().await);
}
