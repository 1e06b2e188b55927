//! One connection, replaced when it fails, and those that ledgers have of their own (`watch.rs`), which live and die with
//! it.
//!
//! Its driver is a task of the runtime that connected: each stream thread opens a store of its own. (A store used from
//! another runtime works as long as the first one runs, and reconnects there after.)
//!
//! No request is sent twice by itself, because its answer may be lost and not the request: redis-rs's own retries in a
//! cluster are off. Sent again is only what was certainly not executed: the function was missing, or the slot has moved.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, RedisError, RedisResult, TlsCertificates, Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{RedisConfig, RedisSetupError, error, library, server};

/// How often a call is sent at most, each time certain that it was not executed before.
const ATTEMPTS: u32 = 4;

/// How long a cluster is given to tell where a slot has moved to, for each attempt so far.
const MOVED_PAUSE: Duration = Duration::from_millis(50);

/// Pause before connecting again after the first failure; doubled up to [`BACK_OFF_MAX`] after each further one.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);

/// Longest pause between two attempts to connect: a fail-over should be noticed soon.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// The server's certificate must lead to one of these.
fn trusting(ca: &[u8]) -> TlsCertificates {
    TlsCertificates {
        client_tls: None,
        root_cert: Some(ca.to_vec()),
    }
}

/// A connection to one server or to a cluster; clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server, and which process that is, where it says so.
    Single(MultiplexedConnection, Option<Arc<str>>),
    /// To a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends a command; the routing is for a cluster.
    pub(super) async fn send(&mut self, cmd: Cmd, routing: RoutingInfo) -> RedisResult<Value> {
        match self {
            Self::Single(connection, _) => connection.req_packed_command(&cmd).await,
            Self::Cluster(connection) => connection.route_command(cmd, routing).await,
        }
        .and_then(Value::extract_error)
    }

    async fn send_all(&mut self, commands: &Pipeline, route: Route) -> RedisResult<Vec<Value>> {
        let count = commands.len();
        let values = match self {
            Self::Single(connection, _) => connection.req_packed_commands(commands, 0, count).await,
            Self::Cluster(connection) => {
                let routing = SingleNodeRoutingInfo::SpecificNode(route);
                connection.route_pipeline(commands.clone(), 0, count, routing).await
            }
        }?;
        values.into_iter().map(Value::extract_error).collect()
    }
}

/// Keeps a connection.
pub(super) struct Connector {
    config: RedisConfig,
    nodes: Vec<ConnectionInfo>,
    slot: Mutex<Slot>,
}

/// The connection that is in use, and what is known of the attempts to make one.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Counts connections: who finds one spent must not throw its successor away.
    generation: u64,
    failures: u32,
    last_failure: Option<(Instant, RedisError)>,
}

impl Connector {
    /// Checks the settings and connects.
    pub(super) async fn connect(config: RedisConfig) -> Result<Self, RedisSetupError> {
        let nodes = config.parse()?;
        let connector = Self {
            config,
            nodes,
            slot: Mutex::default(),
        };
        match connector.in_use().await {
            Ok(_) => Ok(connector),
            Err(error) => Err(error::of_setup(&connector.config.servers(), &error)),
        }
    }

    /// Sends commands about one key's slot to its master, in one go, and returns all answers or the first error.
    pub(super) async fn call(&self, key: &str, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let route = Route::with_key(key, SlotAddr::Master);
        let mut attempt = 1;
        loop {
            let (generation, mut connection) = self.in_use().await?;
            let error = match connection.send_all(commands, route).await {
                Ok(values) => return Ok(values),
                Err(error) => error,
            };
            if error::is_connection_spent(&error) {
                self.give_up(generation).await;
                return Err(error);
            }
            let (missing, moved) = (error::is_function_missing(&error), error::is_moved(&error));
            if attempt == ATTEMPTS {
                return Err(if missing { library::still_missing(&error) } else { error });
            }
            attempt += 1;
            if missing {
                tracing::info!(
                    key,
                    library = library::NAME,
                    "loading the functions, this server doesn't have them"
                );
                let node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route));
                library::load(&mut connection, node).await?;
            } else if moved {
                sleep(MOVED_PAUSE * attempt).await;
            } else {
                return Err(error);
            }
        }
    }

    /// Sends a command to the server, or to all masters of a cluster, whose answers then are a map by address.
    pub(super) async fn ask_masters(&self, cmd: Cmd) -> RedisResult<Value> {
        let (generation, mut connection) = self.in_use().await?;
        let routing = redis::cluster_routing::MultipleNodeRoutingInfo::AllMasters;
        let result = connection.send(cmd, RoutingInfo::MultiNode((routing, None))).await;
        if result.as_ref().is_err_and(error::is_connection_spent) {
            self.give_up(generation).await;
        }
        result
    }

    /// Another connection to the same process: what is written on the one must be what is read on the other, also while a
    /// fail-over leads new connections elsewhere. None where that can't be told, as in a cluster.
    pub(super) async fn another(&self, connection: &Connection) -> RedisResult<Option<MultiplexedConnection>> {
        let Connection::Single(_, Some(process)) = connection else {
            return Ok(None);
        };
        let (another, other) = self.in_time(self.open_single()).await?;
        if other.as_ref() == Some(process) {
            return Ok(Some(another));
        }
        let reason = "connections lead to different servers, as in a fail-over";
        Err(RedisError::from(std::io::Error::other(reason)))
    }

    /// The connection in use, or a new one, and how many there were before it. Whoever waited while an attempt failed shares
    /// its error instead of trying, and waiting, one after the other.
    pub(super) async fn in_use(&self) -> RedisResult<(u64, Connection)> {
        let asked = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((slot.generation, connection.clone()));
        }
        if let Some((at, error)) = &slot.last_failure {
            if *at > asked {
                return Err(error.clone());
            }
            let pause = BACK_OFF_MIN * 2_u32.saturating_pow(slot.failures.min(10) - 1);
            sleep_until(*at + pause.min(BACK_OFF_MAX)).await;
        }
        match self.establish().await {
            Ok(connection) => {
                slot.generation += 1;
                slot.failures = 0;
                slot.last_failure = None;
                slot.connection = Some(connection.clone());
                Ok((slot.generation, connection))
            }
            Err(error) => {
                slot.failures += 1;
                slot.last_failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The connection of this generation, or another one made during it, is spent.
    pub(super) async fn give_up(&self, generation: u64) {
        let mut slot = self.slot.lock().await;
        if slot.generation == generation {
            slot.connection = None;
        }
    }

    async fn establish(&self) -> RedisResult<Connection> {
        let mut connection = if self.config.cluster {
            Connection::Cluster(self.in_time(self.open_cluster()).await?)
        } else {
            let (connection, process) = self.in_time(self.open_single()).await?;
            Connection::Single(connection, process)
        };
        library::ensure(&mut connection).await?;
        Ok(connection)
    }

    async fn in_time<C>(&self, open: impl Future<Output = RedisResult<C>>) -> RedisResult<C> {
        let timed_out = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let opened = timeout(self.config.connection_timeout, open).await;
        opened.map_err(timed_out).flatten()
    }

    async fn open_cluster(&self) -> RedisResult<ClusterConnection> {
        let client = ClusterClient::builder(self.nodes.iter().cloned())
            .retries(0)
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            .connection_timeout(self.config.connection_timeout)
            .response_timeout(self.config.response_timeout)
            .build()?;
        client.get_async_connection().await
    }

    async fn open_single(&self) -> RedisResult<(MultiplexedConnection, Option<Arc<str>>)> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connection_timeout))
            .set_response_timeout(Some(self.config.response_timeout));
        let node = self.nodes[0].clone();
        let client = match &self.config.ca {
            Some(ca) => Client::build_with_tls(node, trusting(ca))?,
            None => Client::open(node)?,
        };
        let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        // A user who may not ask has no need to know.
        let mut info = redis::cmd("INFO");
        let info = connection.req_packed_command(info.arg("server")).await?;
        Ok((connection, server::run_id(&info)))
    }
}
