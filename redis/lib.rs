//! Ledgers in Redis: one server, the master that Sentinel names, or a cluster, from version 7.0 on.
//!
//! | key | type | is |
//! | --- | --- | --- |
//! | `{il:7}:meta` | hash | `format`, `application`, `epoch`, `token`, `earlier_token`, `version`, `applied`, `sequence`, `lineage`, `floor`, `chain`, `owner:<transactional.id>`.., `release_id`, `release_token`, `rebuilding`; and the index: `d:<document>`.. → sequence and sum that the document must have, 8 bytes each |
//! | `{il:7}:d:<document>` | hash | a document: its fields, and its head in `h` (format, sequence) and `n` (the sum, to which Redis itself adds) |
//! | `{il:7}:log` | hash | last offset of a batch → its outputs |
//!
//! Each write is one call of a function (`redis/ledger.lua`) that checks, then writes. On a single server, a batch is a
//! transaction of plain commands instead, on a connection that watches `meta` (`redis/watch.rs`): it has the same
//! effect at half of Redis' cost. Reads are plain commands, pipelined with a function that only a master answers and
//! that checks whose ledger it is. The keys of a ledger share a hash tag (`redis/keys.rs`).
//!
//! After an error of the connection, a write may or may not have happened. The store does not repeat it: the caller
//! acquires the ledger again, and the version shows whether the write happened.

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
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};

pub use config::{CONNECTION_TIMEOUT, NAMESPACE, RESPONSE_TIMEOUT, RedisConfig};
use connection::Connector;
use interlock_streams::ledger::{
    Contents, Document, Holder, LedgerCommit, LedgerError, LedgerState, LedgerStore, LogEntry, RebuildStep, Release,
    Token, View,
};
use keys::Keys;
use request::{SEQUENCE_FIELD, SUM_FIELD};
use watch::Watches;

/// Documents read per round trip: enough to hide the latency, few enough that the answers of large documents together
/// do not exceed the response time-out.
const DOCUMENTS_PER_READ: usize = 256;

/// Keys made to last without limit per round trip.
const KEYS_PER_PERSIST: usize = 1_000;

/// The fields of a document that are its head.
const HEAD_FIELDS: [&[u8]; 2] = [SEQUENCE_FIELD, SUM_FIELD];

/// A ledger store in Redis. Each stream thread connects a store of its own.
pub struct RedisLedgerStore {
    connector: Connector,
    watches: Watches,
    namespace: String,
    application: String,
    servers: String,
    /// False once the server was found to write no append-only file.
    is_persistent: AtomicBool,
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
            is_persistent: AtomicBool::new(true),
        })
    }

    /// Refuses servers that are unfit for ledgers: too old, or configured to evict keys when memory is full. Warns of
    /// servers that lose acknowledged writes at every restart.
    pub async fn check_server(&self) -> Result<(), LedgerError> {
        let info = self.connector.ask_masters(redis::cmd("INFO")).await;
        let info = info.map_err(|error| error::ledger_error(None, &self.servers, &error))?;
        server::check(&self.servers, info)
    }

    /// Returns the keys of all documents that are stored, named by the index or not.
    async fn document_keys(&self, ledger: i32) -> Result<Vec<Bytes>, LedgerError> {
        let keys = self.keys(ledger);
        let stored = self.stored_keys(ledger).await?.into_iter();
        Ok(stored.filter(|key| keys.name(key).is_some()).collect())
    }

    fn keys(&self, ledger: i32) -> Keys {
        Keys::new(&self.namespace, ledger)
    }

    /// Reads from the master. Refuses a ledger of another application.
    async fn read(&self, ledger: i32, reads: impl IntoIterator<Item = Cmd>) -> Result<Vec<Value>, LedgerError> {
        let meta = self.keys(ledger).meta();
        let mut commands = Pipeline::new();
        commands.add_command(request::fcall("look", &self.application, &[meta.as_bytes()]));
        for read in reads {
            commands.add_command(read);
        }
        let mut answers = self.send(ledger, &meta, &commands).await?;
        let rest = answers.split_off(1);
        reply::answer(ledger, answers.pop().unwrap_or_default(), 0)?;
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

    /// Calls a function; `expected` is the version that the call states.
    async fn call(&self, ledger: i32, call: Cmd, expected: u64) -> Result<Option<Value>, LedgerError> {
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
        reply::state(ledger, self.call(ledger, call, 0).await?)
    }

    /// Reads the names of all fields, then head and values of those that are not lazy. It uses no function, because Lua
    /// takes ten times as long per name as Redis itself, and a large document has hundreds of lazy fields.
    async fn load_lazily(&self, ledger: i32, documents: &[Bytes], lazy: &[u8]) -> Result<Vec<Document>, LedgerError> {
        let keys = self.keys(ledger);
        let names = |document: &Bytes| Cmd::hkeys(keys.document(document));
        let names = self.read_each(ledger, documents, DOCUMENTS_PER_READ, names).await?;
        let mut loaded: Vec<Document> = Vec::with_capacity(documents.len());
        let mut eager = Vec::new();
        for (document, names) in documents.iter().zip(names) {
            let names = reply::members(ledger, names)?;
            let (lazy, wanted): (Vec<Bytes>, Vec<Bytes>) = names.into_iter().partition(|name| name.starts_with(lazy));
            if !wanted.is_empty() {
                eager.push((loaded.len(), document, wanted));
            }
            loaded.push(Document {
                head: None,
                fields: lazy.into_iter().map(|name| (name, Bytes::new())).collect(),
            });
        }
        let values = |(_, document, wanted): &(usize, &Bytes, Vec<Bytes>)| {
            let wanted: Vec<&[u8]> = wanted.iter().map(Bytes::as_ref).collect();
            Cmd::hmget(keys.document(document), wanted)
        };
        let values = self.read_each(ledger, &eager, DOCUMENTS_PER_READ, values).await?;
        for ((at, _, wanted), values) in eager.into_iter().zip(values) {
            // A document that is gone by now has no head, and counts as lost.
            let Document { head, fields } = reply::some_fields(ledger, wanted.iter().map(Bytes::as_ref), values)?;
            loaded[at].head = head;
            loaded[at].fields.extend(fields);
            loaded[at].fields.sort_unstable();
        }
        Ok(loaded)
    }

    /// Begins a rebuild. A function has to declare all keys that it touches, so the documents to remove are listed
    /// first.
    async fn begin(&self, holder: &Holder, version: u64, token: &Token, keep: bool) -> Result<(), LedgerError> {
        let keys = self.keys(holder.ledger);
        let documents = match keep {
            true => Vec::new(),
            false => self.document_keys(holder.ledger).await?,
        };
        let (meta, log) = (keys.meta(), keys.log());
        let mut all: Vec<&[u8]> = vec![meta.as_bytes(), log.as_bytes()];
        all.extend(documents.iter().map(Bytes::as_ref));
        let mut call = request::held_by("rebuild_begin", &self.application, &all, holder);
        call.arg(version).arg(&token.0).arg(if keep { "1" } else { "0" });
        self.call(holder.ledger, call, version).await.map(drop)
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
        self.call(holder.ledger, call, 0).await.map(drop)
    }

    async fn load(&self, ledger: i32, documents: &[Bytes], lazy: Option<&[u8]>) -> Result<Vec<Document>, LedgerError> {
        if let Some(lazy) = lazy {
            return self.load_lazily(ledger, documents, lazy).await;
        }
        let keys = self.keys(ledger);
        let read = |document: &Bytes| Cmd::hgetall(keys.document(document));
        let answers = self.read_each(ledger, documents, DOCUMENTS_PER_READ, read).await?;
        let documents = answers.into_iter().map(|value| reply::document(ledger, value));
        documents.collect()
    }

    async fn load_fields(&self, ledger: i32, wanted: &[(Bytes, Vec<Bytes>)]) -> Result<Vec<Document>, LedgerError> {
        let keys = self.keys(ledger);
        let names = |fields: &[Bytes]| -> Vec<Bytes> {
            let head = HEAD_FIELDS.into_iter().map(Bytes::from_static);
            head.chain(fields.iter().cloned()).collect()
        };
        let read = |(document, fields): &(Bytes, Vec<Bytes>)| {
            let names = names(fields);
            Cmd::hmget(
                keys.document(document),
                names.iter().map(Bytes::as_ref).collect::<Vec<&[u8]>>(),
            )
        };
        let answers = self.read_each(ledger, wanted, DOCUMENTS_PER_READ, read).await?;
        let documents = wanted.iter().zip(answers).map(|((_, fields), values)| {
            let names = names(fields);
            reply::some_fields(ledger, names.iter().map(Bytes::as_ref), values)
        });
        documents.collect()
    }

    async fn view(
        &self,
        ledger: i32,
        documents: &[Bytes],
        contents: Contents,
        entries: &[i64],
    ) -> Result<View, LedgerError> {
        let keys = self.keys(ledger);
        let (meta, log) = (keys.meta(), keys.log());
        let mut commands = Pipeline::with_capacity(documents.len() + 6);
        commands.cmd("MULTI");
        commands.add_command(request::fcall("look", &self.application, &[meta.as_bytes()]));
        commands.cmd("HLEN").arg(&log);
        if !documents.is_empty() {
            let index = documents.iter().map(|document| Keys::index_field(document));
            commands.cmd("HMGET").arg(&meta).arg(index.collect::<Vec<_>>());
        }
        if !entries.is_empty() {
            commands.cmd("HMGET").arg(&log).arg(entries);
        }
        for document in documents {
            let key = keys.document(document);
            match contents {
                Contents::Head => commands.add_command(Cmd::hmget(key, HEAD_FIELDS.to_vec())),
                Contents::Fields => commands.add_command(Cmd::hgetall(key)),
            };
        }
        commands.cmd("EXEC");
        let executed = self.send(ledger, &meta, &commands).await?.pop().unwrap_or_default();
        let mut answers = reply::list(ledger, executed)?.into_iter();
        let mut next = || answers.next().unwrap_or_default();
        let (mut state, _) = reply::state(ledger, reply::answer(ledger, next(), 0)?)?;
        let count = u64::try_from(reply::integer(ledger, &next())?).unwrap_or(0);
        if !documents.is_empty() {
            for (document, head) in documents.iter().zip(reply::list(ledger, next())?) {
                if let Some(head) = reply::field(ledger, head)? {
                    state.index.insert(document.clone(), reply::index_head(&head));
                }
            }
        }
        let log = match entries.is_empty() {
            true => Vec::new(),
            false => reply::list(ledger, next())?,
        };
        let log = log.into_iter().map(|entry| reply::field(ledger, entry));
        let log = log.collect::<Result<_, _>>()?;
        let documents = documents.iter().map(|_| match contents {
            Contents::Head => reply::some_fields(ledger, HEAD_FIELDS, next()),
            Contents::Fields => reply::document(ledger, next()),
        });
        Ok(View {
            state,
            documents: documents.collect::<Result<_, _>>()?,
            entries: count,
            log,
        })
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
        self.call(holder.ledger, call, commit.version).await.map(drop)
    }

    async fn log(&self, ledger: i32) -> Result<Vec<LogEntry>, LedgerError> {
        let read = Cmd::hgetall(self.keys(ledger).log());
        let mut answers = self.read(ledger, [read]).await?;
        reply::log(ledger, answers.pop().unwrap_or_default())
    }

    async fn rebuild(&self, holder: &Holder, step: &RebuildStep) -> Result<(), LedgerError> {
        let keys = self.keys(holder.ledger);
        let meta = keys.meta();
        let held_by = |name| request::held_by(name, &self.application, &[meta.as_bytes()], holder);
        let (call, version) = match step {
            RebuildStep::Demand { version } => {
                let mut call = held_by("rebuild_demand");
                call.arg(*version);
                (call, *version)
            }
            RebuildStep::Begin { version, token, keep } => {
                return self.begin(holder, *version, token, *keep).await;
            }
            RebuildStep::Write { version, documents } => {
                let call = request::rebuild_write(&self.application, &keys, holder, *version, documents);
                (call, *version)
            }
            RebuildStep::Finish {
                version,
                applied,
                sequence,
                lineage,
            } => {
                let mut call = held_by("rebuild_finish");
                call.arg(*version)
                    .arg(request::optional(*applied))
                    .arg(*sequence)
                    .arg(request::lineage(lineage));
                (call, *version)
            }
        };
        self.call(holder.ledger, call, version).await.map(drop)
    }

    async fn release(&self, holder: &Holder, release: &Release) -> Result<(), LedgerError> {
        let meta = self.keys(holder.ledger).meta();
        let mut call = request::held_by("release", &self.application, &[meta.as_bytes()], holder);
        call.arg(&release.transactional_id).arg(&release.token.0);
        self.watches.end(holder.ledger);
        self.call(holder.ledger, call, 0).await.map(drop)
    }

    async fn check_fitness(&self, ledger: i32) -> Result<(), LedgerError> {
        let mut commands = Pipeline::with_capacity(1);
        commands.cmd("INFO").arg("memory").arg("persistence");
        let answers = self.send(ledger, &self.keys(ledger).meta(), &commands).await?;
        let info = answers.into_iter().next().unwrap_or_default();
        let is_persistent = server::is_persistent(&info);
        if self.is_persistent.swap(is_persistent, Ordering::Relaxed) && !is_persistent {
            server::warn_not_persistent(&self.servers);
        }
        match server::evicts(&info) {
            None => Ok(()),
            Some(problem) => Err(LedgerError::Unfit {
                ledger,
                reason: format!("Redis at {}: {problem}; nothing is sold until then", self.servers),
            }),
        }
    }

    async fn persist(&self, ledger: i32, documents: &[Bytes]) -> Result<(), LedgerError> {
        let keys = self.keys(ledger);
        let documents: Vec<Vec<u8>> = documents.iter().map(|document| keys.document(document)).collect();
        let mut all: Vec<Vec<u8>> = vec![keys.meta().into(), keys.log().into()];
        all.extend(documents);
        for some in all.chunks(KEYS_PER_PERSIST) {
            let mut commands = Pipeline::with_capacity(some.len());
            for key in some {
                commands.cmd("PERSIST").arg(key);
            }
            for (key, removed) in some.iter().zip(self.send(ledger, &keys.meta(), &commands).await?) {
                if removed == Value::Int(1) {
                    let key = String::from_utf8_lossy(key);
                    tracing::warn!(ledger, %key, "a time to live was set for a key of the ledger; it is removed");
                }
            }
        }
        Ok(())
    }

    async fn renew(&self, ledger: i32) -> Result<(), LedgerError> {
        let meta = self.keys(ledger).meta();
        let format = Cmd::hget(&meta, "format");
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(format);
        let format = self.send(ledger, &meta, &commands).await?.pop().unwrap_or_default();
        if matches!(
            reply::field(ledger, format)?.as_deref(),
            None | Some(reply::FORMAT_BYTES)
        ) {
            return Ok(());
        }
        let others: Vec<Bytes> = self.stored_keys(ledger).await?.into_iter().collect();
        let others = others.iter().map(Bytes::as_ref).filter(|key| *key != meta.as_bytes());
        let mut all: Vec<&[u8]> = vec![meta.as_bytes()];
        all.extend(others);
        let call = request::fcall("renew", &self.application, &all);
        self.call(ledger, call, 0).await.map(drop)
    }
}
