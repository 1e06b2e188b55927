//! Serializers for the engine, built on the contract's codec.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use interlock_inventory::{Plan, TEXT_CHARS_MAX, TrainDateKey, command_key, is_answerable, is_key_of};
use interlock_schemas::registry::Registry;
use interlock_schemas::{
    Command, DecodeError, Decoder, Encoder, Event, KEY_SCHEMA_HEADER, Payload, Remedy, TrainService,
    VALUE_SCHEMA_HEADER, parse_key, parse_value,
};
use interlock_streams::record::Record;
use interlock_streams::serde::{DeserializeError, Deserializer, Serializer};

use crate::past::Decided;

/// Decodes values of type `P` with the schema they were written with.
pub(crate) struct Avro<P: Payload> {
    decoder: Decoder<P>,
}

impl<P: Payload> Avro<P> {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self {
            decoder: Decoder::new(registry),
        }
    }

    fn decode(&self, record: &Record) -> Result<P, DeserializeError> {
        let value = record.value.as_deref().ok_or_else(|| malformed("the value is null"))?;
        let decoded = self.decoder.try_decode_with(value, schema_header(record));
        decoded.map_err(|error| match error.remedy() {
            Remedy::Fetch(_) => DeserializeError::Missing,
            Remedy::Retry | Remedy::Reject => malformed(error),
        })
    }

    async fn learn(&mut self, record: &Record) -> Result<(), DeserializeError> {
        let value = record.value.as_deref().unwrap_or_default();
        let (schema, _) = parse_value(value, schema_header(record)).map_err(malformed)?;
        let fetched = self.decoder.fetch(schema).await;
        fetched.map_err(|error: DecodeError| match error.remedy() {
            Remedy::Retry => DeserializeError::Unavailable(error.to_string()),
            Remedy::Fetch(_) | Remedy::Reject => malformed(error),
        })
    }
}

fn malformed(reason: impl std::fmt::Display) -> DeserializeError {
    DeserializeError::Malformed(reason.to_string())
}

fn schema_header(record: &Record) -> Option<&[u8]> {
    record.header(VALUE_SCHEMA_HEADER).map(|value| &value[..])
}

/// Returns the text of a record's key, which may be written with a schema of its own.
fn key_text(record: &Record) -> Option<&[u8]> {
    let key = record.key.as_deref()?;
    Some(parse_key(key, record.header(KEY_SCHEMA_HEADER).is_some()))
}

/// Returns a request's key, which is `train|YYYY-MM-DD`.
fn train_date(record: &Record) -> Result<&str, DeserializeError> {
    let key = key_text(record).ok_or_else(|| malformed("the key is null; expected `train|YYYY-MM-DD`"))?;
    std::str::from_utf8(key).map_err(|_| malformed("the key is not UTF-8; expected `train|YYYY-MM-DD`"))
}

/// Returns a plan's key, which is the train's id as plain text.
fn train(record: &Record) -> Result<&str, DeserializeError> {
    let key = record.key.as_deref();
    let key = key.ok_or_else(|| malformed("the key is null; expected the id of the train"))?;
    std::str::from_utf8(key).map_err(|_| malformed("the key is not UTF-8; expected the id of the train"))
}

#[async_trait]
impl Deserializer<Command> for Avro<Command> {
    /// Decodes a command. It must lie under the key of its train-date, which decides to which ledger it belongs, and it
    /// must have an id under which it can be answered.
    fn deserialize(&mut self, record: &Record) -> Result<Command, DeserializeError> {
        let key = train_date(record)?;
        let command = self.decode(record)?;
        if !is_key_of(key, &command) {
            TrainDateKey::parse(key).map_err(malformed)?;
            return Err(malformed(format!(
                "the key `{key}` disagrees with the record, which is about `{}`",
                command_key(&command)
            )));
        }
        if !is_answerable(&command) {
            return Err(malformed(format!(
                "the request_id is longer than {TEXT_CHARS_MAX} characters: nothing can be answered under it"
            )));
        }
        Ok(command)
    }

    fn key(&self, record: &Record) -> Option<Bytes> {
        let key = record.key.as_ref()?;
        Some(key.slice_ref(key_text(record)?))
    }

    async fn fetch(&mut self, record: &Record) -> Result<(), DeserializeError> {
        self.learn(record).await
    }
}

#[async_trait]
impl Deserializer<Event> for Avro<Event> {
    fn deserialize(&mut self, record: &Record) -> Result<Event, DeserializeError> {
        self.decode(record)
    }

    async fn fetch(&mut self, record: &Record) -> Result<(), DeserializeError> {
        self.learn(record).await
    }
}

#[async_trait]
impl Deserializer<Arc<Plan>> for Avro<TrainService> {
    /// Decodes a plan. Its key must be the train's id, and the plan must be valid for sale.
    fn deserialize(&mut self, record: &Record) -> Result<Arc<Plan>, DeserializeError> {
        let key = train(record)?;
        let service = self.decode(record)?;
        if key != service.train_id {
            return Err(malformed(format!(
                "the key `{key}` disagrees with the record, which is about `{}`",
                service.train_id
            )));
        }
        Plan::compile(service).map(Arc::new).map_err(malformed)
    }

    async fn fetch(&mut self, record: &Record) -> Result<(), DeserializeError> {
        self.learn(record).await
    }
}

/// Encodes events, with the ids under which their schemas are registered.
#[derive(Clone, Copy)]
pub(crate) struct Events(pub(crate) Encoder);

impl Serializer<Decided<Event>> for Events {
    fn serialize(&self, Decided(event): &Decided<Event>, out: &mut Vec<u8>) {
        if let Err(error) = self.0.encode(event, out) {
            unreachable!("the context registers the whole contract: {error}");
        }
    }
}
