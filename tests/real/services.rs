//! Kafka, registry and Redis of this test binary's own, started by `scripts/services` on free ports and stopped by a
//! watchdog when the binary ends, however it ends. The database server is the one that is named, with a new database for each
//! test.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};

use super::say;

/// Services and the variables that would name somebody else's.
const THEIRS: [&str; 8] = [
    "INTERLOCK_BOOTSTRAP_SERVERS",
    "INTERLOCK_SCHEMA_REGISTRY_URL",
    "INTERLOCK_REDIS_URL",
    "INTERLOCK_DATABASE_URL",
    "INTERLOCK_PROMETHEUS_URL",
    "INTERLOCK_STATE",
    "INTERLOCK_BROKERS",
    "INTERLOCK_SERVICES",
];

/// The database server that the environment names.
pub(super) fn named_database() -> Option<String> {
    std::env::var("INTERLOCK_DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty())
}

/// A server that can be stopped and started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The broker.
    Kafka,
    /// The ledgers' store.
    Redis,
    /// The schema registry.
    Registry,
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Service::Kafka => "kafka",
            Service::Redis => "redis",
            Service::Registry => "registry",
        }
    }

    /// Where `scripts/services` keeps the number of its process.
    const fn process(self) -> &'static str {
        match self {
            Service::Kafka => "kafka-1",
            Service::Redis => "redis",
            Service::Registry => "registry",
        }
    }
}

/// The servers.
#[derive(Debug)]
pub(super) struct Servers {
    state: PathBuf,
    /// Where they listen, as variables for `scripts/services` and for `interlock`.
    ports: Vec<(&'static str, String)>,
    pub(super) bootstrap_servers: String,
    pub(super) registry_url: String,
    pub(super) redis_url: String,
    /// A database in which others can be made.
    pub(super) database_url: String,
    /// Ends with this process, and stops the servers then.
    _watchdog: Child,
}

/// The servers of this process, started on first use.
pub(super) fn servers() -> Result<&'static Servers> {
    static SERVERS: OnceLock<Result<Servers, String>> = OnceLock::new();
    let servers = SERVERS.get_or_init(|| Servers::start().map_err(|error| format!("{error:#}")));
    servers.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

impl Servers {
    fn start() -> Result<Self> {
        let state = std::env::temp_dir().join(format!("interlock-e2e-{}", std::process::id()));
        std::fs::create_dir_all(&state).with_context(|| state.display().to_string())?;
        // The controller listens a hundred above its broker.
        let kafka = free_port(100)?;
        let (registry, redis) = (free_port(0)?, free_port(0)?);
        let ports = vec![
            ("INTERLOCK_KAFKA_PORT", kafka.to_string()),
            ("INTERLOCK_REGISTRY_PORT", registry.to_string()),
            ("INTERLOCK_REDIS_PORT", redis.to_string()),
        ];
        let database_url = named_database().context("INTERLOCK_DATABASE_URL is not set")?;
        let names = ["kafka", "registry", "redis"];
        let watchdog = watchdog(&state, &ports)?;
        let servers = Servers {
            bootstrap_servers: format!("127.0.0.1:{kafka}"),
            registry_url: format!("http://127.0.0.1:{registry}/apis/ccompat/v7"),
            redis_url: format!("redis://127.0.0.1:{redis}"),
            database_url,
            state,
            ports,
            _watchdog: watchdog,
        };
        say(format_args!("starting {} for the end-to-end tests", names.join(", ")));
        servers.call("start", &names)?;
        Ok(servers)
    }

    /// `scripts/services COMMAND NAMES...` for these servers.
    fn call(&self, command: &str, names: &[&str]) -> Result<()> {
        let mut call = script(&self.state, &self.ports);
        let output = call.arg(command).args(names).stdin(Stdio::null()).output();
        let output = output.context("scripts/services")?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(
            output.status.success(),
            "scripts/services {command} {} failed:\n{}",
            names.join(" "),
            String::from_utf8_lossy(&said)
        );
        Ok(())
    }

    pub(super) fn start_again(&self, service: Service) -> Result<()> {
        self.call("start", &[service.name()])
    }

    pub(super) fn stop(&self, service: Service) -> Result<()> {
        self.call("stop", &[service.name()])
    }

    /// SIGKILL, as when its machine dies.
    pub(super) fn kill(&self, service: Service) -> Result<()> {
        let file = self.state.join(format!("run/{}.pid", service.process()));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let id = text.split(' ').next().unwrap_or_default();
        let status = Command::new("kill").args(["-s", "KILL", id]).status();
        ensure!(status.context("kill")?.success(), "{service:?} can't be killed");
        Ok(())
    }
}

fn script(state: &Path, ports: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(root().join("scripts/services"));
    for name in THEIRS {
        command.env_remove(name);
    }
    // Containers have fixed names: a second set can only come from packages.
    command
        .envs(ports.iter().cloned())
        .env("INTERLOCK_SERVICES", "packages");
    command.env("INTERLOCK_STATE", state);
    command
}

/// A shell that waits for the end of this process: even if it is killed, its end of the pipe is closed.
fn watchdog(state: &Path, ports: &[(&'static str, String)]) -> Result<Child> {
    let services = script(state, ports);
    let mut shell = Command::new("setsid");
    shell.args([
        "bash",
        "-c",
        "cat >/dev/null; \"$0\" stop --wipe; rm -rf \"$INTERLOCK_STATE\"",
    ]);
    shell.arg(services.get_program());
    for (name, value) in services.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let spawned = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut watchdog = spawned.context("setsid bash")?;
    let pipe = watchdog.stdin.as_mut().context("the pipe to the watchdog")?;
    pipe.flush().context("the pipe to the watchdog")?;
    Ok(watchdog)
}

/// A port that is free now, and so is the one `above` it.
fn free_port(above: u16) -> Result<u16> {
    for _ in 0..100 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
        let port = listener.local_addr()?.port();
        let other = port.checked_add(above).filter(|_| above > 0);
        if above == 0 || other.is_some_and(|other| TcpListener::bind(("127.0.0.1", other)).is_ok()) {
            return Ok(port);
        }
    }
    bail!("no two free ports {above} apart");
}

/// The folder of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A database of one test.
#[derive(Debug)]
pub(super) struct Database {
    server: String,
    name: String,
    /// Where it is.
    pub(super) url: String,
}

impl Database {
    /// An empty one, with TimescaleDB where its server has that and lets us.
    pub(super) async fn create(server: &str, name: &str) -> Result<Self> {
        execute(server, &format!("CREATE DATABASE {name}")).await?;
        let url = with_database(server, name)?;
        let extension = "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS timescaledb";
        let superuser = url.replacen("://interlock@", "://postgres@", 1);
        if let Err(error) = execute(&superuser, extension).await {
            say(format_args!("{name} has plain tables: no TimescaleDB: {error:#}"));
        }
        Ok(Self {
            server: server.to_owned(),
            name: name.to_owned(),
            url,
        })
    }

    pub(super) async fn connect(&self) -> Result<PgConnection> {
        connect(&self.url).await
    }

    pub(super) async fn remove(self) -> Result<()> {
        execute(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await
    }
}

/// The same server's other database.
fn with_database(server: &str, name: &str) -> Result<String> {
    let (address, query) = server
        .split_once('?')
        .map_or((server, None), |(address, query)| (address, Some(query)));
    let (host, _) = address
        .rsplit_once('/')
        .context("the database's address names no database")?;
    Ok(query.map_or(format!("{host}/{name}"), |query| format!("{host}/{name}?{query}")))
}

async fn connect(url: &str) -> Result<PgConnection> {
    let Ok(options) = url.parse::<PgConnectOptions>() else {
        bail!("the database's address can't be read");
    };
    options.connect().await.context("connect to the database")
}

async fn execute(url: &str, sql: &str) -> Result<()> {
    let mut connection = connect(url).await?;
    let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await;
    done.with_context(|| sql.to_owned()).map(drop)
}
