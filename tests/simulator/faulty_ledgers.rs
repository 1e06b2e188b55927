//! A ledger store with faults.
//!
//! A network and a store with fail-over may show these faults, so the simulator uses them: any call takes any time,
//! before and after its effect; any call fails without effect, or has its effect but no answer; a write arrives after
//! its caller gave up, or twice; for a while the store can't be reached, or is a replaced master whose writes will be
//! lost. The schedule may also restore an earlier snapshot of a ledger, or empty it, as an asynchronous replica can,
//! and lose or put back a single part of it: the state, the log, an entry, a document. Never simulated are a write
//! that is applied in part, and a read that returns a value that was never written.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use interlock_streams::ledger::memory::MemoryLedgerStore;
use interlock_streams::ledger::{
    Contents, Document, Holder, LedgerCommit, LedgerError, LedgerState, LedgerStore, LogEntry, RebuildStep, Release,
    Token, View,
};
use tokio::time::sleep;

use super::site::{Fair, Fate, Site};

pub(super) struct FaultyLedgers(pub(super) Arc<Site>);

impl FaultyLedgers {
    async fn read<T, C, F>(&self, ledger: i32, what: &str, call: C) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        C: Fn(MemoryLedgerStore) -> F + Send + Clone + 'static,
        F: Future<Output = Result<T, LedgerError>> + Send + 'static,
    {
        self.call(ledger, what, Fair::Fail, call).await
    }

    async fn write<T, C, F>(&self, ledger: i32, what: &str, call: C) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        C: Fn(MemoryLedgerStore) -> F + Send + Clone + 'static,
        F: Future<Output = Result<T, LedgerError>> + Send + 'static,
    {
        self.call(ledger, what, Fair::Write, call).await
    }

    /// Makes a call whose fate the seed decides.
    async fn call<T, C, F>(&self, ledger: i32, what: &str, fair: Fair, call: C) -> Result<T, LedgerError>
    where
        T: Send + 'static,
        C: Fn(MemoryLedgerStore) -> F + Send + Clone + 'static,
        F: Future<Output = Result<T, LedgerError>> + Send + 'static,
    {
        let site = self.0.clone();
        let unavailable = |reason: &str| LedgerError::Unavailable {
            ledger: Some(ledger),
            reason: reason.to_owned(),
        };
        if site.is_cut_off() {
            site.say(format_args!("{what} unreachable"));
            // The time of a connection attempt.
            sleep(Duration::from_millis(20)).await;
            return Err(unavailable("simulated: unreachable"));
        }
        let store = site.store();
        let passage = site.enter(what, fair).await;
        if let Fate::Late(after) | Fate::Repeated(after) = passage.fate {
            let (site, store, call, what) = (site.clone(), store.clone(), call.clone(), what.to_owned());
            tokio::spawn(async move {
                sleep(after).await;
                let result = call(store).await.map(|_| ());
                site.say(format_args!("{what} arrives late: {result:?}"));
            });
        }
        let result = match passage.fate {
            Fate::Refused => Err(unavailable("simulated: refused")),
            Fate::Late(_) => Err(unavailable("simulated: no answer in time")),
            Fate::AnswerLost => {
                let result = call(store).await.map(|_| ());
                site.say(format_args!("{what}: {result:?}, lost"));
                Err(unavailable("simulated: the answer was lost"))
            }
            Fate::Proceed | Fate::Repeated(_) => call(store).await,
        };
        if let Err(error) = &result {
            site.say(format_args!("{what}: {error}"));
        }
        site.leave(&passage).await;
        result
    }
}

#[async_trait]
impl LedgerStore for FaultyLedgers {
    async fn state(&self, ledger: i32) -> Result<LedgerState, LedgerError> {
        let what = self.0.text(format_args!("state {ledger}"));
        self.read(ledger, &what, move |store| async move { store.state(ledger).await })
            .await
    }

    async fn acquire(&self, ledger: i32, owner: &str, token: &Token) -> Result<LedgerState, LedgerError> {
        let (owner, token) = (owner.to_owned(), token.clone());
        let what = self.0.text(format_args!("acquire {ledger} {token}"));
        let acquired = self
            .write(ledger, &what, move |store| {
                let (owner, token) = (owner.clone(), token.clone());
                async move { store.acquire(ledger, &owner, &token).await }
            })
            .await?;
        self.0.say(format_args!(
            "acquired {ledger}: epoch {}, W {:?}, sequence {}, lineage {:?}, owners {:?}, rebuilding {}",
            acquired.epoch,
            acquired.applied,
            acquired.sequence,
            acquired.lineage.0,
            acquired.owners,
            acquired.rebuilding
        ));
        Ok(acquired)
    }

    async fn forget_owners(&self, holder: &Holder, owners: &[String]) -> Result<(), LedgerError> {
        let (holder, owners) = (holder.clone(), owners.to_vec());
        let what = self.0.text(format_args!("forget owners {} {owners:?}", holder.ledger));
        self.write(holder.ledger, &what, move |store| {
            let (holder, owners) = (holder.clone(), owners.clone());
            async move { store.forget_owners(&holder, &owners).await }
        })
        .await
    }

    async fn view(
        &self,
        ledger: i32,
        documents: &[Bytes],
        contents: Contents,
        entries: &[i64],
    ) -> Result<View, LedgerError> {
        let (documents, entries) = (documents.to_vec(), entries.to_vec());
        let what = self.0.text(format_args!("view {ledger}: {}", documents.len()));
        self.read(ledger, &what, move |store| {
            let (documents, entries) = (documents.clone(), entries.clone());
            async move { store.view(ledger, &documents, contents, &entries).await }
        })
        .await
    }

    async fn load(&self, ledger: i32, documents: &[Bytes], lazy: Option<&[u8]>) -> Result<Vec<Document>, LedgerError> {
        let (documents, lazy) = (documents.to_vec(), lazy.map(<[u8]>::to_vec));
        let what = self.0.text(format_args!("load {ledger}: {}", documents.len()));
        self.read(ledger, &what, move |store| {
            let (documents, lazy) = (documents.clone(), lazy.clone());
            async move { store.load(ledger, &documents, lazy.as_deref()).await }
        })
        .await
    }

    async fn load_fields(&self, ledger: i32, wanted: &[(Bytes, Vec<Bytes>)]) -> Result<Vec<Document>, LedgerError> {
        let wanted = wanted.to_vec();
        let what = self.0.text(format_args!("load fields {ledger}: {}", wanted.len()));
        self.read(ledger, &what, move |store| {
            let wanted = wanted.clone();
            async move { store.load_fields(ledger, &wanted).await }
        })
        .await
    }

    async fn commit(&self, holder: &Holder, commit: &LedgerCommit) -> Result<(), LedgerError> {
        let what = self.0.text(format_args!(
            "ledger commit {} version {} W {} sequence {} trim {:?} by {}",
            holder.ledger, commit.version, commit.applied, commit.sequence, commit.trim, holder.token
        ));
        let (holder, commit) = (holder.clone(), commit.clone());
        self.write(holder.ledger, &what, move |store| {
            let (holder, commit) = (holder.clone(), commit.clone());
            async move { store.commit(&holder, &commit).await }
        })
        .await
    }

    async fn log(&self, ledger: i32) -> Result<Vec<LogEntry>, LedgerError> {
        let what = self.0.text(format_args!("log {ledger}"));
        self.read(ledger, &what, move |store| async move { store.log(ledger).await })
            .await
    }

    async fn rebuild(&self, holder: &Holder, step: &RebuildStep) -> Result<(), LedgerError> {
        let name = match step {
            RebuildStep::Begin { token, keep, .. } => self.0.text(format_args!("begin {token} keep {keep}")),
            RebuildStep::Demand { .. } => "demand".to_owned(),
            RebuildStep::Write { documents, .. } => self.0.text(format_args!("write {}", documents.writes().len())),
            RebuildStep::Finish { applied, sequence, .. } => {
                self.0.text(format_args!("finish W {applied:?} sequence {sequence}"))
            }
        };
        let (holder, step) = (holder.clone(), step.clone());
        let what = self.0.text(format_args!("rebuild {} {name}", holder.ledger));
        self.write(holder.ledger, &what, move |store| {
            let (holder, step) = (holder.clone(), step.clone());
            async move { store.rebuild(&holder, &step).await }
        })
        .await
    }

    async fn release(&self, holder: &Holder, release: &Release) -> Result<(), LedgerError> {
        let (holder, release) = (holder.clone(), release.clone());
        let what = self.0.text(format_args!("release {}", holder.ledger));
        self.write(holder.ledger, &what, move |store| {
            let (holder, release) = (holder.clone(), release.clone());
            async move { store.release(&holder, &release).await }
        })
        .await
    }
}
