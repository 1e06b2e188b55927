//! Ledgers in memory: for tests, the simulator and `interlock dev`, where everything is lost with the process.
//!
//! It is written to be obviously right, since the Redis store is compared with it. All workers of a process share one
//! store by cloning it. Tests cause the failures of a real store: [`MemoryLedgerStore::snapshot`] and
//! [`MemoryLedgerStore::restore`] are a fail-over to a replica that lacks the last writes, [`MemoryLedgerStore::flush`]
//! is the loss of everything, [`MemoryLedgerStore::lose_reply`] a connection that breaks before the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    FieldName, FieldWrite, Fields, Holder, LedgerCommit, LedgerError, LedgerState, LedgerStore, OutboxEntry,
    RebuildStep, Release, Token,
};

/// Ledgers in memory. Clones share the same ledgers.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedgerStore {
    ledgers: Arc<Mutex<BTreeMap<i32, Ledger>>>,
    lose_reply: Arc<AtomicBool>,
}

/// One ledger as it was at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSnapshot(Ledger);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ledger {
    state: LedgerState,
    /// Writes of the rebuild that was begun.
    rebuild_writes: u64,
    /// The token before the present one: the answer if the acquisition is asked for again.
    earlier_token: Token,
    owners: BTreeSet<String>,
    documents: BTreeMap<Bytes, BTreeMap<Bytes, Bytes>>,
    outbox: BTreeMap<i64, Bytes>,
}

impl MemoryLedgerStore {
    /// Copies a ledger as it is now.
    pub fn snapshot(&self, ledger: i32) -> LedgerSnapshot {
        LedgerSnapshot(self.lock().get(&ledger).cloned().unwrap_or_default())
    }

    /// Restores a ledger: a fail-over that lost every write since the snapshot, acknowledged ones too.
    pub fn restore(&self, ledger: i32, snapshot: LedgerSnapshot) {
        self.lock().insert(ledger, snapshot.0);
    }

    /// Loses everything.
    pub fn flush(&self) {
        self.lock().clear();
    }

    /// The next commit takes effect, but its answer is lost.
    pub fn lose_reply(&self) {
        self.lose_reply.store(true, Ordering::Relaxed);
    }

    /// The fields of a document, ascending; empty where it doesn't exist.
    pub fn fields(&self, ledger: i32, document: &[u8]) -> BTreeMap<Bytes, Bytes> {
        self.read(ledger, |found| {
            found.documents.get(document).cloned().unwrap_or_default()
        })
    }

    /// Names of a ledger's documents, ascending.
    pub fn documents(&self, ledger: i32) -> Vec<Bytes> {
        self.lock()
            .get(&ledger)
            .map(|found| found.documents.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// A panic elsewhere can't leave a ledger half written: every write below checks first and then can't fail.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Ledger>> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T: Default>(&self, ledger: i32, read: impl FnOnce(&Ledger) -> T) -> T {
        self.lock().get(&ledger).map(read).unwrap_or_default()
    }

    /// Writes to a ledger, if the holder is the present one.
    fn write<T>(
        &self,
        holder: &Holder,
        write: impl FnOnce(&mut Ledger) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut ledgers = self.lock();
        let found = ledgers.get_mut(&holder.ledger);
        let (epoch, token) = found
            .as_ref()
            .map(|found| (found.state.epoch, found.state.token.clone()))
            .unwrap_or_default();
        match found {
            // Epoch 0: never acquired, so without a holder.
            Some(found) if epoch != 0 && epoch == holder.epoch && token == holder.token => write(found),
            _ => Err(LedgerError::Fenced {
                ledger: holder.ledger,
                epoch,
                token,
            }),
        }
    }
}

impl Ledger {
    fn state(&self) -> LedgerState {
        LedgerState {
            owners: self.owners.iter().cloned().collect(),
            ..self.state.clone()
        }
    }

    fn acquire(&mut self, owner: &str, token: &Token) -> LedgerState {
        self.owners.insert(owner.to_owned());
        if self.state.token != *token {
            self.state.epoch += 1;
            self.earlier_token = std::mem::replace(&mut self.state.token, token.clone());
        }
        let before = LedgerState {
            token: self.earlier_token.clone(),
            ..self.state()
        };
        if self
            .state
            .release
            .as_ref()
            .is_some_and(|release| release.transactional_id == owner)
        {
            self.state.release = None;
        }
        before
    }

    fn expect_applied(&self, ledger: i32, expected: Option<i64>) -> Result<(), LedgerError> {
        match self.state.applied == expected {
            true => Ok(()),
            false => Err(self.behind(ledger, expected)),
        }
    }

    fn behind(&self, ledger: i32, expected: Option<i64>) -> LedgerError {
        LedgerError::Behind {
            ledger,
            found: self.state.applied,
            expected,
        }
    }

    /// A batch is not decided from half a rebuild: a worker that states its token has seen all of it, on another
    /// master.
    fn expect_whole(&self, ledger: i32, expected: Option<i64>) -> Result<(), LedgerError> {
        match self.state.rebuilding {
            true => Err(self.behind(ledger, expected)),
            false => Ok(()),
        }
    }

    fn expect_rebuilding(&self, ledger: i32, expected: bool) -> Result<(), LedgerError> {
        if self.state.rebuilding == expected {
            return Ok(());
        }
        let reason = if expected {
            "no rebuild was begun"
        } else {
            "a rebuild was begun and not finished"
        };
        Err(LedgerError::Fatal {
            ledger: Some(ledger),
            reason: reason.to_owned(),
        })
    }

    /// No write of the rebuild is missing, as it would be where another master took over.
    fn expect_rebuilt_so_far(&self, ledger: i32, writes: u64) -> Result<(), LedgerError> {
        self.expect_rebuilding(ledger, true)?;
        match self.rebuild_writes == writes {
            true => Ok(()),
            false => Err(self.behind(ledger, None)),
        }
    }

    fn apply(&mut self, writes: &[FieldWrite]) {
        for write in writes {
            let fields = self.documents.entry(write.document.clone()).or_default();
            match &write.value {
                // Copies: the given value may be a slice of a whole batch, and would keep all of it in memory.
                Some(value) => fields.insert(Bytes::copy_from_slice(&write.field), Bytes::copy_from_slice(value)),
                None => fields.remove(&write.field),
            };
        }
        for write in writes {
            if self.documents.get(&write.document).is_some_and(BTreeMap::is_empty) {
                self.documents.remove(&write.document);
            }
        }
    }

    fn commit(&mut self, commit: &LedgerCommit) {
        self.apply(&commit.writes);
        self.outbox.insert(commit.applied, commit.outbox.clone());
        for offset in &commit.trim {
            self.outbox.remove(offset);
        }
        self.state.applied = Some(commit.applied);
        self.state.sequence = commit.sequence;
        self.state.lineage = commit.lineage.clone();
    }
}

#[async_trait]
impl LedgerStore for MemoryLedgerStore {
    async fn state(&self, ledger: i32) -> Result<LedgerState, LedgerError> {
        Ok(self.read(ledger, Ledger::state))
    }

    async fn acquire(&self, ledger: i32, owner: &str, token: &Token) -> Result<LedgerState, LedgerError> {
        Ok(self.lock().entry(ledger).or_default().acquire(owner, token))
    }

    async fn forget_owners(&self, holder: &Holder, owners: &[String]) -> Result<(), LedgerError> {
        self.write(holder, |ledger| {
            ledger.owners.retain(|owner| !owners.contains(owner));
            Ok(())
        })
    }

    async fn load(&self, ledger: i32, documents: &[Bytes], lazy: Option<&[u8]>) -> Result<Vec<Fields>, LedgerError> {
        let ledgers = self.lock();
        let stored = ledgers.get(&ledger).map(|found| &found.documents);
        let fields = |document| stored.and_then(|stored| stored.get(document));
        let copy = |(field, value): (&Bytes, &Bytes)| match lazy {
            Some(prefix) if field.starts_with(prefix) => (field.clone(), Bytes::new()),
            _ => (field.clone(), value.clone()),
        };
        let copies = |document| fields(document).into_iter().flatten().map(copy).collect();
        Ok(documents.iter().map(copies).collect())
    }

    async fn load_fields(&self, ledger: i32, fields: &[FieldName]) -> Result<Vec<Option<Bytes>>, LedgerError> {
        let ledgers = self.lock();
        let stored = ledgers.get(&ledger).map(|found| &found.documents);
        let value = |name: &FieldName| stored?.get(&name.document)?.get(&name.field).cloned();
        Ok(fields.iter().map(value).collect())
    }

    async fn commit(&self, holder: &Holder, commit: &LedgerCommit) -> Result<(), LedgerError> {
        self.write(holder, |ledger| {
            ledger.expect_whole(holder.ledger, commit.expected_applied)?;
            ledger.expect_applied(holder.ledger, commit.expected_applied)?;
            ledger.commit(commit);
            Ok(())
        })?;
        if self.lose_reply.swap(false, Ordering::Relaxed) {
            return Err(LedgerError::Unavailable {
                ledger: Some(holder.ledger),
                reason: "the answer was lost".to_owned(),
            });
        }
        Ok(())
    }

    async fn outbox(&self, ledger: i32) -> Result<Vec<OutboxEntry>, LedgerError> {
        let entry = |(&last_offset, value): (&i64, &Bytes)| OutboxEntry {
            last_offset,
            value: value.clone(),
        };
        Ok(self.read(ledger, |found| found.outbox.iter().map(entry).collect()))
    }

    async fn rebuild(&self, holder: &Holder, step: &RebuildStep) -> Result<(), LedgerError> {
        self.write(holder, |ledger| match step {
            RebuildStep::Begin {
                expected_applied,
                token,
                keep,
            } => {
                ledger.expect_applied(holder.ledger, *expected_applied)?;
                if *keep {
                    ledger.expect_rebuilding(holder.ledger, false)?;
                } else {
                    ledger.documents.clear();
                }
                ledger.outbox.clear();
                ledger.state.token = token.clone();
                ledger.state.rebuilding = true;
                ledger.rebuild_writes = 0;
                Ok(())
            }
            RebuildStep::Write { after, writes } => {
                ledger.expect_rebuilt_so_far(holder.ledger, *after)?;
                ledger.apply(writes);
                ledger.rebuild_writes += 1;
                Ok(())
            }
            RebuildStep::Finish {
                after,
                applied,
                sequence,
                lineage,
            } => {
                ledger.expect_rebuilt_so_far(holder.ledger, *after)?;
                ledger.state.applied = *applied;
                ledger.state.sequence = *sequence;
                ledger.state.lineage = lineage.clone();
                ledger.state.rebuilding = false;
                Ok(())
            }
        })
    }

    async fn release(&self, holder: &Holder, release: &Release) -> Result<(), LedgerError> {
        self.write(holder, |ledger| {
            ledger.owners.remove(&release.transactional_id);
            ledger.state.release = Some(release.clone());
            Ok(())
        })
    }
}
