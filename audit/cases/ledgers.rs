//! I1, I3, I4 and I5.

use interlock_inventory::FIELD_FORMAT;
use interlock_schemas::{Event, EventKind, topics};
use interlock_streams::ledger::memory::Part;
use interlock_streams::ledger::{LedgerStore, RebuildStep};
use interlock_streams::record::TopicPartition;

use super::example::{book, cancel, key};
use super::world::{LEDGERS, World};
use interlock_inventory::invariants::Invariant::{self, I1, I3, I4, I5};

#[tokio::test]
async fn a_sound_system_passes() {
    let mut world = World::new().await;
    world.sell().await;
    world.options.settled = true;
    let report = world.audit().await;
    assert!(report.holds(), "{report:#?}");
    let totals = &report.totals;
    assert_eq!((totals.records, totals.answered, totals.pending), (7, 7, 0));
    assert_eq!(
        (totals.confirmed, totals.waitlisted, totals.promoted, totals.cancelled),
        (2, 2, 1, 1)
    );
    assert_eq!(
        (totals.rejected["NO_PASSENGERS"], totals.replays, totals.train_dates),
        (1, 1, 1)
    );
    assert_eq!(totals.bookings, 3, "b1 was given back");
    let money = totals.money["INR"];
    assert_eq!(
        (money.collected_minor, money.net_minor),
        (240_000, 240_000 - money.refunded_minor)
    );
    assert!(money.refunded_minor > 0);
    let checked = |invariant: Invariant| {
        report
            .invariants
            .iter()
            .find(|line| line.invariant == invariant)
            .unwrap()
            .checked
    };
    assert_eq!(
        (checked(I1), checked(Invariant::I2), checked(I4)),
        (3, 7, totals.events)
    );
    assert!(checked(I5) >= 8, "{report:#?}");
}

#[tokio::test]
async fn a_seat_sold_twice_is_reported() {
    let mut world = World::new().await;
    world.request(&book("b1", 1));
    world.request(&book("b2", 1));
    let mut edit = |events: &mut Vec<Event>| {
        for event in events {
            if let Event::Confirmed(confirmed) = event {
                confirmed.passengers[0].seat_number = 1;
            }
        }
    };
    world.work_with(&mut edit).await;
    let report = world.audit().await;
    World::expect(&report, &[I1], "C1 seat 1 for b2: held by b1 on a shared leg");
    assert!(
        report.inconclusive.iter().any(|reason| reason.invariant == I5),
        "a fold that means nothing is not compared"
    );
}

#[tokio::test]
async fn a_train_date_in_another_ledger_is_reported() {
    let mut world = World::new().await;
    world.sell().await;
    world.request_to(LEDGERS - 1 - world.home(), &book("b1", 1));
    world.work().await;
    World::expect(&world.audit().await, &[I1], "is sold here and belongs to ledger");
}

#[tokio::test]
async fn a_forgotten_waiter_is_reported() {
    let mut world = World::new().await;
    for command in [book("b1", 2), book("b2", 1)] {
        world.request(&command);
    }
    world.work().await;
    world.request(&cancel("c1", "b1"));
    world
        .work_with(&mut |events| events.retain(|event| event.header().kind == EventKind::Answer))
        .await;
    let report = world.audit().await;
    assert!(
        report
            .violations
            .iter()
            .any(|v| v.invariant == I3 && v.detail.contains("could be served")),
        "{report:#?}"
    );
}

#[tokio::test]
async fn gaps_and_repeats_are_reported() {
    let mut world = World::new().await;
    world.sell().await;
    world.request(&book("b9", 1));
    world
        .work_with(&mut |events| events.iter_mut().for_each(|event| event.header_mut().sequence += 1))
        .await;
    let report = world.audit().await;
    assert!(
        report
            .violations
            .iter()
            .any(|v| v.invariant == I4 && v.detail.contains("where")),
        "{report:#?}"
    );
}

#[tokio::test]
async fn an_event_in_the_wrong_place_is_reported() {
    let mut world = World::new().await;
    world.sell().await;
    world.request(&book("b9", 1));
    world
        .work_with(&mut |events| events.iter_mut().for_each(|event| event.header_mut().ledger = 9))
        .await;
    World::expect(
        &world.audit().await,
        &[I4],
        "is an event of ledger 9, in another's partition",
    );
    world.append(topics::REJECTED, world.home(), b"{}".to_vec(), &[]);
    World::expect(&world.audit().await, &[I4], "the event can't be decoded");
}

#[tokio::test]
async fn a_changed_document_is_reported_by_field() {
    let mut world = World::new().await;
    world.sell().await;
    let home = world.home();
    let stored = world.store.load(home, &[key().into()], None).await.unwrap().remove(0);
    let of = |name: &str| stored.fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    world.tamper(&key(), "s|C1", Some(&[FIELD_FORMAT, 3, 1]));
    let report = world.audit().await;
    World::expect(&report, &[I5], &format!("ledger {home}, {}, field `s|C1`", key()));
    world.tamper(&key(), "s|C1", Some(&of("s|C1")));
    assert!(world.audit().await.holds());
    world.tamper(&key(), "r|none", None);
    World::expect(
        &world.audit().await,
        &[I5],
        "field `r|none`: Redis has nothing; the events give Rejection",
    );
    world.tamper(&key(), "r|none", Some(&of("r|none")));
    world.tamper("12951|2026-01-01", "r|x", Some(&of("r|none")));
    World::expect(
        &world.audit().await,
        &[I5],
        "ledger's index does not name 12951|2026-01-01",
    );
    world.store.lose(home, &Part::Document("12951|2026-01-01".into()));
    assert!(world.audit().await.holds());
    world.tamper("", "bookings", Some(&[FIELD_FORMAT, 2]));
    World::expect(
        &world.audit().await,
        &[I5],
        "field `bookings`: is 1, the events make it 4",
    );
}

#[tokio::test]
async fn lost_writes_are_reported() {
    let mut world = World::new().await;
    world.request(&book("b1", 1));
    world.work().await;
    let (home, before) = (world.home(), world.store.snapshot(world.home()));
    world.request(&book("b2", 1));
    world.work().await;
    assert!(world.audit().await.holds());
    world.store.restore(home, before);
    let report = world.audit().await;
    World::expect(&report, &[I5], "field `meta sequence`: is 2, the last event's is 3");
    World::expect(&report, &[I5], "Redis lacks records that Kafka has committed");
    world.store.flush();
    World::expect(&world.audit().await, &[I5], "field `meta sequence`: is 0");
}

/// The key that was lost or put back is named, although the rest of the ledger is as it was.
#[tokio::test]
async fn a_part_that_is_lost_or_older_is_reported() {
    let mut world = World::new().await;
    world.request(&book("b1", 1));
    world.work().await;
    let (home, before) = (world.home(), world.store.snapshot(world.home()));
    world.sell().await;
    let sound = world.store.snapshot(home);
    let document = Part::Document(key().into());
    let place = format!("ledger {home}, {}", key());
    world.store.lose(home, &document);
    World::expect(&world.audit().await, &[I5], &format!("{place}: is missing"));
    world.store.put_back(home, &document, &before);
    World::expect(
        &world.audit().await,
        &[I5],
        &format!("{place}: is older than the ledger"),
    );
    world.store.restore(home, sound.clone());
    world.store.lose(home, &Part::Log);
    World::expect(&world.audit().await, &[I5], "`log`: the log ends at None");
    world.store.restore(home, sound);
    assert!(world.audit().await.holds());
}

#[tokio::test]
async fn a_ledger_ahead_of_the_log_is_inconclusive() {
    let mut world = World::new().await;
    world.sell().await;
    world.request(&book("b9", 1));
    world.work_without_committing().await;
    let report = world.audit().await;
    assert!(
        report
            .inconclusive
            .iter()
            .any(|reason| reason.reason.contains("stopped before they committed")),
        "{report:#?}"
    );
    assert!(!report.holds());
}

#[tokio::test]
async fn a_ledger_that_counts_events_that_do_not_exist_is_reported() {
    let mut world = World::new().await;
    world.sell().await;
    let home = world.home();
    world.ledgers[home as usize].sequence += 1;
    let sequence = world.ledgers[home as usize].sequence;
    world.store.edit_state(home, |state| state.sequence = sequence);
    let says = format!("`meta sequence`: is {sequence}, the last event's is {}", sequence - 1);
    World::expect(&world.audit().await, &[I5], &says);

    // An event that was committed and is not there.
    let mut world = World::new().await;
    world.sell().await;
    world.request(&book("b9", 1));
    world.work_with(&mut Vec::clear).await;
    World::expect(&world.audit().await, &[Invariant::I2, I5], "`meta sequence`: is");
}

#[tokio::test]
async fn a_train_date_that_is_opened_twice_is_reported_with_the_seats_that_are_sold_twice() {
    let mut world = World::new().await;
    world.request(&book("b1", 2));
    let mut opened = Vec::new();
    world.work_with(&mut |events| opened = events.clone()).await;
    world.request(&book("b2", 1));
    // The second booking gets the first one's seat, after the train-date is opened again.
    let mut again = |events: &mut Vec<Event>| {
        let next = events[0].header().sequence;
        let source = events[0].header().source_offset;
        let mut sold = opened.clone();
        for (event, sequence) in sold.iter_mut().zip(next..) {
            let header = event.header_mut();
            (header.sequence, header.source_offset) = (sequence, source);
            header.cause_request_id = "b2".into();
        }
        *events = sold;
    };
    world.work_with(&mut again).await;
    let report = world.audit().await;
    let says = |text: &str| {
        report
            .violations
            .iter()
            .any(|v| v.invariant == I1 && v.detail.contains(text))
    };
    assert!(says("is opened a second time"), "{report:#?}");
    assert!(says("on a shared leg"), "{report:#?}");
}

#[tokio::test]
async fn an_unfinished_rebuild_is_inconclusive() {
    let mut world = World::new().await;
    world.sell().await;
    let worked = &world.ledgers[world.home() as usize];
    let begin = RebuildStep::Begin {
        version: world.store.state(world.home()).await.unwrap().version,
        token: worked.holder.token.clone(),
        keep: true,
    };
    world.store.rebuild(&worked.holder, &begin).await.unwrap();
    World::expect_untold(&world.audit().await, "a rebuild was begun and is not finished");
}

#[tokio::test]
async fn a_stranger_s_commit_is_reported() {
    let mut world = World::new().await;
    world.sell().await;
    let (home, next) = (world.home(), world.waiting_offset(world.home()));
    world.commit_as(home, next, "somebody".to_owned()).await;
    World::expect(&world.audit().await, &[I5], "its metadata is \"somebody\"");
    world.commit_as(home, next, "il1 3 token-1 2@0 worker".to_owned()).await;
    World::expect(
        &world.audit().await,
        &[I5],
        "its metadata says event 3 by token token-1",
    );
}

#[tokio::test]
async fn truncated_events_are_inconclusive() {
    let mut world = World::new().await;
    world.sell().await;
    world
        .log
        .truncate(&TopicPartition::new(topics::CONFIRMED, world.home()), 1)
        .unwrap();
    World::expect_untold(&world.audit().await, "older events of ledger");
}

#[tokio::test]
async fn the_report_is_a_document_too() {
    let mut world = World::new().await;
    world.sell().await;
    let report = serde_json::to_value(world.audit().await).unwrap();
    assert_eq!(report["holds"], true);
    assert_eq!(report["invariants"][5]["verdict"], "skipped");
    assert_eq!(report["totals"]["money"]["INR"]["collected_minor"], 240_000);
}
