//! Serializers and deserializers of values.

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;
use async_trait::async_trait;
use bytes::Bytes;

use crate::record::Record;

/// Why a record could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeserializeError {
    /// The record itself is at fault: it is treated as the [`crate::dsl::policy::OnError`] of its source says.
    #[error("{0}")]
    Malformed(String),
    /// Something that is kept elsewhere (such as the writer's schema) must be fetched first.
    #[error("what the record needs is not fetched yet")]
    Missing,
}

/// Why something could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// It doesn't exist or can't be used: every record that needs it is malformed.
    #[error("{0}")]
    Unusable(String),
    /// It can't be reached at present: the work waits.
    #[error("{0}")]
    Unavailable(String),
}

/// Decodes the values of a topic. Each task has its own clone, so that caches need no lock.
#[async_trait]
pub trait Deserializer<T>: Send + Sync + 'static {
    /// Decodes a record. Also the place to refuse a record whose key disagrees with its value.
    fn deserialize(&mut self, record: &Record) -> Result<T, DeserializeError>;

    /// Returns the key that decides on the record's partition and that its message has: by default, its bytes as they are.
    fn key(&self, record: &Record) -> Option<Bytes> {
        record.key.clone()
    }

    /// Fetches what [`DeserializeError::Missing`] said that this record needs.
    async fn fetch(&mut self, _record: &Record) -> Result<(), FetchError> {
        Err(FetchError::Unusable("nothing can be fetched for it".to_owned()))
    }
}

/// Why a record has no value, when all that could be fetched was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The record is at fault.
    Malformed(String),
    /// What it needs can't be fetched at present.
    Unavailable(String),
}

/// Decodes a record, fetching what that needs.
pub(crate) async fn decode<T>(
    deserializer: &mut (impl Deserializer<T> + ?Sized),
    record: &Record,
) -> Result<T, DecodeError> {
    loop {
        match deserializer.deserialize(record) {
            Ok(value) => return Ok(value),
            Err(DeserializeError::Malformed(reason)) => return Err(DecodeError::Malformed(reason)),
            Err(DeserializeError::Missing) => {}
        }
        deserializer.fetch(record).await.map_err(|error| match error {
            FetchError::Unusable(reason) => DecodeError::Malformed(reason),
            FetchError::Unavailable(reason) => DecodeError::Unavailable(reason),
        })?;
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
    /// Where the type can't be JSON, such as a map whose keys aren't text: a mistake of the program, not of its input.
    fn serialize(&self, value: &T, out: &mut Vec<u8>) {
        serde_json::to_writer(out, value).expect("a type that can be written as JSON");
    }
}
