//! One test's installation: its own settings, newly created topics, an empty Redis and a new database.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::database::Database;
use super::load::Load;
use super::process::{Finished, Process};
use super::redis_servers::Sentinel;
use super::services::{Addresses, Servers, Service, root, servers};
use super::worker::Worker;
use super::{PATIENCE, is_wanted, say, wait_for};

/// Number of ledgers, fewer than in production.
const PARTITIONS: i32 = 6;

/// Ports at which Prometheus scrapes workers.
const SCRAPED: std::ops::RangeInclusive<u16> = 9464..=9469;

/// An installation on real servers.
#[derive(Debug)]
pub struct Installation {
    servers: Arc<Servers>,
    addresses: Addresses,
    folder: TempDir,
    database: Database,
    name: String,
    calls: AtomicU32,
    /// Variables that override those naming the servers.
    pub(super) settings: Vec<(&'static str, String)>,
}

/// Runs a scenario in an installation of its own, one at a time in each process.
///
/// # Errors
/// The error of the scenario or of the set-up.
pub async fn in_installation(test: &str, scenario: impl AsyncFnOnce(&Installation) -> Result<()>) -> Result<()> {
    in_turn(test, async || {
        let servers = servers()?;
        let addresses = servers.addresses().clone();
        let installation = Installation::new(test, servers, addresses).await?;
        installation.carry_out(scenario).await
    })
    .await
}

/// Runs a scenario in an installation whose ledgers are in a master that sentinels watch.
///
/// # Errors
/// The error of the scenario or of the set-up.
pub async fn with_sentinel(
    test: &str,
    scenario: impl AsyncFnOnce(&Installation, &mut Sentinel) -> Result<()>,
) -> Result<()> {
    in_turn(test, async || {
        let servers = servers()?;
        let mut sentinel = Sentinel::start().await;
        let addresses = Addresses {
            redis_url: sentinel.url(),
            ..servers.addresses().clone()
        };
        let installation = Installation::new(test, servers, addresses).await?;
        installation
            .carry_out(async |installation| scenario(installation, &mut sentinel).await)
            .await
    })
    .await
}

/// Runs a test when its turn comes, if it can run at all.
pub(super) async fn in_turn(test: &str, scenario: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    static TURN: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);
    if !is_wanted(test) {
        return Ok(());
    }
    let _turn = TURN.lock().await;
    let began = Instant::now();
    let result = scenario().await;
    say(format_args!("{test}: {:.1?} with its set-up", began.elapsed()));
    result
}

impl Installation {
    /// Makes a new installation on these servers, which host no other one. `addresses` may differ from the servers'
    /// own, for example lead through proxies.
    pub async fn new(test: &str, servers: Arc<Servers>, addresses: Addresses) -> Result<Self> {
        let name = format!("e2e_{test}_{}", std::process::id());
        let installation = Self {
            database: Database::create(&addresses.database_url, &name).await?,
            servers,
            addresses,
            folder: TempDir::with_prefix("interlock-e2e-")?,
            name,
            calls: AtomicU32::new(0),
            settings: Vec::new(),
        };
        installation.remove_topics().await?;
        installation.flush_redis().await?;
        Ok(installation)
    }

    /// Runs a scenario and cleans up after it.
    pub(super) async fn carry_out(self, scenario: impl AsyncFnOnce(&Self) -> Result<()>) -> Result<()> {
        let result = scenario(&self).await;
        if result.is_err() {
            self.show_logs();
        }
        self.remove().await?;
        result
    }

    /// Removes the database; the rest is removed with the servers, or by the next installation.
    pub async fn remove(self) -> Result<()> {
        self.database.remove().await
    }

    /// Returns the address of Kafka.
    pub fn bootstrap_servers(&self) -> &str {
        &self.addresses.bootstrap_servers
    }

    /// Returns the address of the registry.
    pub fn registry_url(&self) -> &str {
        &self.addresses.registry_url
    }

    /// Returns the address of Redis.
    pub fn redis_url(&self) -> &str {
        &self.addresses.redis_url
    }

    /// Returns the prefix of the groups' and transactional ids' names.
    pub fn application_id(&self) -> &str {
        &self.name
    }

    /// Returns the address of the database with the window tables.
    pub fn database_url(&self) -> &str {
        &self.database.url
    }

    /// Opens a session in the database of the window tables.
    pub async fn database(&self) -> Result<PgConnection> {
        self.database.connect().await
    }

    /// Returns the number of ledgers.
    pub const fn partitions(&self) -> i32 {
        PARTITIONS
    }

    /// Returns a folder for files, which is removed at the end.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Deletes everything in Redis.
    pub async fn flush_redis(&self) -> Result<()> {
        if self.addresses.redis_url.starts_with("redis+sentinel://") {
            // The client library doesn't know such addresses; the servers of [`with_sentinel`] are new.
            return Ok(());
        }
        let flush = redis::cmd("FLUSHALL");
        if self.addresses.redis_cluster {
            let nodes = self.addresses.redis_url.split(',');
            let client = redis::cluster::ClusterClient::new(nodes)?;
            let mut connection = client.get_async_connection().await.context("Redis")?;
            return flush.query_async(&mut connection).await.context("FLUSHALL");
        }
        let client = redis::Client::open(self.addresses.redis_url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await.context("Redis")?;
        flush.query_async(&mut connection).await.context("FLUSHALL")
    }

    /// Stops a server gracefully.
    pub fn stop_service(&self, service: Service) -> Result<()> {
        self.servers.stop(service)
    }

    /// Kills a server.
    pub fn kill_service(&self, service: Service) -> Result<()> {
        self.servers.kill(service)
    }

    /// Starts a server again with its former data.
    pub fn start_service(&self, service: Service) -> Result<()> {
        self.servers.start_again(service)
    }

    /// Returns a command that runs the binary with this installation's settings.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("INTERLOCK_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            // In this folder the binary finds no interlock.toml.
            .current_dir(self.folder.path())
            .env("INTERLOCK_KAFKA_BOOTSTRAP_SERVERS", &self.addresses.bootstrap_servers)
            .env("INTERLOCK_SCHEMA_REGISTRY_URL", &self.addresses.registry_url)
            .env("INTERLOCK_REDIS_URL", &self.addresses.redis_url)
            .env("INTERLOCK_DATABASE_URL", &self.database.url)
            .env("INTERLOCK_APPLICATION_ID", &self.name)
            .env("INTERLOCK_REDIS_NAMESPACE", &self.name)
            .env("INTERLOCK_REDIS_CLUSTER", self.addresses.redis_cluster.to_string())
            .env("INTERLOCK_TOPICS_PARTITIONS", PARTITIONS.to_string())
            .env("INTERLOCK_TOPICS_REPLICATION", self.addresses.replication.to_string())
            // A short time-out frees a killed worker's partitions soon.
            .env("INTERLOCK_KAFKA_SESSION_TIMEOUT", "4s")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs the binary and waits for its end.
    pub async fn call(&self, arguments: &[&str], patience: Duration) -> Result<Finished> {
        self.spawn(&mut self.command(arguments)?, arguments.first().unwrap_or(&"interlock"))?
            .finish(patience)
            .await
    }

    /// Starts a process that logs into this installation's folder.
    pub fn spawn(&self, command: &mut Command, name: &str) -> Result<Process> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Process::start(command, self.folder.path(), &format!("{number:02}-{name}"))
    }

    /// Puts the built-in network on sale for some days; returns the number of trains.
    pub async fn seed(&self, days: u32) -> Result<u64> {
        self.seed_with(&["--demo"], days).await
    }

    /// Puts a timetable on sale for some days; returns the number of trains.
    pub async fn seed_with(&self, source: &[&str], days: u32) -> Result<u64> {
        let days = days.to_string();
        let arguments = [&["seed", "--json", "--days", &days], source].concat();
        let finished = self.call(&arguments, PATIENCE).await?;
        let report = finished.json()?;
        finished.success()?;
        report["trains"].as_u64().with_context(|| format!("trains in {report}"))
    }

    /// Starts a worker and waits until it is ready.
    pub async fn worker(&self) -> Result<Worker> {
        let worker = self.worker_with(&[]).await?;
        worker.wait_until_ready().await?;
        Ok(worker)
    }

    /// Starts a worker with other settings, without waiting for it.
    pub async fn worker_with(&self, settings: &[(&str, &str)]) -> Result<Worker> {
        // A port that Prometheus scrapes, if one is free.
        let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let port = SCRAPED.into_iter().find(is_free).unwrap_or(0);
        let mut command = self.command(&["run", "--metrics-listen", &format!("127.0.0.1:{port}")])?;
        command.envs(settings.iter().copied());
        Worker::new(self.spawn(&mut command, "run")?).await
    }

    /// Starts a gateway on a free port and waits until it is ready; returns its address, too.
    pub async fn gateway(&self) -> Result<(Process, String)> {
        let mut command = self.command(&["gateway", "--listen", "127.0.0.1:0"])?;
        let process = self.spawn(&mut command, "gateway")?;
        let url = wait_for("the gateway says where it is", PATIENCE, async || {
            let log = process.log();
            let said = log.split_once("the gateway is on ");
            let url = said.and_then(|(_, rest)| rest.split_whitespace().next());
            Ok(url.map(|url| url.trim_end_matches('/').to_owned()))
        });
        let url = url.await.with_context(|| process.tail())?;
        wait_for("the gateway is ready", PATIENCE, async || {
            let answer = reqwest::get(format!("{url}/readyz")).await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await?;
        Ok((process, url))
    }

    /// Sends requests of the burst profile and waits for their outcomes.
    pub async fn load(&self, requests: u32) -> Result<super::Outcome> {
        self.start_load(requests, None)?.finish().await
    }

    /// Starts a load, at a rate in requests per second or all at once.
    pub fn start_load(&self, requests: u32, rate: Option<u32>) -> Result<Load> {
        let (requests, rate) = (requests.to_string(), rate.map(|rate| rate.to_string()));
        let mut arguments = vec!["loadgen", "--json", "--profile", "burst", "--requests", &requests];
        arguments.extend(["--timeout", "120"]);
        if let Some(rate) = &rate {
            arguments.extend(["--rate", rate]);
        }
        Ok(Load::new(self.spawn(&mut self.command(&arguments)?, "loadgen")?))
    }

    /// Audits everything; every invariant must hold, and no request may be left without an answer.
    pub async fn audit(&self) -> Result<Value> {
        let finished = self
            .call(&["audit", "--json", "--settled", "--wait", "90"], PATIENCE * 2)
            .await?;
        let report = finished.json()?;
        ensure!(
            finished.status == Some(0) && report["holds"] == true,
            "the audit ended with {:?}: {report:#}\n{}",
            finished.status,
            finished.error
        );
        Ok(report)
    }

    /// Keeps the processes' logs, and prints where they are.
    pub fn keep_logs(&mut self) {
        self.folder.disable_cleanup(true);
        say(format_args!("all logs are in {}", self.folder.path().display()));
    }

    /// Prints the end of each process's log.
    pub fn show_logs(&self) {
        let Ok(entries) = std::fs::read_dir(self.folder.path()) else {
            return;
        };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        for file in files {
            let log = std::fs::read(&file).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(15);
            say(format_args!(
                "-- the end of {}\n{}",
                file.display(),
                lines[from..].join("\n")
            ));
        }
    }
}

/// Returns the binary that `INTERLOCK_TEST_BINARY` names, for example an optimised one. Otherwise returns the one that
/// cargo puts two folders above the tests; cargo does not build it for the tests of another package.
///
/// # Errors
/// If the binary is missing.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("INTERLOCK_TEST_BINARY") {
        return Ok(named.into());
    }
    let test = std::env::current_exe()?;
    let folder = test
        .parent()
        .and_then(Path::parent)
        .context("the folder of the test binary")?;
    let binary = folder.join("interlock");
    ensure!(
        binary.is_file(),
        "{} is missing: run `cargo build --workspace --bin interlock` first, with the same profile",
        binary.display()
    );
    Ok(binary)
}

/// Returns the folder of the Warszawska Kolej Dojazdowa's timetable, which lies beside the clone; prints a message if
/// it is absent.
pub fn wkd(test: &str) -> Option<PathBuf> {
    let folder = root().join("../shared/data/gtfs/wkd");
    let found = folder.is_dir().then(|| folder.clone());
    if found.is_none() {
        say(format_args!(
            "{test} runs without WKD's timetable: {} is absent",
            folder.display()
        ));
    }
    found
}
