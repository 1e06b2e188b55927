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
use interlock_streams::ledger::{DocumentWrites, Head, Holder, LedgerCommit, Lineage};

/// Most fields in one list: names and values go through Lua's stack, which holds 8,000. A document with more changes is
/// listed among the keys more than once.
const FIELDS_PER_LIST: usize = 3_000;

/// Fields of `meta` that determine whether a batch may be applied.
pub(crate) const HEAD: [&str; 6] = ["format", "application", "epoch", "token", "version", "rebuilding"];

/// Keys before the documents: `meta` and the log.
const KEYS_BEFORE_DOCUMENTS: usize = 2;

/// Field of a document with the format and the sequence of its head.
pub(crate) const SEQUENCE_FIELD: &[u8] = b"h";
/// Field of a document with the sum of its head, to which Redis itself adds.
pub(crate) const SUM_FIELD: &[u8] = b"n";
/// First byte of [`SEQUENCE_FIELD`].
pub(crate) const HEAD_FORMAT: u8 = 1;

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
    let documents = group(&commit.documents);
    let mut cmd = with_documents("commit", application, keys, holder, &documents, commit.entry.len());
    cmd.arg(commit.version).arg(commit.applied).arg(commit.sequence);
    cmd.arg(lineage(&commit.lineage)).arg(commit.entry.as_ref());
    cmd.arg(&commit.chain[..]).arg(commit.documents.number());
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

/// Applies a batch in the open transaction, unless `meta` was touched since it was watched, then watches again.
///
/// Redis refuses a command that lacks rights, memory or replicas when it is queued, and then `EXEC` too.
pub(crate) fn transaction(keys: &Keys, commit: &LedgerCommit) -> Pipeline {
    let documents = group(&commit.documents);
    let names = documents.iter().map(|document| keys.document(document.document));
    let names: Vec<Vec<u8>> = names.collect();
    let mut commands = Pipeline::with_capacity(3 * documents.len() + 5 + WATCH_COMMANDS);
    let new = documents.iter().zip(&names).filter(|(document, _)| document.is_new);
    let new: Vec<&[u8]> = new.map(|(_, key)| key.as_slice()).collect();
    if !new.is_empty() {
        commands.cmd("UNLINK").arg(new);
    }
    for (document, key) in documents.iter().zip(names) {
        commands.add_command(set(&key, document));
        if !document.deletes.is_empty() {
            commands.hdel(&key, document.deletes.iter().collect::<Vec<_>>());
        }
        let add = commands.cmd("HINCRBY").arg(key);
        add.arg(SUM_FIELD).arg(commit.documents.number());
    }
    commands.hset(keys.log(), commit.applied, commit.entry.as_ref());
    if !commit.trim.is_empty() {
        commands.hdel(keys.log(), &commit.trim);
    }
    let progress = commands.cmd("HSET").arg(keys.meta());
    progress.arg("version").arg(commit.version + 1);
    progress.arg("applied").arg(commit.applied);
    progress.arg("sequence").arg(commit.sequence);
    progress.arg("lineage").arg(lineage(&commit.lineage));
    progress.arg("chain").arg(&commit.chain[..]);
    if let Some(floor) = commit.trim.last() {
        progress.arg("floor").arg(*floor);
    }
    for document in &documents {
        let field = Keys::index_field(document.document);
        progress.arg(field).arg(&document.head.to_bytes()[..]);
    }
    commands.cmd("EXEC");
    append_watch(&mut commands, keys);
    commands
}

fn append_watch(commands: &mut Pipeline, keys: &Keys) {
    commands.cmd("WATCH").arg(keys.meta());
    commands.cmd("HMGET").arg(keys.meta()).arg(&HEAD);
    commands.cmd("MULTI");
}

fn set(key: &[u8], document: &Changes<'_>) -> Cmd {
    let mut cmd = Cmd::with_capacity(2 * document.sets.len() + 2, document.bytes() + key.len() + 4);
    cmd.arg("HSET").arg(key);
    for (field, value) in &document.sets {
        cmd.arg(*field).arg(*value);
    }
    cmd.arg(SEQUENCE_FIELD).arg(&document.sequence[..]);
    cmd
}

/// Writes some documents of a rebuild.
pub(crate) fn rebuild_write(
    application: &str,
    keys: &Keys,
    holder: &Holder,
    version: u64,
    documents: &DocumentWrites,
) -> Cmd {
    let grouped = group(documents);
    let mut cmd = with_documents("rebuild_write", application, keys, holder, &grouped, 0);
    cmd.arg(version).arg(documents.number());
    append(&mut cmd, &grouped);
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
#[derive(Debug)]
struct Changes<'a> {
    document: &'a [u8],
    is_new: bool,
    /// The head afterwards.
    head: Head,
    /// The value of [`SEQUENCE_FIELD`].
    sequence: [u8; 9],
    /// Fields to set, in the given order. A field may occur twice; with `HSET` the last value wins.
    sets: Vec<(&'a [u8], &'a [u8])>,
    /// Fields to delete after all sets; a field that is set after its deletion is no longer among them.
    deletes: FxHashSet<&'a [u8]>,
}

fn group(documents: &DocumentWrites) -> Vec<Changes<'_>> {
    let touched = documents.touched().iter();
    let mut changes: Vec<Changes<'_>> = touched
        .map(|touched| {
            let mut sequence = [HEAD_FORMAT; 9];
            sequence[1..].copy_from_slice(&touched.head.sequence.to_be_bytes());
            Changes {
                document: &touched.document,
                is_new: touched.is_new,
                head: touched.head,
                sequence,
                sets: Vec::new(),
                deletes: FxHashSet::default(),
            }
        })
        .collect();
    let index: FxHashMap<&[u8], usize> = documents
        .touched()
        .iter()
        .map(|touched| &*touched.document)
        .zip(0..)
        .collect();
    for write in documents.writes() {
        let changed = index.get(&*write.document).and_then(|at| changes.get_mut(*at));
        let Some(changed) = changed else { continue };
        match &write.value {
            Some(value) => {
                changed.deletes.remove(write.field.as_ref());
                changed.sets.push((&write.field, value));
            }
            None => {
                changed.deletes.insert(&write.field);
            }
        }
    }
    changes
}

impl<'a> Changes<'a> {
    /// Estimates the size of the fields to set, including lengths.
    fn bytes(&self) -> usize {
        let size = |(field, value): &(&[u8], &[u8])| field.len() + value.len() + 6;
        self.sets.iter().map(size).sum()
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
    documents: &[Changes<'_>],
    extra: usize,
) -> Cmd {
    let bytes = |document: &Changes<'_>| document.bytes() + 64;
    let mut cmd = Cmd::with_capacity(
        documents.len() * 2 + 32,
        documents.iter().map(bytes).sum::<usize>() + extra + 512,
    );
    let (meta, log) = (keys.meta(), keys.log());
    let names = documents.iter().flat_map(|document| {
        let key = keys.document(document.document);
        document.lists().map(move |_| key.clone())
    });
    let names: Vec<Vec<u8>> = names.collect();
    let mut all: Vec<&[u8]> = vec![meta.as_bytes(), log.as_bytes()];
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

fn append(cmd: &mut Cmd, documents: &[Changes<'_>]) {
    for document in documents {
        let last = document.lists().count() - 1;
        for (at, list) in document.lists().enumerate() {
            let (is_first, is_last) = (at == 0, at == last);
            cmd.arg(if is_first && document.is_new { "n" } else { "" });
            let head = document.head.to_bytes();
            cmd.arg(if is_last { &head[..] } else { &[] });
            let sequence = is_last.then_some((SEQUENCE_FIELD, &document.sequence[..]));
            let fields = list.iter().copied().chain(sequence);
            cmd.arg(Packed(fields.flat_map(|(field, value)| [field, value])));
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
