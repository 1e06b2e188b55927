//! Tests the main line on real servers. A timetable is put on sale; workers sell it under load while one of them is
//! killed, Redis is emptied and another joins. In the end the audit must pass and the window tables must equal the sums
//! over the topics.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use interlock_tests::panels::{TimeRange, Totals, check_panels, check_promql};
use interlock_tests::real::{Installation, PATIENCE, Service, Sums, Worker, in_installation, say, wait_for, wkd};

/// Checks that the audit passes, and that the tables equal the sums over the topics, counted independently, to the
/// minor unit.
async fn all_holds(installation: &Installation) -> Result<Sums> {
    installation.audit().await?;
    let events = Sums::of_events(&installation.events().await?);
    let tables = Sums::of_tables(&mut installation.database().await?).await?;
    ensure!(
        events == tables,
        "over the topics: {events:?}\nin the tables: {tables:?}"
    );
    Ok(events)
}

/// Checks that every panel of the dashboards shows rows, and that they add up to the sales.
async fn dashboards_show_it(installation: &Installation, since: i64) -> Result<()> {
    let mut expected = Totals::default();
    expected.extend(&installation.events().await?);
    let range = TimeRange {
        from: since - 60_000,
        to: now_ms()? + 60_000,
    };
    let report = check_panels(installation.database_url(), &range, &expected).await?;
    say(format_args!("dashboards: {report}"));
    let Ok(prometheus) = std::env::var("INTERLOCK_PROMETHEUS_URL") else {
        say("SKIPPED the panels from Prometheus: INTERLOCK_PROMETHEUS_URL is not set");
        return Ok(());
    };
    let mut last = None;
    let found = wait_for("every panel finds something in Prometheus", PATIENCE, async || {
        let report = check_promql(&prometheus).await;
        Ok(report.map_err(|error| last = Some(error)).ok())
    });
    // Rates and percentiles need a current load.
    match (installation.under_load(200, found).await, last) {
        (Ok(report), _) => say(format_args!("dashboards from Prometheus: {report}")),
        (Err(late), last) => return Err(last.unwrap_or(late)),
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "what the dashboards show is of today")]
fn now_ms() -> Result<i64> {
    Ok(i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?)
}

async fn stop(workers: impl IntoIterator<Item = Worker>) -> Result<()> {
    for worker in workers {
        worker.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_burst_is_sold_by_two_workers() -> Result<()> {
    in_installation("burst", async |installation| {
        installation.seed(3).await?;
        if let Some(feed) = wkd("burst") {
            let feed = feed.to_str().context("a path in UTF-8")?;
            ensure!(
                installation.seed_with(&["--gtfs", feed], 3).await? > 0,
                "no trains in {feed}"
            );
        }
        let workers = [installation.worker().await?, installation.worker().await?];
        let since = now_ms()?;
        let outcome = installation.load(15_000).await?;
        outcome.check_mix()?;
        let sums = all_holds(installation).await?;
        ensure!(
            sums.money.values().all(|(collected, refunded)| collected > refunded) && !sums.money.is_empty(),
            "{sums:?}"
        );
        for worker in &workers {
            ensure!(worker.applied().await? > 0.0, "a worker was idle");
        }
        dashboards_show_it(installation, since).await?;
        let sums = all_holds(installation).await?;
        stop(workers).await?;
        // The end of a worker changes nothing.
        ensure!(
            all_holds(installation).await? == sums,
            "something changed when the workers ended"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_is_killed_three_times() -> Result<()> {
    in_installation("killed", async |installation| {
        installation.seed(3).await?;
        let steady = installation.worker().await?;
        let kills = async {
            let mut victim = installation.worker().await?;
            for number in 1..=3 {
                wait_for("the victim has work", PATIENCE, async || {
                    Ok((victim.applied().await? > 50.0).then_some(()))
                })
                .await?;
                victim.kill()?;
                say(format_args!("killed a worker, {number} of 3"));
                victim = installation.worker_with(&[]).await?;
            }
            victim.wait_until_ready().await?;
            Ok(victim)
        };
        let victim = installation.under_load(500, kills).await?;
        all_holds(installation).await?;
        stop([steady, victim]).await
    })
    .await
}

#[tokio::test]
async fn ledgers_are_rebuilt_after_redis_is_flushed() -> Result<()> {
    in_installation("flushed", async |installation| {
        installation.seed(3).await?;
        let workers = [installation.worker().await?, installation.worker().await?];
        installation.load(4_000).await?;
        stop(workers).await?;
        installation.flush_redis().await?;

        let workers = [installation.worker().await?, installation.worker().await?];
        let mut rebuilds = 0.0;
        for worker in &workers {
            rebuilds += worker.metric("interlock_rebuilds_total", &[]).await?;
        }
        ensure!(rebuilds > 0.0, "no ledger was rebuilt");
        // Also before there are new requests.
        all_holds(installation).await?;
        installation.load(4_000).await?;
        all_holds(installation).await?;
        stop(workers).await
    })
    .await
}

#[tokio::test]
async fn a_third_worker_takes_its_share() -> Result<()> {
    in_installation("third", async |installation| {
        installation.seed(3).await?;
        let workers = [installation.worker().await?, installation.worker().await?];
        let joins = async {
            let third = installation.worker_with(&[]).await?;
            wait_for("the third worker has decided records", PATIENCE, async || {
                let tasks = third.metric("interlock_tasks", &["topology=\"booking\""]).await?;
                Ok((tasks > 0.0 && third.applied().await? > 0.0).then_some(()))
            })
            .await?;
            Ok(third)
        };
        let third = installation.under_load(500, joins).await?;
        let mut tasks = 0.0;
        for worker in workers.iter().chain([&third]) {
            tasks += worker.metric("interlock_tasks", &["topology=\"booking\""]).await?;
        }
        ensure!(tasks == f64::from(installation.partitions()), "{tasks} tasks are owned");
        all_holds(installation).await?;
        stop(workers.into_iter().chain([third])).await
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_down_stops_nothing_for_good() -> Result<()> {
    in_installation("outage", async |installation| {
        installation.seed(3).await?;
        installation.stop_service(Service::Redis)?;
        let worker = installation.worker_with(&[]).await?;
        let why = worker.wait_until_troubled("redis").await?;
        ensure!(why.contains("127.0.0.1"), "it doesn't say where: {why}");
        let said = worker
            .log()
            .lines()
            .filter(|line| line.contains("WARN") && line.contains("edis"))
            .count();
        ensure!(said > 0, "{}", worker.log());
        installation.start_service(Service::Redis)?;
        worker.wait_until_ready().await?;

        let outage = async {
            wait_for("it has work", PATIENCE, async || {
                Ok((worker.applied().await? > 50.0).then_some(()))
            })
            .await?;
            // Up to a second of acknowledged writes is lost.
            installation.kill_service(Service::Redis)?;
            worker.wait_until_troubled("redis").await?;
            installation.start_service(Service::Redis)?;
            worker.wait_until_ready().await
        };
        installation.under_load(300, outage).await?;
        all_holds(installation).await?;
        stop([worker]).await
    })
    .await
}
