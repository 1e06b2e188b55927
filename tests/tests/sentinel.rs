//! The ledgers' master fails over by Sentinel under load: workers find the next one by themselves, and everything
//! holds.

use std::time::Duration;

use anyhow::{Result, ensure};
use interlock_tests::real::with_sentinel;

/// Requests per second, and in all: the load lasts longer than both fail-overs.
const RATE: u32 = 200;
const REQUESTS: u32 = 6_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selling_goes_on_at_the_next_master() -> Result<()> {
    with_sentinel("sentinel", async |installation, sentinel| {
        installation.seed(3).await?;
        let mut workers = [installation.worker().await?, installation.worker().await?];
        let mut load = installation.start_load(REQUESTS, Some(RATE))?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        sentinel.lose_master().await;
        sentinel.in_step().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        sentinel.order_fail_over().await;
        ensure!(load.is_running()?, "the load ended before the fail-overs");
        let outcome = load.finish().await?;
        ensure!(outcome.requests == u64::from(REQUESTS), "{outcome:?}");
        for worker in &mut workers {
            ensure!(worker.is_running()?, "a worker ended by itself:\n{}", worker.log());
        }
        installation.audit().await?;
        Ok(())
    })
    .await
}
