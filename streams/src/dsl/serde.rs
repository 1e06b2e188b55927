//! Serializers and deserializers of values.

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;
use async_trait::async_trait;
use bytes::Bytes;

use crate::record::Record;

/// An error of decoding a record, sorted by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeserializeError {
    /// The record itself is at fault: the source's [`OnError`](super::policy::OnError) decides what becomes of it.
    #[error("{0}")]
    Malformed(String),
    /// Something that is kept elsewhere, such as the writer's schema, must be fetched first.
    #[error("what the record needs is not fetched yet")]
    Missing,
    /// It can't be fetched at present: the work waits.
    #[error("{0}")]
    Unavailable(String),
}

/// Decodes the values of a topic. Each task has its own clone, so that caches need no lock.
#[async_trait]
pub trait Deserializer<T>: Send + Sync + 'static {
    /// Decodes a record. Also the place to refuse a record whose key disagrees with its value.
    fn deserialize(&mut self, record: &Record) -> Result<T, DeserializeError>;

    /// Returns the key that decides on the record's partition and that its message has; by default, its bytes as they
    /// are.
    fn key(&self, record: &Record) -> Option<Bytes> {
        record.key.clone()
    }

    /// Fetches what [`DeserializeError::Missing`] asked for; `Malformed` if it doesn't exist or can't be used.
    async fn fetch(&mut self, _record: &Record) -> Result<(), DeserializeError> {
        Err(DeserializeError::Malformed("nothing can be fetched for it".to_owned()))
    }
}

/// Decodes a record and fetches what that needs; never returns [`DeserializeError::Missing`].
pub(crate) async fn decode<T>(
    deserializer: &mut (impl Deserializer<T> + ?Sized),
    record: &Record,
) -> Result<T, DeserializeError> {
    loop {
        match deserializer.deserialize(record) {
            Err(DeserializeError::Missing) => deserializer.fetch(record).await?,
            result => return result,
        }
    }
}

/// Encodes the values of a topic.
pub trait Serializer<T>: Send + Sync + 'static {
    /// Appends a record's value: those of a batch lie in one buffer.
    fn serialize(&self, value: &T, out: &mut Vec<u8>);

    /// A record's value by itself.
    fn to_bytes(&self, value: &T) -> Bytes {
        let mut out = Vec::new();
        self.serialize(value, &mut out);
        out.into()
    }
}

/// UTF-8 text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8;

impl Deserializer<String> for Utf8 {
    fn deserialize(&mut self, record: &Record) -> Result<String, DeserializeError> {
        let value = record
            .value
            .as_deref()
            .ok_or_else(|| DeserializeError::Malformed("the value is null".into()))?;
        let text = std::str::from_utf8(value)
            .map_err(|error| DeserializeError::Malformed(format!("the value is not UTF-8: {error}")))?;
        Ok(text.to_owned())
    }
}

impl Serializer<String> for Utf8 {
    fn serialize(&self, value: &String, out: &mut Vec<u8>) {
        out.extend_from_slice(value.as_bytes());
    }
}

/// JSON, of anything that serde can write as such and read back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: DeserializeOwned> Deserializer<T> for Json {
    fn deserialize(&mut self, record: &Record) -> Result<T, DeserializeError> {
        let malformed = |reason: String| DeserializeError::Malformed(reason);
        let value = record
            .value
            .as_deref()
            .ok_or_else(|| malformed("the value is null".into()))?;
        serde_json::from_slice(value).map_err(|error| malformed(format!("the value is not the JSON expected: {error}")))
    }
}

impl<T: Serialize> Serializer<T> for Json {
    /// # Panics
    /// If the type can't be JSON, such as a map whose keys aren't text: a bug of the program, not of its input.
    fn serialize(&self, value: &T, out: &mut Vec<u8>) {
        serde_json::to_writer(out, value).expect("a type that can be written as JSON");
    }
}
