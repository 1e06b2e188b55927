//! Encodes a record as a topic's value.

use crate::codec::Payload;
use crate::frame::frame;
use crate::record_type::RecordType;
use crate::registry::Ids;

/// The schema of the record type was not registered at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{record} was not registered at start, so that it has no schema id to be written with")]
pub struct Unregistered {
    /// The record type.
    pub record: RecordType,
}

/// Encodes records in the Confluent wire format, with the ids of their registered schemas.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    ids: Ids,
}

impl Encoder {
    /// Creates an encoder with the ids of [`register_all`](crate::registry::register_all).
    pub fn new(ids: Ids) -> Self {
        Encoder { ids }
    }

    /// Appends the value to `out`, which may be reused. On an error nothing is appended.
    pub fn encode<P: Payload>(&self, payload: &P, out: &mut Vec<u8>) -> Result<(), Unregistered> {
        let record = payload.record_type();
        let id = self.ids.get(record).ok_or(Unregistered { record })?;
        frame(id, out);
        payload.encode_datum(out);
        Ok(())
    }
}
