//! Ledgers in Redis: one server, the master that Sentinel names, or a cluster, from version 7.0 on.
//!
//! | key | type | is |
//! | --- | --- | --- |
//! | `{il:7}:meta` | hash | `format`, `application`, `epoch`, `token`, `earlier_token`, `applied`, `sequence`, `lineage`, `owner:<transactional.id>`.., `release_id`, `release_token`, `rebuilding` |
//! | `{il:7}:d:<document>` | hash | a document |
//! | `{il:7}:docs` | set | keys of all documents: to wipe them before a rebuild, and for the audit |
//! | `{il:7}:outbox` | hash | last offset of a batch → its outputs |
//!
//! Each write is one call of a function (`redis/ledger.lua`) that checks, then writes. On a single server, a batch is a
//! transaction of plain commands instead, on a connection that watches `meta` (`redis/watch.rs`): it has the same
//! effect at half of Redis' cost. Reads are plain commands, pipelined with a function that only a master answers and
//! that checks whose ledger it is. The keys of a ledger share a hash tag (`redis/keys.rs`).
//!
//! After an error of the connection, a write may or may not have happened. The store does not repeat it: the caller
//! acquires the ledger again, and the applied offset shows whether the write happened.

mod config;
mod connection;
mod error;
mod inspect;
mod keys;
mod library;
mod reply;
mod request;
mod sentinel;
mod server;
mod watch;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};

pub use config::{CONNECTION_TIMEOUT, NAMESPACE, RESPONSE_TIMEOUT, RedisConfig};
use connection::Connector;
use interlock_streams::ledger::{
    FieldName, Fields, Holder, LedgerCommit, LedgerError, LedgerState, LedgerStore, OutboxEntry, RebuildStep, Release,
    Token,
};
use keys::Keys;
use reply::Answer;
use watch::Watches;

/// Documents read per round trip: enough to hide the latency, few enough that the answers of large documents together
/// do not exceed the response time-out.
const DOCUMENTS_PER_READ: usize = 256;

/// Single fields read per round trip.
const FIELDS_PER_READ: usize = 2_048;

/// Most attempts to list the documents for a rebuild if they change in between; only a zombie could change them.
const LISTINGS_MAX: u32 = 3;

/// A ledger store in Redis. Each stream thread connects a store of its own.
pub struct RedisLedgerStore {
    connector: Connector,
    watches: Watches,
    namespace: String,
    application: String,
    servers: String,
}

impl fmt::Debug for RedisLedgerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLedgerStore")
            .field("servers", &self.servers)
            .field("namespace", &self.namespace)
            .field("application", &self.application)
            .finish_non_exhaustive()
    }
}

impl RedisLedgerStore {
    /// Connects, and loads the functions if they are missing.
    pub async fn connect(config: RedisConfig) -> Result<Self, LedgerError> {
        let (namespace, application) = (config.namespace.clone(), config.application.clone());
        let servers = config.servers();
        let connector = Connector::connect(config).await?;
        Ok(Self {
            connector,
            watches: Watches::default(),
            namespace,
            application,
            servers,
        })
    }

    /// Refuses servers that are unfit for ledgers: too old, or configured to evict keys when memory is full. Warns of
    /// servers that lose acknowledged writes at every restart.
    pub async fn check_server(&self) -> Result<(), LedgerError> {
        let info = self.connector.ask_masters(redis::cmd("INFO")).await;
        let info = info.map_err(|error| error::ledger_error(None, &self.servers, &error))?;
        server::check(&self.servers, info)
    }

    /// Returns the names of a ledger's documents, ascending.
    pub async fn documents(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError> {
        let keys = self.keys(ledger);
        let mut names: Vec<Bytes> = self
            .document_keys(ledger)
            .await?
            .iter()
            .filter_map(|key| keys.name(key))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn document_keys(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError> {
        let list = Cmd::smembers(self.keys(ledger).documents());
        let mut answers = self.read(ledger, [list]).await?;
        reply::members(ledger, answers.pop().unwrap_or_default())
    }

    fn keys(&self, ledger: i32) -> Keys {
        Keys::new(&self.namespace, ledger)
    }

    /// Reads from the master. Refuses a ledger of another application.
    async fn read(&self, ledger: i32, reads: impl IntoIterator<Item = Cmd>) -> Result<Vec<Value>, LedgerError> {
        let meta = self.keys(ledger).meta();
        let mut commands = Pipeline::new();
        commands.add_command(request::fcall("state", &self.application, &[meta.as_bytes()]));
        for read in reads {
            commands.add_command(read);
        }
        let mut answers = self.send(ledger, &meta, &commands).await?;
        let rest = answers.split_off(1);
        reply::answer(ledger, answers.pop().unwrap_or_default(), None)?;
        Ok(rest)
    }

    /// Reads one value per item, with a round trip for each group of items.
    async fn read_each<T>(
        &self,
        ledger: i32,
        items: &[T],
        per_read: usize,
        read: impl Fn(&T) -> Cmd,
    ) -> Result<Vec<Value>, LedgerError> {
        let mut answers = Vec::with_capacity(items.len());
        for items in items.chunks(per_read) {
            answers.extend(self.read(ledger, items.iter().map(&read)).await?);
        }
        Ok(answers)
    }

    /// Calls a function; `expected` is the applied offset that the call states.
    async fn call(&self, ledger: i32, call: Cmd, expected: Option<i64>) -> Result<Answer, LedgerError> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(call);
        let mut answers = self.send(ledger, &self.keys(ledger).meta(), &commands).await?;
        reply::answer(ledger, answers.pop().unwrap_or_default(), expected)
    }

    async fn send(&self, ledger: i32, key: &str, commands: &Pipeline) -> Result<Vec<Value>, LedgerError> {
        let sent = self.connector.call(key, commands).await;
        sent.map_err(|error| error::ledger_error(Some(ledger), &self.servers, &error))
    }

    async fn call_state(&self, ledger: i32, call: Cmd) -> Result<(LedgerState, Token), LedgerError> {
        match self.call(ledger, call, None).await? {
            Answer::Done(value) => reply::state(ledger, value),
            Answer::OtherDocuments => reply::state(ledger, None),
        }
    }

    /// Reads the names of all fields, then the values of those that are not lazy. It uses no function, because Lua
    /// takes ten times as long per name as Redis itself, and a large document has hundreds of lazy fields.
    async fn load_lazily(&self, ledger: i32, documents: &[Bytes], lazy: &[u8]) -> Result<Vec<Fields>, LedgerError> {
        let keys = self.keys(ledger);
        let names = |document: &Bytes| Cmd::hkeys(keys.document(document));
        let names = self.read_each(ledger, documents, DOCUMENTS_PER_READ, names).await?;
        let mut loaded: Vec<Fields> = Vec::with_capacity(documents.len());
        let mut eager = Vec::new();
        for (document, names) in documents.iter().zip(names) {
            let names = reply::members(ledger, names)?;
            let (lazy, wanted): (Vec<Bytes>, Vec<Bytes>) = names.into_iter().partition(|name| name.starts_with(lazy));
            if !wanted.is_empty() {
                eager.push((loaded.len(), document, wanted));
            }
            loaded.push(lazy.into_iter().map(|name| (name, Bytes::new())).collect());
        }
        let values = |(_, document, wanted): &(usize, &Bytes, Vec<Bytes>)| {
            let wanted: Vec<&[u8]> = wanted.iter().map(Bytes::as_ref).collect();
            Cmd::hmget(keys.document(document), wanted)
        };
        let values = self.read_each(ledger, &eager, DOCUMENTS_PER_READ, values).await?;
        for ((at, _, wanted), values) in eager.into_iter().zip(values) {
            for (name, value) in wanted.into_iter().zip(reply::list(ledger, values)?) {
                // A document that is gone was deleted by another holder, whose token refuses any decision without it.
                if let Some(value) = reply::field(ledger, value)? {
                    loaded[at].push((name, value));
                }
            }
        }
        for fields in &mut loaded {
            fields.sort_unstable();
        }
        Ok(loaded)
    }

    /// Begins a rebuild. A function has to declare all keys that it touches, so the documents to delete are listed
    /// first; the function checks that the list is still complete.
    async fn begin(
        &self,
        holder: &Holder,
        expected: Option<i64>,
        token: &Token,
        keep: bool,
    ) -> Result<(), LedgerError> {
        let keys = self.keys(holder.ledger);
        let (meta, set, outbox) = (keys.meta(), keys.documents(), keys.outbox());
        for _ in 0..LISTINGS_MAX {
            let documents = if keep {
                Vec::new()
            } else {
                self.document_keys(holder.ledger).await?
            };
            let mut all: Vec<&[u8]> = vec![meta.as_bytes(), set.as_bytes(), outbox.as_bytes()];
            all.extend(documents.iter().map(Bytes::as_ref));
            let mut call = request::held_by("rebuild_begin", &self.application, &all, holder);
            call.arg(request::optional(expected))
                .arg(&token.0)
                .arg(if keep { "1" } else { "0" });
            if let Answer::Done(_) = self.call(holder.ledger, call, expected).await? {
                return Ok(());
            }
        }
        let reason = "the documents kept changing while a rebuild was begun".to_owned();
        Err(LedgerError::Unavailable {
            ledger: Some(holder.ledger),
            reason,
        })
    }
}

#[async_trait]
impl LedgerStore for RedisLedgerStore {
    async fn state(&self, ledger: i32) -> Result<LedgerState, LedgerError> {
        let call = request::fcall("state", &self.application, &[self.keys(ledger).meta().as_bytes()]);
        Ok(self.call_state(ledger, call).await?.0)
    }

    async fn acquire(&self, ledger: i32, owner: &str, token: &Token) -> Result<LedgerState, LedgerError> {
        let mut call = request::fcall("acquire", &self.application, &[self.keys(ledger).meta().as_bytes()]);
        call.arg(owner).arg(&token.0);
        let (state, earlier) = self.call_state(ledger, call).await?;
        Ok(LedgerState {
            token: earlier,
            ..state
        })
    }

    async fn forget_owners(&self, holder: &Holder, owners: &[String]) -> Result<(), LedgerError> {
        let meta = self.keys(holder.ledger).meta();
        let mut call = request::held_by("forget_owners", &self.application, &[meta.as_bytes()], holder);
        for owner in owners {
            call.arg(owner);
        }
        self.call(holder.ledger, call, None).await.map(drop)
    }

    async fn load(&self, ledger: i32, documents: &[Bytes], lazy: Option<&[u8]>) -> Result<Vec<Fields>, LedgerError> {
        if let Some(lazy) = lazy {
            return self.load_lazily(ledger, documents, lazy).await;
        }
        let keys = self.keys(ledger);
        let read = |document: &Bytes| Cmd::hgetall(keys.document(document));
        let answers = self.read_each(ledger, documents, DOCUMENTS_PER_READ, read).await?;
        answers.into_iter().map(|value| reply::fields(ledger, value)).collect()
    }

    async fn load_fields(&self, ledger: i32, fields: &[FieldName]) -> Result<Vec<Option<Bytes>>, LedgerError> {
        let keys = self.keys(ledger);
        let read = |name: &FieldName| Cmd::hget(keys.document(&name.document), name.field.as_ref());
        let answers = self.read_each(ledger, fields, FIELDS_PER_READ, read).await?;
        answers.into_iter().map(|value| reply::field(ledger, value)).collect()
    }

    async fn commit(&self, holder: &Holder, commit: &LedgerCommit) -> Result<(), LedgerError> {
        let keys = self.keys(holder.ledger);
        let committed = self
            .watches
            .commit(&self.connector, &self.application, &keys, holder, commit);
        let unanswered = |error| error::ledger_error(Some(holder.ledger), &self.servers, &error);
        if committed.await.map_err(unanswered)? {
            return Ok(());
        }
        let call = request::commit(&self.application, &keys, holder, commit);
        self.call(holder.ledger, call, commit.expected_applied).await.map(drop)
    }

    async fn outbox(&self, ledger: i32) -> Result<Vec<OutboxEntry>, LedgerError> {
        let read = Cmd::hgetall(self.keys(ledger).outbox());
        let mut answers = self.read(ledger, [read]).await?;
        reply::outbox(ledger, answers.pop().unwrap_or_default())
    }

    async fn rebuild(&self, holder: &Holder, step: &RebuildStep) -> Result<(), LedgerError> {
        let keys = self.keys(holder.ledger);
        let call = match step {
            RebuildStep::Begin {
                expected_applied,
                token,
                keep,
            } => {
                return self.begin(holder, *expected_applied, token, *keep).await;
            }
            RebuildStep::Write { after, writes } => {
                request::rebuild_write(&self.application, &keys, holder, *after, writes)
            }
            RebuildStep::Finish {
                after,
                applied,
                sequence,
                lineage,
            } => {
                let meta = keys.meta();
                let mut call = request::held_by("rebuild_finish", &self.application, &[meta.as_bytes()], holder);
                call.arg(*after)
                    .arg(request::optional(*applied))
                    .arg(*sequence)
                    .arg(request::lineage(lineage));
                call
            }
        };
        self.call(holder.ledger, call, None).await.map(drop)
    }

    async fn release(&self, holder: &Holder, release: &Release) -> Result<(), LedgerError> {
        let meta = self.keys(holder.ledger).meta();
        let mut call = request::held_by("release", &self.application, &[meta.as_bytes()], holder);
        call.arg(&release.transactional_id).arg(&release.token.0);
        self.watches.end(holder.ledger);
        self.call(holder.ledger, call, None).await.map(drop)
    }
}
