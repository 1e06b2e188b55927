//! The connections of one sink: few, opened when needed, discarded after any error, and never waited for beyond the
//! deadline.
//!
//! A pool would test and reuse a connection that a deadline interrupted in the middle of an answer. Here only a
//! connection whose work succeeded is used again, so no error outlives its connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use interlock_streams::sink::SinkError;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::doing::Doing;

/// The share of a call's deadline that the server may spend on one statement, or wait inside a transaction. The server
/// thus ends work that the caller no longer waits for.
const SERVER_SHARE_PERCENT: u32 = 80;

/// The connections of one sink.
#[derive(Debug)]
pub(super) struct Connections {
    options: PgConnectOptions,
    place: String,
    deadline: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<PgConnection>>,
}

impl Connections {
    pub(super) fn new(options: &PgConnectOptions, connections_max: usize, deadline: Duration) -> Self {
        Self {
            place: place(options),
            options: bounded(options, deadline),
            deadline,
            permits: Semaphore::new(connections_max.max(1)),
            idle: Mutex::default(),
        }
    }

    /// Host, port, database and role, for messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Runs some work, but not beyond the deadline.
    pub(super) async fn within_deadline<T>(
        &self,
        doing: Doing<'_>,
        work: impl Future<Output = Result<T, SinkError>> + Send,
    ) -> Result<T, SinkError> {
        let late = || doing.unavailable(&format!("no answer within {:?}", self.deadline));
        let done = tokio::time::timeout(self.deadline, work).await;
        let done = done.unwrap_or_else(|_| Err(late()));
        if done.is_err() {
            // The cause has probably broken the other connections too.
            self.idle().clear();
        }
        done
    }

    /// Returns a connection for one piece of work. Dropping it closes it, which rolls back an open transaction.
    pub(super) async fn lease(&self, doing: Doing<'_>) -> Result<Lease<'_>, SinkError> {
        let permit = self.permits.acquire().await.ok();
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(|e| doing.failed(&e))?,
        };
        Ok(Lease { connection, permit })
    }

    /// Takes back a connection whose work succeeded.
    pub(super) fn give_back(&self, lease: Lease<'_>) {
        self.idle().push(lease.connection);
        drop(lease.permit);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use.
pub(super) struct Lease<'a> {
    pub(super) connection: PgConnection,
    permit: Option<SemaphorePermit<'a>>,
}

/// Returns host, port, database and role of an address, without the password.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let (role, host, port) = (options.get_username(), options.get_host(), options.get_port());
    let database = options.get_database().unwrap_or(role);
    format!("{role}@{host}:{port}/{database}")
}

/// Makes the server end work whose client no longer waits.
pub(super) fn bounded(options: &PgConnectOptions, deadline: Duration) -> PgConnectOptions {
    let server_ms = (deadline * SERVER_SHARE_PERCENT / 100).as_millis().max(1).to_string();
    let settings = [
        ("statement_timeout", server_ms.as_str()),
        ("idle_in_transaction_session_timeout", server_ms.as_str()),
        ("timezone", "UTC"),
        // A crash of the database may lose its last moments, positions and rows together. The next write is then
        // refused, and the task goes back to the stored position. Waiting for the disk at each commit would gain
        // nothing.
        ("synchronous_commit", "off"),
    ];
    let name = options.get_application_name().unwrap_or("interlock-sink");
    options.clone().application_name(name).options(settings)
}
