//! Tests that a gateway shows no ledger that lacks what was decided, and when it is ready.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use interlock_operate::replay::Growth;
use interlock_operate::topics::of_ledgers;
use interlock_schemas::civil_from_days;
use interlock_schemas::topics::{BOOKING_REQUESTS, CONFIRMED};
use interlock_streams::ledger::memory::Part;
use interlock_streams::record::OutputRecord;
use interlock_streams::runtime::{Repartition, RuntimeConfig};
use interlock_tests::gateway::{Gateway, booking, problem};
use interlock_tests::memory::World;
use interlock_tests::plans::{coming_days, sleeper};
use interlock_topologies::BOOKING;
use serde_json::{Value, json};

use super::{TRAIN, gateway, stop, world};

/// Grows a world to this number of ledgers, as `interlock replay --repartition` does.
async fn grow(world: &World, partitions: i32) -> Result<()> {
    let context = interlock_topologies::Context {
        registry: world.registry.clone(),
        ids: world.ids,
    };
    let all = interlock_topologies::all();
    let booking = all.iter().find(|definition| definition.name == BOOKING);
    let booking = Arc::new((booking.context(BOOKING)?.build)(&context)?);
    let (log, store) = (Arc::new(world.log.clone()), Arc::new(world.store.clone()));
    let config = RuntimeConfig::new("interlock", "operator");
    let wait = Duration::from_secs(60);
    let growth = Growth {
        log: log.clone(),
        store: store.clone(),
        ledgers: Repartition::new(&config, &booking, log, store, wait),
        topics: of_ledgers().collect(),
    };
    growth.to(partitions, |_| {}).await?;
    Ok(())
}

#[tokio::test]
async fn a_gateway_follows_a_repartition_and_shows_no_seat_as_free_before() -> Result<()> {
    let mut world = World::new(4).await?;
    let days = coming_days(8);
    let dates: Vec<String> = days
        .iter()
        .map(|day| {
            let (year, month, day) = civil_from_days(*day);
            format!("{year:04}-{month:02}-{day:02}")
        })
        .collect();
    world.seed(&[sleeper(TRAIN, days)])?;
    let gateway = Gateway::new(&world).await?;
    gateway.up_to_date().await?;
    let book = async |kind: &str| {
        let requests = dates
            .iter()
            .map(|date| booking(&format!("{kind}-{date}"), TRAIN, date, 1));
        let requests: Vec<Value> = requests.collect();
        gateway.append(BOOKING_REQUESTS, &json!(requests)).await
    };
    let all_are_shown = async |kind: &str| {
        for date in &dates {
            let outcome = format!("/trains/{TRAIN}/{date}/requests/{kind}-{date}");
            let outcome = gateway.wait(&outcome, |outcome| outcome["pnr"].is_string()).await?;
            let pnr = outcome["pnr"].as_str().context("a PNR")?;
            let path = format!("/bookings/{pnr}");
            let found = gateway.wait(&path, |found| found["request_id"].is_string()).await?;
            assert_eq!(found["request_id"], format!("{kind}-{date}"));
        }
        anyhow::Ok(())
    };
    let (worker, _) = world.worker("a")?;
    book("before").await?;
    all_are_shown("before").await?;
    stop(worker).await?;

    grow(&world, 7).await?;
    world.partitions = 7;
    for date in &dates {
        let path = format!("/trains/{TRAIN}/{date}");
        let refused = gateway.wait(&path, |answer| answer["status"] == 503).await?;
        let detail = refused["detail"].to_string();
        ensure!(detail.contains("lacks what was decided"), "{date}: {detail}");
    }
    let (worker, _) = world.worker("b")?;
    all_are_shown("before").await?;
    book("after").await?;
    all_are_shown("after").await?;
    stop(worker).await
}

/// Redis lost everything while no worker runs.
#[tokio::test]
async fn a_ledger_that_is_lost_is_unavailable_not_empty() -> Result<()> {
    let (world, gateway, date) = gateway().await?;
    let (worker, _) = world.worker("a")?;
    gateway
        .append(BOOKING_REQUESTS, &json!([booking("b-1", TRAIN, &date, 1)]))
        .await?;
    let path = format!("/trains/{TRAIN}/{date}/requests/b-1");
    gateway.wait(&path, |outcome| outcome["pnr"].is_string()).await?;
    // The offset is committed after the ledger is written.
    world.wait_for_answers(1, Duration::from_secs(60)).await?;
    stop(worker).await?;
    // First the train-date alone.
    for ledger in 0..world.partitions {
        for document in world
            .store
            .documents(ledger)
            .into_iter()
            .filter(|name| !name.is_empty())
        {
            world.store.lose(ledger, &Part::Document(document));
        }
    }
    let lost = gateway.get(&path).await?;
    problem(lost, 503, &["is missing and can't be read"]).await?;
    world.store.flush();
    let lost = gateway.get(&path).await?;
    problem(lost, 503, &["lacks what was decided"]).await?;
    let (worker, _) = world.worker("b")?;
    gateway.wait(&path, |outcome| outcome["pnr"].is_string()).await?;
    stop(worker).await
}

/// Events keep coming, so that the gateway never finds nothing to read.
#[tokio::test]
async fn it_is_ready_once_it_has_read_what_was_there_at_its_start() -> Result<()> {
    let (world, _) = world().await?;
    let log = world.log.clone();
    let busy = tokio::spawn(async move {
        loop {
            let event = OutputRecord {
                topic: CONFIRMED.into(),
                partition: Some(0),
                timestamp: None,
                key: None,
                value: Some(Bytes::from_static(b"no event")),
                headers: Vec::new(),
            };
            log.append(vec![event]).expect("the topic is there");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let gateway = Gateway::new(&world).await?;
    gateway.up_to_date().await?;
    ensure!(!busy.is_finished());
    busy.abort();
    Ok(())
}
