//! Measures how long the ledgers of a dead worker wait for the survivor, with few and with many bookings in Redis.
//!
//! Two workers decide a steady load; one of them is killed. The group notices after its session time-out. From then on
//! the survivor has to acquire the ledgers, fence the dead worker and settle its open transaction. It reads no
//! changelog: the ledgers are in Redis, and none is rebuilt.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use interlock_schemas::{Event, EventKind};

use super::clock::now_ms;
use super::traffic::Traffic;
use super::watch::Watch;
use crate::random::Random;
use crate::real::{Installation, PATIENCE, Servers, Service, Wanted, Worker, root, say, wait_for};

/// The group's session time-out; decisions are due soon after it.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const DUE: Duration = Duration::from_secs(7);
/// Requests of the backlog for 100 bookings: some are repetitions, some are cancelled again.
const REQUESTS_PERCENT: u64 = 130;
/// The load profile that spreads its requests over all train-dates.
const PROFILE: &str = "backlog";
const RATE: u32 = 300;
const DAYS: u32 = 30;

/// The parameters of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct FailOvers {
    /// Bookings in Redis.
    pub bookings: u64,
    /// Workers killed, with few bookings and with many.
    pub repeats: u32,
    /// Determines the load and the moments of the kills.
    pub seed: u64,
}

/// The results.
#[derive(Debug, Default)]
struct Measured {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    bookings: u64,
    redis_bytes: u64,
    times: Vec<Duration>,
}

/// Runs the measurement and returns its table.
///
/// # Errors
/// If the measurement fails, a ledger is rebuilt, or the audit finds a violation.
pub async fn measure_fail_overs(what: &FailOvers) -> Result<impl fmt::Display + use<>> {
    let wanted = Wanted {
        services: vec![Service::Kafka, Service::Registry, Service::Redis, Service::Postgres],
        ..Wanted::default()
    };
    let servers = Arc::new(Servers::start(wanted)?);
    let addresses = servers.addresses().clone();
    let installation = Installation::new("failover", servers, addresses).await?;
    let result = measure(&installation, what).await;
    if result.is_err() {
        installation.show_logs();
    }
    installation.remove().await?;
    result
}

async fn measure(installation: &Installation, what: &FailOvers) -> Result<Measured> {
    let feed = installation.folder().join("feed");
    let feed = feed.to_str().context("a path in UTF-8")?;
    let made = std::process::Command::new(root().join("scripts/bench.d/timetable"))
        .arg(feed)
        .status();
    ensure!(made?.success(), "no timetable");
    installation.seed_with(&["--gtfs", feed], DAYS).await?;
    let mut workers = vec![worker(installation).await?, worker(installation).await?];
    let mut random = Random::new(what.seed, 0);
    let mut measured = Measured::default();
    kill_some(installation, &mut workers, what, &mut random, &mut measured).await?;
    fill(installation, &workers, what).await?;
    kill_some(installation, &mut workers, what, &mut random, &mut measured).await?;
    let finished = installation
        .call(&["audit", "--settled", "--skip-windows", "--wait", "90"], PATIENCE * 10)
        .await?;
    say(finished.success()?);
    Ok(measured)
}

/// Starts a worker that keeps no windows.
async fn worker(installation: &Installation) -> Result<Worker> {
    let session = format!("{}s", SESSION_TIMEOUT.as_secs());
    let settings = [
        ("INTERLOCK_KAFKA_SESSION_TIMEOUT", session.as_str()),
        ("INTERLOCK_RUN_TOPOLOGIES", "booking"),
    ];
    let worker = installation.worker_with(&settings).await?;
    worker.wait_until_ready().await?;
    Ok(worker)
}

/// Makes bookings until there are enough.
async fn fill(installation: &Installation, workers: &[Worker], what: &FailOvers) -> Result<()> {
    let (requests, seed) = (what.bookings * REQUESTS_PERCENT / 100, what.seed.to_string());
    let requests = requests.to_string();
    let arguments = [
        "loadgen",
        "--profile",
        PROFILE,
        "--requests",
        &requests,
        "--seed",
        &seed,
        "--no-wait",
    ];
    installation.call(&arguments, PATIENCE * 10).await?.success()?;
    say(format_args!("{requests} requests are there"));
    wait_for("the workers have decided the backlog", PATIENCE * 20, async || {
        let mut lag = 0.0;
        let mut ledgers = 0.0;
        for worker in workers {
            lag += worker
                .metric("interlock_lag_records", &["topology=\"booking\""])
                .await?;
            ledgers += worker.metric("interlock_tasks", &["topology=\"booking\""]).await?;
        }
        Ok((lag == 0.0 && ledgers == f64::from(installation.partitions())).then_some(()))
    })
    .await
}

async fn kill_some(
    installation: &Installation,
    workers: &mut Vec<Worker>,
    what: &FailOvers,
    random: &mut Random,
    measured: &mut Measured,
) -> Result<()> {
    let mut row = Row {
        bookings: bookings(installation).await?,
        redis_bytes: redis_bytes(installation).await?,
        times: Vec::new(),
    };
    let watch = Watch::start(installation).await?;
    let traffic = Traffic::start(installation, PROFILE, RATE, random.next() >> 32).await?;
    for _ in 0..what.repeats {
        // Waits until both have their share again.
        wait_for("both workers decide", PATIENCE, async || {
            for worker in &*workers {
                if worker.metric("interlock_tasks", &["topology=\"booking\""]).await? * 2.0
                    != f64::from(installation.partitions())
                {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await?;
        let now = now_ms();
        wait_for("every ledger decides", PATIENCE, async || Ok(watch.all_decided(now))).await?;
        tokio::time::sleep(Duration::from_millis(random.between(1_000, 3_000))).await;
        workers.remove(random.below(2) as usize).kill()?;
        let (killed, ms) = (Instant::now(), now_ms());
        let decided = wait_for("the survivor decides", PATIENCE, async || Ok(watch.all_decided(ms))).await?;
        let took = decided - killed;
        for survivor in &*workers {
            let rebuilds = survivor.metric("interlock_rebuilds_total", &[]).await?;
            ensure!(rebuilds == 0.0, "{rebuilds} ledgers were rebuilt");
        }
        say(format_args!(
            "{} bookings: decisions again after {:.2} s",
            row.bookings,
            took.as_secs_f64()
        ));
        row.times.push(took);
        workers.push(worker(installation).await?);
    }
    measured.rows.push(row);
    traffic.stop()?;
    Ok(())
}

/// Returns the bookings that hold seats or wait, without those that were cancelled in part.
async fn bookings(installation: &Installation) -> Result<u64> {
    let (mut made, mut given_back) = (0_u64, 0_u64);
    installation
        .each_event(|event| {
            let header = event.header();
            if header.replay || header.kind != EventKind::Answer {
                return;
            }
            match event {
                Event::Confirmed(_) | Event::Waitlisted(_) => made += 1,
                Event::Cancelled(_) => given_back += 1,
                Event::Rejected(_) | Event::Opened(_) => {}
            }
        })
        .await?;
    Ok(made - given_back)
}

async fn redis_bytes(installation: &Installation) -> Result<u64> {
    let client = redis::Client::open(installation.redis_url())?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut info = redis::cmd("INFO");
    let info: String = info.arg("memory").query_async(&mut connection).await?;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.context("used_memory")?.trim().parse()?)
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| bookings | Redis holds | n | decisions again after (s) | within {DUE:?} |"
        )?;
        writeln!(f, "| --: | --: | --: | --- | --- |")?;
        for Row {
            bookings,
            redis_bytes,
            times,
        } in &self.rows
        {
            let mut seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
            seconds.sort_by(f64::total_cmp);
            let seconds: Vec<String> = seconds.iter().map(|time| format!("{time:.2}")).collect();
            let within = times.iter().filter(|time| **time <= DUE).count();
            writeln!(
                f,
                "| {bookings} | {} MiB | {} | {} | {within} of {} |",
                redis_bytes >> 20,
                times.len(),
                seconds.join(", "),
                times.len()
            )?;
        }
        Ok(())
    }
}
