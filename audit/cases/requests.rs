//! I2: every way to break it, and cases that look like violations but are not.

use interlock_schemas::{Event, topics};

use super::example::book;
use super::world::{LEDGERS, World};
use interlock_inventory::invariants::Invariant::{I2, I4, Rules};
use interlock_streams::policy::SENT_ON_HEADER;

fn letter(offset: i64, partition: i32) -> Vec<(&'static str, String)> {
    vec![
        ("__streams.errors.topic", topics::BOOKING_REQUESTS.to_owned()),
        ("__streams.errors.partition", partition.to_string()),
        ("__streams.errors.offset", offset.to_string()),
    ]
}

#[tokio::test]
async fn an_unanswered_record_is_reported() {
    let mut world = World::new().await;
    world.sell().await;
    let (home, offset) = (world.home(), world.request(&book("b9", 1)));
    world.apply(home, offset, &[]).await;
    World::expect(
        &world.audit().await,
        &[I2],
        "has no answer, is not in the DLQ and was not sent on",
    );
}

#[tokio::test]
async fn an_undecodable_record_must_be_in_the_dlq_byte_for_byte() {
    let mut world = World::new().await;
    world.sell().await;
    let (home, dlq) = (world.home(), topics::dlq(topics::BOOKING_REQUESTS));
    let offset = world.append(topics::BOOKING_REQUESTS, home, b"{}".to_vec(), &[]);
    world.work().await;
    World::expect(&world.audit().await, &[I2], "can't be decoded and has no answer");
    world.append(&dlq, home, b"{}".to_vec(), &letter(offset, home));
    let report = world.audit().await;
    assert!(report.holds(), "{report:#?}");
    assert_eq!(report.totals.dead_letters, 1);
    world.append(&dlq, home, b"{ }".to_vec(), &letter(offset, home));
    let report = world.audit().await;
    World::expect(&report, &[I2], "is in the DLQ with another key or value");
    World::expect(&report, &[I2], "is in the DLQ 2 times");
}

#[tokio::test]
async fn a_record_is_not_both_answered_and_dead() {
    let mut world = World::new().await;
    world.sell().await;
    let (home, dlq) = (world.home(), topics::dlq(topics::BOOKING_REQUESTS));
    let offset = world.request(&book("b9", 1));
    let value = world.waiting(home)[0].value.clone().unwrap().to_vec();
    world.work().await;
    world.append(&dlq, home, value, &letter(offset, home));
    world.append(&dlq, home, b"x".to_vec(), &[]);
    let marker = world.request_in_transaction(&book("b10", 1)).await;
    world.append(&dlq, home, b"x".to_vec(), &letter(marker, home));
    world.work().await;
    let report = world.audit().await;
    World::expect(&report, &[I2], "is in the DLQ and has an answer (waitlisted)");
    World::expect(&report, &[I2], "has no headers that say which record it is");
    World::expect(&report, &[I2], "is in the DLQ, but there is no such record");
}

#[tokio::test]
async fn a_record_in_the_wrong_partition_has_one_copy_in_the_right_one() {
    let mut world = World::new().await;
    world.sell().await;
    let (home, wrong) = (world.home(), LEDGERS - 1 - world.home());
    let offset = world.request_to(wrong, &book("b9", 1));
    let value = world.waiting(wrong)[0].value.clone().unwrap().to_vec();
    world.apply(wrong, offset, &[]).await;
    World::expect(&world.audit().await, &[I2], "was not sent on");
    let mark = [(SENT_ON_HEADER, home.to_string())];
    world.append(topics::BOOKING_REQUESTS, home, value.clone(), &mark);
    world.work().await;
    let report = world.audit().await;
    assert!(report.holds(), "{report:#?}");
    assert_eq!((report.totals.forwarded, report.totals.pending), (1, 0));
    // A client's own header has no effect: the record is a request like any other.
    world.append(topics::BOOKING_REQUESTS, home, value, &mark);
    world.work().await;
    let report = world.audit().await;
    assert!(report.holds(), "{report:#?}");
    assert_eq!((report.totals.forwarded, report.totals.answered), (1, 9));
}

#[tokio::test]
async fn a_client_s_mark_of_a_record_that_was_sent_on_breaks_nothing() {
    let mut world = World::new().await;
    world.sell().await;
    let (home, wrong) = (world.home(), LEDGERS - 1 - world.home());
    let mark = [(SENT_ON_HEADER, home.to_string())];
    let value = world.encoded(&book("b9", 1));
    world.append(topics::BOOKING_REQUESTS, home, value.clone(), &mark);
    world.work().await;
    let report = world.audit().await;
    assert!(report.holds(), "{report:#?}");
    assert_eq!((report.totals.forwarded, report.totals.answered), (0, 8));

    // In the wrong partition the record is forwarded, as one without the header is.
    let misplaced = world.append(topics::BOOKING_REQUESTS, wrong, value.clone(), &mark);
    world.apply(wrong, misplaced, &[]).await;
    world.append(topics::BOOKING_REQUESTS, home, value, &mark);
    world.work().await;
    let report = world.audit().await;
    assert!(report.holds(), "{report:#?}");
    assert_eq!(report.totals.forwarded, 1);
}

#[tokio::test]
async fn pending_records_are_counted_and_in_a_settled_system_reported() {
    let mut world = World::new().await;
    world.sell().await;
    world.request(&book("b9", 1));
    let report = world.audit().await;
    assert!(report.holds(), "{report:#?}");
    assert_eq!(report.totals.pending, 1);
    world.options.settled = true;
    World::expect(&world.audit().await, &[I2], "is pending");
}

#[tokio::test]
async fn nothing_committed_at_all_is_pending() {
    let world = World::new().await;
    world.request(&book("b1", 1));
    let report = world.audit().await;
    assert!(report.holds() && report.totals.pending == 1, "{report:#?}");
}

/// Edits the events of the last booking of a sold-out train, and audits.
async fn edited(mut edit: impl FnMut(&mut Vec<Event>)) -> crate::AuditReport {
    let mut world = World::new().await;
    world.request(&book("b1", 1));
    world.work().await;
    world.request(&book("b2", 3));
    world.work_with(&mut edit).await;
    world.audit().await
}

#[tokio::test]
async fn a_partial_booking_has_two_answers_that_name_each_passenger_once() {
    let report = edited(|_| {}).await;
    assert!(report.holds(), "{report:#?}");
    let report = edited(|events| {
        for event in events {
            if let Event::Waitlisted(waitlisted) = event {
                let gone = waitlisted.passengers.remove(0);
                waitlisted.header.amount_minor -= gone.fare_minor;
            }
        }
    });
    let broken = report.await;
    assert!(
        broken
            .violations
            .iter()
            .any(|v| v.detail.contains("asks for 3 passengers, its answers name 2")),
        "{broken:#?}"
    );
    let report = edited(|events| {
        for event in events {
            if let Event::Waitlisted(waitlisted) = event {
                waitlisted.passengers[0].index = 0;
            }
        }
    });
    let broken = report.await;
    assert!(
        broken
            .violations
            .iter()
            .any(|v| v.detail.contains("name passenger 0 twice")),
        "{broken:#?}"
    );
}

/// An answer that names a transaction's marker as its cause.
async fn beside_a_marker() -> crate::AuditReport {
    let mut world = World::new().await;
    world.request_in_transaction(&book("b1", 1)).await;
    world.request(&book("b2", 1));
    let mut edit = |events: &mut Vec<Event>| {
        let of_second = events
            .iter_mut()
            .filter(|event| event.header().cause_request_id == "b2");
        of_second.for_each(|event| event.header_mut().source_offset -= 1);
    };
    world.work_with(&mut edit).await;
    world.audit().await
}

#[tokio::test]
async fn an_answer_says_the_same_as_its_request() {
    let report = edited(|events| {
        events
            .iter_mut()
            .for_each(|event| event.header_mut().request_digest = "0".repeat(32).into())
    });
    let report = report.await;
    assert!(
        report
            .violations
            .iter()
            .any(|v| v.detail.contains("another body's digest")),
        "{report:#?}"
    );
    let report = edited(|events| events.iter_mut().for_each(|event| event.header_mut().event_time += 1)).await;
    World::expect(&report, &[Rules], "R1: the event's time is");
    let report = edited(|events| {
        events
            .iter_mut()
            .for_each(|event| event.header_mut().source_offset -= 1)
    })
    .await;
    World::expect(&report, &[I2], "names this record as request b2");
    let report = beside_a_marker().await;
    World::expect(&report, &[I2], "names this offset as its cause; there is no record");
    let report = edited(|events| {
        events
            .iter_mut()
            .for_each(|event| event.header_mut().cause_request_id = "b7".to_owned().into());
    });
    let report = report.await;
    assert!(
        report
            .violations
            .iter()
            .any(|v| v.detail.contains("names this record as request b7")),
        "{report:#?}"
    );
}

#[tokio::test]
async fn a_record_decided_twice_is_reported() {
    let mut world = World::new().await;
    world.sell().await;
    let (home, _) = (world.home(), world.request(&book("b9", 1)));
    let mut twice = Vec::new();
    world.work_with(&mut |events| twice = events.clone()).await;
    world.send(home, &twice);
    let committed = world.waiting_offset(home);
    world.commit(home, committed).await;
    World::expect(&world.audit().await, &[I2, I4, Rules], "is answered more than once");
}

#[tokio::test]
async fn what_is_visible_is_committed() {
    let mut world = World::new().await;
    world.sell().await;
    let (home, offset) = (world.home(), world.request(&book("b9", 1)));
    world.work().await;
    world.commit(home, offset).await;
    let report = world.audit().await;
    assert!(
        report
            .violations
            .iter()
            .any(|v| v.detail.contains("its events are visible")),
        "{report:#?}"
    );
}
