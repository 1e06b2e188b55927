//! Positions and tokens: who may write, and from where.

use super::{
    SinkUnderTest, acquire, advance, assert_fenced, partition, positions, sales, sold, token, visited, visits, write,
};
use crate::ledger::Token;
use crate::record::TopicPartition;
use crate::sink::{Advance, Writer};

/// A task that never wrote is at the offsets that it was acquired with.
pub async fn fresh_task_begins_where_it_is_told(test: &dyn SinkUnderTest) {
    let initial = [
        (partition(0), 0),
        (partition(3), 17),
        (TopicPartition::new("other", 3), 1 << 40),
    ];
    let mut stored = test.sink().acquire("t", &token("a"), &initial).await.expect("acquire");
    stored.sort();
    assert_eq!(stored, initial);
    assert_eq!(positions(test).await, initial);
}

/// The next writer gets the stored positions, not the ones it would begin with; partitions that are new begin.
pub async fn stored_positions_outlive_their_writer(test: &dyn SinkUnderTest) {
    acquire(test).await;
    write(test, &[advance(0, 10)], &[]).await.expect("write");
    let initial = [(partition(0), 3), (partition(1), 5)];
    let mut stored = test.sink().acquire("t", &token("b"), &initial).await.expect("acquire");
    stored.sort();
    assert_eq!(stored, [(partition(0), 10), (partition(1), 5)]);
}

/// Two tasks may read the same partition and never fence one another.
pub async fn tasks_have_positions_of_their_own(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let other = test
        .sink()
        .acquire("u", &token("b"), &[(partition(0), 4)])
        .await
        .expect("acquire");
    assert_eq!(other, [(partition(0), 4)]);
    write(test, &[advance(0, 9)], &[]).await.expect("write");
    test.sink()
        .write("u", &token("b"), &[advance(4, 5)], &[])
        .await
        .expect("write");
    assert_eq!(positions(test).await, [(partition(0), 9)]);
}

/// Input without effect on any window advances the position all the same.
pub async fn without_rows_positions_advance(test: &dyn SinkUnderTest) {
    acquire(test).await;
    write(test, &[advance(0, 2)], &[]).await.expect("write");
    write(test, &[advance(2, 3)], &[sales(&[]), visits(&[])])
        .await
        .expect("write");
    write(test, &[advance(3, 3)], &[]).await.expect("write");
    write(test, &[], &[]).await.expect("write");
    assert_eq!(positions(test).await, [(partition(0), 3)]);
    assert!(sold(test).await.is_empty());
}

/// A write that begins before or after the stored position is another writer's.
pub async fn position_elsewhere_is_refused_and_changes_nothing(test: &dyn SinkUnderTest) {
    acquire(test).await;
    write(test, &[advance(0, 10)], &[visits(&[(1, 1)])])
        .await
        .expect("write");
    for from in [0, 9, 11] {
        assert_fenced(&write(test, &[advance(from, 20)], &[visits(&[(1, 100)])]).await);
    }
    assert_eq!(visited(test).await, ["1|1"]);
    assert_eq!(positions(test).await, [(partition(0), 10)]);
    write(test, &[advance(10, 20)], &[visits(&[(1, 1)])])
        .await
        .expect("write after a refusal");
    assert_eq!(visited(test).await, ["1|2"]);
}

/// Positions advance together or not at all.
pub async fn one_wrong_position_of_several_refuses_all(test: &dyn SinkUnderTest) {
    let initial = [(partition(0), 0), (partition(1), 0)];
    test.sink().acquire("t", &token("a"), &initial).await.expect("acquire");
    let wrong = Advance {
        source: partition(1),
        from: 1,
        to: 2,
    };
    assert_fenced(&write(test, &[advance(0, 5), wrong], &[visits(&[(1, 1)])]).await);
    assert_eq!(positions(test).await, initial);
    assert!(visited(test).await.is_empty());
}

/// Tasks that write together are refused together: where one is held by another, and where one is elsewhere.
pub async fn tasks_write_together_or_not_at_all(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let (sink, a, b) = (test.sink(), token("a"), token("b"));
    sink.acquire("u", &b, &[(partition(0), 7)]).await.expect("acquire");
    let both = async |first: Advance, second_token: &Token, second: Advance, rows: &[(i64, i64)]| {
        let (first, second) = ([first], [second]);
        let writers = [
            Writer {
                task: "t",
                token: &a,
                advances: &first,
            },
            Writer {
                task: "u",
                token: second_token,
                advances: &second,
            },
        ];
        sink.write_together(&writers, &[visits(rows)]).await
    };
    both(advance(0, 3), &b, advance(7, 9), &[(1, 1)]).await.expect("write");
    assert_fenced(&both(advance(3, 4), &a, advance(9, 10), &[(1, 10)]).await);
    assert_fenced(&both(advance(3, 4), &b, advance(8, 10), &[(1, 10)]).await);
    assert_fenced(&both(advance(2, 4), &b, advance(9, 10), &[(1, 10)]).await);
    assert_eq!(visited(test).await, ["1|1"]);
    both(advance(3, 4), &b, advance(9, 10), &[(1, 100)])
        .await
        .expect("write");
    assert_eq!(visited(test).await, ["1|101"]);
    assert_eq!(positions(test).await, [(partition(0), 4)]);
}

/// A partition has a position only once the task was acquired with it.
pub async fn unknown_partition_is_refused(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let unknown = Advance {
        source: partition(9),
        from: 0,
        to: 1,
    };
    assert_fenced(&write(test, &[unknown], &[visits(&[(1, 1)])]).await);
    assert!(visited(test).await.is_empty());
}

/// Acquiring a task fences the writer before, even one whose positions agree.
pub async fn old_token_is_refused(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let (sink, newer) = (test.sink(), token("b"));
    sink.acquire("t", &newer, &[(partition(0), 0)]).await.expect("acquire");
    assert_fenced(&write(test, &[advance(0, 1)], &[visits(&[(1, 1)])]).await);
    assert_fenced(&write(test, &[], &[]).await);
    sink.write("t", &newer, &[advance(0, 1)], &[visits(&[(1, 10)])])
        .await
        .expect("write");
    assert_eq!(visited(test).await, ["1|10"]);
}

/// No write is accepted for a task without a holder.
pub async fn task_never_acquired_is_refused(test: &dyn SinkUnderTest) {
    assert_fenced(&write(test, &[], &[visits(&[(1, 1)])]).await);
    assert!(visited(test).await.is_empty());
}

/// The holder of a task can check by an empty write that it still holds it.
pub async fn a_write_of_nothing_is_refused_to_a_zombie(test: &dyn SinkUnderTest) {
    acquire(test).await;
    write(test, &[], &[]).await.expect("write");
    let taken = test.sink().acquire("t", &token("b"), &[]).await;
    taken.expect("acquire");
    assert_fenced(&write(test, &[], &[]).await);
}
