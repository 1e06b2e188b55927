//! Servers of this test binary, started by `scripts/services` on free ports. A watchdog stops them when they are
//! dropped or the binary ends, however it ends. If the database server isn't one of them, the tests use the one that
//! the environment names, with a new database for each test.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::say;

/// The variables that would name servers of someone else.
const THEIRS: [&str; 10] = [
    "INTERLOCK_KAFKA_BOOTSTRAP_SERVERS",
    "INTERLOCK_SCHEMA_REGISTRY_URL",
    "INTERLOCK_REDIS_URL",
    "INTERLOCK_DATABASE_URL",
    "INTERLOCK_PROMETHEUS_URL",
    "INTERLOCK_STATE",
    "INTERLOCK_BROKERS",
    "INTERLOCK_KAFKA_PROXIES",
    "INTERLOCK_KAFKA_EXTRA",
    "INTERLOCK_SERVICES",
];

/// Largest number of attempts to start a service again.
const STARTS: u32 = 4;

/// Returns the database server that the environment names.
pub(super) fn named_database() -> Option<String> {
    std::env::var("INTERLOCK_DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty())
}

/// A server that can be stopped and started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The brokers.
    Kafka,
    /// The store of the ledgers.
    Redis,
    /// The schema registry.
    Registry,
    /// The database server.
    Postgres,
}

impl Service {
    const fn name(self) -> &'static str {
        match self {
            Service::Kafka => "kafka",
            Service::Redis => "redis",
            Service::Registry => "registry",
            Service::Postgres => "postgres",
        }
    }

    /// Returns the name under which `scripts/services` keeps the process id; of several brokers, that of the first.
    const fn process(self) -> &'static str {
        match self {
            Service::Kafka => "kafka-1",
            Service::Redis => "redis",
            Service::Registry => "registry",
            Service::Postgres => "postgres",
        }
    }
}

/// The servers to start.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The services to start.
    pub services: Vec<Service>,
    /// Number of brokers, 1 or 3.
    pub brokers: u16,
    /// Ports of proxies in front of the brokers, which lead to [`proxied_port`].
    pub kafka_proxies: Vec<u16>,
    /// The port of the first broker, if proxies must know it; otherwise any.
    pub kafka_port: Option<u16>,
    /// A file with more lines for the brokers' settings.
    pub kafka_extra: Option<PathBuf>,
    /// The folder of the servers, if it must contain files before they start; it is removed with them.
    pub state: Option<PathBuf>,
    /// Services whose data lie on a small disk that can be filled, and its size in megabytes.
    pub small_disks: Vec<(Service, u32)>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            services: vec![Service::Kafka, Service::Registry, Service::Redis],
            brokers: 1,
            kafka_proxies: Vec::new(),
            kafka_port: None,
            kafka_extra: None,
            state: None,
            small_disks: Vec::new(),
        }
    }
}

/// The addresses in an installation's settings.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Address of Kafka.
    pub bootstrap_servers: String,
    /// Copies of each topic.
    pub replication: u16,
    /// Address of the registry.
    pub registry_url: String,
    /// Address of Redis.
    pub redis_url: String,
    /// True if Redis is a cluster.
    pub redis_cluster: bool,
    /// Address of a database from which others can be created.
    pub database_url: String,
}

/// The servers.
#[derive(Debug)]
pub struct Servers {
    state: PathBuf,
    /// The addresses, as variables for `scripts/services` and for `interlock`.
    variables: Vec<(&'static str, String)>,
    wanted: Wanted,
    addresses: Addresses,
    /// Stops the servers when its input ends, which is when this value is dropped or this process ends.
    watchdog: Child,
}

/// Returns the servers of this process, which are started on first use.
pub(super) fn servers() -> Result<Arc<Servers>> {
    static SERVERS: OnceLock<Result<Arc<Servers>, String>> = OnceLock::new();
    let start = || Servers::start(Wanted::default());
    let servers = SERVERS.get_or_init(|| start().map(Arc::new).map_err(|error| format!("{error:#}")));
    servers.clone().map_err(|error| anyhow::anyhow!("{error}"))
}

impl Servers {
    /// Starts the servers, and waits until they answer.
    pub fn start(wanted: Wanted) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let new = || std::env::temp_dir().join(format!("interlock-e2e-{}-{number}", std::process::id()));
        let state = wanted.state.clone().unwrap_or_else(new);
        std::fs::create_dir_all(&state).with_context(|| state.display().to_string())?;
        let kafka_port = wanted.kafka_port.map_or_else(|| free_kafka_port(wanted.brokers), Ok)?;
        let (registry, redis, postgres) = (free_port(&[])?, free_port(&[])?, free_port(&[])?);
        let proxies: Vec<String> = wanted.kafka_proxies.iter().map(u16::to_string).collect();
        let extra = wanted.kafka_extra.as_ref().map(|file| file.display().to_string());
        let variables = vec![
            ("INTERLOCK_KAFKA_EXTRA", extra.unwrap_or_default()),
            ("INTERLOCK_KAFKA_PORT", kafka_port.to_string()),
            ("INTERLOCK_REGISTRY_PORT", registry.to_string()),
            ("INTERLOCK_REDIS_PORT", redis.to_string()),
            ("INTERLOCK_POSTGRES_PORT", postgres.to_string()),
            ("INTERLOCK_BROKERS", wanted.brokers.to_string()),
            ("INTERLOCK_KAFKA_PROXIES", proxies.join(",")),
        ];
        let brokers = (0..wanted.brokers).map(|node| format!("127.0.0.1:{}", kafka_port + node));
        let bootstrap_servers = brokers.collect::<Vec<_>>().join(",");
        let database_url = match wanted.services.contains(&Service::Postgres) {
            true => format!("postgres://interlock@127.0.0.1:{postgres}/interlock"),
            false => named_database().context("INTERLOCK_DATABASE_URL is not set")?,
        };
        let servers = Servers {
            watchdog: watchdog(&state, &variables)?,
            addresses: Addresses {
                bootstrap_servers,
                replication: wanted.brokers,
                registry_url: format!("http://127.0.0.1:{registry}/apis/ccompat/v7"),
                redis_url: format!("redis://127.0.0.1:{redis}"),
                redis_cluster: false,
                database_url,
            },
            state,
            variables,
            wanted,
        };
        for (service, megabytes) in &servers.wanted.small_disks {
            mount_small_disk(&servers.data(*service), *megabytes)?;
        }
        let names: Vec<&str> = servers.wanted.services.iter().map(|service| service.name()).collect();
        say(format_args!("starting {} for the end-to-end tests", names.join(", ")));
        servers.call("start", &names)?;
        Ok(servers)
    }

    /// Returns the servers' addresses.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns the folder of a server's data.
    pub fn data(&self, service: Service) -> PathBuf {
        self.state.join(service.name())
    }

    /// Runs `scripts/services COMMAND NAMES...` for these servers.
    fn call(&self, command: &str, names: &[&str]) -> Result<()> {
        let mut call = script(&self.state, &self.variables);
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

    /// Starts a service's stopped processes again, with their data. If a start fails, tries again, as an operator
    /// would. (The registry gives up if its own database takes more than five seconds, as it may on a busy machine.)
    pub fn start_again(&self, service: Service) -> Result<()> {
        for _ in 1..STARTS {
            match self.call("start", &[service.name()]) {
                Ok(()) => return Ok(()),
                Err(error) => say(format_args!("trying again: {error:#}")),
            }
        }
        self.call("start", &[service.name()])
    }

    /// Stops a service gracefully.
    pub fn stop(&self, service: Service) -> Result<()> {
        self.call("stop", &[service.name()])
    }

    /// Sends SIGKILL to a server and its children, as when its machine dies.
    pub fn kill(&self, service: Service) -> Result<()> {
        let id = self.id(service.process())?;
        let mut all = vec![id];
        all.extend(children(id)?);
        for id in all {
            // A child may have noticed and ended already.
            let _ = signal(id, "KILL");
        }
        wait_until_dead(id)
    }

    /// Sends a signal to a server's process.
    pub fn signal(&self, service: Service, name: &str) -> Result<()> {
        signal(self.id(service.process())?, name)
    }

    /// Sends a signal to one of the brokers, counted from 1.
    pub fn signal_broker(&self, node: u16, name: &str) -> Result<()> {
        signal(self.id(&format!("kafka-{node}"))?, name)
    }

    /// Returns the id of the process that `scripts/services` started under this name.
    fn id(&self, process: &str) -> Result<u32> {
        let file = self.state.join(format!("run/{process}.pid"));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let id = text.split(' ').next().unwrap_or_default();
        id.parse().with_context(|| format!("{}: {text}", file.display()))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Sends a signal, by its name without `SIG`.
pub(super) fn signal(id: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").args(["-s", name, &id.to_string()]).status();
    ensure!(status.context("kill")?.success(), "{id} can't be sent {name}");
    Ok(())
}

fn children(id: u32) -> Result<Vec<u32>> {
    let listed = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).context("children of a server")?;
    listed.split_whitespace().map(|id| Ok(id.parse()?)).collect()
}

/// Waits until the system has removed a killed process.
fn wait_until_dead(id: u32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    };
    while runs() {
        ensure!(Instant::now() < deadline, "{id} can't be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Returns a port for the first of several brokers. The ports of the others, of their controllers and of the listeners
/// behind proxies lie above it.
pub fn free_kafka_port(brokers: u16) -> Result<u16> {
    let above = [0, 100, 200].into_iter();
    let above: Vec<u16> = above
        .flat_map(|above| (0..brokers).map(move |node| above + node))
        .collect();
    free_port(&above)
}

/// Returns the port at which a broker, counted from 0, listens for its proxy.
pub const fn proxied_port(kafka_port: u16, node: u16) -> u16 {
    kafka_port + 200 + node
}

/// Returns whether this process can mount disks, which takes the rights of the superuser.
pub(crate) fn may_mount() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    let tried = || {
        let folder = tempfile::tempdir()?;
        mount_small_disk(folder.path(), 1)?;
        let unmounted = Command::new("umount").arg(folder.path()).status()?;
        ensure!(unmounted.success(), "{} stays mounted", folder.path().display());
        anyhow::Ok(())
    };
    *MAY.get_or_init(|| {
        tried()
            .inspect_err(|error| say(format_args!("no disk can be filled: {error:#}")))
            .is_ok()
    })
}

/// Mounts a small disk in memory.
fn mount_small_disk(folder: &Path, megabytes: u32) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let size = format!("size={megabytes}m");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
        .arg(folder)
        .output();
    let mounted = mounted.context("mount")?;
    let said = String::from_utf8_lossy(&mounted.stderr);
    ensure!(
        mounted.status.success(),
        "no small disk at {}: {}",
        folder.display(),
        said.trim()
    );
    Ok(())
}

fn script(state: &Path, variables: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(root().join("scripts/services"));
    for name in THEIRS {
        command.env_remove(name);
    }
    // Containers have fixed names, so a second set of servers can only come from packages.
    command
        .envs(variables.iter().cloned())
        .env("INTERLOCK_SERVICES", "packages");
    command.env("INTERLOCK_STATE", state);
    command
}

/// Starts a shell that waits for the end of this process. Even if the process is killed, its end of the pipe is closed.
fn watchdog(state: &Path, variables: &[(&'static str, String)]) -> Result<Child> {
    let services = script(state, variables);
    let mut shell = Command::new("setsid");
    shell.args([
        "bash",
        "-c",
        "cat >/dev/null; \"$0\" stop; umount -q \"$INTERLOCK_STATE\"/*; \"$0\" stop --wipe; rm -rf \"$INTERLOCK_STATE\"",
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

/// The ports to try. They lie below those for outgoing connections, one of which could take a port between our check
/// and a slow server's start.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// Returns a port that is free now, and whose neighbours at the given distances are free too.
pub(super) fn free_port(above: &[u16]) -> Result<u16> {
    // Processes begin at different ports, and none tries a port twice.
    static LOOKS: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1_000 {
        let look = LOOKS.fetch_add(1, Ordering::Relaxed);
        let place = std::process::id()
            .wrapping_mul(7_919)
            .wrapping_add(look.wrapping_mul(313));
        let port = u16::try_from(PORTS.start + place % (PORTS.end - PORTS.start - 1_000))?;
        let is_free = |above: &u16| TcpListener::bind(("127.0.0.1", port + above)).is_ok();
        if is_free(&0) && above.iter().all(is_free) {
            return Ok(port);
        }
    }
    bail!("no free ports as far apart as {above:?}");
}

/// Returns the folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
