//! A typed record on its way through a topology.

use bytes::Bytes;

use crate::record::Header;

/// A record whose value has been decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: T,
    /// Event time, in milliseconds since the Unix epoch: the record's own timestamp.
    pub timestamp: i64,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Offset of the input record that it comes from.
    pub offset: i64,
}

impl<T> Message<T> {
    /// The same record with another value.
    pub fn with_value<U>(self, value: U) -> Message<U> {
        Message {
            key: self.key,
            value,
            timestamp: self.timestamp,
            headers: self.headers,
            offset: self.offset,
        }
    }
}
