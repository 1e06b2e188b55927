//! Faults of the network between workers and one kind of server: slow, cut or half open.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::workers::kill_any;
use crate::chaos::scene::Scene;
use crate::chaos::stage::Network;
use crate::real::{Mode, Proxy};

/// Selects the proxies that a fault affects.
type Ways = for<'a> fn(&'a Network) -> Vec<&'a Proxy>;

const KAFKA: Ways = |network| network.kafka.iter().collect();
const REGISTRY: Ways = |network| vec![&network.registry];
const REDIS: Ways = |network| network.redis.iter().collect();
const POSTGRES: Ways = |network| vec![&network.postgres];

pub(super) async fn kafka_slow(scene: &mut Scene<'_>) -> Result<()> {
    slow(scene, KAFKA).await
}

pub(super) async fn kafka_cut(scene: &mut Scene<'_>) -> Result<()> {
    happen(scene, KAFKA, Mode::Cut).await
}

pub(super) async fn kafka_half_open(scene: &mut Scene<'_>) -> Result<()> {
    happen(scene, KAFKA, Mode::HalfOpen).await
}

pub(super) async fn redis_slow(scene: &mut Scene<'_>) -> Result<()> {
    slow(scene, REDIS).await
}

pub(super) async fn redis_cut(scene: &mut Scene<'_>) -> Result<()> {
    happen(scene, REDIS, Mode::Cut).await
}

pub(super) async fn redis_half_open(scene: &mut Scene<'_>) -> Result<()> {
    happen(scene, REDIS, Mode::HalfOpen).await
}

pub(super) async fn registry_cut(scene: &mut Scene<'_>) -> Result<()> {
    without_registry(scene, Mode::Cut).await
}

pub(super) async fn registry_half_open(scene: &mut Scene<'_>) -> Result<()> {
    without_registry(scene, Mode::HalfOpen).await
}

pub(super) async fn postgres_slow(scene: &mut Scene<'_>) -> Result<()> {
    slow(scene, POSTGRES).await
}

pub(super) async fn postgres_cut(scene: &mut Scene<'_>) -> Result<()> {
    happen(scene, POSTGRES, Mode::Cut).await
}

pub(super) async fn postgres_half_open(scene: &mut Scene<'_>) -> Result<()> {
    happen(scene, POSTGRES, Mode::HalfOpen).await
}

async fn slow(scene: &mut Scene<'_>, ways: Ways) -> Result<()> {
    let delay = Duration::from_millis(scene.chance.between(50, 300));
    happen(scene, ways, Mode::Slow(delay)).await
}

async fn happen(scene: &mut Scene<'_>, ways: Ways, mode: Mode) -> Result<()> {
    set(scene, ways, mode)?;
    scene.struck();
    scene.pause(1_000, 6_000).await;
    set(scene, ways, Mode::Pass)?;
    scene.over();
    Ok(())
}

/// Starts a worker while the network to the registry is broken; no other worker needs the registry.
async fn without_registry(scene: &mut Scene<'_>, mode: Mode) -> Result<()> {
    set(scene, REGISTRY, mode)?;
    kill_any(scene)?;
    scene.struck();
    scene.play.add_worker().await?;
    scene.pause(1_000, 6_000).await;
    set(scene, REGISTRY, Mode::Pass)?;
    scene.over();
    Ok(())
}

fn set(scene: &Scene<'_>, ways: Ways, mode: Mode) -> Result<()> {
    let ways = ways(&scene.stage.network);
    ways.first().context("no proxy there")?;
    ways.iter().for_each(|proxy| proxy.set(mode));
    Ok(())
}
