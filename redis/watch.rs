//! Batches on one server: `MULTI`..`EXEC` on a connection of the ledger's own, which watches `meta`.
//!
//! `WATCH` makes `EXEC` do nothing if `meta` was touched in between, and every acquisition, write, rebuild and release
//! touches it. The head read while watching is therefore still true when the batch is applied, as if one function did
//! both. The plain commands cost Redis half as much as a function, because nothing passes through Lua.
//!
//! Each transaction ends by watching again and opening the next one, so a batch is one round trip. It is sent only
//! after `MULTI` was answered; otherwise its commands would be executed one by one.
//!
//! This is the fast path only. If the caller may not write, it returns `false`, and the caller uses the `commit`
//! function, which reports the reason. It does not serve a cluster, whose client follows moved slots and reconnects by
//! itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Pipeline, RedisResult, Value};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::connection::Connector;
use crate::keys::Keys;
use crate::reply::Head;
use crate::{error, request};
use interlock_streams::ledger::{Holder, LedgerCommit};

/// Longest idle time after which a connection is used again. Servers and middleboxes close idle connections after a
/// minute or more, and the batch that found out would fail.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The watches of a store, by ledger. A watch in use is taken out. If its caller no longer waits, or the answer is an
/// error, the state of its connection is unknown, and it is dropped.
#[derive(Default)]
pub(crate) struct Watches(Mutex<FxHashMap<i32, Arc<tokio::sync::Mutex<Option<Watch>>>>>);

/// A connection that watches the `meta` of one ledger and has a transaction open.
struct Watch {
    connection: MultiplexedConnection,
    /// Number of the store's connection when this one was made; if that one broke, this one is discarded too.
    generation: u64,
    /// The head that was read while watching.
    head: Head,
    /// Time of that read.
    used: Instant,
}

impl Watches {
    /// Applies a batch if the holder and the version are those of the ledger. Returns `false`, and writes nothing, if
    /// they are not or if the server's process is unknown.
    pub(crate) async fn commit(
        &self,
        connector: &Connector,
        application: &str,
        keys: &Keys,
        holder: &Holder,
        commit: &LedgerCommit,
    ) -> RedisResult<bool> {
        let permits = |watch: &Watch| watch.head.permits(application, holder, commit.version);
        let (generation, connection) = connector.connection().await?;
        let slot = self.of(holder.ledger);
        let mut slot = slot.lock().await;
        let result = async {
            let watch = match slot.take().filter(|watch| watch.is_usable(generation)) {
                Some(watch) if permits(&watch) => watch,
                Some(watch) => watch.rewatch(keys).await?,
                None => match connector.open_to_same_process(&connection).await? {
                    Some(connection) => Watch::begin(connection, generation, keys).await?,
                    None => return Ok(false),
                },
            };
            if !permits(&watch) {
                *slot = Some(watch);
                return Ok(false);
            }
            let (executed, watch) = watch.execute(&request::transaction(keys, commit)).await?;
            *slot = watch;
            Ok(executed)
        }
        .await;
        if result.as_ref().is_err_and(error::is_connection_spent) {
            connector.discard(generation).await;
        }
        result
    }

    /// Drops the watch of a ledger that this store no longer writes to.
    pub(crate) fn end(&self, ledger: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&ledger);
    }

    fn of(&self, ledger: i32) -> Arc<tokio::sync::Mutex<Option<Watch>>> {
        let mut watches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(watches.entry(ledger).or_default())
    }
}

impl Watch {
    async fn begin(mut connection: MultiplexedConnection, generation: u64, keys: &Keys) -> RedisResult<Self> {
        let head = head(send(&mut connection, &request::watch(keys)).await?)?;
        Ok(Self {
            connection,
            generation,
            head,
            used: Instant::now(),
        })
    }

    fn is_usable(&self, generation: u64) -> bool {
        self.generation == generation && self.used.elapsed() < IDLE_MAX
    }

    /// Reads the present head of `meta`.
    async fn rewatch(mut self, keys: &Keys) -> RedisResult<Self> {
        let head = head(send(&mut self.connection, &request::rewatch(keys)).await?)?;
        Ok(self.watching(head))
    }

    /// Returns whether the transaction was executed (and not cancelled because `meta` was touched), and the next watch,
    /// if any.
    async fn execute(mut self, transaction: &Pipeline) -> RedisResult<(bool, Option<Self>)> {
        let mut answers = send(&mut self.connection, transaction).await?;
        let watched = answers.split_off(answers.len().saturating_sub(request::WATCH_COMMANDS));
        // The first error is that of the refused command; the failure of `EXEC` follows from it.
        let answers = all(answers)?;
        let executed = !matches!(answers.last(), None | Some(Value::Nil));
        let watch = head(watched).ok().map(|head| self.watching(head));
        Ok((executed, watch))
    }

    fn watching(self, head: Head) -> Self {
        let used = Instant::now();
        Self { head, used, ..self }
    }
}

/// Reads the answers of a watch: the one before that of `MULTI` is the head of `meta`.
fn head(answers: Vec<Value>) -> RedisResult<Head> {
    let mut answers = all(answers)?;
    answers.pop();
    Ok(Head::of(answers.pop().unwrap_or_default()))
}

async fn send(connection: &mut MultiplexedConnection, commands: &Pipeline) -> RedisResult<Vec<Value>> {
    connection.req_packed_commands(commands, 0, commands.len()).await
}

/// Returns the answers, or the first error among them.
fn all(answers: Vec<Value>) -> RedisResult<Vec<Value>> {
    answers.into_iter().map(Value::extract_error).collect()
}
