//! Drives the booking topology with the engine's test driver, one command at a time, and checks the state after each
//! failure.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use interlock_inventory::command_key;
use interlock_schemas::registry::{MemoryRegistry, Registry, register_all};
use interlock_schemas::{
    BerthPreference, BookingRequest, CancellationRequest, Command, Decoder, Encoder, Event, KEY_SCHEMA_HEADER,
    Passenger, topics,
};
use interlock_streams::mutation::{Clause, leave_out};
use interlock_streams::record::OutputRecord;
use interlock_streams::testing::{Failure, TopologyTestDriver};
use interlock_tests::plans::sleeper;

/// Days since the epoch: five days after the driver's clock begins.
const DATE: i32 = 19_728;
const FAILURES: [Failure; 6] = [
    Failure::AbortedTransaction,
    Failure::LostLedgerReply,
    Failure::RevokedPartitions,
    Failure::FlushedLedgers,
    Failure::DemandedRebuild,
    Failure::Crash,
];

/// A train with one coach of eight seats on sale.
struct Sale {
    driver: TopologyTestDriver,
    encoder: Encoder,
    registry: Arc<dyn Registry>,
}

impl Sale {
    fn new(partitions: i32) -> Result<Sale> {
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
        let ids = futures::executor::block_on(register_all(&*registry, &topics::contract()))?;
        let booking = interlock_topologies::all().iter().find(|known| known.name == "booking");
        let topology = (booking.context("no booking topology")?.build)(&interlock_topologies::Context {
            registry: registry.clone(),
            ids,
        })?;
        let sale = Sale {
            driver: TopologyTestDriver::new(topology, partitions)?,
            encoder: Encoder::new(ids),
            registry,
        };
        let mut plan = sleeper("12951", vec![DATE, DATE + 1]);
        plan.coaches.truncate(1);
        plan.layouts[0].seats = 8;
        plan.quotas.clear();
        let mut value = Vec::new();
        sale.encoder.encode(&plan, &mut value)?;
        sale.pipe(topics::TRAIN_SERVICES, None, plan.train_id.to_string(), value)?;
        Ok(sale)
    }

    fn ask(&self, partition: Option<i32>, command: &Command) -> Result<()> {
        let mut value = Vec::new();
        self.encoder.encode(command, &mut value)?;
        self.pipe(
            topics::BOOKING_REQUESTS,
            partition,
            command_key(command).to_string(),
            value,
        )
    }

    fn pipe(&self, topic: &str, partition: Option<i32>, key: String, value: Vec<u8>) -> Result<()> {
        let record = OutputRecord {
            partition,
            ..record(topic, key.into_bytes(), Some(value))
        };
        Ok(self.driver.pipe(vec![record])?)
    }

    /// Returns the `request_id`s of a topic's events, in their order.
    fn about(&self, topic: &str) -> Result<Vec<String>> {
        let events = self.events(topic)?;
        Ok(events
            .iter()
            .map(|event| event.header().request_id.to_string())
            .collect())
    }

    fn code_of_last_rejection(&self) -> Result<String> {
        match self.events(topics::REJECTED)?.pop() {
            Some(Event::Rejected(event)) => Ok(event.code.to_string()),
            other => bail!("{other:?} is no rejection"),
        }
    }

    fn events(&self, topic: &str) -> Result<Vec<Event>> {
        let mut decoder = Decoder::<Event>::new(self.registry.clone());
        let records = self.driver.records(topic)?.into_iter();
        let decoded =
            records.map(|record| futures::executor::block_on(decoder.decode(&record.value.unwrap_or_default())));
        Ok(decoded.collect::<Result<_, _>>()?)
    }
}

fn record(topic: &str, key: Vec<u8>, value: Option<Vec<u8>>) -> OutputRecord {
    OutputRecord {
        topic: topic.into(),
        partition: None,
        timestamp: None,
        key: Some(Bytes::from(key)),
        value: value.map(Bytes::from),
        headers: Vec::new(),
    }
}

fn book(request: &str, passengers: usize) -> Command {
    let passenger = Passenger {
        name: "Ada".into(),
        age: 36,
        berth_preference: BerthPreference::None,
        preference_is_hard: false,
    };
    Command::Book(BookingRequest {
        request_id: request.into(),
        train_id: "12951".into(),
        travel_date: DATE,
        user_id: "ada".into(),
        from_station: "A".into(),
        to_station: "E".into(),
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: vec![passenger; passengers],
        partial_confirmation: false,
        requested_at: 0,
    })
}

fn on_the_next_day(command: Command) -> Command {
    match command {
        Command::Book(request) => Command::Book(BookingRequest {
            travel_date: DATE + 1,
            ..request
        }),
        cancel @ Command::Cancel(_) => cancel,
    }
}

fn cancel(request: &str, booking: &str) -> Command {
    Command::Cancel(CancellationRequest {
        request_id: request.into(),
        train_id: "12951".into(),
        travel_date: DATE,
        booking_request_id: booking.into(),
        passengers: Vec::new(),
        user_id: "ada".into(),
        requested_at: 0,
    })
}

#[test]
fn a_cancellation_promotes_the_waiter_whatever_fails_before_it() -> Result<()> {
    for failure in FAILURES {
        let sale = Sale::new(1)?;
        sale.ask(None, &book("first", 6))?;
        sale.ask(None, &book("other", 2))?;
        sale.ask(None, &book("second", 1))?;
        assert_eq!(sale.about(topics::CONFIRMED)?, ["first", "other"], "{failure:?}");
        assert_eq!(sale.about(topics::WAITLIST)?, ["second"], "{failure:?}");
        sale.driver.inject(failure)?;
        sale.ask(None, &cancel("third", "first"))?;
        assert_eq!(sale.about(topics::CANCELLED)?, ["first"], "{failure:?}");
        assert_eq!(
            sale.about(topics::CONFIRMED)?,
            ["first", "other", "second"],
            "{failure:?}"
        );
    }
    Ok(())
}

/// An outcome that the ledger is known to have, and does not have any more, is no reason to decide once more.
#[test]
fn a_request_whose_outcome_is_lost_is_no_new_one() {
    let trace = || -> Result<()> {
        let sale = Sale::new(1)?;
        sale.ask(None, &book("first", 1))?;
        let (key, field) = (
            command_key(&book("first", 1)),
            interlock_inventory::settled_field("first"),
        );
        let (key, field) = (Bytes::from(key.to_string()), Bytes::from(field));
        let stored = sale.driver.ledgers().fields(0, &key);
        ensure!(
            stored.contains_key(&field),
            "the outcome is not where the test looks: {:?}",
            stored.keys()
        );
        sale.driver.ledgers().set_field(0, &key, &field, None);
        sale.ask(None, &book("first", 1))?;
        sale.driver.advance_wall_clock(std::time::Duration::from_secs(30))?;
        let new = sale
            .events(topics::CONFIRMED)?
            .into_iter()
            .filter(|event| !event.header().replay);
        ensure!(new.count() == 1, "it was booked twice");
        ensure!(sale.about(topics::CONFIRMED)?.len() == 2, "it was not answered");
        Ok(())
    };
    leave_out(None);
    trace().expect("the schedule holds");
    leave_out(Some(Clause::OutcomeLost));
    let seen = trace().expect_err("the clause is not needed").to_string();
    leave_out(None);
    assert!(seen.contains("booked twice"), "{seen}");
}

#[test]
fn a_request_in_the_wrong_partition_is_sent_on_and_answered_once() -> Result<()> {
    let sale = Sale::new(3)?;
    for partition in 0..3 {
        sale.ask(Some(partition), &book(&format!("to {partition}"), 1))?;
    }
    let mut confirmed = sale.about(topics::CONFIRMED)?;
    confirmed.sort();
    assert_eq!(confirmed, ["to 0", "to 1", "to 2"]);
    assert_eq!(
        sale.driver.records(topics::BOOKING_REQUESTS)?.len(),
        5,
        "two were sent on"
    );
    assert_eq!(sale.driver.records(&topics::dlq(topics::BOOKING_REQUESTS))?.len(), 0);
    Ok(())
}

/// Confluent's `AvroSerializer` writes a key with the schema `"string"`, and names the schema before it or in a header.
#[test]
fn a_key_with_a_schema_belongs_to_the_train_date_that_it_names() -> Result<()> {
    let sale = Sale::new(3)?;
    for partition in 0..3 {
        for is_framed in [true, false] {
            let command = book(&format!("to {partition}, framed {is_framed}"), 1);
            let (key, mut value) = (command_key(&command), Vec::new());
            sale.encoder.encode(&command, &mut value)?;
            let length = u8::try_from(2 * key.len())?;
            let datum = [&[length][..], key.as_bytes()].concat();
            let framed = [&[0, 0, 0, 0, 7][..], &datum].concat();
            let mut record = record(
                topics::BOOKING_REQUESTS,
                if is_framed { framed } else { datum },
                Some(value),
            );
            record.partition = Some(partition);
            if !is_framed {
                let guid = Bytes::from([&[1][..], &[7; 16]].concat());
                record.headers.push((KEY_SCHEMA_HEADER.into(), Some(guid)));
            }
            sale.driver.pipe(vec![record])?;
        }
    }
    let confirmed = sale.driver.records(topics::CONFIRMED)?;
    assert_eq!(confirmed.len(), 6, "each is answered once");
    let key = command_key(&book("any", 1));
    assert!(
        confirmed
            .iter()
            .all(|event| event.key.as_deref() == Some(key.as_bytes()))
    );
    assert_eq!(
        sale.driver.records(topics::BOOKING_REQUESTS)?.len(),
        10,
        "four were sent on"
    );
    assert_eq!(sale.driver.records(&topics::dlq(topics::BOOKING_REQUESTS))?.len(), 0);
    Ok(())
}

#[test]
fn a_withdrawn_train_opens_no_further_date_and_keeps_what_is_sold() -> Result<()> {
    let sale = Sale::new(1)?;
    sale.ask(None, &book("before", 1))?;
    sale.driver
        .pipe(vec![record(topics::TRAIN_SERVICES, b"12951".to_vec(), None)])?;
    sale.ask(None, &on_the_next_day(book("next day", 1)))?;
    assert_eq!(sale.about(topics::REJECTED)?, ["next day"]);
    assert_eq!(sale.code_of_last_rejection()?, "UNKNOWN_TRAIN");
    // The date that is open goes on by its plan, also after its ledger was rebuilt.
    sale.driver.inject(Failure::FlushedLedgers)?;
    sale.ask(None, &book("after", 1))?;
    assert_eq!(sale.about(topics::CONFIRMED)?, ["before", "after"]);
    sale.ask(None, &cancel("cancel", "before"))?;
    assert_eq!(sale.about(topics::CANCELLED)?, ["before"]);
    Ok(())
}
