//! Faults of brokers, which die or stop: the only one, one of three, a coordinator, and two of three.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::chaos::scene::Scene;
use crate::real::Service;

const BROKERS: u64 = 3;

pub(super) async fn killed(scene: &mut Scene<'_>) -> Result<()> {
    scene.stage.servers.signal_broker(1, "KILL")?;
    scene.struck();
    start_again(scene).await
}

pub(super) async fn stopped(scene: &mut Scene<'_>) -> Result<()> {
    stand_still(scene, 1, 2_000, 8_000).await
}

pub(super) async fn one_killed(scene: &mut Scene<'_>) -> Result<()> {
    let node = any(scene);
    kill_one(scene, node).await
}

/// Stops a broker for long enough that the controllers may fence it.
pub(super) async fn one_stopped(scene: &mut Scene<'_>) -> Result<()> {
    let node = any(scene);
    stand_still(scene, node, 2_000, 12_000).await
}

/// Kills two of three, so fewer are in sync than a write needs, and everything waits.
pub(super) async fn two_killed(scene: &mut Scene<'_>) -> Result<()> {
    let spared = any(scene);
    for node in (1..=BROKERS as u16).filter(|node| *node != spared) {
        scene.stage.servers.signal_broker(node, "KILL")?;
    }
    scene.struck();
    start_again(scene).await
}

/// Kills the coordinator of a worker that commits several times a second, so the broker dies during a commit or close
/// to one.
pub(super) async fn transaction_coordinator_killed(scene: &mut Scene<'_>) -> Result<()> {
    let number = scene.any_worker();
    let id = scene.play.workers[number].transactional_id.clone();
    let node = leader(scene, "__transaction_state", &id)?;
    kill_one(scene, node).await
}

pub(super) async fn group_coordinator_killed(scene: &mut Scene<'_>) -> Result<()> {
    let group = format!("{}-booking", scene.play.installation.application_id());
    let node = leader(scene, "__consumer_offsets", &group)?;
    kill_one(scene, node).await
}

fn any(scene: &mut Scene<'_>) -> u16 {
    scene.chance.between(1, BROKERS) as u16
}

async fn kill_one(scene: &mut Scene<'_>, node: u16) -> Result<()> {
    scene.stage.servers.signal_broker(node, "KILL")?;
    scene.struck();
    scene.recovered().await?;
    start_again(scene).await
}

async fn start_again(scene: &mut Scene<'_>) -> Result<()> {
    scene.pause(0, 3_000).await;
    scene.stage.servers.start_again(Service::Kafka)?;
    scene.over();
    Ok(())
}

async fn stand_still(scene: &mut Scene<'_>, node: u16, from_ms: u64, to_ms: u64) -> Result<()> {
    scene.stage.servers.signal_broker(node, "STOP")?;
    scene.struck();
    scene.pause(from_ms, to_ms).await;
    scene.stage.servers.signal_broker(node, "CONT")?;
    scene.over();
    Ok(())
}

/// Returns the broker that coordinates this id: the leader of the id's partition in an internal topic.
fn leader(scene: &Scene<'_>, topic: &str, id: &str) -> Result<u16> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", scene.play.installation.bootstrap_servers())
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
    let topic = metadata.topics().first().context("no such topic")?;
    let partition = hash(id) % i32::try_from(topic.partitions().len())?;
    let found = topic.partitions().iter().find(|found| found.id() == partition);
    Ok(u16::try_from(found.context("no such partition")?.leader())?)
}

/// Hashes a string as Java does; brokers use this to choose the partition of an id.
fn hash(id: &str) -> i32 {
    let hash = id
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash & i32::MAX
}
