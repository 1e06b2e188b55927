//! Tests how partitions change their owners.

use super::*;

async fn rebalance_is_deferred(test: &str, protocol: GroupProtocol) {
    let Some(fixture) = Fixture::with(test, |config| config.group_protocol = protocol) else {
        return;
    };
    let input = fixture.topic("in", 4).await;
    for partition in 0..4 {
        fixture.fill(&input, partition, numbers(0..100)).await;
    }
    let mut first = alone(&fixture, &input, 4).await;
    let mut a = partitions(&input, 4);
    let starts: Vec<_> = a.iter().map(|partition| (partition.clone(), 0)).collect();
    first.start(&starts).await.unwrap();
    assert_eq!(records(&mut *first, 400).await.len(), 400);

    let mut second = fixture.consumer("second", &input).await;
    let mut b = BTreeSet::new();
    let until = Instant::now() + PATIENCE;
    let revoked = loop {
        assert!(Instant::now() < until, "no revocation");
        step(&mut *second, &mut b).await;
        match first.poll(1_000, TICK).await.unwrap() {
            Polled::Revoked(partitions) => break partitions,
            Polled::Nothing => {}
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(revoked.len(), 2);

    // Until the revocation is completed, no other member gets the partitions, no records of them are delivered, and
    // offsets can be committed.
    for partition in 0..4 {
        fixture.fill(&input, partition, numbers(100..110)).await;
    }
    let mut kept = 0;
    let patience = Instant::now() + Duration::from_secs(3);
    while Instant::now() < patience {
        step(&mut *second, &mut b).await;
        if let Polled::Records(parts) = first.poll(1_000, TICK).await.unwrap() {
            for part in parts {
                assert!(!revoked.contains(&part.source), "a record after the revocation");
                kept += part.records.len();
            }
        }
    }
    assert!(b.is_empty(), "given away before it was completed: {b:?}");
    let mut producer = fixture.producer("a").await;
    let offsets = revoked
        .iter()
        .map(|partition| offset(partition, 101, "drained"))
        .collect();
    producer
        .commit(offsets, first.group_metadata().await.unwrap())
        .await
        .unwrap();

    first.complete_revocation().await.unwrap();
    revoked.iter().for_each(|partition| assert!(a.remove(partition)));
    let completed = Instant::now();
    let revoked: BTreeSet<_> = revoked.into_iter().collect();
    while b != revoked {
        assert!(Instant::now() < until, "never handed over: {b:?}");
        step(&mut *second, &mut b).await;
        if let Polled::Records(parts) = first.poll(1_000, TICK).await.unwrap() {
            parts.iter().for_each(|part| assert!(a.contains(&part.source)));
            kept += parts.iter().map(|part| part.records.len()).sum::<usize>();
        }
    }
    println!("{test}: handed over after {:?}", completed.elapsed());
    kept += records(&mut *first, 20 - kept).await.len();
    assert_eq!(kept, 20, "what stays is neither lost nor repeated");

    // The second member continues where the first has drained.
    let names: Vec<_> = b.iter().cloned().collect();
    let committed = second.committed(&names).await.unwrap();
    let starts: Vec<_> = names
        .iter()
        .cloned()
        .zip(committed.iter().map(|c| c.as_ref().unwrap().offset))
        .collect();
    second.start(&starts).await.unwrap();
    let rest = records(&mut *second, 20).await;
    assert!(
        rest.iter()
            .all(|(partition, record)| b.contains(partition) && record.offset > 100)
    );

    // A member that leaves gives all its partitions to the other.
    second.close().await.unwrap();
    owned(&mut *first, &mut a, |a| a.len() == 4).await;
}

#[tokio::test]
async fn a_revocation_waits_until_it_is_completed() {
    rebalance_is_deferred("rebalance-classic", GroupProtocol::Classic).await;
}

#[tokio::test]
async fn a_revocation_waits_until_it_is_completed_with_kip_848() {
    rebalance_is_deferred("rebalance-kip848", GroupProtocol::Consumer).await;
}

#[tokio::test]
async fn a_member_that_takes_nothing_loses_its_partitions_and_hears_of_it() {
    let short = |config: &mut KafkaConfig| {
        config.max_poll_interval = Duration::from_secs(6);
        config.session_timeout = Duration::from_secs(6);
    };
    let Some(fixture) = Fixture::with("lost", short) else {
        return;
    };
    let input = fixture.topic("in", 2).await;
    fixture.fill(&input, 0, numbers(0..10)).await;
    fixture.fill(&input, 1, numbers(0..10)).await;
    let mut hung = alone(&fixture, &input, 2).await;
    let mut a = partitions(&input, 2);
    // Something to take, which is not taken: the thread stops polling.
    hung.start(&[(a.first().unwrap().clone(), 0), (a.last().unwrap().clone(), 0)])
        .await
        .unwrap();
    let _ = hung.poll(1, Duration::ZERO).await.unwrap();

    let mut heir = fixture.consumer("heir", &input).await;
    let mut b = BTreeSet::new();
    owned(&mut *heir, &mut b, |owned| owned.len() == 2).await;
    let until = Instant::now() + PATIENCE;
    while !a.is_empty() {
        assert!(Instant::now() < until, "never told");
        match hung.poll(1_000, TICK).await.unwrap() {
            Polled::Lost(lost) => lost.iter().for_each(|partition| assert!(a.remove(partition))),
            // May have been on its way when it fell asleep; then the offsets are refused, and the loss follows.
            Polled::Revoked(revoked) => {
                let Ok(group) = hung.group_metadata().await else {
                    continue;
                };
                let mut producer = fixture.producer("hung").await;
                let error = producer
                    .commit(vec![offset(&revoked[0], 5, "")], group)
                    .await
                    .unwrap_err();
                assert!(matches!(error, LogError::Abortable { .. }), "{error}");
            }
            _ => {}
        }
    }
    // Awake again, it gets its share.
    settle(&mut *hung, &mut a, &mut *heir, &mut b, 1).await;
    assert!(a.is_disjoint(&b));
}
