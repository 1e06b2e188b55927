//! Tests how rows are merged.

use super::{
    Partials, SinkUnderTest, acquire, advance, partition, positions, sales, sold, token, visited, visits, write,
};
use crate::sink::{Advance, SinkError};

/// Rows of the same key merge as their table says, others are added; null is no value for least and largest.
pub async fn merges_sums_least_and_largest(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let first = sales(&[("ada", 5, Some(2), 3), ("bo", 1, None, 1)]);
    write(test, &[advance(0, 1)], &[first]).await.expect("write");
    let second = sales(&[
        ("cy", -7, Some(-7), -7),
        ("ada", -1, Some(-1), 4),
        ("bo", 0, Some(8), 0),
    ]);
    write(test, &[advance(1, 2)], &[second]).await.expect("write");
    let third = sales(&[("ada", 100, None, -9)]);
    write(test, &[advance(2, 3)], &[third]).await.expect("write");
    assert_eq!(
        sold(test).await,
        ["ada|104|-1|4|60004", "bo|1|8|1|60001", "cy|-7|-7|-7|59993"]
    );
}

/// The order of the columns means nothing.
pub async fn columns_go_by_name(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let straight = sales(&[("ada", 5, Some(2), 3)]);
    let reversed: Vec<usize> = (0..straight.rows.num_columns()).rev().collect();
    let rows = straight.rows.project(&reversed).expect("all columns");
    let table = straight.table;
    write(test, &[advance(0, 1)], &[Partials { table, rows }])
        .await
        .expect("write");
    assert_eq!(sold(test).await, ["ada|5|2|3|60003"]);
}

/// A sink doesn't look for repeats of rows: only positions tell what was applied.
pub async fn the_same_rows_again_are_added_again(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let rows = [visits(&[(1, 2), (-5, 1)])];
    write(test, &[advance(0, 5)], &rows).await.expect("write");
    write(test, &[advance(5, 6)], &rows).await.expect("write");
    assert_eq!(visited(test).await, ["-5|2", "1|4"]);
    assert_eq!(positions(test).await, [(partition(0), 6)]);
}

/// Partials of different tasks meet in the same rows, at the same time.
pub async fn two_tasks_add_to_one_row(test: &dyn SinkUnderTest) {
    acquire(test).await;
    test.sink()
        .acquire("u", &token("b"), &[(partition(0), 0)])
        .await
        .expect("acquire");
    for at in 0..10 {
        let (advances, other) = ([advance(at, at + 1)], token("b"));
        let (ascending, descending) = ([visits(&[(1, 1), (2, 10)])], [visits(&[(2, 20), (1, 2)])]);
        let both = futures::join!(
            write(test, &advances, &ascending),
            test.sink().write("u", &other, &advances, &descending)
        );
        both.0.expect("write");
        both.1.expect("write");
    }
    assert_eq!(visited(test).await, ["1|30", "2|300"]);
}

/// Thousands of rows in one write; 64 bits of them.
pub async fn many_rows_and_large_numbers(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let rows: Vec<(i64, i64)> = (0..5_000).map(|id| (id, id * 1_000_000_000_000_000)).collect();
    write(test, &[advance(0, 1 << 60)], &[visits(&rows)])
        .await
        .expect("write");
    let stored = visited(test).await;
    assert_eq!(stored.len(), rows.len());
    assert!(stored.contains(&"4999|4999000000000000000".to_owned()));
    assert_eq!(positions(test).await, [(partition(0), 1 << 60)]);
}

/// Keys come from the world outside: no text may be more than a text, nor stop the task.
pub async fn any_text_is_a_key(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let texts = [
        "",
        " ",
        "'; DROP TABLE x; --",
        "{\"a\",NULL}",
        "\\",
        "ÆØÅ 駅",
        "NULL",
        "null\0byte",
    ];
    let rows: Vec<_> = texts.iter().map(|text| (*text, 1, None, 1)).collect();
    write(test, &[advance(0, 1)], &[sales(&rows)]).await.expect("write");
    write(test, &[advance(1, 2)], &[sales(&rows)]).await.expect("write");
    let stored = sold(test).await;
    assert_eq!(stored.len(), texts.len());
    // A database without the character NUL keeps it as another one.
    for text in &texts[..texts.len() - 1] {
        assert!(stored.contains(&format!("{text}|2||1|60001")), "{text}: {stored:?}");
    }
}

/// A row that can't be stored is a lasting error, and the rest of its write isn't stored either.
pub async fn rows_that_do_not_fit_change_nothing(test: &dyn SinkUnderTest) {
    acquire(test).await;
    let mut broken = sales(&[("ada", 5, Some(2), 3)]);
    broken.rows = broken.rows.project(&[0, 1, 2, 3, 4, 5]).expect("all but the last");
    for partials in [[visits(&[(1, 1)]), broken.clone()], [broken, visits(&[(1, 1)])]] {
        let refused = write(test, &[advance(0, 1)], &partials).await;
        assert!(
            matches!(&refused, Err(SinkError::Fatal { reason, .. }) if reason.contains("last_at")),
            "{refused:?}"
        );
    }
    assert!(visited(test).await.is_empty());
    assert_eq!(positions(test).await, [(partition(0), 0)]);
}

/// One write for several tables and partitions.
pub async fn tables_and_positions_move_together(test: &dyn SinkUnderTest) {
    let initial = [(partition(0), 0), (partition(1), 7)];
    test.sink().acquire("t", &token("a"), &initial).await.expect("acquire");
    let second = Advance {
        source: partition(1),
        from: 7,
        to: 9,
    };
    let partials = [visits(&[(1, 1)]), sales(&[("ada", 5, Some(2), 3)]), visits(&[(1, 2)])];
    write(test, &[advance(0, 5), second], &partials).await.expect("write");
    assert_eq!(visited(test).await, ["1|3"]);
    assert_eq!(sold(test).await, ["ada|5|2|3|60003"]);
    assert_eq!(positions(test).await, [(partition(0), 5), (partition(1), 9)]);
}
