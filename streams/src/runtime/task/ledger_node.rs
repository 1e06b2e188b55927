//! The node that decides: it loads the documents that a batch needs, lets the processor decide and numbers the events.

use std::any::Any;
use std::marker::PhantomData;

use async_trait::async_trait;
use bytes::Bytes;
use rustc_hash::FxHashSet;

use super::node::{AnyBatch, Context, Node, ProcessError, downcast};
use super::session::LedgerSession;
use super::stages::Stage;
use crate::dsl::message::{Message, trace_context};
use crate::dsl::processor::{CommandContext, Corrupt, LedgerEvent, LedgerProcessor};
use crate::dsl::serde::{DecodeError, Deserializer, decode};
use crate::ledger::{FieldName, FieldWrite, Token};
use crate::mutation::{Clause, left_out};
use crate::record::Record;
use crate::runtime::Layouts;

/// An event that was read back from the log.
pub(crate) struct PastEvent {
    pub(crate) sequence: i64,
    pub(crate) source_offset: i64,
    pub(crate) token: Token,
    key: Option<Bytes>,
    event: Box<dyn Any + Send>,
}

impl PastEvent {
    /// Does its key belong to this ledger now?
    pub(crate) fn is_of(&self, ledger: i32, layouts: &Layouts) -> bool {
        self.key.as_deref().is_some_and(|key| layouts.ledger_of(key) == ledger)
    }
}

/// What the protocol asks of a ledger's node, with the types erased.
#[async_trait]
pub(crate) trait LedgerSide: Send {
    /// Decodes an event of the log.
    async fn decode_event(&mut self, record: &Record) -> Result<PastEvent, ProcessError>;
    /// Folds an event of the log into the cached documents, loading them first where `load` says so.
    async fn fold(&mut self, event: PastEvent, session: &LedgerSession, load: bool) -> Result<(), ProcessError>;
    /// What ledgers number together goes on from here.
    fn renumber(&mut self, first: i64);
    /// What changed in the documents since the last call.
    fn take_changes(&mut self) -> Vec<FieldWrite>;
    /// Lets go of documents beyond the cache's budget.
    fn shrink(&mut self);
    /// Drops the cache.
    fn clear(&mut self);
}

pub(crate) struct LedgerNode<P, D> {
    pub(crate) processor: P,
    pub(crate) events: D,
    pub(crate) types: PhantomData<fn() -> P>,
}

impl<P: LedgerProcessor, D> LedgerNode<P, D> {
    /// Loads those of the documents that aren't cached.
    async fn load(&mut self, documents: Vec<Bytes>, session: &LedgerSession) -> Result<(), ProcessError> {
        if documents.is_empty() {
            return Ok(());
        }
        let lazy = self.processor.lazy_fields();
        let loaded = session.store.load(session.holder.ledger, &documents, lazy).await?;
        for (document, fields) in documents.iter().zip(loaded) {
            if let Err(corrupt) = self.processor.insert(document, fields) {
                return Err(cannot_be_read(session, document, &corrupt).await);
            }
        }
        Ok(())
    }

    /// Loads lazy fields; false if there were none to load.
    async fn load_fields(&mut self, missing: Vec<FieldName>, session: &LedgerSession) -> Result<bool, ProcessError> {
        if missing.is_empty() {
            return Ok(false);
        }
        let loaded = session.store.load_fields(session.holder.ledger, &missing).await?;
        for (name, value) in missing.iter().zip(loaded) {
            if let Some(value) = value
                && let Err(corrupt) = self.processor.insert_field(name, value)
            {
                return Err(cannot_be_read(session, &name.document, &corrupt).await);
            }
        }
        Ok(true)
    }

    fn missing(&self, wanted: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
        let mut seen = FxHashSet::default();
        wanted
            .into_iter()
            .filter(|document| !self.processor.is_cached(document) && seen.insert(document.clone()))
            .collect()
    }
}

async fn cannot_be_read(session: &LedgerSession, document: &[u8], corrupt: &Corrupt) -> ProcessError {
    // If another owner took the ledger meanwhile, this may be a document that the other is about to rebuild.
    if let Err(lost) = session.confirm().await {
        return lost.into();
    }
    let (ledger, name) = (session.holder.ledger, String::from_utf8_lossy(document));
    ProcessError::Fatal(format!("ledger {ledger}, document {name:?}: {corrupt}"))
}

#[async_trait]
impl<P, D> Node for LedgerNode<P, D>
where
    P: LedgerProcessor,
    D: Deserializer<P::Event>,
{
    async fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let commands = downcast::<P::Command>(input)?;
        let Some(session) = ctx.ledger.as_deref_mut() else {
            return Err(ProcessError::Fatal(
                "a ledger's node runs in a task without a ledger".into(),
            ));
        };
        let missing = self.missing(commands.iter().flat_map(|command| self.processor.documents(command)));
        self.load(missing, session).await?;
        let mut missing = Vec::new();
        for command in &commands {
            self.processor.fields(command, &mut missing);
        }
        self.load_fields(missing, session).await?;
        ctx.turn = Some(session.turns.clone().lock_owned().await);
        ctx.watch.lap(Stage::Load);

        // Most commands cause one event, some a few: room for these, so that a batch is not moved when it is almost full.
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
                session.number(event.sequence()).map_err(ProcessError::Fatal)?;
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

    fn stage(&self) -> Stage {
        Stage::Decide
    }

    fn ledger(&mut self) -> Option<&mut dyn LedgerSide> {
        Some(self)
    }
}

#[async_trait]
impl<P, D> LedgerSide for LedgerNode<P, D>
where
    P: LedgerProcessor,
    D: Deserializer<P::Event>,
{
    async fn decode_event(&mut self, record: &Record) -> Result<PastEvent, ProcessError> {
        let event = decode(&mut self.events, record).await.map_err(|error| match error {
            DecodeError::Malformed(reason) => ProcessError::Fatal(reason),
            DecodeError::Unavailable(reason) => ProcessError::Unavailable(reason),
        })?;
        Ok(PastEvent {
            sequence: event.sequence(),
            source_offset: event.source_offset(),
            token: Token(event.token().to_owned()),
            key: record.key.clone(),
            event: Box::new(event),
        })
    }

    async fn fold(&mut self, past: PastEvent, session: &LedgerSession, load: bool) -> Result<(), ProcessError> {
        let event = past
            .event
            .downcast::<P::Event>()
            .map_err(|_| ProcessError::Fatal("an event of another ledger's type was folded".into()))?;
        let missing = self.missing(self.processor.event_documents(&event));
        if load {
            let mut loaded = !missing.is_empty();
            self.load(missing, session).await?;
            let mut missing = Vec::new();
            self.processor.event_fields(&event, &mut missing);
            loaded |= self.load_fields(missing, session).await?;
            // An owner that came after us may have folded this event into them already.
            if loaded && !left_out(Clause::JudgeAsHolder) {
                session.confirm().await?;
            }
        } else {
            // The fold began at the first event: what is not cached doesn't exist yet.
            for document in &missing {
                self.processor
                    .insert(document, Vec::new())
                    .map_err(|corrupt| ProcessError::Fatal(corrupt.0))?;
            }
        }
        self.processor.evolve(&event).map_err(|corrupt| {
            ProcessError::Fatal(format!(
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
