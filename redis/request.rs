//! Builds the requests of writes.
//!
//! A batch is one transaction, or one call of a function. In a call, each touched document is one key and one argument:
//! a list that the function unpacks directly into the arguments of `HSET`, because any other work in Lua costs Redis
//! CPU time.

use std::io::Write as _;

use redis::{Cmd, Pipeline, RedisWrite, ToRedisArgs};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::keys::Keys;
use crate::library::function;
use interlock_streams::ledger::{FieldWrite, Holder, LedgerCommit, Lineage};

/// Most fields in one list: names and values go through Lua's stack, which holds 8,000. A document with more changes is
/// listed among the keys more than once.
const FIELDS_PER_LIST: usize = 3_000;

/// Fields of `meta` that determine whether a batch may be applied.
pub(crate) const HEAD: [&str; 6] = ["format", "application", "epoch", "token", "applied", "rebuilding"];

/// Keys before the documents: `meta`, the set of documents, the outbox.
const KEYS_BEFORE_DOCUMENTS: usize = 3;

/// Starts a call with these keys; arguments follow, the application first.
pub(crate) fn fcall(name: &str, application: &str, keys: &[&[u8]]) -> Cmd {
    let mut cmd = Cmd::new();
    start(&mut cmd, name, application, keys);
    cmd
}

/// Starts a call that requires the ledger to be held.
pub(crate) fn held_by(name: &str, application: &str, keys: &[&[u8]], holder: &Holder) -> Cmd {
    let mut cmd = fcall(name, application, keys);
    cmd.arg(holder.epoch).arg(&holder.token.0);
    cmd
}

/// Applies a batch.
pub(crate) fn commit(application: &str, keys: &Keys, holder: &Holder, commit: &LedgerCommit) -> Cmd {
    let documents = group(&commit.writes);
    let mut cmd = with_documents("commit", application, keys, holder, &documents, commit.outbox.len());
    cmd.arg(optional(commit.expected_applied))
        .arg(commit.applied)
        .arg(commit.sequence);
    cmd.arg(lineage(&commit.lineage)).arg(commit.outbox.as_ref());
    cmd.arg(commit.trim.len());
    for offset in &commit.trim {
        cmd.arg(*offset);
    }
    append(&mut cmd, &documents);
    cmd
}

/// Watches `meta`, reads its [`Head`](crate::reply::Head), and opens a transaction.
pub(crate) fn watch(keys: &Keys) -> Pipeline {
    let mut commands = Pipeline::with_capacity(WATCH_COMMANDS);
    append_watch(&mut commands, keys);
    commands
}

/// Does the same on a connection that has a transaction open.
pub(crate) fn rewatch(keys: &Keys) -> Pipeline {
    let mut commands = Pipeline::with_capacity(1 + WATCH_COMMANDS);
    commands.cmd("DISCARD");
    append_watch(&mut commands, keys);
    commands
}

/// Number of answers of a [`transaction`] that belong to the next watch.
pub(crate) const WATCH_COMMANDS: usize = 3;

/// Applies a batch in the open transaction, unless `meta` was touched since it was watched, then watches again. Returns
/// `None` if a document may lose its last field: it then has to leave the set of documents, which only a function can
/// do.
///
/// Redis refuses a command that lacks rights, memory or replicas when it is queued, and then `EXEC` too.
pub(crate) fn transaction(keys: &Keys, commit: &LedgerCommit) -> Option<Pipeline> {
    let documents = group(&commit.writes);
    if documents.iter().any(DocumentWrites::may_empty) {
        return None;
    }
    let names = documents.iter().map(|document| keys.document(document.document));
    let names: Vec<Vec<u8>> = names.collect();
    let mut commands = Pipeline::with_capacity(2 * documents.len() + 5 + WATCH_COMMANDS);
    if !documents.is_empty() {
        // One command for all of them: known ones cost almost nothing and are not replicated.
        commands.sadd(keys.documents(), &names);
    }
    for (document, key) in documents.iter().zip(names) {
        commands.add_command(set(&key, document));
        if !document.deletes.is_empty() {
            commands.hdel(key, document.deletes.iter().collect::<Vec<_>>());
        }
    }
    commands.hset(keys.outbox(), commit.applied, commit.outbox.as_ref());
    if !commit.trim.is_empty() {
        commands.hdel(keys.outbox(), &commit.trim);
    }
    let progress = commands.cmd("HSET").arg(keys.meta());
    progress.arg("applied").arg(commit.applied);
    progress.arg("sequence").arg(commit.sequence);
    progress.arg("lineage").arg(lineage(&commit.lineage));
    commands.cmd("EXEC");
    append_watch(&mut commands, keys);
    Some(commands)
}

fn append_watch(commands: &mut Pipeline, keys: &Keys) {
    commands.cmd("WATCH").arg(keys.meta());
    commands.cmd("HMGET").arg(keys.meta()).arg(&HEAD);
    commands.cmd("MULTI");
}

fn set(key: &[u8], document: &DocumentWrites<'_>) -> Cmd {
    let mut cmd = Cmd::with_capacity(2 * document.sets.len() + 2, document.bytes() + key.len() + 4);
    cmd.arg("HSET").arg(key);
    for (field, value) in &document.sets {
        cmd.arg(*field).arg(*value);
    }
    cmd
}

/// Writes some documents of a rebuild.
pub(crate) fn rebuild_write(application: &str, keys: &Keys, holder: &Holder, after: u64, writes: &[FieldWrite]) -> Cmd {
    let documents = group(writes);
    let mut cmd = with_documents("rebuild_write", application, keys, holder, &documents, 0);
    cmd.arg(after);
    append(&mut cmd, &documents);
    cmd
}

/// Formats an optional number; `None` is the empty string.
pub(crate) fn optional(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// Formats the lineage as `[[1,"token"],..]`: opaque to the functions, readable for people.
pub(crate) fn lineage(lineage: &Lineage) -> String {
    let entries: Vec<(i64, &str)> = lineage
        .0
        .iter()
        .map(|(sequence, token)| (*sequence, token.0.as_str()))
        .collect();
    serde_json::json!(entries).to_string()
}

/// The changes of a document.
#[derive(Debug, Default)]
struct DocumentWrites<'a> {
    document: &'a [u8],
    /// Fields to set, in the given order. A field may occur twice; with `HSET` the last value wins.
    sets: Vec<(&'a [u8], &'a [u8])>,
    /// Fields to delete after all sets; a field that is set after its deletion is no longer among them.
    deletes: FxHashSet<&'a [u8]>,
}

fn group(writes: &[FieldWrite]) -> Vec<DocumentWrites<'_>> {
    let mut documents: Vec<DocumentWrites<'_>> = Vec::new();
    let mut index: FxHashMap<&[u8], usize> = FxHashMap::default();
    for write in writes {
        let at = *index.entry(write.document.as_ref()).or_insert_with(|| {
            documents.push(DocumentWrites {
                document: &write.document,
                ..DocumentWrites::default()
            });
            documents.len() - 1
        });
        let document = &mut documents[at];
        match &write.value {
            Some(value) => {
                document.deletes.remove(write.field.as_ref());
                document.sets.push((&write.field, value));
            }
            None => {
                document.deletes.insert(&write.field);
            }
        }
    }
    documents
}

impl<'a> DocumentWrites<'a> {
    /// Estimates the size of the fields to set, including lengths.
    fn bytes(&self) -> usize {
        let size = |(field, value): &(&[u8], &[u8])| field.len() + value.len() + 6;
        self.sets.iter().map(size).sum()
    }

    /// Returns whether no set field is known to remain.
    fn may_empty(&self) -> bool {
        self.sets.iter().all(|(field, _)| self.deletes.contains(field))
    }

    /// Packs the fields to set into as many lists as necessary; at least one, because each key has one.
    fn lists(&self) -> impl Iterator<Item = &[(&'a [u8], &'a [u8])]> {
        let empty = self.sets.is_empty().then_some(&[] as &[_]);
        self.sets.chunks(FIELDS_PER_LIST).chain(empty)
    }
}

fn with_documents(
    name: &str,
    application: &str,
    keys: &Keys,
    holder: &Holder,
    documents: &[DocumentWrites<'_>],
    extra: usize,
) -> Cmd {
    let bytes = |document: &DocumentWrites<'_>| document.bytes() + 64;
    let mut cmd = Cmd::with_capacity(
        documents.len() * 2 + 32,
        documents.iter().map(bytes).sum::<usize>() + extra + 512,
    );
    let (meta, set, outbox) = (keys.meta(), keys.documents(), keys.outbox());
    let names = documents.iter().flat_map(|document| {
        let key = keys.document(document.document);
        document.lists().map(move |_| key.clone())
    });
    let names: Vec<Vec<u8>> = names.collect();
    let mut all: Vec<&[u8]> = vec![meta.as_bytes(), set.as_bytes(), outbox.as_bytes()];
    all.extend(names.iter().map(Vec::as_slice));
    start(&mut cmd, name, application, &all);
    cmd.arg(holder.epoch).arg(&holder.token.0);
    cmd
}

fn start(cmd: &mut Cmd, name: &str, application: &str, keys: &[&[u8]]) {
    cmd.arg("FCALL").arg(function(name)).arg(keys.len());
    for key in keys {
        cmd.arg(*key);
    }
    cmd.arg(application);
}

fn append(cmd: &mut Cmd, documents: &[DocumentWrites<'_>]) {
    for document in documents {
        for list in document.lists() {
            cmd.arg(Packed(list.iter().flat_map(|(field, value)| [*field, *value])));
        }
    }
    let mut key = KEYS_BEFORE_DOCUMENTS + 1;
    for document in documents {
        let deletes: Vec<&[u8]> = document.deletes.iter().copied().collect();
        for fields in deletes.chunks(FIELDS_PER_LIST) {
            cmd.arg(key).arg(Packed(fields.iter().copied()));
        }
        key += document.lists().count();
    }
}

/// A list of byte strings in MessagePack, as one argument.
struct Packed<I>(I);

impl<'a, I: Iterator<Item = &'a [u8]> + Clone> ToRedisArgs for Packed<I> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut out = out.writer_for_next_arg();
        for bytes in self.0.clone() {
            let (head, length) = head(bytes.len());
            // Writing to memory can't fail.
            let written = out.write_all(&head[..length]).and_then(|()| out.write_all(bytes));
            debug_assert!(written.is_ok(), "{written:?}");
        }
    }
}

/// Returns the MessagePack head of a string of this length, and the length of the head. Redis' library lacks the binary
/// types, so strings are used.
fn head(length: usize) -> ([u8; 5], usize) {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    match length {
        0..=0x1f => ([0xa0 | d, 0, 0, 0, 0], 1),
        0x20..=0xff => ([0xd9, d, 0, 0, 0], 2),
        0x100..=0xffff => ([0xda, c, d, 0, 0], 3),
        _ => ([0xdb, a, b, c, d], 5),
    }
}
