//! Calls of the library's functions, packed for the wire.
//!
//! A batch is one call. Each touched document is one key and one run of arguments, so that the function hands slices of
//! its arguments on to `HSET` and builds nothing of its own.

use redis::Cmd;
use rustc_hash::{FxHashMap, FxHashSet};

use super::keys::Keys;
use super::library::function;
use crate::ledger::{Claim, FieldWrite, LedgerCommit, Lineage};

/// Starts a call with these keys; arguments follow, the application first.
pub(super) fn fcall(name: &str, application: &str, keys: &[&[u8]]) -> Cmd {
    let mut cmd = Cmd::new();
    start(&mut cmd, name, application, keys);
    cmd
}

/// Starts a call that must hold the ledger.
pub(super) fn claimed(name: &str, application: &str, keys: &[&[u8]], claim: &Claim) -> Cmd {
    let mut cmd = fcall(name, application, keys);
    cmd.arg(claim.epoch).arg(&claim.token.0);
    cmd
}

/// Applies a batch.
pub(super) fn commit(application: &str, keys: &Keys, claim: &Claim, commit: &LedgerCommit) -> Cmd {
    let documents = group(&commit.writes);
    let mut cmd = with_documents("commit", application, keys, claim, &documents, commit.outbox.len());
    cmd.arg(optional(commit.expected_watermark))
        .arg(commit.watermark)
        .arg(commit.sequence);
    cmd.arg(lineage(&commit.lineage)).arg(commit.outbox.as_ref());
    cmd.arg(commit.trim.len());
    for offset in &commit.trim {
        cmd.arg(*offset);
    }
    append(&mut cmd, &documents);
    cmd
}

/// Writes some documents of a rebuild.
pub(super) fn rebuild_write(application: &str, keys: &Keys, claim: &Claim, after: u64, writes: &[FieldWrite]) -> Cmd {
    let documents = group(writes);
    let mut cmd = with_documents("rebuild_write", application, keys, claim, &documents, 0);
    cmd.arg(after);
    append(&mut cmd, &documents);
    cmd
}

/// A number or nothing.
pub(super) fn optional(number: Option<i64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// `[[1,"token"],..]`: opaque to the functions, readable to people.
pub(super) fn lineage(lineage: &Lineage) -> String {
    let entries: Vec<(i64, &str)> = lineage
        .0
        .iter()
        .map(|(sequence, token)| (*sequence, token.0.as_str()))
        .collect();
    serde_json::json!(entries).to_string()
}

/// What one document's run of arguments is made of.
#[derive(Debug, Default)]
struct DocumentWrites<'a> {
    document: &'a [u8],
    /// In the order given; a field may be there twice, `HSET` lets the last one win.
    sets: Vec<(&'a [u8], &'a [u8])>,
    /// Applied after the sets, so a field that is set after its deletion isn't among them any more.
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

fn with_documents(
    name: &str,
    application: &str,
    keys: &Keys,
    claim: &Claim,
    documents: &[DocumentWrites<'_>],
    extra: usize,
) -> Cmd {
    let values = |document: &DocumentWrites<'_>| document.sets.len() * 2 + document.deletes.len() + 3;
    let size = |(field, value): &(&[u8], &[u8])| field.len() + value.len();
    let bytes = |document: &DocumentWrites<'_>| document.sets.iter().map(size).sum::<usize>() + 64;
    let mut cmd = Cmd::with_capacity(
        documents.iter().map(values).sum::<usize>() + 32,
        documents.iter().map(bytes).sum::<usize>() + extra + 512,
    );
    let (meta, set, outbox) = (keys.meta(), keys.documents(), keys.outbox());
    let names: Vec<Vec<u8>> = documents
        .iter()
        .map(|document| keys.document(document.document))
        .collect();
    let mut all: Vec<&[u8]> = vec![meta.as_bytes(), set.as_bytes(), outbox.as_bytes()];
    all.extend(names.iter().map(Vec::as_slice));
    start(&mut cmd, name, application, &all);
    cmd.arg(claim.epoch).arg(&claim.token.0);
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
        cmd.arg(document.sets.len() * 2).arg(document.deletes.len());
        for (field, value) in &document.sets {
            cmd.arg(*field).arg(*value);
        }
        for field in &document.deletes {
            cmd.arg(*field);
        }
    }
}
