//! Drives the booking topology with the engine's test driver, one command at a time, and checks the state after each
//! failure.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use interlock_inventory::command_key;
use interlock_schemas::registry::{MemoryRegistry, Registry, register_all};
use interlock_schemas::{
    BerthPreference, BookingRequest, CancellationRequest, Command, Decoder, Encoder, Event, Passenger, topics,
};
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
        let mut plan = sleeper("12951", vec![DATE]);
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
            topic: topic.into(),
            partition,
            timestamp: None,
            key: Some(Bytes::from(key)),
            value: Some(Bytes::from(value)),
            headers: Vec::new(),
        };
        Ok(self.driver.pipe(vec![record])?)
    }

    /// Returns the `request_id`s of a topic's events, in their order.
    fn about(&self, topic: &str) -> Result<Vec<String>> {
        let mut decoder = Decoder::<Event>::new(self.registry.clone());
        let mut about = Vec::new();
        for record in self.driver.records(topic)? {
            let value = record.value.unwrap_or_default();
            let event = futures::executor::block_on(decoder.decode(&value))?;
            about.push(event.header().request_id.to_string());
        }
        Ok(about)
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
