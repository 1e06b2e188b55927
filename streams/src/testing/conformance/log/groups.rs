//! Groups: cooperative assignment (KIP-429), positions, and committed offsets.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::support::{
    DEADLINE, LOOKS, Member, high_watermark, offset, output, outputs, producer, topic, within, write,
};
use crate::log::{Log, LogError, Polled};
use crate::record::TopicPartition;

/// Committed offsets are returned with their metadata, by stable and unstable reads, also to another member.
pub async fn commits_offsets_with_metadata(log: &dyn Log, name: &str) {
    topic(log, name, 2).await;
    let partition = TopicPartition::new(name, 1);
    let mut member = Member::join(log, name, &[name]).await;
    member.gets(2).await;
    let mut producer = producer(log, name).await;
    for (position, metadata) in [(3, "sequence 1"), (3, ""), (5, "größer ✓ {\"token\": \"x\"}")] {
        producer.send(vec![output(name, 0, "answer")]);
        let commit = offset(&partition, position, metadata);
        member.commit(producer.as_mut(), commit.clone()).await.expect("commits");
        assert_eq!(member.committed(&partition).await, Some(commit.committed.clone()));
        let asked = [TopicPartition::new(name, 0), partition.clone()];
        let unstable = log.committed_unstable(name, &asked).await.expect("reads the offsets");
        assert_eq!(unstable, [None, Some(commit.committed)]);
    }
}

/// A partition without a commit has no offset; neither has one of an unknown group.
pub async fn has_no_offset_where_none_was_committed(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut member = Member::join(log, name, &[name]).await;
    member.gets(1).await;
    assert_eq!(member.committed(&partition).await, None);
    let unknown = format!("{name}-unknown");
    let unstable = log.committed_unstable(&unknown, &[partition]).await;
    assert_eq!(unstable.expect("reads the offsets"), [None]);
}

/// Offsets belong to the transaction: a refused commit that is aborted leaves none.
pub async fn drops_the_offsets_of_an_aborted_transaction(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut member = Member::join(log, name, &[name]).await;
    member.gets(1).await;
    let mut producer = producer(log, name).await;
    let first = offset(&partition, 1, "first");
    member.commit(producer.as_mut(), first.clone()).await.expect("commits");
    producer.send(vec![output(name, 7, "no such partition")]);
    let refused = member.commit(producer.as_mut(), offset(&partition, 2, "second")).await;
    assert!(matches!(refused, Err(LogError::Abortable { .. })), "{refused:?}");
    within("abort", producer.abort()).await.expect("aborts");
    assert_eq!(member.committed(&partition).await, Some(first.committed));
}

/// Membership data from before a rebalance is refused; after an abort, fresh data is taken.
pub async fn refuses_a_stale_generation(log: &dyn Log, name: &str) {
    topic(log, name, 2).await;
    let mut first = Member::join(log, name, &[name]).await;
    first.gets(2).await;
    let stale = first.consumer.group_metadata().await.expect("has metadata");
    let mut second = Member::join(log, name, &[name]).await;
    within("a rebalance", async {
        while second.assigned.is_empty() {
            first.poll().await;
            first.let_go().await;
            second.poll().await;
        }
    })
    .await;
    let kept = first.assigned.first().expect("keeps one").clone();
    let mut producer = producer(log, name).await;
    producer.send(vec![output(name, 0, "stale")]);
    let commit = offset(&kept, 1, "stale");
    let refused = within("a stale commit", producer.commit(vec![commit], stale)).await;
    assert!(matches!(refused, Err(LogError::Abortable { .. })), "{refused:?}");
    within("abort", producer.abort()).await.expect("aborts");
    assert_eq!(first.committed(&kept).await, None);
    let fresh = offset(&kept, 1, "fresh");
    within("a fresh commit", async {
        while let Err(error) = first.commit(producer.as_mut(), fresh.clone()).await {
            // The group may still be settling.
            assert!(matches!(error, LogError::Abortable { .. }), "{error}");
            producer.abort().await.expect("aborts");
            first.poll().await;
            second.poll().await;
        }
    })
    .await;
    assert_eq!(first.committed(&kept).await, Some(fresh.committed));
}

/// The only member has all partitions of all its topics.
pub async fn gives_everything_to_a_single_member(log: &dyn Log, name: &str) {
    let other = format!("{name}-other");
    topic(log, name, 3).await;
    topic(log, &other, 2).await;
    let mut member = Member::join(log, name, &[name, &other]).await;
    member.gets(5).await;
    assert_eq!(member.revoked, []);
    let topics: BTreeSet<&str> = member.assigned.iter().map(|partition| &*partition.topic).collect();
    assert_eq!(topics.len(), 2);
}

/// An assigned partition brings no records before it is started.
pub async fn is_silent_until_started(log: &dyn Log, name: &str) {
    topic(log, name, 2).await;
    write(log, name, name, 0, &["a"]).await;
    write(log, name, name, 1, &["b"]).await;
    let mut member = Member::join(log, name, &[name]).await;
    member.gets(2).await;
    for _ in 0..LOOKS {
        member.poll().await;
    }
    assert!(member.read.is_empty(), "{:?}", member.values());
    let second = TopicPartition::new(name, 1);
    member.consumer.start(&[(second, 0)]).await.expect("starts");
    member.reads(1).await;
    assert_eq!(member.values(), ["b"]);
    member
        .consumer
        .start(&[(TopicPartition::new(name, 0), 0)])
        .await
        .expect("starts");
    member.reads(2).await;
    assert_eq!(member.values(), ["b", "a"]);
}

/// A partition is started at any offset, again at an earlier one, and stopped.
pub async fn restarts_backwards_and_stops(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    write(log, name, name, 0, &["a", "b", "c"]).await;
    let mut member = Member::join(log, name, &[name]).await;
    member.gets(1).await;
    member.start_all().await;
    member.reads(3).await;
    let third = member.read[2].1.offset;
    member
        .consumer
        .start(&[(partition.clone(), third)])
        .await
        .expect("starts");
    member.reads(4).await;
    member.start_all().await;
    member.reads(7).await;
    assert_eq!(member.values(), ["a", "b", "c", "c", "a", "b", "c"]);
    member.consumer.start(&[(partition.clone(), 0)]).await.expect("starts");
    member
        .consumer
        .stop(std::slice::from_ref(&partition))
        .await
        .expect("stops");
    write(log, name, name, 0, &["d"]).await;
    for _ in 0..LOOKS {
        member.poll().await;
    }
    assert_eq!(member.read.len(), 7, "{:?}", member.values());
    member.consumer.start(&[(partition, third)]).await.expect("starts");
    member.reads(9).await;
    assert_eq!(member.values()[7..], ["c", "d"]);
}

/// A member's position moves past markers and aborted records, so that it reaches the high watermark.
pub async fn moves_a_members_position_past_markers(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut member = Member::join(log, name, &[name]).await;
    member.gets(1).await;
    assert_eq!(member.consumer.position(&partition), None, "it is not started");
    member.start_all().await;
    for count in 1..=2 {
        write(log, name, name, 0, &["a"]).await;
        let high = high_watermark(log, &partition, 1).await;
        let position = member.consumer.position(&partition);
        assert!(
            position.is_some_and(|position| position < high),
            "{position:?} of {high}"
        );
        member.reads(count).await;
        reaches_the_high_watermark(log, &mut member, &partition).await;
    }
    let mut producer = producer(log, name).await;
    producer.send(outputs(name, 0, &["b"]));
    within("abort", producer.abort()).await.expect("aborts");
    reaches_the_high_watermark(log, &mut member, &partition).await;
    assert_eq!(member.read.len(), 2, "{:?}", member.values());
    let stopped = member.consumer.stop(std::slice::from_ref(&partition)).await;
    stopped.expect("stops");
    assert_eq!(member.consumer.position(&partition), None, "it is stopped");
}

async fn reaches_the_high_watermark(log: &dyn Log, member: &mut Member, partition: &TopicPartition) {
    within("the position at the high watermark", async {
        loop {
            let (_, high) = log.watermarks(partition).await.expect("has watermarks");
            if member.consumer.position(partition) == Some(high) {
                return;
            }
            member.poll().await;
        }
    })
    .await;
}

/// A second member gets a share, but only what the first let go of, and only then.
pub async fn moves_nothing_before_the_revocation_is_complete(log: &dyn Log, name: &str) {
    topic(log, name, 4).await;
    let mut first = Member::join(log, name, &[name]).await;
    first.gets(4).await;
    let mut second = Member::join(log, name, &[name]).await;
    within("a revocation", async {
        while first.revoked.is_empty() {
            first.poll().await;
            second.poll().await;
        }
    })
    .await;
    assert!(first.revoked.iter().all(|partition| first.assigned.contains(partition)));
    for _ in 0..LOOKS {
        second.poll().await;
    }
    assert!(second.assigned.is_empty(), "two owners of {:?}", second.assigned);
    within("a balanced group", async {
        while second.assigned.len() != 2 || first.assigned.len() != 2 {
            first.let_go().await;
            first.poll().await;
            second.poll().await;
        }
    })
    .await;
    assert!(first.assigned.is_disjoint(&second.assigned));
}

/// Once told that a partition is revoked, a member reads no more of it, and the next owner reads it from where it says.
pub async fn reads_nothing_of_a_revoked_partition(log: &dyn Log, name: &str) {
    topic(log, name, 2).await;
    let mut first = Member::join(log, name, &[name]).await;
    first.gets(2).await;
    first.start_all().await;
    let mut second = Member::join(log, name, &[name]).await;
    within("a revocation", async {
        while first.revoked.is_empty() {
            first.poll().await;
            second.poll().await;
        }
    })
    .await;
    let moved = first.revoked[0].clone();
    write(log, name, name, moved.partition, &["moved"]).await;
    write(log, name, name, 1 - moved.partition, &["kept"]).await;
    // `Member::poll` asserts that nothing of the revoked partition comes. What is kept may wait too: librdkafka
    // delivers nothing at all until the revocation is complete.
    for _ in 0..LOOKS {
        first.poll().await;
    }
    first.let_go().await;
    first.reads(1).await;
    within("an assignment", async {
        while second.assigned.is_empty() {
            first.poll().await;
            second.poll().await;
        }
    })
    .await;
    second.start_all().await;
    within("records", async {
        while second.read.is_empty() {
            first.poll().await;
            second.poll().await;
        }
    })
    .await;
    assert_eq!(
        (first.values(), second.values()),
        (vec!["kept".to_owned()], vec!["moved".to_owned()])
    );
}

/// The partitions of a member that closes go to the remaining members.
pub async fn gives_back_what_a_member_leaves(log: &dyn Log, name: &str) {
    topic(log, name, 4).await;
    let mut first = Member::join(log, name, &[name]).await;
    let mut second = Member::join(log, name, &[name]).await;
    within("a balanced group", async {
        while second.assigned.len() != 2 || first.assigned.len() != 2 {
            for member in [&mut first, &mut second] {
                member.poll().await;
                member.let_go().await;
            }
        }
    })
    .await;
    within("close", first.consumer.close()).await.expect("leaves");
    second.gets(4).await;
}

/// A poll that is dropped while it waits, or just when it would answer, loses neither events nor records.
pub async fn loses_nothing_in_a_dropped_poll(log: &dyn Log, name: &str) {
    const RECORDS: usize = 200;
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut member = Member::join(log, name, &[name]).await;
    let mut patience = Duration::from_micros(1);
    within("an assignment", async {
        while member.assigned.is_empty() {
            let polled = timeout(patience, member.consumer.poll(10, DEADLINE)).await;
            if let Ok(polled) = polled
                && let Polled::Assigned(partitions) = polled.expect("polls")
            {
                member.assigned.extend(partitions);
            }
            patience = (patience * 2).min(Duration::from_millis(100));
        }
    })
    .await;
    member.consumer.start(&[(partition, 0)]).await.expect("starts");
    let values: Vec<String> = (0..RECORDS).map(|number| number.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut producer = producer(log, name).await;
    for chunk in values.chunks(20) {
        producer.send(outputs(name, 0, chunk));
        super::support::commit(producer.as_mut()).await;
    }
    let mut read = Vec::new();
    let mut patience = Duration::from_micros(1);
    within("records", async {
        while read.len() < RECORDS {
            let polled = timeout(patience, member.consumer.poll(7, DEADLINE)).await;
            if let Ok(polled) = polled
                && let Polled::Records(batches) = polled.expect("polls")
            {
                read.extend(batches.into_iter().flat_map(|batch| batch.records));
            }
            patience = (patience * 2).min(Duration::from_millis(100));
        }
    })
    .await;
    let read: Vec<String> = read.iter().map(super::support::value).collect();
    assert_eq!(read, values);
}
