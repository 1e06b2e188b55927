//! The examples do what they say, also when something fails: tested as their users would, through the driver.

use std::time::Duration;

use interlock_streams::Event;
use interlock_streams::serde::{Json, Utf8};
use interlock_streams::testing::{Failure, TopologyTestDriver};

#[path = "../examples/stock_reservation.rs"]
#[expect(dead_code, reason = "`main` is the example's")]
mod stock_reservation;
#[path = "../examples/word_count.rs"]
#[expect(dead_code, reason = "`main` is the example's")]
mod word_count;

use stock_reservation::{Command, Movement};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const FAILURES: [Failure; 6] = [
    Failure::AbortedTransaction,
    Failure::LostLedgerReply,
    Failure::RevokedPartitions,
    Failure::FlushedLedgers,
    Failure::DemandedRebuild,
    Failure::Crash,
];

fn reserve(order: &str, units: u64) -> Command {
    Command::Reserve(order.to_owned(), units)
}

#[test]
fn words_are_counted() -> Result {
    let driver = TopologyTestDriver::new(word_count::topology()?, 2)?;
    let counts = driver.output::<Event<u64>, _>("counts", Json);
    driver.input("lines", Utf8).pipe("1", "to be, or not to be")?;
    let mut last: Vec<(String, u64)> = counts
        .read_key_values()?
        .into_iter()
        .map(|(word, count)| (word, count.event))
        .collect();
    last.sort();
    let expected = [("be", 1), ("be", 2), ("not", 1), ("or", 1), ("to", 1), ("to", 2)];
    assert_eq!(last, expected.map(|(word, count)| (word.to_owned(), count)));
    Ok(())
}

#[test]
fn no_more_is_reserved_than_there_is() -> Result {
    let driver = TopologyTestDriver::new(stock_reservation::topology()?, 1)?;
    let commands = driver.input::<Command, _>("commands", Json);
    let movements = driver.output::<Event<Movement>, _>("movements", Json);
    commands.pipe("lamp", Command::Receive(3))?;
    commands.pipe_all([
        ("lamp", reserve("anna", 2)),
        ("lamp", reserve("ben", 2)),
        ("lamp", reserve("anna", 1)),
    ])?;
    commands.pipe("lamp", Command::Cancel("anna".into()))?;
    commands.pipe("lamp", reserve("ben", 2))?;
    commands.pipe("desk", reserve("ben", 1))?;

    let events = movements.read_values()?;
    let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    let refused = |why: &str| Movement::Refused(why.to_owned());
    let expected = [
        Movement::Received(3),
        Movement::Reserved("anna".into(), 2),
        refused("not enough is left"),
        refused("it has its units already"),
        Movement::Released("anna".into()),
        Movement::Reserved("ben".into(), 2),
        refused("not enough is left"),
    ];
    assert_eq!(
        events.into_iter().map(|event| event.event).collect::<Vec<_>>(),
        expected
    );
    let lamp = driver.ledgers().fields(0, b"lamp");
    assert_eq!(lamp[b"value".as_slice()], r#"{"free":1,"reserved":{"ben":2}}"#);
    Ok(())
}

#[test]
fn nothing_is_reserved_twice_or_forgotten_whatever_fails() -> Result {
    let driver = TopologyTestDriver::new(stock_reservation::topology()?, 1)?;
    let commands = driver.input::<Command, _>("commands", Json);
    let movements = driver.output::<Event<Movement>, _>("movements", Json);
    commands.pipe("lamp", Command::Receive(100))?;
    let mut held = driver.ledger_state(0)?.token;
    for (number, failure) in FAILURES.into_iter().enumerate() {
        driver.inject(failure)?;
        commands.pipe("lamp", reserve(&format!("order {number}"), 1))?;
        let token = driver.ledger_state(0)?.token;
        // A lost reply is asked again: the applied offset tells that the commit happened.
        assert_eq!(token != held, failure != Failure::LostLedgerReply, "{failure:?}");
        held = token;
    }
    let events = movements.read_values()?;
    let numbers: Vec<i64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "no gap, no repeat");
    driver.inject(Failure::FlushedLedgers)?;
    assert!(driver.ledgers().fields(0, b"lamp").is_empty());
    driver.advance_wall_clock(Duration::from_secs(2))?;
    let lamp = &driver.ledgers().fields(0, b"lamp")[b"value".as_slice()];
    assert!(
        lamp.starts_with(br#"{"free":94,"#),
        "an idle worker notices and rebuilds: {lamp:?}"
    );
    assert_eq!(movements.read_values()?, [], "a rebuild writes nothing");
    Ok(())
}

#[test]
fn a_record_without_a_key_or_of_another_shape_is_a_dead_letter() -> Result {
    let driver = TopologyTestDriver::new(stock_reservation::topology()?, 1)?;
    let record = |key: Option<&'static str>, value: &'static str| interlock_streams::record::OutputRecord {
        topic: "commands".into(),
        partition: None,
        timestamp: None,
        key: key.map(Into::into),
        value: Some(value.into()),
        headers: Vec::new(),
    };
    driver.pipe(vec![
        record(None, r#"{"Receive":1}"#),
        record(Some("lamp"), r#"{"Receive":-1}"#),
        record(Some("lamp"), r#"{"Receive":1}"#),
    ])?;
    let dead = driver.records("commands.dlq")?;
    assert_eq!(
        dead.iter().map(|record| record.value.as_deref()).collect::<Vec<_>>(),
        [
            Some(br#"{"Receive":-1}"#.as_slice()),
            Some(br#"{"Receive":1}"#.as_slice()),
        ]
    );
    assert_eq!(driver.records("movements")?.len(), 1);
    assert_eq!(
        driver.ledger_state(0)?.applied,
        driver.records("commands")?.last().map(|record| record.offset)
    );
    Ok(())
}
