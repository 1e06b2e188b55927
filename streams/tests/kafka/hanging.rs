//! Transactions that are open on the broker: seen, and ended beside their producer.

use std::time::Instant;

use interlock_streams::log::kafka::{KafkaConfig, KafkaLog, OpenTransaction};
use interlock_streams::log::{Log as _, LogError};
use interlock_streams::record::TopicPartition;

use crate::fixture::{Fixture, PATIENCE, TICK, record, text};

/// Asks until the coordinators have loaded what they coordinate: a broker has none before its first transaction.
async fn open(fixture: &Fixture, topics: &[String]) -> Vec<OpenTransaction> {
    let until = Instant::now() + PATIENCE;
    loop {
        match fixture.log.open_transactions(topics).await {
            Err(LogError::Retriable { .. }) if Instant::now() < until => tokio::time::sleep(TICK).await,
            answer => return answer.unwrap(),
        }
    }
}

#[tokio::test]
async fn an_open_transaction_is_seen_and_a_marker_ends_it_for_readers() {
    let Some(fixture) = Fixture::new("hanging") else {
        return;
    };
    let topic = fixture.topic("out", 2).await;
    let (partition, topics) = (TopicPartition::new(topic.clone(), 1), [topic.to_string()]);
    assert_eq!(open(&fixture, &topics).await, []);
    let mut producer = fixture.producer("a").await;
    producer.send(vec![record(&topic, 1, "never committed")]);
    fixture.written(&partition, 1).await;

    let seen = open(&fixture, &topics).await;
    let [transaction] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&transaction.partition, transaction.start_offset), (&partition, 0));
    let known = transaction.coordinated.as_ref().expect("its coordinator knows it");
    assert_eq!(known.state, "Ongoing");
    assert!(known.started > 1_700_000_000_000);

    // As if its coordinator had forgotten it.
    fixture.log.abort_hanging(transaction).await.unwrap();
    assert_eq!(open(&fixture, &topics).await, []);
    fixture.log.append(vec![record(&topic, 1, "after")]).await.unwrap();
    let read = fixture.read(&partition).await;
    assert_eq!(read.iter().map(text).collect::<Vec<_>>(), ["after"]);
}

#[tokio::test]
async fn brokers_behind_tls_are_not_asked() {
    let log = KafkaLog::new(KafkaConfig {
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        settings: vec![("security.protocol".to_owned(), "SSL".to_owned())],
        ..KafkaConfig::default()
    });
    let refused = log.unwrap().open_transactions(&[]).await;
    let Err(LogError::Fatal { reason, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        reason.contains("SSL") && reason.contains("kafka-transactions.sh"),
        "{reason}"
    );
}
