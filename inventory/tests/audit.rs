//! The auditor finds what is wrong: each test damages a true history in one place.

mod support;

use interlock_inventory::Digest;
use interlock_inventory::invariants::{EventAuditor, Invariant, Violation};
use interlock_schemas::*;
use support::{DEPARTURE, World};

/// One seat: `x` has it, `q1` and `q2` wait, `x` cancels, `q1` is promoted, `q2` moves up.
fn history(policy: PromotionPolicy) -> Vec<Event> {
    let mut plan = support::service();
    plan.waitlist_caps = vec![WaitlistCap {
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: 100,
    }];
    plan.promotion = policy;
    let mut world = World::new(Some(plan));
    world.time = DEPARTURE - 1;
    for id in ["x", "q1", "q2"] {
        world.send(&Command::Book(support::booking(id, "A", "C", 1)));
    }
    world.send(&Command::Cancel(support::cancellation("c1", "x", &[])));
    world.send(&Command::Book(support::booking("q2", "A", "C", 1)));
    world.events
}

/// As the schemas say of `request_digest`.
#[test]
fn answers_alone_carry_the_digest_of_their_command() {
    let events = history(PromotionPolicy::FifoSkip);
    for event in &events {
        let header = event.header();
        let is_digest = Digest::parse(&header.request_digest).is_some();
        match header.kind {
            EventKind::Answer => assert!(is_digest, "{header:?}"),
            EventKind::Opened | EventKind::Promotion | EventKind::Position => assert_eq!(header.request_digest, ""),
        }
    }
    for kind in [
        EventKind::Answer,
        EventKind::Opened,
        EventKind::Promotion,
        EventKind::Position,
    ] {
        assert!(events.iter().any(|event| event.header().kind == kind), "{kind:?}");
    }
    let booked = Command::Book(support::booking("x", "A", "C", 1));
    assert_eq!(events[CONFIRMED].header().request_digest, Digest::of(&booked).to_text());
}

fn broken(events: &[Event]) -> Vec<&'static str> {
    let mut auditor = EventAuditor::new();
    let mut violations: Vec<_> = events.iter().flat_map(|event| auditor.observe(event)).collect();
    violations.extend(auditor.finish());
    let name = |violation: &Violation| match violation.invariant {
        Invariant::Rules => {
            let rules = ["R15", "R18", "PNR"];
            let named = rules.into_iter().find(|rule| violation.detail.starts_with(rule));
            named.unwrap_or("no rule is named")
        }
        named => named.name(),
    };
    violations.iter().map(name).collect()
}

fn damaged(damage: impl FnOnce(&mut Vec<Event>)) -> Vec<&'static str> {
    let mut events = history(PromotionPolicy::FifoSkip);
    damage(&mut events);
    broken(&events)
}

fn renumber(events: &mut [Event]) {
    for (event, sequence) in events.iter_mut().zip(1..) {
        event.header_mut().sequence = sequence;
    }
}

/// Places in the history.
const CONFIRMED: usize = 1;
const FIRST_WAITS: usize = 2;
const SECOND_WAITS: usize = 3;
const CANCELLED: usize = 4;
const PROMOTED: usize = 5;
const MOVED: usize = 6;
const AGAIN: usize = 7;

#[test]
fn a_true_history_is_clean() {
    assert_eq!(broken(&history(PromotionPolicy::FifoSkip)), [""; 0]);
    assert_eq!(broken(&history(PromotionPolicy::LegStrict)), [""; 0]);
}

#[test]
fn a_seat_given_twice_breaks_i1() {
    let found = damaged(|events| {
        let Event::Confirmed(promoted) = events[PROMOTED].clone() else {
            unreachable!()
        };
        let header = EventHeader {
            request_id: "q9".into(),
            cause_request_id: "q9".into(),
            pnr: "0000000000".into(),
            ..promoted.header
        };
        let header = EventHeader {
            kind: EventKind::Answer,
            source_offset: 99,
            amount_minor: 60_000,
            ..header
        };
        events.push(Event::Confirmed(BookingConfirmed { header, ..promoted }));
        renumber(events);
    });
    assert_eq!(found, ["I1"]);
}

#[test]
fn a_seat_that_does_not_exist_breaks_i1() {
    let found = damaged(|events| {
        let Event::Confirmed(confirmed) = &mut events[CONFIRMED] else {
            unreachable!()
        };
        confirmed.passengers[0].seat_number = 2;
    });
    assert!(found.contains(&"I1"), "{found:?}");
}

#[test]
fn two_first_answers_break_i2() {
    assert_eq!(damaged(|events| events[AGAIN].header_mut().replay = false)[0], "I2");
    assert_eq!(
        damaged(|events| events[FIRST_WAITS].header_mut().replay = true)[0],
        "I2"
    );
}

#[test]
fn a_promotion_out_of_turn_breaks_i3() {
    let found = damaged(|events| {
        let header = events[PROMOTED].header_mut();
        header.request_id = "q2".into();
        events.remove(MOVED);
        renumber(events);
    });
    assert_eq!(found, ["I3"]);
}

#[test]
fn a_forgotten_waiter_breaks_i3() {
    let found = damaged(|events| {
        events.drain(PROMOTED..=MOVED);
        renumber(events);
    });
    assert_eq!(found, ["I3"]);
}

#[test]
fn waiting_beside_a_free_seat_breaks_i3() {
    let found = damaged(|events| {
        events.drain(CANCELLED..);
        events.remove(CONFIRMED);
        events.remove(SECOND_WAITS - 1);
        renumber(events);
    });
    assert_eq!(found, ["I3"]);
}

#[test]
fn a_gap_or_a_repeat_breaks_i4() {
    assert_eq!(damaged(|events| events[AGAIN].header_mut().sequence += 1), ["I4"]);
    assert_eq!(damaged(|events| drop(events.remove(MOVED))), ["I4"]);
    assert_eq!(damaged(|events| events.push(events[AGAIN].clone())), ["I4"]);
}

#[test]
fn wrong_places_and_wrong_amounts_are_found() {
    let found = damaged(|events| {
        let Event::Waitlisted(moved) = &mut events[MOVED] else {
            unreachable!()
        };
        moved.moves[0].current_position = 2;
    });
    assert_eq!(found, ["R15"]);
    assert_eq!(damaged(|events| events[AGAIN].header_mut().amount_minor = 1), ["R18"]);
}

/// A ledger that loses a train-date opens it again, and sells the same seat under the same PNR.
#[test]
fn a_second_opening_is_named_and_hides_no_seat_that_is_sold_twice() {
    let again = |events: &mut Vec<Event>, pnr: &str| {
        events.truncate(CONFIRMED + 1);
        let mut sold = events[CONFIRMED].clone();
        let header = sold.header_mut();
        (header.request_id, header.cause_request_id) = ("y".into(), "y".into());
        (header.pnr, header.source_offset) = (pnr.into(), 99);
        events.push(events[0].clone());
        events.push(sold);
        for (event, sequence) in events.iter_mut().zip(1..) {
            event.header_mut().sequence = sequence;
        }
    };
    assert_eq!(damaged(|events| again(events, "0000000000")), ["I1", "I1"]);
    let pnr = history(PromotionPolicy::FifoSkip)[CONFIRMED].header().pnr.clone();
    assert_eq!(damaged(|events| again(events, &pnr)), ["I1", "PNR", "I1"]);
}

#[test]
fn a_key_that_is_used_again_is_no_second_answer() {
    let reused = |key: &str| {
        let mut events = history(PromotionPolicy::FifoSkip);
        let header = EventHeader {
            request_id: key.into(),
            cause_request_id: key.into(),
            sequence: events.len() as i64 + 1,
            source_offset: 99,
            kind: EventKind::Answer,
            replay: false,
            amount_minor: 0,
            ..events[AGAIN].header().clone()
        };
        events.push(Event::Rejected(BookingRejected {
            header,
            code: "IDEMPOTENCY_KEY_REUSED".into(),
            message: "".into(),
            passenger_count: 1,
        }));
        broken(&events)
    };
    assert_eq!(reused("x"), [""; 0]);
    assert_eq!(reused("never seen"), ["I2"]);
}
