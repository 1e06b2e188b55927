//! [`KafkaLog`] on a real Kafka: what the conformance suite can't know of.
#![allow(clippy::unwrap_used, clippy::large_futures, missing_docs, unreachable_pub)]

#[path = "log/fixture.rs"]
mod fixture;
#[path = "log/groups.rs"]
mod groups;
#[path = "log/positions.rs"]
mod positions;
#[path = "log/proxy.rs"]
mod proxy;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fixture::{
    Fixture, PATIENCE, TICK, alone, nobody, numbers, offset, owned, partitions, record, records, settle, step, text,
};
use interlock_kafka::{GroupProtocol, KafkaConfig, KafkaLog};
use interlock_streams::log::{CommittedOffset, Consumer, Log, LogError, Polled, TopicSpec};
use interlock_streams::record::TopicPartition;
use proxy::Proxy;

async fn kafka_log() -> Option<KafkaLog> {
    Fixture::new("conformance").map(|fixture| fixture.log)
}

interlock_streams::log_conformance!(kafka_log);

// ---------------------------------------------------------------------------------------------------------------------
// Transactions
// ---------------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_transaction_is_seen_whole_or_not_at_all() {
    let Some(fixture) = Fixture::new("atomic") else { return };
    let topic = fixture.topic("out", 2).await;
    let (p0, p1) = (
        TopicPartition::new(topic.clone(), 0),
        TopicPartition::new(topic.clone(), 1),
    );
    let mut producer = fixture.producer("a").await;

    producer.send(vec![record(&topic, 0, "aborted"), record(&topic, 1, "aborted")]);
    fixture.written(&p0, 1).await;
    producer.abort().await.unwrap();
    producer.abort().await.unwrap(); // nothing open: nothing happens
    producer.send(vec![record(&topic, 0, "kept 0")]);
    producer.send(vec![record(&topic, 1, "kept 1")]);
    fixture.written(&p0, 3).await; // record, abort marker, record

    let mut reader = fixture.log.reader(&p0, 0).await.unwrap();
    let until = Instant::now() + PATIENCE;
    while reader.position() < 2 {
        assert!(
            reader.next(10, TICK).await.unwrap().is_empty(),
            "an open transaction was read"
        );
        assert!(Instant::now() < until);
    }
    producer.commit(Vec::new(), nobody()).await.unwrap();
    assert_eq!(fixture.read(&p0).await.iter().map(text).collect::<Vec<_>>(), ["kept 0"]);
    assert_eq!(fixture.read(&p1).await.iter().map(text).collect::<Vec<_>>(), ["kept 1"]);
}

#[tokio::test]
async fn keys_values_headers_and_timestamps_arrive_as_they_were_sent() {
    let Some(fixture) = Fixture::new("fields") else { return };
    let topic = fixture.topic("out", 1).await;
    let mut sent = record(&topic, 0, "value");
    sent.timestamp = Some(1_234_567_890_123);
    let mut tombstone = record(&topic, 0, "key");
    (tombstone.value, tombstone.headers) = (None, Vec::new());
    let mut empty = record(&topic, 0, "");
    empty.key = None;
    let mut producer = fixture.producer("a").await;
    producer.send(vec![sent.clone(), tombstone.clone(), empty.clone()]);
    producer.commit(Vec::new(), nobody()).await.unwrap();

    let read = fixture.read(&TopicPartition::new(topic, 0)).await;
    assert_eq!(read.len(), 3);
    for (read, sent) in read.iter().zip([&sent, &tombstone, &empty]) {
        assert_eq!(
            (&read.key, &read.value, &read.headers),
            (&sent.key, &sent.value, &sent.headers)
        );
    }
    assert_eq!(read[0].timestamp, 1_234_567_890_123);
    assert!(read[1].timestamp > 1_700_000_000_000);
}

#[tokio::test]
async fn keys_go_where_java_clients_send_them() {
    let Some(fixture) = Fixture::new("murmur2") else { return };
    let topic = fixture.topic("out", 8).await;
    let mut producer = fixture.producer("a").await;
    // Utils.toPositive(Utils.murmur2(key)) % 8, from Kafka's own tests (UtilsTest.testMurmur2): hash of each key.
    let known: [(&str, i32); 4] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("abc", 479_470_107),
    ];
    let mut expected = [0; 8];
    for (key, hash) in known {
        let mut unplaced = record(&topic, 0, key);
        unplaced.partition = None;
        producer.send(vec![unplaced]);
        expected[((hash & 0x7fff_ffff) % 8) as usize] += 1;
    }
    producer.commit(Vec::new(), nobody()).await.unwrap();
    for (partition, count) in expected.into_iter().enumerate() {
        let partition = TopicPartition::new(topic.clone(), partition as i32);
        assert_eq!(fixture.read(&partition).await.len(), count, "{partition}");
    }
}

#[tokio::test]
async fn a_second_producer_with_the_same_id_fences_the_first_and_aborts_its_transaction() {
    let Some(fixture) = Fixture::new("zombie") else { return };
    let topic = fixture.topic("out", 1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    let mut zombie = fixture.producer("same").await;
    zombie.send(vec![record(&topic, 0, "zombie")]);
    fixture.written(&partition, 1).await;

    let mut successor = fixture.producer("same").await;
    successor.send(vec![record(&topic, 0, "successor")]);
    successor.commit(Vec::new(), nobody()).await.unwrap();
    let error = zombie.commit(Vec::new(), nobody()).await.unwrap_err();
    assert!(matches!(error, LogError::Fenced { .. }), "{error}");
    zombie.send(vec![record(&topic, 0, "again")]);
    let error = zombie.commit(Vec::new(), nobody()).await.unwrap_err();
    assert!(matches!(error, LogError::Fenced { .. }), "{error}");
    assert!(matches!(zombie.abort().await.unwrap_err(), LogError::Fenced { .. }));

    assert_eq!(
        fixture.read(&partition).await.iter().map(text).collect::<Vec<_>>(),
        ["successor"]
    );
}

#[tokio::test]
async fn operations_keep_their_order_without_being_awaited() {
    let Some(fixture) = Fixture::new("order") else { return };
    let topic = fixture.topic("out", 1).await;
    let mut producer = fixture.producer("a").await;
    producer.send(vec![record(&topic, 0, "1")]);
    let first = producer.commit(Vec::new(), nobody());
    producer.send(vec![record(&topic, 0, "2")]);
    let second = producer.abort();
    producer.send(vec![record(&topic, 0, "3")]);
    let third = producer.commit(Vec::new(), nobody());
    third.await.unwrap();
    second.await.unwrap();
    first.await.unwrap();
    let read = fixture.read(&TopicPartition::new(topic, 0)).await;
    assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["1", "3"]);
}

#[tokio::test]
async fn a_record_no_broker_takes_surfaces_at_the_commit_and_can_be_aborted() {
    let Some(fixture) = Fixture::new("too-large") else {
        return;
    };
    let topic = fixture.topic("out", 1).await;
    let mut producer = fixture.producer("a").await;
    producer.send(vec![record(&topic, 0, &"x".repeat(2_000_000))]);
    producer.send(vec![record(&topic, 0, "after")]);
    let error = producer.commit(Vec::new(), nobody()).await.unwrap_err();
    assert!(matches!(error, LogError::Fatal { .. }), "{error}");
    assert!(error.to_string().contains(&*topic), "says which topic: {error}");
    producer.abort().await.unwrap();
    producer.send(vec![record(&topic, 0, "next")]);
    producer.commit(Vec::new(), nobody()).await.unwrap();
    let read = fixture.read(&TopicPartition::new(topic, 0)).await;
    assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["next"]);
}

#[tokio::test]
async fn more_than_the_queue_holds_is_back_pressure_not_an_error() {
    let change = |config: &mut KafkaConfig| {
        config
            .producer_settings
            .push(("queue.buffering.max.messages".into(), "100".into()));
    };
    let Some(fixture) = Fixture::with("queue-full", change) else {
        return;
    };
    let topic = fixture.topic("out", 1).await;
    fixture.fill(&topic, 0, numbers(0..5_000)).await;
    let read = fixture.read(&TopicPartition::new(topic, 0)).await;
    assert_eq!(
        read.iter().map(text).collect::<Vec<_>>(),
        numbers(0..5_000).collect::<Vec<_>>()
    );
}

// ---------------------------------------------------------------------------------------------------------------------
// Offsets
// ---------------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn offsets_and_their_metadata_are_committed_with_the_transaction() {
    let Some(fixture) = Fixture::new("offsets") else { return };
    let (input, output) = (fixture.topic("in", 3).await, fixture.topic("out", 1).await);
    let partitions: Vec<_> = (0..3).map(|n| TopicPartition::new(input.clone(), n)).collect();
    let mut consumer = alone(&fixture, &input, 3).await;
    assert_eq!(consumer.committed(&partitions).await.unwrap(), [None, None, None]);

    let mut producer = fixture.producer("a").await;
    producer.send(vec![record(&output, 0, "x")]);
    let metadata = "seq=17;token=äöü;id=worker-1";
    let offsets = vec![offset(&partitions[2], 7, metadata), offset(&partitions[0], 0, "")];
    producer
        .commit(offsets, consumer.group_metadata().await.unwrap())
        .await
        .unwrap();
    let committed = |offset, metadata: &str| {
        Some(CommittedOffset {
            offset,
            metadata: metadata.into(),
        })
    };
    let expected = [committed(0, ""), None, committed(7, metadata)];
    assert_eq!(consumer.committed(&partitions).await.unwrap(), expected);

    producer.send(vec![record(&output, 0, "y")]);
    producer.abort().await.unwrap();
    let only_offsets = vec![offset(&partitions[1], 5, "m")];
    producer
        .commit(only_offsets, consumer.group_metadata().await.unwrap())
        .await
        .unwrap();
    let expected = [committed(0, ""), committed(5, "m"), committed(7, metadata)];
    assert_eq!(consumer.committed(&partitions).await.unwrap(), expected);
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn committed_offsets_wait_for_an_open_transaction() {
    let Some(fixture) = Fixture::with("stable", |config| config.call_deadline = Duration::from_secs(3)) else {
        return;
    };
    let input = fixture.topic("in", 1).await;
    let partition = TopicPartition::new(input.clone(), 0);
    let mut consumer = alone(&fixture, &input, 1).await;
    let group = consumer.group_metadata().await.unwrap();
    let open = raw::open_offsets(&fixture, &partition, 9, &fixture.name);

    let asked = Instant::now();
    let error = consumer.committed(std::slice::from_ref(&partition)).await.unwrap_err();
    assert!(matches!(error, LogError::Retriable { .. }), "{error}");
    assert!(
        asked.elapsed() >= Duration::from_secs(2),
        "gave up after {:?}",
        asked.elapsed()
    );

    open.commit();
    let committed = consumer.committed(std::slice::from_ref(&partition)).await.unwrap();
    assert_eq!(committed[0].as_ref().unwrap().offset, 9);
    drop(group);
}

#[tokio::test]
async fn stale_membership_is_abortable_and_fresh_one_works() {
    let Some(fixture) = Fixture::new("stale") else { return };
    let input = fixture.topic("in", 2).await;
    let mut first = alone(&fixture, &input, 2).await;
    let stale = first.group_metadata().await.unwrap();

    // A second member makes a new generation.
    let mut second = fixture.consumer("second", &input).await;
    let (mut a, mut b) = (partitions(&input, 2), BTreeSet::new());
    settle(&mut *first, &mut a, &mut *second, &mut b, 1).await;

    let mut producer = fixture.producer("a").await;
    let mine = a.first().unwrap().clone();
    let error = producer.commit(vec![offset(&mine, 1, "")], stale).await.unwrap_err();
    assert!(matches!(error, LogError::Abortable { .. }), "{error}");
    producer.abort().await.unwrap();
    let fresh = first.group_metadata().await.unwrap();
    producer.commit(vec![offset(&mine, 1, "")], fresh).await.unwrap();
    assert_eq!(first.committed(&[mine]).await.unwrap()[0].as_ref().unwrap().offset, 1);
}

#[tokio::test]
async fn who_is_not_a_member_has_no_membership() {
    let Some(fixture) = Fixture::new("outsider") else {
        return;
    };
    let input = fixture.topic("in", 1).await;
    let mut consumer = fixture.consumer("a", &input).await;
    let error = consumer.group_metadata().await.unwrap_err();
    assert!(matches!(error, LogError::Retriable { .. }), "{error}");
}

// ---------------------------------------------------------------------------------------------------------------------
// Topics and trouble
// ---------------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn topics_are_created_once_and_left_alone_afterwards() {
    let Some(fixture) = Fixture::new("topics") else { return };
    let name = format!("{}-t", fixture.name);
    assert_eq!(fixture.log.partitions(&name).await.unwrap(), None);
    let settings = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
    let spec = TopicSpec {
        name: name.clone(),
        partitions: 3,
        replication: 1,
        settings,
    };
    fixture.log.create_topics(std::slice::from_ref(&spec)).await.unwrap();
    assert_eq!(fixture.log.partitions(&name).await.unwrap(), Some(3));
    let other = TopicSpec { partitions: 5, ..spec };
    fixture.log.create_topics(std::slice::from_ref(&other)).await.unwrap();
    assert_eq!(fixture.log.partitions(&name).await.unwrap(), Some(3));
    let wrong = TopicSpec {
        name: format!("{name}2"),
        settings: vec![("no.such".into(), "x".into())],
        ..other
    };
    let error = fixture.log.create_topics(&[wrong]).await.unwrap_err();
    assert!(matches!(error, LogError::Fatal { .. }), "{error}");
}

#[tokio::test]
async fn a_commit_that_gets_no_answer_ends_and_a_new_producer_settles_it() {
    let Some(fixture) = Fixture::new("deadline") else {
        return;
    };
    let topic = fixture.topic("out", 1).await;
    let proxy = Proxy::new(&fixture.config.bootstrap_servers);
    let through = fixture.again(|config| {
        config.bootstrap_servers = proxy.address.clone();
        config.call_deadline = Duration::from_secs(3);
    });
    let id = format!("{}-frozen", fixture.name);
    let mut producer = through.producer(&id).await.unwrap();
    producer.send(vec![record(&topic, 0, "committed")]);
    producer.commit(Vec::new(), nobody()).await.unwrap();
    producer.send(vec![record(&topic, 0, "unknown")]);
    fixture.written(&TopicPartition::new(topic.clone(), 0), 3).await;

    proxy.freeze();
    let asked = Instant::now();
    let error = producer.commit(Vec::new(), nobody()).await.unwrap_err();
    assert!(matches!(error, LogError::Fenced { .. }), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(6), "took {:?}", asked.elapsed());
    assert!(matches!(producer.abort().await.unwrap_err(), LogError::Fenced { .. }));

    let mut successor = fixture.log.producer(&id).await.unwrap();
    successor.send(vec![record(&topic, 0, "settled")]);
    successor.commit(Vec::new(), nobody()).await.unwrap();
    let read = fixture.read(&TopicPartition::new(topic, 0)).await;
    assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["committed", "settled"]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    // Needs no Kafka: that is the point.
    let config = KafkaConfig {
        bootstrap_servers: "127.0.0.1:1".into(),
        call_deadline: Duration::from_secs(1),
        ..KafkaConfig::default()
    };
    let log = KafkaLog::new(config).unwrap();
    let error = log.partitions("any").await.unwrap_err();
    assert!(matches!(error, LogError::Retriable { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("Kafka at 127.0.0.1:1 (INTERLOCK_KAFKA_BOOTSTRAP_SERVERS) doesn't answer"),
        "{error}"
    );
    let error = log.producer("nobody").await.err().unwrap();
    assert!(matches!(error, LogError::Retriable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

/// Leaves offsets in an open transaction, which the traits don't offer.
mod raw {
    use std::time::Duration;

    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::producer::{BaseProducer, Producer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

    use super::{Fixture, TopicPartition};

    const TIMEOUT: Duration = Duration::from_secs(20);

    pub struct Open(BaseProducer);

    impl Open {
        pub fn commit(self) {
            self.0.commit_transaction(TIMEOUT).unwrap();
        }
    }

    pub fn open_offsets(fixture: &Fixture, partition: &TopicPartition, offset: i64, group: &str) -> Open {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &fixture.config.bootstrap_servers);
        let outsider: BaseConsumer = config.clone().set("group.id", group).create().unwrap();
        let producer: BaseProducer = config.set("transactional.id", format!("{group}-raw")).create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))
            .unwrap();
        let group = outsider.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&list, &group, TIMEOUT).unwrap();
        Open(producer)
    }
}

/// Not an assertion: prints how long commits take. `cargo test --release ... -- --ignored --nocapture latency`
#[tokio::test]
#[ignore = "a measurement"]
async fn commit_latency() {
    let Some(fixture) = Fixture::new("latency") else { return };
    let (input, output) = (fixture.topic("in", 8).await, fixture.topic("out", 8).await);
    let mut consumer = alone(&fixture, &input, 8).await;
    let mut producer = fixture.producer("a").await;
    for (name, count) in [("idle (1 record)", 1), ("1k records", 1_000), ("10k records", 10_000)] {
        let mut taken = Vec::new();
        for round in 0..60 {
            let batch = (0..count)
                .map(|n| record(&output, n % 8, &format!("{n:0200}")))
                .collect();
            let group = consumer.group_metadata().await.unwrap();
            let begun = Instant::now();
            producer.send(batch);
            producer
                .commit(
                    vec![offset(&TopicPartition::new(input.clone(), round % 8), 1, "m")],
                    group,
                )
                .await
                .unwrap();
            taken.push(begun.elapsed());
            let _ = consumer.poll(1, Duration::from_millis(5)).await.unwrap();
        }
        taken.sort();
        println!("{name}: p50 {:?}, p95 {:?}, max {:?}", taken[30], taken[57], taken[59]);
    }
}
