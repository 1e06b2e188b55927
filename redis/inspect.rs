//! Lists the content of a ledger in Redis, and the keys that another program wrote or changed.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use interlock_streams::ledger::{ForeignKey, InspectLedgers, KeyDifference, LedgerError};
use redis::{Cmd, Pipeline, Value};

use super::{DOCUMENTS_PER_READ, RedisLedgerStore, reply};
use crate::keys::Keys;

/// Keys of the server that it visits per `SCAN`: few enough that nobody else waits for it.
const KEYS_PER_SCAN: usize = 1_000;

/// Answer of `PTTL` for a key that does not expire; less for a key that is gone.
const NEVER: i64 = -1;

#[async_trait]
impl InspectLedgers for RedisLedgerStore {
    async fn foreign_keys(&self, ledger: i32) -> Result<Vec<ForeignKey>, LedgerError> {
        let keys: Vec<Bytes> = self.stored_keys(ledger).await?.into_iter().collect();
        let mut foreign = Vec::new();
        for keys in keys.chunks(DOCUMENTS_PER_READ) {
            foreign.extend(self.foreign_among(ledger, keys).await?);
        }
        Ok(foreign)
    }
}

impl RedisLedgerStore {
    /// Returns all keys with the ledger's hash tag, also those that no worker wrote.
    pub(crate) async fn stored_keys(&self, ledger: i32) -> Result<BTreeSet<Bytes>, LedgerError> {
        let (mut found, mut cursor) = (BTreeSet::new(), Bytes::from_static(b"0"));
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor.as_ref()).arg("MATCH").arg(self.keys(ledger).pattern());
            scan.arg("COUNT").arg(KEYS_PER_SCAN);
            let mut commands = Pipeline::with_capacity(1);
            commands.add_command(scan);
            let pages = self.send(ledger, &self.keys(ledger).meta(), &commands).await?;
            let page = pages.into_iter().next().unwrap_or_default();
            let mut page = reply::list(ledger, page)?.into_iter();
            cursor = reply::field(ledger, page.next().unwrap_or_default())?.unwrap_or_default();
            found.extend(reply::members(ledger, page.next().unwrap_or_default())?);
            if cursor.as_ref() == b"0" {
                return Ok(found);
            }
        }
    }

    /// Returns what is foreign among these keys.
    async fn foreign_among(&self, ledger: i32, among: &[Bytes]) -> Result<Vec<ForeignKey>, LedgerError> {
        let keys = self.keys(ledger);
        let own = [keys.meta(), keys.log()];
        let mut questions = Vec::with_capacity(4 * among.len());
        for key in among {
            // Asked twice: a worker may write a new document between two of these questions.
            let named = || Cmd::hget(keys.meta(), Keys::index_field(&keys.name(key).unwrap_or_default()));
            questions.extend([named(), kind(key), Cmd::pttl(key.as_ref()), named()]);
        }
        let answers = self.read(ledger, questions).await?;
        let mut foreign = Vec::new();
        for (key, answers) in among.iter().zip(answers.chunks(4)) {
            let document = keys.name(key);
            let [before, kind, expires, after] = answers else {
                continue;
            };
            let expires = reply::integer(ledger, expires)?;
            let mut report = |difference| {
                foreign.push(ForeignKey {
                    key: String::from_utf8_lossy(key).into_owned(),
                    document: document.clone(),
                    difference,
                });
            };
            if expires > NEVER {
                report(KeyDifference::Expires(expires));
            }
            if expires < NEVER {
                continue;
            }
            if document.is_none() {
                if !own.iter().any(|own| own.as_bytes() == key.as_ref()) {
                    report(KeyDifference::Unknown);
                }
                continue;
            }
            if *before == Value::Nil && *after == Value::Nil {
                report(KeyDifference::Unnamed);
            }
            let kind = reply::field(ledger, kind.clone())?.unwrap_or_default();
            if kind.as_ref() != b"hash" {
                report(KeyDifference::OtherType(String::from_utf8_lossy(&kind).into_owned()));
            }
        }
        Ok(foreign)
    }
}

/// Asks for the type of a key's value.
fn kind(key: &[u8]) -> Cmd {
    let mut kind = redis::cmd("TYPE");
    kind.arg(key);
    kind
}
