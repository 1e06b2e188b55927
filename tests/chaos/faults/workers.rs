//! Faults of workers, which die, or stop and wake up, and a registry that is down while a worker starts.

use anyhow::Result;

use crate::chaos::scene::Scene;
use crate::real::Service;

/// Kills a worker; the survivor takes over before another worker is started.
pub(super) async fn killed(scene: &mut Scene<'_>) -> Result<()> {
    kill_any(scene)?;
    scene.struck();
    scene.recovered().await?;
    scene.play.add_worker().await
}

pub(super) async fn all_killed(scene: &mut Scene<'_>) -> Result<()> {
    let workers = scene.play.workers.len();
    for mut hand in scene.play.workers.drain(..) {
        hand.worker.kill()?;
    }
    scene.struck();
    scene.pause(0, 2_000).await;
    for _ in 0..workers {
        scene.play.add_worker().await?;
    }
    scene.over();
    Ok(())
}

/// Stops a worker until the others have its partitions.
pub(super) async fn zombie(scene: &mut Scene<'_>) -> Result<()> {
    stand_still(scene, 7_000, 10_000).await
}

pub(super) async fn paused(scene: &mut Scene<'_>) -> Result<()> {
    stand_still(scene, 500, 3_000).await
}

async fn stand_still(scene: &mut Scene<'_>, from_ms: u64, to_ms: u64) -> Result<()> {
    let number = scene.any_worker();
    scene.worker(number).signal("STOP")?;
    scene.struck();
    scene.pause(from_ms, to_ms).await;
    scene.worker(number).signal("CONT")?;
    scene.over();
    Ok(())
}

pub(super) async fn registry_killed(scene: &mut Scene<'_>) -> Result<()> {
    scene.stage.servers.kill(Service::Registry)?;
    scene.struck();
    scene.pause(1_000, 4_000).await;
    scene.stage.servers.start_again(Service::Registry)?;
    scene.over();
    Ok(())
}

pub(super) async fn registry_and_worker_killed(scene: &mut Scene<'_>) -> Result<()> {
    scene.stage.servers.kill(Service::Registry)?;
    kill_any(scene)?;
    scene.struck();
    scene.play.add_worker().await?;
    scene.pause(1_000, 4_000).await;
    scene.stage.servers.start_again(Service::Registry)?;
    scene.over();
    Ok(())
}

/// Kills a random worker and removes it from the list.
pub(super) fn kill_any(scene: &mut Scene<'_>) -> Result<()> {
    let number = scene.any_worker();
    scene.play.workers.remove(number).worker.kill()
}
