//! Transactions: atomic, isolated, fenced (KIP-98), with offsets (KIP-447).

use super::support::{
    DEADLINE, LOOKS, Member, STEP, commit, high_watermark, no_group, offset, output, outputs, producer, read_values,
    topic, value, within, write,
};
use crate::log::{Log, LogError, Producer, Reader};
use crate::record::TopicPartition;

async fn reader(log: &dyn Log, partition: &TopicPartition) -> Box<dyn Reader> {
    log.reader(partition, 0).await.expect("opens a reader")
}

async fn assert_nothing_new(reader: &mut dyn Reader) {
    for _ in 0..LOOKS {
        let records = reader.next(10, STEP).await.expect("reads");
        assert_eq!(records, [], "records of an open or aborted transaction");
    }
}

async fn next_values(reader: &mut dyn Reader, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    within("records", async {
        while values.len() < count {
            values.extend(reader.next(10, STEP).await.expect("reads").iter().map(value));
        }
    })
    .await;
    values
}

async fn abort(producer: &mut dyn Producer) {
    within("abort", producer.abort()).await.expect("aborts");
}

/// No consumer reads a record of a transaction before its commit.
pub async fn shows_a_transaction_only_when_committed(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut producer = producer(log, name).await;
    producer.send(outputs(name, 0, &["a", "b"]));
    high_watermark(log, &partition, 2).await;
    let mut reader = reader(log, &partition).await;
    assert_nothing_new(reader.as_mut()).await;
    commit(producer.as_mut()).await;
    assert_eq!(next_values(reader.as_mut(), 2).await, ["a", "b"]);
}

/// No consumer ever reads a record of an aborted transaction; aborting nothing does nothing.
pub async fn hides_an_aborted_transaction(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut producer = producer(log, name).await;
    abort(producer.as_mut()).await;
    producer.send(outputs(name, 0, &["a", "b"]));
    high_watermark(log, &partition, 2).await;
    abort(producer.as_mut()).await;
    abort(producer.as_mut()).await;
    write(log, name, name, 0, &["c"]).await;
    assert_eq!(read_values(log, &partition).await, ["c"]);
}

/// A reader passes an aborted transaction at once, although there is no record to return. A rebuild reads partitions of
/// which nothing was committed, and must not take longer than its worker's session for them.
pub async fn passes_an_aborted_transaction_without_waiting(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut producer = producer(log, name).await;
    producer.send(outputs(name, 0, &["a", "b"]));
    high_watermark(log, &partition, 2).await;
    abort(producer.as_mut()).await;
    let (_, high) = log.watermarks(&partition).await.expect("has watermarks");
    let mut reader = reader(log, &partition).await;
    within("the position", async {
        while reader.position() < high {
            assert_eq!(reader.next(10, 2 * DEADLINE).await.expect("reads"), []);
        }
    })
    .await;
}

/// The high watermark counts what committed readers don't see yet: a rebuild must wait for it.
pub async fn counts_open_transactions_in_the_high_watermark(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut producer = producer(log, name).await;
    producer.send(outputs(name, 0, &["a", "b", "c"]));
    let high = high_watermark(log, &partition, 3).await;
    let mut reader = reader(log, &partition).await;
    assert_nothing_new(reader.as_mut()).await;
    assert!(reader.position() < high, "the position passed an open transaction");
    commit(producer.as_mut()).await;
    within("the position", async {
        while reader.position() < high {
            reader.next(10, STEP).await.expect("reads");
        }
    })
    .await;
}

/// Committed records behind an open transaction wait for it: the last stable offset.
pub async fn holds_back_what_follows_an_open_transaction(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut open = producer(log, &format!("{name}-open")).await;
    open.send(vec![output(name, 0, "first")]);
    high_watermark(log, &partition, 1).await;
    write(log, name, name, 0, &["second"]).await;
    let mut reader = reader(log, &partition).await;
    assert_nothing_new(reader.as_mut()).await;
    commit(open.as_mut()).await;
    assert_eq!(next_values(reader.as_mut(), 2).await, ["first", "second"]);
}

/// A new producer under the same id aborts what the earlier one left open, and every later commit of that one fails.
pub async fn fences_an_earlier_producer(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut zombie = producer(log, name).await;
    zombie.send(vec![output(name, 0, "zombie")]);
    high_watermark(log, &partition, 1).await;
    let mut owner = producer(log, name).await;
    owner.send(vec![output(name, 0, "owner")]);
    commit(owner.as_mut()).await;
    zombie.send(vec![output(name, 0, "too late")]);
    let refused = within("the zombie's commit", zombie.commit(Vec::new(), no_group())).await;
    assert!(matches!(refused, Err(LogError::Fenced { .. })), "{refused:?}");
    assert_eq!(read_values(log, &partition).await, ["owner"]);
    owner.send(vec![output(name, 0, "still the owner")]);
    commit(owner.as_mut()).await;
    assert_eq!(read_values(log, &partition).await, ["owner", "still the owner"]);
}

/// After a commit whose answer was lost, a new producer settles it: its initialisation completes or aborts all of it,
/// records and offsets alike.
pub async fn settles_an_unawaited_commit_before_a_new_producer(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let partition = TopicPartition::new(name, 0);
    let mut member = Member::join(log, name, &[name]).await;
    member.gets(1).await;
    let mut unheard = producer(log, name).await;
    unheard.send(vec![output(name, 0, "a")]);
    let metadata = member.consumer.group_metadata().await.expect("has metadata");
    drop(unheard.commit(vec![offset(&partition, 7, "unheard")], metadata));
    drop(unheard);
    let _owner = producer(log, name).await;
    let committed = member.committed(&partition).await;
    let values = read_values(log, &partition).await;
    match committed {
        Some(committed) => assert_eq!((committed.offset, values), (7, vec!["a".to_owned()])),
        None => assert_eq!(values, Vec::<String>::new()),
    }
}

/// Commits and aborts take effect in the order of the calls, before anybody waits for their answers.
pub async fn takes_effect_in_the_order_of_calls(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let mut producer = producer(log, name).await;
    producer.send(vec![output(name, 0, "a")]);
    let first = producer.commit(Vec::new(), no_group());
    producer.send(vec![output(name, 0, "aborted")]);
    let second = producer.abort();
    producer.send(vec![output(name, 0, "b")]);
    let third = producer.commit(Vec::new(), no_group());
    producer.send(vec![output(name, 0, "c")]);
    let fourth = producer.commit(Vec::new(), no_group());
    for (name, answer) in [
        ("fourth", fourth),
        ("second", second),
        ("third", third),
        ("first", first),
    ] {
        within(name, answer)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let partition = TopicPartition::new(name, 0);
    assert_eq!(read_values(log, &partition).await, ["a", "b", "c"]);
}

/// A transaction is committed in all partitions of all topics, or in none.
pub async fn makes_a_transaction_atomic_over_partitions(log: &dyn Log, name: &str) {
    let other = format!("{name}-other");
    topic(log, name, 2).await;
    topic(log, &other, 1).await;
    let partitions = [
        TopicPartition::new(name, 0),
        TopicPartition::new(name, 1),
        TopicPartition::new(other.as_str(), 0),
    ];
    let mut producer = producer(log, name).await;
    for round in ["aborted", "committed"] {
        for partition in &partitions {
            producer.send(vec![output(&partition.topic, partition.partition, round)]);
        }
        if round == "aborted" {
            abort(producer.as_mut()).await;
        }
    }
    commit(producer.as_mut()).await;
    for partition in &partitions {
        assert_eq!(read_values(log, partition).await, ["committed"], "{partition}");
    }
}

/// After an abort the same producer can continue.
pub async fn goes_on_after_an_abort(log: &dyn Log, name: &str) {
    topic(log, name, 1).await;
    let mut producer = producer(log, name).await;
    for round in ["a", "b", "c"] {
        producer.send(vec![output(name, 0, "aborted")]);
        abort(producer.as_mut()).await;
        producer.send(vec![output(name, 0, round)]);
        commit(producer.as_mut()).await;
    }
    assert_eq!(read_values(log, &TopicPartition::new(name, 0)).await, ["a", "b", "c"]);
}
