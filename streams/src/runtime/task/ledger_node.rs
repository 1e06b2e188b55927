//! The node that decides: it loads the documents that a batch needs, runs the processor and numbers the events.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use async_trait::async_trait;
use bytes::Bytes;
use rustc_hash::FxHashSet;

use super::node::{AnyBatch, Context, downcast, other_type};
use super::session::LedgerSession;
use crate::dsl::message::{Message, trace_context};
use crate::dsl::processor::{CommandContext, Corrupt, LedgerEvent, LedgerProcessor};
use crate::dsl::serde::{DeserializeError, Deserializer, decode};
use crate::ledger::{FieldName, FieldWrite, Loss, Token};
use crate::mutation::{Clause, left_out};
use crate::record::Record;
use crate::runtime::error::{Reason, TaskError};
use crate::runtime::layout::Layouts;

/// An event that was read back from the log.
pub(crate) struct PastEvent {
    pub(crate) sequence: i64,
    pub(crate) source_offset: i64,
    pub(crate) token: Token,
    key: Option<Bytes>,
    event: Box<dyn Any + Send>,
}

impl PastEvent {
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// Returns whether its key belongs to this ledger now.
    pub(crate) fn is_of(&self, ledger: i32, layouts: &Layouts) -> bool {
        self.key.as_deref().is_some_and(|key| layouts.ledger_of(key) == ledger)
    }
}

/// The node of a subtopology that keeps a ledger.
#[async_trait]
pub(crate) trait LedgerNode: Send {
    /// Loads the documents that these commands need.
    async fn load(&mut self, commands: &mut AnyBatch, session: &mut LedgerSession) -> Result<(), TaskError>;
    /// Decides commands whose documents are loaded, numbers the events and forwards them. Waits for nothing.
    fn decide(
        &mut self,
        commands: AnyBatch,
        session: &mut LedgerSession,
        ctx: &mut Context<'_>,
    ) -> Result<(), TaskError>;
    /// Decodes an event of the log.
    async fn decode_event(&mut self, record: &Record) -> Result<PastEvent, TaskError>;
    /// Folds an event of the log into the cached documents; loads them first if `load` is set.
    async fn fold(&mut self, event: PastEvent, session: &mut LedgerSession, load: bool) -> Result<(), TaskError>;
    /// Sets the first count of the numbers that all ledgers give together.
    fn renumber(&mut self, first: i64);
    /// Returns the changes of the documents since the last call.
    fn take_changes(&mut self) -> Vec<FieldWrite>;
    /// Drops documents beyond the cache's budget.
    fn shrink(&mut self);
    /// Drops the cache.
    fn clear(&mut self);
}

/// Runs a user's [`LedgerProcessor`].
pub(crate) struct ProcessorLedger<P, D> {
    pub(crate) processor: P,
    pub(crate) events: D,
    pub(crate) types: PhantomData<fn() -> P>,
}

impl<P: LedgerProcessor, D> ProcessorLedger<P, D> {
    /// Loads documents. Those that the index does not name don't exist and are not read; the others must be the ones
    /// that it names.
    async fn load_documents(&mut self, documents: Vec<Bytes>, session: &mut LedgerSession) -> Result<(), TaskError> {
        let is_read = |document: &Bytes| session.names(document) || left_out(Clause::NamedOnly);
        let (named, new): (Vec<Bytes>, Vec<Bytes>) = documents.into_iter().partition(is_read);
        for document in new {
            let inserted = self.processor.insert(&document, Vec::new());
            inserted.map_err(|corrupt| TaskError::Fatal(corrupt.0))?;
        }
        if named.is_empty() {
            return Ok(());
        }
        let lazy = self.processor.lazy_fields();
        let loaded = session.store.load(session.holder.ledger, &named, lazy).await?;
        for (document, loaded) in named.iter().zip(loaded) {
            if let Some(loss) = session.difference(document, &loaded) {
                return Err(session.lost(document, loss).await);
            }
            if let Err(corrupt) = self.processor.insert(document, loaded.fields) {
                return Err(cannot_be_read(session, document, &corrupt).await);
            }
        }
        Ok(())
    }

    /// Loads lazy fields.
    async fn load_fields(&mut self, missing: Vec<FieldName>, session: &mut LedgerSession) -> Result<(), TaskError> {
        let mut wanted: BTreeMap<Bytes, BTreeSet<Bytes>> = BTreeMap::new();
        for FieldName { document, field } in missing {
            // A document that is new has all of its fields in the cache.
            if session.names(&document) {
                wanted.entry(document).or_default().insert(field);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted = wanted
            .into_iter()
            .map(|(document, fields)| (document, fields.into_iter().collect()));
        let wanted: Vec<(Bytes, Vec<Bytes>)> = wanted.collect();
        let loaded = session.store.load_fields(session.holder.ledger, &wanted).await?;
        for ((document, fields), loaded) in wanted.iter().zip(loaded) {
            // A field that was there when the document was loaded is never taken for one that was not.
            let is_incomplete = loaded.fields.len() < fields.len() && !left_out(Clause::OutcomeLost);
            let incomplete = is_incomplete.then_some(Loss::Incomplete);
            if let Some(loss) = session.difference(document, &loaded).or(incomplete) {
                return Err(session.lost(document, loss).await);
            }
            for (field, value) in loaded.fields {
                let document = document.clone();
                let name = FieldName { document, field };
                if let Err(corrupt) = self.processor.insert_field(&name, value) {
                    return Err(cannot_be_read(session, &name.document, &corrupt).await);
                }
            }
        }
        Ok(())
    }

    fn missing(&self, wanted: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
        let mut seen = FxHashSet::default();
        wanted
            .into_iter()
            .filter(|document| !self.processor.is_cached(document) && seen.insert(document.clone()))
            .collect()
    }
}

async fn cannot_be_read(session: &LedgerSession, document: &[u8], corrupt: &Corrupt) -> TaskError {
    // If another owner took the ledger meanwhile, this may be a document that the other is about to rebuild.
    if let Err(lost) = session.confirm().await {
        return lost.into();
    }
    let (ledger, name) = (session.holder.ledger, String::from_utf8_lossy(document));
    TaskError::Fatal(format!("ledger {ledger}, document {name:?}: {corrupt}"))
}

#[async_trait]
impl<P, D> LedgerNode for ProcessorLedger<P, D>
where
    P: LedgerProcessor,
    D: Deserializer<P::Event>,
{
    async fn load(&mut self, commands: &mut AnyBatch, session: &mut LedgerSession) -> Result<(), TaskError> {
        let commands = commands
            .downcast_mut::<Vec<Message<P::Command>>>()
            .ok_or_else(other_type)?;
        let missing = self.missing(commands.iter().flat_map(|command| self.processor.documents(command)));
        self.load_documents(missing, session).await?;
        let mut missing = Vec::new();
        for command in commands.iter() {
            self.processor.fields(command, &mut missing);
        }
        self.load_fields(missing, session).await?;
        Ok(())
    }

    fn decide(
        &mut self,
        commands: AnyBatch,
        session: &mut LedgerSession,
        ctx: &mut Context<'_>,
    ) -> Result<(), TaskError> {
        let commands = downcast::<P::Command>(commands)?;
        // Most commands cause one event, some a few: room for these, so that a batch is not moved when it is almost
        // full.
        let mut messages = Vec::with_capacity(commands.len() + commands.len() / 8);
        let mut events = Vec::new();
        for command in commands {
            let (key, timestamp, offset) = (command.key.clone(), command.timestamp, command.offset);
            let headers = trace_context(&command.headers);
            let context = CommandContext {
                ledger: session.holder.ledger,
                ledgers: session.ledgers,
                next_sequence: session.sequence + 1,
                offset,
                timestamp,
                token: &session.holder.token.0,
            };
            self.processor.decide(command, &context, &mut events);
            for event in events.drain(..) {
                session.number(event.sequence()).map_err(TaskError::Fatal)?;
                messages.push(Message {
                    key: key.clone(),
                    value: event,
                    timestamp,
                    headers: headers.clone(),
                    offset,
                });
            }
        }
        ctx.forward(0, messages);
        Ok(())
    }

    async fn decode_event(&mut self, record: &Record) -> Result<PastEvent, TaskError> {
        let event = decode(&mut self.events, record).await.map_err(|error| match error {
            DeserializeError::Unavailable(detail) => TaskError::restart(Reason::RegistryUnavailable, detail),
            malformed => TaskError::Fatal(malformed.to_string()),
        })?;
        Ok(PastEvent {
            sequence: event.sequence(),
            source_offset: event.source_offset(),
            token: Token(event.token().to_owned()),
            key: record.key.clone(),
            event: Box::new(event),
        })
    }

    async fn fold(&mut self, past: PastEvent, session: &mut LedgerSession, load: bool) -> Result<(), TaskError> {
        let event = past
            .event
            .downcast::<P::Event>()
            .map_err(|_| TaskError::Fatal("an event of another ledger's type was folded".into()))?;
        let missing = self.missing(self.processor.event_documents(&event));
        if load {
            // An owner that came after us may have folded this event into them already: then they are not the
            // documents that the index names.
            self.load_documents(missing, session).await?;
            let mut missing = Vec::new();
            self.processor.event_fields(&event, &mut missing);
            self.load_fields(missing, session).await?;
        } else {
            // The fold began at the first event: a document that is not cached doesn't exist yet.
            for document in &missing {
                self.processor
                    .insert(document, Vec::new())
                    .map_err(|corrupt| TaskError::Fatal(corrupt.0))?;
            }
        }
        self.processor.evolve(&event).map_err(|corrupt| {
            TaskError::Fatal(format!(
                "ledger {}, event {}: {corrupt}",
                session.holder.ledger, past.sequence
            ))
        })
    }

    fn renumber(&mut self, first: i64) {
        self.processor.renumber(first);
    }

    fn take_changes(&mut self) -> Vec<FieldWrite> {
        self.processor.take_changes()
    }

    fn shrink(&mut self) {
        self.processor.shrink();
    }

    fn clear(&mut self) {
        self.processor.clear();
    }
}
