//! Runs the booking topology end to end over in-process parts, with the runtime and protocol of production.

use std::time::Duration;

use anyhow::Result;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use interlock_inventory::command_key;
use interlock_loadgen::{Profile, Workload};
use interlock_schemas::{Command, Encoder, Event, EventKind, TrainService, topics};
use interlock_streams::log::Log as _;
use interlock_streams::record::{OutputRecord, TopicPartition};
use interlock_tests::memory::World;
use interlock_tests::plans::{coming_days, sleeper};

const PATIENCE: Duration = Duration::from_secs(60);

fn trains() -> Vec<TrainService> {
    (0..10)
        .map(|number| sleeper(&format!("129{number:02}"), coming_days(3)))
        .collect()
}

fn load(plans: &[TrainService], requests: u64, seed: u64) -> Result<Vec<Command>> {
    let workload = Workload::new(&Profile::named("burst")?, plans, requests, None, seed)?;
    Ok(workload.map(|planned| planned.command).collect())
}

#[tokio::test]
async fn a_burst_is_answered_once_by_two_workers() -> Result<()> {
    let world = World::new(4).await?;
    let plans = trains();
    world.seed(&plans)?;
    let commands = load(&plans, 5_000, 1)?;
    for command in &commands {
        world.send(command)?;
    }
    let (first, _) = world.worker("one")?;
    let (second, _) = world.worker("two")?;
    world.wait_for_answers(commands.len(), PATIENCE).await?;
    first.stop();
    second.stop();
    tokio::task::spawn_blocking(move || first.wait().and(second.wait())).await??;
    world.audit().await?;
    let mut kinds = [0usize; 3];
    for ledger in 0..world.partitions {
        for event in world.events(ledger).await? {
            match event.header() {
                header if header.replay => kinds[0] += 1,
                header if header.kind == EventKind::Promotion => kinds[1] += 1,
                header if header.kind == EventKind::Answer => kinds[2] += 1,
                _ => {}
            }
        }
    }
    assert!(
        kinds.iter().all(|count| *count > 0),
        "replays, promotions, answers: {kinds:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_flushed_store_is_rebuilt_from_the_events() -> Result<()> {
    let world = World::new(2).await?;
    let plans = trains();
    world.seed(&plans)?;
    let commands = load(&plans, 2_000, 2)?;
    let (before, after) = commands.split_at(1_000);
    for command in before {
        world.send(command)?;
    }
    let (worker, _) = world.worker("one")?;
    world.wait_for_answers(before.len(), PATIENCE).await?;
    worker.stop();
    tokio::task::spawn_blocking(move || worker.wait()).await??;
    world.store.flush();
    for command in after {
        world.send(command)?;
    }
    let (worker, _) = world.worker("two")?;
    world.wait_for_answers(commands.len(), PATIENCE).await?;
    worker.stop();
    tokio::task::spawn_blocking(move || worker.wait()).await??;
    world.audit().await?;
    Ok(())
}

#[tokio::test]
async fn a_record_in_the_wrong_partition_is_sent_on_once() -> Result<()> {
    let world = World::new(4).await?;
    let plans = trains();
    world.seed(&plans)?;
    let commands = load(&plans, 400, 3)?;
    for (index, command) in (0..).zip(&commands) {
        world.send_to(Some(index % world.partitions), command)?;
    }
    let (worker, _) = world.worker("one")?;
    world.wait_for_answers(commands.len(), PATIENCE).await?;
    worker.stop();
    tokio::task::spawn_blocking(move || worker.wait()).await??;
    world.audit().await?;
    Ok(())
}

/// Clients copy headers from records that they have read, or use the prefix that is reserved.
#[tokio::test]
async fn a_client_s_own_headers_keep_no_request_from_being_answered() -> Result<()> {
    let world = World::new(4).await?;
    let plans = trains();
    world.seed(&plans)?;
    let commands = load(&plans, 200, 3)?;
    let headers = [
        ("__streams.hops", "1"),
        ("__streams.sent_on.to", "1 of 4"),
        ("__streams.errors.topic", "booking-requests"),
        ("__streams.resent.offset", "0"),
    ];
    let headers = headers.map(|(name, value)| (name.into(), Some(Bytes::from_static(value.as_bytes()))));
    let encoder = Encoder::new(world.ids);
    for (index, command) in (0..).zip(&commands) {
        let mut value = Vec::new();
        encoder.encode(command, &mut value)?;
        world.log.append(vec![OutputRecord {
            topic: topics::BOOKING_REQUESTS.into(),
            partition: Some(index % world.partitions),
            timestamp: None,
            key: Some(Bytes::from(command_key(command).to_string())),
            value: Some(value.into()),
            headers: headers.to_vec(),
        }])?;
    }
    let (worker, _) = world.worker("one")?;
    world.wait_for_answers(commands.len(), PATIENCE).await?;
    worker.stop();
    tokio::task::spawn_blocking(move || worker.wait()).await??;
    world.audit().await?;
    for partition in 0..world.partitions {
        let letters = TopicPartition::new(topics::dlq(topics::BOOKING_REQUESTS), partition);
        assert_eq!(world.log.watermarks(&letters).await?.1, 0, "{letters}");
    }
    Ok(())
}

#[tokio::test]
async fn windows_equal_the_sums_over_the_events() -> Result<()> {
    let world = World::new(3).await?;
    let plans = trains();
    world.seed(&plans)?;
    let commands = load(&plans, 3_000, 4)?;
    for command in &commands {
        world.send(command)?;
    }
    // Two workers share the window topologies, so several tasks add to a row.
    let (first, _) = world.worker_of(&["booking", "revenue", "occupancy"], "one")?;
    let (second, _) = world.worker_of(&["revenue", "occupancy"], "two")?;
    world.wait_for_answers(commands.len(), PATIENCE).await?;
    let mut expected = [0i64; 4];
    for ledger in 0..world.partitions {
        for event in world.events(ledger).await? {
            let header = event.header();
            if header.replay {
                continue;
            }
            expected[0] += header.amount_minor.max(0);
            expected[1] += (-header.amount_minor).max(0);
            match &event {
                Event::Confirmed(event) => expected[2] += event.passengers.len() as i64,
                Event::Rejected(_) if header.kind == EventKind::Answer => expected[3] += 1,
                _ => {}
            }
        }
    }
    let found = || {
        [
            sum(&world, "revenue_minute", &["collected_minor"]),
            sum(&world, "revenue_minute", &["refunded_minor"]),
            sum(&world, "occupancy_minute", &["confirmed", "promoted"]),
            sum(&world, "rejections_minute", &["requests"]),
        ]
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while found() != expected && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(found(), expected);
    assert!(expected.iter().all(|sum| *sum > 0), "{expected:?}");
    first.stop();
    second.stop();
    tokio::task::spawn_blocking(move || first.wait().and(second.wait())).await??;
    assert_eq!(found(), expected, "nothing is added twice at the end");
    Ok(())
}

/// Returns the sum of some columns of a window table.
fn sum(world: &World, table: &str, columns: &[&str]) -> i64 {
    let Some(rows) = world.sink.rows(table) else { return 0 };
    let one = |column: &&str| {
        let column = rows.column_by_name(column).expect("a column of the table");
        column.as_primitive::<Int64Type>().values().iter().sum::<i64>()
    };
    columns.iter().map(one).sum()
}
