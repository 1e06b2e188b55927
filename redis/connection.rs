//! The store's connection, which is replaced when it fails, and the connections of ledgers (`watch.rs`), which end with
//! it.
//!
//! The driver of a connection is a task of the runtime that connected, so each stream thread opens a store of its own.
//! A store that is used from another runtime works as long as the first one runs, and reconnects afterwards.
//!
//! No request is repeated automatically, because it may have been executed although its answer was lost; the retries of
//! redis-rs in a cluster are off. A request is sent again only if it was certainly not executed: the function was
//! missing, or the slot has moved.

use std::sync::Arc;
use std::time::Duration;

use interlock_streams::backoff::Backoff;
use interlock_streams::ledger::LedgerError;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult, TlsCertificates,
    Value,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Target;
use crate::sentinel::Sentinels;
use crate::{RedisConfig, error, library, server};

/// Most attempts of a call, each after certainty that the preceding one was not executed.
const ATTEMPTS: u32 = 4;

/// Pause, per attempt, for a cluster to publish the new node of a moved slot.
const MOVED_PAUSE: Duration = Duration::from_millis(50);

/// Pause before connecting again after the first failure.
const FIRST_RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between two attempts to connect: a fail-over should be noticed soon.
const LONGEST_RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Trusts only servers whose certificate leads to one of these.
fn trusting(ca: &[u8]) -> TlsCertificates {
    TlsCertificates {
        client_tls: None,
        root_cert: Some(ca.to_vec()),
    }
}

/// A connection to one server or to a cluster; clones share it.
#[derive(Clone)]
pub(crate) enum Connection {
    /// To one server, and the id of its process if it states one.
    Single(MultiplexedConnection, Option<Arc<str>>),
    /// To a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends a command; the routing is for a cluster.
    pub(crate) async fn send(&mut self, cmd: Cmd, routing: RoutingInfo) -> RedisResult<Value> {
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
pub(crate) struct Connector {
    config: RedisConfig,
    target: Target,
    slot: Mutex<Slot>,
}

/// The present connection, and the attempts to establish one.
struct Slot {
    connection: Option<Connection>,
    /// Number of the connection: a caller whose connection broke must not discard its successor.
    generation: u64,
    backoff: Backoff,
    last_failure: Option<Failure>,
}

/// A failed attempt to connect.
struct Failure {
    at: Instant,
    error: RedisError,
    /// Time of the next attempt.
    retry_at: Instant,
}

impl Connector {
    /// Checks the settings and connects.
    pub(crate) async fn connect(config: RedisConfig) -> Result<Self, LedgerError> {
        let target = config.parse()?;
        let connector = Self {
            config,
            target,
            slot: Mutex::new(Slot {
                connection: None,
                generation: 0,
                backoff: Backoff::new(FIRST_RECONNECT_PAUSE, LONGEST_RECONNECT_PAUSE),
                last_failure: None,
            }),
        };
        match connector.connection().await {
            Ok(_) => Ok(connector),
            Err(error) => Err(error::ledger_error(None, &connector.config.servers(), &error)),
        }
    }

    /// Sends commands about the slot of one key to its master in one round trip. Returns all answers, or the first
    /// error.
    pub(crate) async fn call(&self, key: &str, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let route = Route::with_key(key, SlotAddr::Master);
        let mut attempt = 1;
        loop {
            let (generation, mut connection) = self.connection().await?;
            let error = match connection.send_all(commands, route).await {
                Ok(values) => return Ok(values),
                Err(error) => error,
            };
            if error::is_connection_spent(&error) {
                self.discard(generation).await;
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

    /// Sends a command to the server, or to all masters of a cluster; the latter answer with a map by address.
    pub(crate) async fn ask_masters(&self, cmd: Cmd) -> RedisResult<Value> {
        let (generation, mut connection) = self.connection().await?;
        let routing = redis::cluster_routing::MultipleNodeRoutingInfo::AllMasters;
        let result = connection.send(cmd, RoutingInfo::MultiNode((routing, None))).await;
        if result.as_ref().is_err_and(error::is_connection_spent) {
            self.discard(generation).await;
        }
        result
    }

    /// Opens another connection to the same server process, so that reads on one see writes on the other, even while a
    /// fail-over leads new connections elsewhere. Returns `None` if the process is unknown, as in a cluster.
    pub(crate) async fn open_to_same_process(
        &self,
        connection: &Connection,
    ) -> RedisResult<Option<MultiplexedConnection>> {
        let Connection::Single(_, Some(process)) = connection else {
            return Ok(None);
        };
        match self.open_single().await? {
            Connection::Single(another, Some(other)) if other == *process => Ok(Some(another)),
            _ => Err(try_again("connections lead to different servers, as in a fail-over")),
        }
    }

    /// Returns the present connection, or a new one, and its number. Callers that waited during a failed attempt share
    /// its error, instead of trying one after the other.
    pub(crate) async fn connection(&self) -> RedisResult<(u64, Connection)> {
        let asked = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(connection) = &slot.connection {
            return Ok((slot.generation, connection.clone()));
        }
        if let Some(failure) = &slot.last_failure {
            if failure.at > asked {
                return Err(failure.error.clone());
            }
            sleep_until(failure.retry_at).await;
        }
        match self.establish().await {
            Ok(connection) => {
                slot.generation += 1;
                slot.backoff.succeeded();
                slot.last_failure = None;
                slot.connection = Some(connection.clone());
                Ok((slot.generation, connection))
            }
            Err(error) => {
                let at = Instant::now();
                slot.last_failure = Some(Failure {
                    at,
                    error: error.clone(),
                    retry_at: at + slot.backoff.failed(),
                });
                Err(error)
            }
        }
    }

    /// Discards the connection with this number, after it or another connection made during its life broke.
    pub(crate) async fn discard(&self, generation: u64) {
        let mut slot = self.slot.lock().await;
        if slot.generation == generation {
            slot.connection = None;
        }
    }

    async fn establish(&self) -> RedisResult<Connection> {
        let mut connection = match &self.target {
            Target::Single(_) | Target::Sentinel(_) => self.open_single().await?,
            Target::Cluster(nodes) => {
                let cluster = self.open_cluster(nodes);
                Connection::Cluster(self.within_connection_timeout(cluster).await?)
            }
        };
        library::ensure(&mut connection).await?;
        Ok(connection)
    }

    async fn within_connection_timeout<C>(&self, open: impl Future<Output = RedisResult<C>>) -> RedisResult<C> {
        let timed_out = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let opened = timeout(self.config.connection_timeout, open).await;
        opened.map_err(timed_out).flatten()
    }

    async fn open_cluster(&self, nodes: &[ConnectionInfo]) -> RedisResult<ClusterConnection> {
        let client = ClusterClient::builder(nodes.iter().cloned())
            .retries(0)
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            .connection_timeout(self.config.connection_timeout)
            .response_timeout(self.config.response_timeout)
            .build()?;
        client.get_async_connection().await
    }

    /// Connects to the one server, or to the master that the sentinels name now.
    async fn open_single(&self) -> RedisResult<Connection> {
        let mut connection = match &self.target {
            Target::Single(server) => self.open(server.clone()).await?,
            Target::Sentinel(sentinels) => self.open_master(sentinels).await?,
            Target::Cluster(_) => return Err(try_again("a cluster has no single server")),
        };
        // A user without the right to ask needs no answer.
        let mut info = redis::cmd("INFO");
        let info = connection.req_packed_command(info.arg("server")).await?;
        Ok(Connection::Single(connection, server::run_id(&info)))
    }

    async fn open(&self, server: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connection_timeout))
            .set_response_timeout(Some(self.config.response_timeout));
        let client = match &self.config.ca {
            Some(ca) => Client::build_with_tls(server, trusting(ca))?,
            None => Client::open(server)?,
        };
        let opened = client.get_multiplexed_async_connection_with_config(&settings);
        self.within_connection_timeout(opened).await
    }

    /// Asks the sentinels one after the other until one of them leads to a server that is a master.
    async fn open_master(&self, sentinels: &Sentinels) -> RedisResult<MultiplexedConnection> {
        let mut failure = None;
        for (number, address) in sentinels.addresses() {
            match self.open_master_named_by(address, sentinels).await {
                Ok(connection) => {
                    sentinels.answered(number);
                    return Ok(connection);
                }
                // A sentinel that can't be reached may be the one that knows more.
                Err(error) if failure.as_ref().is_none_or(|failure| !error::is_transient(failure)) => {
                    failure = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| try_again("there is no sentinel")))
    }

    async fn open_master_named_by(
        &self,
        sentinel: &ConnectionInfo,
        sentinels: &Sentinels,
    ) -> RedisResult<MultiplexedConnection> {
        let name = sentinels.master();
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let answer = self.open(sentinel.clone()).await?.req_packed_command(&ask).await;
        let answer = answer.and_then(Value::extract_error)?;
        let Some((host, port)) = redis::from_redis_value::<Option<(String, u16)>>(answer)? else {
            let unknown = format!("the sentinel at {} knows no master {name:?}", sentinel.addr());
            return Err(RedisError::from((ErrorKind::InvalidClientConfig, "Sentinel", unknown)));
        };
        let master = sentinels.at(host, port);
        let mut connection = self.open(master.clone()).await?;
        let role = connection.req_packed_command(&redis::cmd("ROLE")).await;
        let role = server::role(&role.and_then(Value::extract_error)?);
        if role != "master" {
            // Sentinel names the new master before it has become one.
            return Err(try_again(format!(
                "the server at {} is a {role} so far, not a master",
                master.addr()
            )));
        }
        Ok(connection)
    }
}

/// Returns an error that makes the caller reconnect.
fn try_again(reason: impl Into<String>) -> RedisError {
    RedisError::from(std::io::Error::other(reason.into()))
}
