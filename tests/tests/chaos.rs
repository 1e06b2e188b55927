//! Breaks real servers and kills real workers under load: they recover by themselves, and every invariant holds.
//!
//! An ordinary test run has a few faults of each kind of server. `scripts/chaos` has all of them, by these settings:
//! `CHAOS_SEED`, `CHAOS_FAULTS` (how many), `CHAOS_ONLY` (names, separated by commas), `CHAOS_ON` (kinds of servers),
//! `CHAOS_RATE` (requests per second), `CHAOS_JSON` (a file); and for fail-overs `CHAOS_BOOKINGS`, `CHAOS_REPEATS`.

use anyhow::{Context as _, Result, bail, ensure};
use interlock_tests::chaos::{Campaign, FailOvers, Kind, Report, measure_fail_overs, run};
use interlock_tests::real::{is_wanted, say};

/// The seed of an ordinary test run.
const SEED: u64 = 7;
const RATE: u32 = 200;

fn setting(name: &str, default: u64) -> Result<u64> {
    std::env::var(name).map_or(Ok(default), |value| value.parse().with_context(|| name.to_owned()))
}

fn words(name: &str) -> Vec<String> {
    let value = std::env::var(name).unwrap_or_default();
    let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

fn check(report: &Report) -> Result<()> {
    say(report);
    ensure!(report.violations().is_empty(), "{:#?}", report.violations());
    Ok(())
}

/// Runs one fault of each sort, on single servers behind proxies; all three kinds of servers would take too long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_recovers_by_itself() -> Result<()> {
    if !is_wanted("chaos") {
        return Ok(());
    }
    let only = [
        "worker: SIGKILL",
        "worker: SIGSTOP for 7",
        "Redis: SIGKILL (back from",
        "Redis: FLUSHALL",
        "network to Kafka: cut",
        "network to Redis: half",
        "TimescaleDB: SIGKILL",
    ];
    let campaign = Campaign {
        seed: SEED,
        faults: only.len(),
        only: only.map(str::to_owned).to_vec(),
        on: vec![Kind::Single],
        rate: RATE,
    };
    check(&run(&campaign).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as one likes: scripts/chaos"]
async fn campaign() -> Result<()> {
    let named = words("CHAOS_ON");
    let on: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| named.is_empty() || named.iter().any(|name| name == kind.name()))
        .collect();
    if on.is_empty() {
        bail!("CHAOS_ON names no kind of server: {named:?}");
    }
    let campaign = Campaign {
        seed: setting("CHAOS_SEED", 1)?,
        faults: usize::try_from(setting("CHAOS_FAULTS", 60)?)?,
        only: words("CHAOS_ONLY"),
        on,
        rate: u32::try_from(setting("CHAOS_RATE", 300)?)?,
    };
    let report = run(&campaign).await?;
    if let Ok(file) = std::env::var("CHAOS_JSON") {
        std::fs::write(&file, report.json()?).with_context(|| file.clone())?;
    }
    check(&report)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fills Redis first: scripts/chaos --failover"]
async fn fail_overs() -> Result<()> {
    let what = FailOvers {
        bookings: setting("CHAOS_BOOKINGS", 100_000)?,
        repeats: u32::try_from(setting("CHAOS_REPEATS", 3)?)?,
        seed: setting("CHAOS_SEED", 1)?,
    };
    say(measure_fail_overs(&what).await?);
    Ok(())
}
