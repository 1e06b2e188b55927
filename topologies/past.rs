//! Shows the ledger's events to the engine.

use async_trait::async_trait;
use interlock_schemas::Event;
use interlock_streams::LedgerEvent;
use interlock_streams::record::Record;
use interlock_streams::serde::{DeserializeError, Deserializer};

/// An event of the contract, with the parts that the engine needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided<E>(pub(crate) E);

impl LedgerEvent for Decided<Event> {
    fn sequence(&self) -> i64 {
        self.0.header().sequence
    }

    fn source_offset(&self) -> i64 {
        self.0.header().source_offset
    }

    fn token(&self) -> &str {
        &self.0.header().token
    }
}

#[async_trait]
impl<D: Deserializer<Event>> Deserializer<Decided<Event>> for Decided<D> {
    fn deserialize(&mut self, record: &Record) -> Result<Decided<Event>, DeserializeError> {
        self.0.deserialize(record).map(Decided)
    }

    async fn fetch(&mut self, record: &Record) -> Result<(), DeserializeError> {
        self.0.fetch(record).await
    }
}
