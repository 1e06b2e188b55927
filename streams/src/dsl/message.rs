//! A typed record on its way through a topology.

use bytes::Bytes;

use crate::record::Header;

/// A record whose value has been decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Message<T> {
    pub key: Option<Bytes>,
    pub value: T,
    /// Event time, in milliseconds since the Unix epoch: the record's own timestamp.
    pub timestamp: i64,
    pub headers: Vec<Header>,
    /// Offset of the input record that it comes from.
    pub offset: i64,
}

impl<T> Message<T> {
    /// Returns the record with another value.
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

/// Longest value of a header of the trace context (W3C Trace Context, 3.3.1.1).
const TRACE_CONTEXT_BYTES_MAX: usize = 512;

/// Returns the headers that continue a trace (W3C Trace Context: `traceparent`, `tracestate`).
pub(crate) fn trace_context(headers: &[Header]) -> Vec<Header> {
    let is_context = |(name, value): &&Header| {
        let fits = value
            .as_ref()
            .is_some_and(|value| value.len() <= TRACE_CONTEXT_BYTES_MAX);
        matches!(&**name, "traceparent" | "tracestate") && fits
    };
    headers.iter().filter(is_context).cloned().collect()
}
