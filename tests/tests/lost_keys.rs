//! Single keys of ledgers are lost or put back on a real server, under load: no seat is sold twice, every request is
//! answered once, and the audit passes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_tests::real::{Installation, PATIENCE, Worker, in_installation, say, wait_for};
use redis::aio::MultiplexedConnection;

/// Requests per second. Several are for each train-date, so every document is asked for again soon.
const RATE: u32 = 200;
/// Time for the workers to notice a loss and for the load to go on.
const PAUSE: Duration = Duration::from_secs(3);

async fn connect(installation: &Installation) -> Result<MultiplexedConnection> {
    let client = redis::Client::open(installation.redis_url())?;
    Ok(client.get_multiplexed_async_connection().await?)
}

/// Sends a command: words, and at the end arguments of any bytes.
async fn ask<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    words: &str,
    arguments: &[&[u8]],
) -> Result<T> {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word);
    }
    for argument in arguments {
        command.arg(*argument);
    }
    Ok(command.query_async(connection).await?)
}

/// Part of a ledger that is kept in a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    TrainDate,
    /// The document of the ledger itself, with its counter of bookings.
    Counter,
    Log,
    Meta,
}

/// Returns the key of a part of a ledger that has train-dates, when there is one. A ledger without any has nothing to
/// lose.
async fn key(connection: &mut MultiplexedConnection, part: Part) -> Result<Vec<u8>> {
    let document: Vec<u8> = wait_for("there is a train-date", PATIENCE, async || {
        let keys: Vec<Vec<u8>> = ask(connection, "KEYS", &[b"*:d:*|*".as_slice()]).await?;
        Ok(keys.into_iter().next())
    })
    .await?;
    let ending = match part {
        Part::TrainDate => return Ok(document),
        Part::Counter => "d:",
        Part::Log => "log",
        Part::Meta => "meta",
    };
    let end = document.windows(2).position(|two| two == b"}:").context("a hash tag")? + 2;
    Ok([&document[..end], ending.as_bytes()].concat())
}

async fn rebuilds(workers: &[Worker]) -> Result<f64> {
    let mut rebuilds = 0.0;
    for worker in workers {
        rebuilds += worker.metric("interlock_rebuilds_total", &[]).await?;
    }
    Ok(rebuilds)
}

/// Loses and puts back keys, one after the other.
async fn lose_keys(installation: &Installation, workers: &[Worker]) -> Result<()> {
    let mut connection = connect(installation).await?;
    for part in [Part::TrainDate, Part::Counter, Part::Log, Part::Meta] {
        let lost = key(&mut connection, part).await?;
        let before = rebuilds(workers).await?;
        let deleted: i64 = ask(&mut connection, "DEL", &[&lost]).await?;
        ensure!(deleted == 1 || part == Part::Log, "there is no {part:?}");
        say(format_args!("lost {}", String::from_utf8_lossy(&lost)));
        if part != Part::Log {
            // A log that is lost is not needed while its owner lives and commits.
            let what = format!("the ledger of {} is rebuilt", String::from_utf8_lossy(&lost));
            wait_for(&what, PATIENCE, async || {
                Ok((rebuilds(workers).await? > before).then_some(()))
            })
            .await?;
        }
        tokio::time::sleep(PAUSE).await;
    }
    for part in [Part::TrainDate, Part::Log, Part::Meta] {
        let older = key(&mut connection, part).await?;
        let Some(dump) = ask::<Option<Vec<u8>>>(&mut connection, "DUMP", &[&older]).await? else {
            continue;
        };
        tokio::time::sleep(PAUSE).await;
        ask::<()>(&mut connection, "RESTORE", &[&older, b"0", &dump, b"REPLACE"]).await?;
        say(format_args!("put {} back", String::from_utf8_lossy(&older)));
        tokio::time::sleep(PAUSE).await;
    }
    for (part, life) in [(Part::TrainDate, "1"), (Part::Meta, "1"), (Part::TrainDate, "60000")] {
        let expires = key(&mut connection, part).await?;
        ask::<i64>(&mut connection, "PEXPIRE", &[&expires, life.as_bytes()]).await?;
        say(format_args!("{} expires", String::from_utf8_lossy(&expires)));
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Returns a number that the server reports.
async fn reported(connection: &mut MultiplexedConnection, name: &str) -> Result<u64> {
    let info: String = ask(connection, "INFO", &[]).await?;
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.with_context(|| format!("INFO has no {name}"))?;
    Ok(number.trim().parse()?)
}

/// Has Redis drop keys for want of memory, and waits until the workers say that they sell nothing.
async fn evict(installation: &Installation, workers: &[Worker]) -> Result<()> {
    let mut connection = connect(installation).await?;
    let used = reported(&mut connection, "used_memory").await?;
    let limit = used - reported(&mut connection, "used_memory_dataset").await? / 4;
    for setting in ["maxmemory-policy allkeys-random", &format!("maxmemory {limit}")] {
        ask::<()>(&mut connection, &format!("CONFIG SET {setting}"), &[]).await?;
    }
    for worker in workers {
        let why = worker.wait_until_troubled("ledger_unfit").await?;
        ensure!(why.contains("maxmemory-policy"), "{why}");
    }
    let (evicted, left) = (
        reported(&mut connection, "evicted_keys").await?,
        ask::<u64>(&mut connection, "DBSIZE", &[]).await?,
    );
    say(format_args!("{evicted} keys are evicted, {left} are left"));
    ensure!(evicted > 0, "nothing was evicted");
    for setting in ["maxmemory 0", "maxmemory-policy noeviction"] {
        ask::<()>(&mut connection, &format!("CONFIG SET {setting}"), &[]).await?;
    }
    for worker in workers {
        worker.wait_until_ready().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lost_key_sells_a_seat_twice() -> Result<()> {
    in_installation("lost_keys", async |installation| {
        installation.seed(3).await?;
        let mut workers = [installation.worker().await?, installation.worker().await?];
        installation.load(2_000).await?;
        installation
            .under_load(RATE, async {
                lose_keys(installation, &workers).await?;
                evict(installation, &workers).await?;
                tokio::time::sleep(PAUSE).await;
                installation.flush_redis().await?;
                tokio::time::sleep(PAUSE).await;
                Ok(())
            })
            .await?;
        for worker in &mut workers {
            ensure!(worker.is_running()?, "a worker ended by itself:\n{}", worker.log());
        }
        installation.audit().await?;
        for worker in workers {
            worker.stop().await?;
        }
        Ok(())
    })
    .await
}
