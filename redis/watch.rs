//! Batches on one server: `MULTI`..`EXEC` on a connection of the ledger's own, which watches `meta`.
//!
//! `WATCH` makes `EXEC` do nothing if anybody has touched `meta` since, and everybody who acquires, writes, rebuilds or releases
//! touches it: what was read of it while watching is what it is when the batch is applied, as if one function did both.
//! Redis spends half as much on the same writes as plain commands, because nothing passes through Lua.
//!
//! Each transaction ends by watching on and opening the next one, so a batch is one way there and back, and is sent only
//! where `MULTI` was answered: without that its commands would be executed one by one.
//!
//! This only ever succeeds: whoever may not write is told by the function `commit`, and so is what needs it for another reason.
//! It is not for a cluster, whose client sends where the slot is now, and reconnects without a word.

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

/// How long a connection may have been idle to be used once more: servers, and what lies between, close those on which nothing
/// happens for a minute or some, and the batch that found out would be an error.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The watches of a store, by ledger. One that is in use is taken out: where nobody waits for its answer any more, or the
/// answer is an error, nobody knows what state its connection is in, and it ends.
#[derive(Default)]
pub(crate) struct Watches(Mutex<FxHashMap<i32, Arc<tokio::sync::Mutex<Option<Watch>>>>>);

/// A connection that watches the `meta` of one ledger and has a transaction open.
struct Watch {
    connection: MultiplexedConnection,
    /// Of the store's connection when this one was made: if that was found broken, so is this one.
    generation: u64,
    /// What was read while watching.
    head: Head,
    /// When that was.
    used: Instant,
}

impl Watches {
    /// Applies a batch if the holder and the expected applied offset are those of the ledger. If not, or if this is not the way to
    /// do it, nothing was written, and the answer is `false`.
    pub(crate) async fn commit(
        &self,
        connector: &Connector,
        application: &str,
        keys: &Keys,
        holder: &Holder,
        commit: &LedgerCommit,
    ) -> RedisResult<bool> {
        let permits = |watch: &Watch| watch.head.permits(application, holder, commit.expected_applied);
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
            let transaction = permits(&watch).then(|| request::transaction(keys, commit));
            let Some(transaction) = transaction.flatten() else {
                *slot = Some(watch);
                return Ok(false);
            };
            let (executed, watch) = watch.execute(&transaction).await?;
            *slot = watch;
            Ok(executed)
        }
        .await;
        if result.as_ref().is_err_and(error::is_connection_spent) {
            connector.discard(generation).await;
        }
        result
    }

    /// Nobody here will write to this ledger for now.
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

    /// Reads what `meta` says by now.
    async fn rewatch(mut self, keys: &Keys) -> RedisResult<Self> {
        let head = head(send(&mut self.connection, &request::rewatch(keys)).await?)?;
        Ok(self.watching(head))
    }

    /// Whether the transaction was executed, rather than `meta` touched; and the watch after it, if there is one.
    async fn execute(mut self, transaction: &Pipeline) -> RedisResult<(bool, Option<Self>)> {
        let mut answers = send(&mut self.connection, transaction).await?;
        let watched = answers.split_off(answers.len().saturating_sub(request::WATCH_COMMANDS));
        // The first error is of what was refused; that `EXEC` did nothing follows from it.
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

/// Reads the answers of watching: the one before `MULTI`'s is what `meta` says.
fn head(answers: Vec<Value>) -> RedisResult<Head> {
    let mut answers = all(answers)?;
    answers.pop();
    Ok(Head::of(answers.pop().unwrap_or_default()))
}

async fn send(connection: &mut MultiplexedConnection, commands: &Pipeline) -> RedisResult<Vec<Value>> {
    connection.req_packed_commands(commands, 0, commands.len()).await
}

/// The answers, or the first error among them.
fn all(answers: Vec<Value>) -> RedisResult<Vec<Value>> {
    answers.into_iter().map(Value::extract_error).collect()
}
