//! Tests where reading starts, stops and continues.

use super::*;

#[tokio::test]
async fn start_takes_effect_at_once_forwards_and_backwards() {
    let Some(fixture) = Fixture::new("seek") else { return };
    let input = fixture.topic("in", 1).await;
    fixture.fill(&input, 0, numbers(0..1_000)).await;
    let partition = TopicPartition::new(input.clone(), 0);
    let mut consumer = alone(&fixture, &input, 1).await;

    // Right after the assignment, twice over, without a poll between; then again and again.
    let mut expected = 300;
    consumer.start(&[(partition.clone(), 700)]).await.unwrap();
    consumer.start(&[(partition.clone(), expected)]).await.unwrap();
    for (round, next) in [900, 10, 500, 0, 999, 998, 1, 300]
        .into_iter()
        .cycle()
        .take(40)
        .enumerate()
    {
        let wanted = if round % 2 == 0 { 7 } else { 1 };
        let got = first_records(&mut *consumer, wanted).await;
        assert_eq!(got.first().copied(), Some(expected), "round {round}");
        assert!(
            got.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "round {round}: {got:?}"
        );
        expected = next;
        consumer.start(&[(partition.clone(), next)]).await.unwrap();
    }
}

/// Returns the offsets of the next batch of at most `max` records.
async fn first_records(consumer: &mut dyn Consumer, max: usize) -> Vec<i64> {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "no records");
        if let Polled::Records(parts) = consumer.poll(max, TICK).await.unwrap() {
            let offsets: Vec<_> = parts
                .iter()
                .flat_map(|part| &part.records)
                .map(|record| record.offset)
                .collect();
            assert!(offsets.len() <= max);
            return offsets;
        }
    }
}

#[tokio::test]
async fn partitions_are_silent_until_started_and_after_being_stopped() {
    let Some(fixture) = Fixture::new("stop") else { return };
    let input = fixture.topic("in", 2).await;
    fixture.fill(&input, 0, numbers(0..50)).await;
    fixture.fill(&input, 1, numbers(0..50)).await;
    let (p0, p1) = (
        TopicPartition::new(input.clone(), 0),
        TopicPartition::new(input.clone(), 1),
    );
    let mut consumer = alone(&fixture, &input, 2).await;
    assert!(matches!(
        consumer.poll(100, Duration::from_secs(1)).await.unwrap(),
        Polled::Nothing
    ));

    consumer.start(&[(p0.clone(), 0)]).await.unwrap();
    let got = records(&mut *consumer, 50).await;
    assert!(got.iter().all(|(partition, _)| *partition == p0));

    consumer.start(&[(p0.clone(), 0), (p1.clone(), 10)]).await.unwrap();
    consumer.stop(std::slice::from_ref(&p0)).await.unwrap();
    consumer.stop(std::slice::from_ref(&p0)).await.unwrap();
    let got = records(&mut *consumer, 40).await;
    assert!(
        got.iter().all(|(partition, _)| *partition == p1),
        "a stopped partition delivered"
    );
    assert_eq!(got[0].1.offset, 10);
    assert!(matches!(
        consumer.poll(100, Duration::from_secs(1)).await.unwrap(),
        Polled::Nothing
    ));

    consumer.start(&[(p0.clone(), 49)]).await.unwrap();
    let got = records(&mut *consumer, 1).await;
    assert_eq!((&got[0].0, got[0].1.offset), (&p0, 49));
}

#[tokio::test]
async fn a_partition_that_comes_back_is_not_stopped_any_more() {
    let Some(fixture) = Fixture::new("comes-back") else {
        return;
    };
    let input = fixture.topic("in", 2).await;
    fixture.fill(&input, 0, numbers(0..10)).await;
    fixture.fill(&input, 1, numbers(0..10)).await;
    let mut first = alone(&fixture, &input, 2).await;
    let (mut a, mut b) = (partitions(&input, 2), BTreeSet::new());
    let starts: Vec<_> = a.iter().map(|partition| (partition.clone(), 0)).collect();
    first.start(&starts).await.unwrap();
    records(&mut *first, 20).await;
    first.stop(&a.iter().cloned().collect::<Vec<_>>()).await.unwrap();
    let mut second = fixture.consumer("second", &input).await;
    settle(&mut *first, &mut a, &mut *second, &mut b, 1).await;
    second.close().await.unwrap();
    owned(&mut *first, &mut a, |a| a.len() == 2).await;
    first.start(&starts).await.unwrap();
    assert_eq!(records(&mut *first, 20).await.len(), 20);
}

#[tokio::test]
async fn a_reader_passes_markers_and_aborted_records_up_to_the_high_watermark() {
    let Some(fixture) = Fixture::new("markers") else { return };
    let topic = fixture.topic("out", 1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    fixture.fill(&topic, 0, numbers(0..3)).await;
    let mut producer = fixture.producer("a").await;
    producer.send(numbers(0..5).map(|n| record(&topic, 0, &n)).collect());
    fixture.written(&partition, 9).await;
    producer.abort().await.unwrap();
    fixture.written(&partition, 10).await;

    let (low, high) = fixture.log.watermarks(&partition).await.unwrap();
    assert_eq!((low, high), (0, 10));
    let mut reader = fixture.log.reader(&partition, 0).await.unwrap();
    let mut read = Vec::new();
    let until = Instant::now() + PATIENCE;
    while reader.position() < high {
        let next = reader.next(2, TICK).await.unwrap();
        assert!(next.len() <= 2);
        if let Some(last) = next.last() {
            assert!(reader.position() > last.offset);
        }
        read.extend(next);
        assert!(Instant::now() < until, "stuck at {}", reader.position());
    }
    assert_eq!((read.len(), reader.position()), (3, 10));

    // Records that come later are read as well.
    fixture.fill(&topic, 0, numbers(10..11)).await;
    while read.len() < 4 || reader.position() < 12 {
        read.extend(reader.next(100, TICK).await.unwrap());
        assert!(Instant::now() < until);
    }
    assert_eq!((text(&read[3]), reader.position()), ("10".to_owned(), 12));

    // From the end: at once there.
    let reader = fixture.log.reader(&partition, 12).await.unwrap();
    assert_eq!(reader.position(), 12);
}

#[tokio::test]
async fn a_reader_is_told_when_the_log_does_not_keep_its_offset() {
    let Some(fixture) = Fixture::new("out-of-range") else {
        return;
    };
    let topic = fixture.topic("out", 1).await;
    let mut reader = fixture.log.reader(&TopicPartition::new(topic, 0), 1_000).await.unwrap();
    let until = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < until, "never told");
        if let Err(error) = reader.next(1, TICK).await {
            break error;
        }
    };
    assert!(matches!(error, LogError::Fatal { .. }), "{error}");
}

#[tokio::test]
async fn watermarks_count_open_transactions() {
    let Some(fixture) = Fixture::new("watermarks") else {
        return;
    };
    let topic = fixture.topic("out", 1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    assert_eq!(fixture.log.watermarks(&partition).await.unwrap(), (0, 0));
    let mut producer = fixture.producer("a").await;
    producer.send(numbers(0..5).map(|n| record(&topic, 0, &n)).collect());
    fixture.written(&partition, 5).await;
    assert_eq!(fixture.log.watermarks(&partition).await.unwrap(), (0, 5));
    producer.commit(Vec::new(), nobody()).await.unwrap();
    fixture.written(&partition, 6).await; // the marker follows the commit's acknowledgement
    assert_eq!(fixture.log.watermarks(&partition).await.unwrap(), (0, 6));
}
