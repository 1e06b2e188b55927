//! Faults of the database: it dies, takes no writes, or keeps its clients waiting.

use anyhow::{Context as _, Result};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::redis::fill;
use crate::chaos::scene::Scene;
use crate::real::{Service, execute};

/// Kills the server with its children, as when its machine dies.
pub(super) async fn killed(scene: &mut Scene<'_>) -> Result<()> {
    scene.stage.servers.kill(Service::Postgres)?;
    scene.struck();
    scene.pause(200, 3_000).await;
    scene.stage.servers.start_again(Service::Postgres)?;
    scene.over();
    Ok(())
}

/// Fills the disk. The database panics when its log has no room, and restarts when there is room again.
pub(super) async fn disk_full(scene: &mut Scene<'_>) -> Result<()> {
    let filler = fill(&scene.stage.servers.data(Service::Postgres))?;
    scene.struck();
    scene.pause(2_000, 6_000).await;
    drop(filler);
    scene.stage.servers.start_again(Service::Postgres)?;
    scene.over();
    Ok(())
}

/// Makes the database read-only, as a standby is before its promotion.
pub(super) async fn read_only(scene: &mut Scene<'_>) -> Result<()> {
    let superuser = scene.stage.superuser_url();
    execute(&superuser, "ALTER SYSTEM SET default_transaction_read_only = on").await?;
    execute(&superuser, "SELECT pg_reload_conf()").await?;
    scene.struck();
    scene.pause(1_000, 5_000).await;
    // These two statements need a session that may write.
    let reset = "SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only";
    execute_each(&superuser, reset).await?;
    execute(&superuser, "SELECT pg_reload_conf()").await?;
    scene.over();
    Ok(())
}

pub(super) async fn sessions_ended(scene: &mut Scene<'_>) -> Result<()> {
    let superuser = scene.stage.superuser_url();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    execute(&superuser, end).await?;
    scene.struck();
    Ok(())
}

/// Locks the tables, as a client does that leaves its transaction open.
pub(super) async fn locked(scene: &mut Scene<'_>) -> Result<()> {
    let mut session = scene.play.installation.database().await?;
    let mut transaction = session.begin().await?;
    let lock = "LOCK TABLE revenue_minute, occupancy_minute IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *transaction).await.context("lock")?;
    scene.struck();
    scene.pause(2_000, 8_000).await;
    transaction.rollback().await?;
    scene.over();
    Ok(())
}

/// Executes statements that must not be in one transaction.
async fn execute_each(url: &str, statements: &str) -> Result<()> {
    let mut session = PgConnection::connect(url).await?;
    for statement in statements.split(';') {
        let statement = sqlx::AssertSqlSafe(statement.trim().to_owned());
        sqlx::query(statement).execute(&mut session).await?;
    }
    Ok(())
}
