//! Faults of Redis: it dies, loses data, refuses writes, or is replaced by a server that has less.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::chaos::scene::Scene;
use crate::real::{Cluster, Service};

/// The folder of Redis's append-only files.
const FILES: &str = "appendonlydir";

/// Kills the server; it comes back from its append-only file, in which the last second may be missing.
pub(super) async fn killed(scene: &mut Scene<'_>) -> Result<()> {
    scene.stage.servers.kill(Service::Redis)?;
    scene.struck();
    start_again(scene).await
}

pub(super) async fn killed_and_empty(scene: &mut Scene<'_>) -> Result<()> {
    scene.stage.servers.kill(Service::Redis)?;
    scene.struck();
    std::fs::remove_dir_all(scene.stage.servers.data(Service::Redis).join(FILES))?;
    start_again(scene).await
}

/// Kills the server and restores an old snapshot, as from a backup.
pub(super) async fn killed_and_old(scene: &mut Scene<'_>) -> Result<()> {
    let files = scene.stage.servers.data(Service::Redis).join(FILES);
    let backup = tempfile::tempdir()?;
    copy(&files, backup.path())?;
    scene.pause(1_000, 3_000).await;
    scene.stage.servers.kill(Service::Redis)?;
    scene.struck();
    std::fs::remove_dir_all(&files)?;
    std::fs::create_dir(&files)?;
    copy(backup.path(), &files)?;
    start_again(scene).await
}

async fn start_again(scene: &mut Scene<'_>) -> Result<()> {
    scene.pause(0, 3_000).await;
    scene.stage.servers.start_again(Service::Redis)?;
    scene.over();
    Ok(())
}

pub(super) async fn flushed(scene: &mut Scene<'_>) -> Result<()> {
    scene.play.installation.flush_redis().await?;
    scene.struck();
    Ok(())
}

pub(super) async fn stopped(scene: &mut Scene<'_>) -> Result<()> {
    scene.stage.servers.signal(Service::Redis, "STOP")?;
    scene.struck();
    scene.pause(1_000, 8_000).await;
    scene.stage.servers.signal(Service::Redis, "CONT")?;
    scene.over();
    Ok(())
}

pub(super) async fn out_of_memory(scene: &mut Scene<'_>) -> Result<()> {
    set(scene, "maxmemory", "1mb").await?;
    scene.struck();
    scene.pause(1_000, 5_000).await;
    set(scene, "maxmemory", "0").await?;
    scene.over();
    Ok(())
}

async fn set(scene: &Scene<'_>, name: &str, value: &str) -> Result<()> {
    let client = redis::Client::open(scene.play.installation.redis_url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg(name).arg(value);
    set.query_async::<()>(&mut connection).await.context("CONFIG SET")
}

/// Fills the disk: Redis refuses writes while it can't write its append-only file.
pub(super) async fn disk_full(scene: &mut Scene<'_>) -> Result<()> {
    let filler = fill(&scene.stage.servers.data(Service::Redis))?;
    scene.struck();
    scene.pause(2_000, 6_000).await;
    drop(filler);
    scene.over();
    Ok(())
}

/// Kills the master after its replica has been cut off for a while; a proxy then leads clients to the replica.
pub(super) async fn fail_over(scene: &mut Scene<'_>) -> Result<()> {
    fail_over_after_a_lag(scene, true).await
}

/// Fails over in the same way, but the former master lives on; only its connections are cut.
pub(super) async fn fail_over_beside_the_former(scene: &mut Scene<'_>) -> Result<()> {
    fail_over_after_a_lag(scene, false).await
}

async fn fail_over_after_a_lag(scene: &mut Scene<'_>, kill: bool) -> Result<()> {
    scene.pair()?.lag();
    scene.pause(200, 3_000).await;
    scene.pair()?.fail_over(kill).await?;
    scene.struck();
    scene.recovered().await?;
    scene.pair()?.mend().await
}

/// Kills a master; its replica is elected after the cluster's time-out.
pub(super) async fn cluster_master_killed(scene: &mut Scene<'_>) -> Result<()> {
    let master = any_master(scene).await?;
    scene.cluster()?.servers[master].kill();
    scene.struck();
    scene.recovered().await?;
    scene.cluster()?.mend().await
}

/// Kills a master that is back, empty, before the cluster notices; its replica then copies the empty state.
pub(super) async fn cluster_master_empty(scene: &mut Scene<'_>) -> Result<()> {
    let master = any_master(scene).await?;
    scene.cluster()?.servers[master].kill();
    scene.struck();
    scene.cluster()?.servers[master].restart().await;
    scene.over();
    scene.cluster()?.mend().await
}

/// Stops a master until after its replica was elected.
pub(super) async fn cluster_master_stopped(scene: &mut Scene<'_>) -> Result<()> {
    let master = any_master(scene).await?;
    scene.cluster()?.servers[master].signal("STOP");
    scene.struck();
    scene
        .pause(Cluster::NODE_TIMEOUT.as_millis() as u64 + 1_000, 8_000)
        .await;
    scene.cluster()?.servers[master].signal("CONT");
    scene.over();
    scene.cluster()?.mend().await
}

/// Fails over on demand. Nothing is lost: the replica takes over when it has everything.
pub(super) async fn cluster_fail_over(scene: &mut Scene<'_>) -> Result<()> {
    let master = any_master(scene).await?;
    let replica = scene.cluster()?.replica_of(master).await?;
    let server = &scene.cluster()?.servers[replica];
    server.command::<()>("CLUSTER FAILOVER").await?;
    scene.struck();
    scene.recovered().await?;
    scene.cluster()?.mend().await
}

/// Kills a master and its replica. A third of the ledgers is gone, and the cluster serves no one until both are back,
/// empty.
pub(super) async fn cluster_shard_killed(scene: &mut Scene<'_>) -> Result<()> {
    let master = any_master(scene).await?;
    let replica = scene.cluster()?.replica_of(master).await?;
    for server in [master, replica] {
        scene.cluster()?.servers[server].kill();
    }
    scene.struck();
    scene.pause(500, 4_000).await;
    scene.cluster()?.mend().await?;
    scene.over();
    Ok(())
}

async fn any_master(scene: &mut Scene<'_>) -> Result<usize> {
    let masters = scene.cluster()?.masters().await;
    anyhow::ensure!(!masters.is_empty(), "no master holds anything");
    Ok(*scene.chance.pick(&masters))
}

/// A file that fills a disk; removed when dropped.
pub(super) struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Fills the disk that a folder is on; it must be a small one.
pub(super) fn fill(folder: &Path) -> Result<Filler> {
    let path = folder.join("filler");
    let mut file = File::create(&path)?;
    let filler = Filler(path);
    // The last chunks are small, so that no room is left.
    for size in [1 << 20, 1 << 12, 1] {
        let chunk = vec![0; size];
        loop {
            match file.write(&chunk) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("fill a disk"),
            }
        }
    }
    Ok(filler)
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
