//! Private Redis servers: each on free ports, in a directory of its own, ended with its value. The whole-system tests
//! include this file, too.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// The kind of a server process.
#[derive(Clone)]
enum Role {
    /// Keeps data; with these arguments.
    Data(Vec<String>),
    /// A sentinel; with these lines of its configuration file, which it rewrites.
    Sentinel(String),
}

/// One server.
pub(crate) struct Server {
    pub(crate) port: u16,
    role: Role,
    directory: TempDir,
    child: Child,
}

impl Server {
    /// Starts an empty server that persists nothing.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Self::start_as(Role::Data(arguments.collect())).await
    }

    /// Starts a sentinel with these lines of configuration.
    pub(crate) async fn start_sentinel(settings: &str) -> Self {
        Self::start_as(Role::Sentinel(settings.to_owned())).await
    }

    async fn start_as(role: Role) -> Self {
        let mut said = String::new();
        for _ in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let port = free_port();
            let mut server = Self {
                port,
                child: spawn(port, &directory, &role),
                role: role.clone(),
                directory,
            };
            if server.is_ready().await {
                return server;
            }
            // Another process may have taken the port after our look.
            said = server.said();
        }
        panic!("no server could be started; the last one said: {said}");
    }

    /// Kills it; what it had is lost.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`Server::kill`], on the same port.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.role);
        assert!(self.is_ready().await, "not started again: {}", self.said());
    }

    /// Sends it a signal: `STOP` freezes it, `CONT` lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a command (words parted by spaces) by a connection of its own.
    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &str) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut words = words.split(' ');
        redis::cmd(words.next().unwrap())
            .arg(words.collect::<Vec<_>>())
            .query_async(&mut connection)
            .await
    }

    /// Waits until it says that it is ready; false where it ended instead. (An answer on its port may be of another
    /// process.)
    async fn is_ready(&mut self) -> bool {
        let mut runs = true;
        eventually("the server is ready", async || {
            runs = self.child.try_wait().unwrap().is_none();
            !runs || self.said().contains(self.role.ready())
        })
        .await;
        runs
    }

    /// Returns the log since the start.
    fn said(&self) -> String {
        fs::read_to_string(log(&self.directory)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds, at most half a minute.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..300 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("didn't come true: {what}");
}

impl Role {
    /// Returns what the server logs once it answers.
    fn ready(&self) -> &'static str {
        match self {
            Self::Data(_) => "Ready to accept connections",
            Self::Sentinel(_) => "+monitor master",
        }
    }
}

fn spawn(port: u16, directory: &TempDir, role: &Role) -> Child {
    let mut command = Command::new("redis-server");
    match role {
        Role::Data(arguments) => {
            let (port, bus) = (port.to_string(), free_port().to_string());
            command
                .args(["--port", &port, "--cluster-port", &bus])
                .args(["--bind", "127.0.0.1", "--save", ""])
                .args(arguments);
        }
        Role::Sentinel(settings) => {
            let file = directory.path().join("sentinel.conf");
            if !file.exists() {
                let lines = format!("port {port}\nbind 127.0.0.1\n{settings}\n");
                fs::write(&file, lines).unwrap();
            }
            command.arg(&file).arg("--sentinel");
        }
    }
    command
        .current_dir(directory.path())
        .stdout(File::create(log(directory)).unwrap())
        .spawn()
        .unwrap()
}

fn log(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
}

/// A port that is free now, below those that systems give to outgoing connections: one of those would take it sooner or
/// later from a server that is to start again.
fn free_port() -> u16 {
    static LOOKS: AtomicU16 = AtomicU16::new(0);
    // Processes begin at different places, and none looks twice at the same one.
    let begin = std::process::id().wrapping_mul(7_919);
    let places = std::iter::repeat_with(|| LOOKS.fetch_add(313, Ordering::Relaxed));
    places
        .map(|place| 20_000 + (begin.wrapping_add(place.into()) % 12_000) as u16)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}
