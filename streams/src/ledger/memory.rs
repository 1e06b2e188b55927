//! Ledgers in memory: for tests, the simulator and `interlock dev`, where everything is lost with the process.
//!
//! It is written to be obviously right, since the Redis store is compared with it. All workers of a process share one
//! store by cloning it. Tests cause the failures of a real store: [`MemoryLedgerStore::snapshot`] and
//! [`MemoryLedgerStore::restore`] are a fail-over to a replica that lacks the last writes, [`MemoryLedgerStore::flush`]
//! is the loss of everything, [`MemoryLedgerStore::lose`] and [`MemoryLedgerStore::put_back`] are the loss of a part,
//! [`MemoryLedgerStore::lose_reply`] a connection that breaks before the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Contents, Document, DocumentWrites, Head, Holder, Index, LedgerCommit, LedgerError, LedgerState, LedgerStore,
    LogEntry, RebuildStep, Release, Token, View,
};
use crate::mutation::{Clause, left_out};

/// Ledgers in memory. Clones share the same ledgers.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedgerStore {
    ledgers: Arc<Mutex<BTreeMap<i32, Ledger>>>,
    lose_reply: Arc<AtomicBool>,
    unfit: Arc<AtomicBool>,
}

/// One ledger as it was at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSnapshot(Ledger);

/// A part of a ledger that can be lost alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The state, which contains the index.
    State,
    /// The whole log.
    Log,
    /// The log entry of this offset.
    Entry(i64),
    /// A document.
    Document(Bytes),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ledger {
    meta: Meta,
    documents: BTreeMap<Bytes, Stored>,
    log: BTreeMap<i64, Bytes>,
}

/// The parts that one key holds in a real store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Meta {
    state: LedgerState,
    /// The token before the present one: the answer if the acquisition is asked for again.
    earlier_token: Token,
    owners: BTreeSet<String>,
}

/// A document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stored {
    head: Head,
    fields: BTreeMap<Bytes, Bytes>,
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

    /// Lists the parts of a ledger, ascending.
    pub fn parts(&self, ledger: i32) -> Vec<Part> {
        self.read(ledger, |found| {
            let entries = found.log.keys().map(|offset| Part::Entry(*offset));
            let documents = found.documents.keys().map(|document| Part::Document(document.clone()));
            [Part::State, Part::Log]
                .into_iter()
                .chain(entries)
                .chain(documents)
                .collect()
        })
    }

    /// Loses a part of a ledger.
    pub fn lose(&self, ledger: i32, part: &Part) {
        self.put_back(ledger, part, &LedgerSnapshot(Ledger::default()));
    }

    /// Puts a part of a ledger back to the state that it had in a snapshot.
    pub fn put_back(&self, ledger: i32, part: &Part, snapshot: &LedgerSnapshot) {
        let LedgerSnapshot(earlier) = snapshot;
        let mut ledgers = self.lock();
        let found = ledgers.entry(ledger).or_default();
        match part {
            Part::State => found.meta = earlier.meta.clone(),
            Part::Log => found.log = earlier.log.clone(),
            Part::Entry(offset) => drop(match earlier.log.get(offset) {
                Some(entry) => found.log.insert(*offset, entry.clone()),
                None => found.log.remove(offset),
            }),
            Part::Document(document) => drop(match earlier.documents.get(document) {
                Some(stored) => found.documents.insert(document.clone(), stored.clone()),
                None => found.documents.remove(document),
            }),
        }
    }

    /// Changes a field of a document by hand, behind the holder's back: the head stays.
    pub fn set_field(&self, ledger: i32, document: &Bytes, field: &Bytes, value: Option<Bytes>) {
        let mut ledgers = self.lock();
        let documents = &mut ledgers.entry(ledger).or_default().documents;
        let fields = &mut documents.entry(document.clone()).or_default().fields;
        match value {
            Some(value) => fields.insert(field.clone(), value),
            None => fields.remove(field),
        };
    }

    /// Changes the state by hand.
    pub fn edit_state(&self, ledger: i32, edit: impl FnOnce(&mut LedgerState)) {
        edit(&mut self.lock().entry(ledger).or_default().meta.state);
    }

    /// Says from now on that the store may drop parts of ledgers, or no longer.
    pub fn set_unfit(&self, is_unfit: bool) {
        self.unfit.store(is_unfit, Ordering::Relaxed);
    }

    /// The next commit takes effect, but its answer is lost.
    pub fn lose_reply(&self) {
        self.lose_reply.store(true, Ordering::Relaxed);
    }

    /// The fields of a document, ascending; empty where it doesn't exist.
    pub fn fields(&self, ledger: i32, document: &[u8]) -> BTreeMap<Bytes, Bytes> {
        self.read(ledger, |found| {
            let stored = found.documents.get(document);
            stored.map(|stored| stored.fields.clone()).unwrap_or_default()
        })
    }

    /// Names of the documents that a ledger's index has, ascending.
    pub fn documents(&self, ledger: i32) -> Vec<Bytes> {
        self.read(ledger, |found| found.meta.state.index.keys().cloned().collect())
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
            .map(|found| (found.meta.state.epoch, found.meta.state.token.clone()))
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
            owners: self.meta.owners.iter().cloned().collect(),
            ..self.meta.state.clone()
        }
    }

    fn view(&self, documents: &[Bytes], contents: Contents, entries: &[i64]) -> View {
        let state = &self.meta.state;
        let named = |document: &Bytes| Some((document.clone(), *state.index.get(document)?));
        let document = |document: &Bytes| {
            let read = self.document(document, |_| true);
            match contents {
                Contents::Fields => read,
                Contents::Head => Document {
                    fields: Vec::new(),
                    ..read
                },
            }
        };
        View {
            state: LedgerState {
                owners: Vec::new(),
                release: None,
                index: documents.iter().filter_map(named).collect(),
                lineage: state.lineage.clone(),
                token: state.token.clone(),
                ..*state
            },
            documents: documents.iter().map(document).collect(),
            entries: self.log.len() as u64,
            log: entries.iter().map(|offset| self.log.get(offset).cloned()).collect(),
        }
    }

    fn document(&self, name: &Bytes, wanted: impl Fn(&Bytes) -> bool) -> Document {
        let Some(stored) = self.documents.get(name) else {
            return Document::default();
        };
        let fields = stored.fields.iter().filter(|(field, _)| wanted(field));
        Document {
            head: Some(stored.head),
            fields: fields.map(|(field, value)| (field.clone(), value.clone())).collect(),
        }
    }

    fn acquire(&mut self, owner: &str, token: &Token) -> LedgerState {
        let Meta {
            state,
            earlier_token,
            owners,
        } = &mut self.meta;
        owners.insert(owner.to_owned());
        if state.token != *token {
            state.epoch += 1;
            state.version = 0;
            *earlier_token = std::mem::replace(&mut state.token, token.clone());
        }
        let earlier_token = earlier_token.clone();
        let before = LedgerState {
            token: earlier_token,
            ..self.state()
        };
        let release = &mut self.meta.state.release;
        if release
            .as_ref()
            .is_some_and(|release| release.transactional_id == owner)
        {
            *release = None;
        }
        before
    }

    /// Checks that the caller has seen every write of this acquisition, and counts another one.
    fn count(&mut self, ledger: i32, expected: u64) -> Result<(), LedgerError> {
        if self.meta.state.version != expected && !left_out(Clause::StateVersion) {
            return Err(self.behind(ledger, expected));
        }
        self.meta.state.version += 1;
        Ok(())
    }

    fn behind(&self, ledger: i32, expected: u64) -> LedgerError {
        LedgerError::Behind {
            ledger,
            found: self.meta.state.version,
            expected,
            rebuilding: self.meta.state.rebuilding,
        }
    }

    fn expect_rebuilding(&self, ledger: i32, expected: bool) -> Result<(), LedgerError> {
        if self.meta.state.rebuilding == expected {
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

    /// Writes documents as a real store does: without asking for what is there.
    fn apply(&mut self, changes: &DocumentWrites) {
        for touched in changes.touched() {
            if touched.is_new && !left_out(Clause::RemoveUnnamed) {
                self.documents.remove(&touched.document);
            }
            let stored = self.documents.entry(touched.document.clone()).or_default();
            stored.head.sequence = touched.head.sequence;
            stored.head.sum = stored.head.sum.wrapping_add(changes.number().into());
        }
        for write in changes.writes() {
            let fields = &mut self.documents.entry(write.document.clone()).or_default().fields;
            match &write.value {
                // Copies: the given value may be a slice of a whole batch, and would keep all of it in memory.
                Some(value) => fields.insert(Bytes::copy_from_slice(&write.field), Bytes::copy_from_slice(value)),
                None => fields.remove(&write.field),
            };
        }
        changes.enter(&mut self.meta.state.index);
    }

    fn commit(&mut self, commit: &LedgerCommit) {
        self.apply(&commit.documents);
        self.log.insert(commit.applied, commit.entry.clone());
        for offset in &commit.trim {
            self.log.remove(offset);
        }
        let state = &mut self.meta.state;
        state.floor = commit.trim.last().copied().or(state.floor);
        state.chain = Some(commit.chain);
        state.applied = Some(commit.applied);
        state.sequence = commit.sequence;
        state.lineage = commit.lineage.clone();
    }

    fn rebuild(&mut self, ledger: i32, step: &RebuildStep) -> Result<(), LedgerError> {
        match step {
            RebuildStep::Demand { version } => {
                self.count(ledger, *version)?;
                self.meta.state.rebuilding = true;
            }
            RebuildStep::Begin { version, token, keep } => {
                if *keep && self.meta.state.version == *version {
                    self.expect_rebuilding(ledger, false)?;
                }
                self.count(ledger, *version)?;
                if !*keep {
                    self.documents.clear();
                    self.meta.state.index = Index::new();
                }
                self.log.clear();
                self.meta.state.token = token.clone();
                self.meta.state.version = 0;
                self.meta.state.rebuilding = true;
            }
            RebuildStep::Write { version, documents } => {
                self.expect_rebuilding(ledger, true)?;
                self.count(ledger, *version)?;
                self.apply(documents);
            }
            RebuildStep::Finish {
                version,
                applied,
                sequence,
                lineage,
            } => {
                self.expect_rebuilding(ledger, true)?;
                self.count(ledger, *version)?;
                let state = &mut self.meta.state;
                state.applied = *applied;
                state.floor = *applied;
                state.chain = None;
                state.sequence = *sequence;
                state.lineage = lineage.clone();
                state.rebuilding = false;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl LedgerStore for MemoryLedgerStore {
    async fn state(&self, ledger: i32) -> Result<LedgerState, LedgerError> {
        Ok(self.read(ledger, Ledger::state))
    }

    async fn view(
        &self,
        ledger: i32,
        documents: &[Bytes],
        contents: Contents,
        entries: &[i64],
    ) -> Result<View, LedgerError> {
        let ledgers = self.lock();
        let view = |found: &Ledger| found.view(documents, contents, entries);
        Ok(ledgers.get(&ledger).map_or_else(|| view(&Ledger::default()), view))
    }

    async fn acquire(&self, ledger: i32, owner: &str, token: &Token) -> Result<LedgerState, LedgerError> {
        Ok(self.lock().entry(ledger).or_default().acquire(owner, token))
    }

    async fn forget_owners(&self, holder: &Holder, owners: &[String]) -> Result<(), LedgerError> {
        self.write(holder, |ledger| {
            ledger.meta.owners.retain(|owner| !owners.contains(owner));
            Ok(())
        })
    }

    async fn load(&self, ledger: i32, documents: &[Bytes], lazy: Option<&[u8]>) -> Result<Vec<Document>, LedgerError> {
        let ledgers = self.lock();
        let found = ledgers.get(&ledger);
        let load = |document: &Bytes| {
            let mut loaded = found
                .map(|found| found.document(document, |_| true))
                .unwrap_or_default();
            for (field, value) in &mut loaded.fields {
                if lazy.is_some_and(|lazy| field.starts_with(lazy)) {
                    *value = Bytes::new();
                }
            }
            loaded
        };
        Ok(documents.iter().map(load).collect())
    }

    async fn load_fields(&self, ledger: i32, wanted: &[(Bytes, Vec<Bytes>)]) -> Result<Vec<Document>, LedgerError> {
        let ledgers = self.lock();
        let found = ledgers.get(&ledger);
        let load = |(document, fields): &(Bytes, Vec<Bytes>)| {
            let load = |found: &Ledger| found.document(document, |field| fields.contains(field));
            found.map(load).unwrap_or_default()
        };
        Ok(wanted.iter().map(load).collect())
    }

    async fn commit(&self, holder: &Holder, commit: &LedgerCommit) -> Result<(), LedgerError> {
        self.write(holder, |ledger| {
            if ledger.meta.state.rebuilding {
                return Err(ledger.behind(holder.ledger, commit.version));
            }
            ledger.count(holder.ledger, commit.version)?;
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

    async fn log(&self, ledger: i32) -> Result<Vec<LogEntry>, LedgerError> {
        let entry = |(&last_offset, value): (&i64, &Bytes)| LogEntry {
            last_offset,
            value: value.clone(),
        };
        Ok(self.read(ledger, |found| found.log.iter().map(entry).collect()))
    }

    async fn rebuild(&self, holder: &Holder, step: &RebuildStep) -> Result<(), LedgerError> {
        self.write(holder, |ledger| ledger.rebuild(holder.ledger, step))
    }

    async fn release(&self, holder: &Holder, release: &Release) -> Result<(), LedgerError> {
        self.write(holder, |ledger| {
            ledger.meta.owners.remove(&release.transactional_id);
            ledger.meta.state.release = Some(release.clone());
            Ok(())
        })
    }

    async fn check_fitness(&self, ledger: i32) -> Result<(), LedgerError> {
        if !self.unfit.load(Ordering::Relaxed) || left_out(Clause::StoreFit) {
            return Ok(());
        }
        Err(LedgerError::Unfit {
            ledger,
            reason: "the store may drop parts of ledgers".to_owned(),
        })
    }
}
