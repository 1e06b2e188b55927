//! Records copied out of librdkafka's memory.
//!
//! Keys, values and headers of many records share one allocation (an arena): librdkafka's buffers would otherwise be kept
//! alive for as long as a record is cached, and one allocation for each field costs more than the copy.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use interlock_streams::record::Record;
use rustc_hash::FxHashMap;

use crate::ffi::Message;

/// Size of an arena. A cached record keeps its arena alive, so not larger than that may cost.
const ARENA_BYTES: usize = 64 * 1024;

/// Different header names remembered, so that a name is not allocated for each record.
const HEADER_NAMES_MAX: usize = 64;

/// Copies records.
#[derive(Default)]
pub(crate) struct Copier {
    arena: BytesMut,
    header_names: FxHashMap<Vec<u8>, Arc<str>>,
}

impl Copier {
    pub(crate) fn copy(&mut self, message: &Message) -> Record {
        let key = message.key().map(|bytes| self.bytes(bytes));
        let value = message.value().map(|bytes| self.bytes(bytes));
        let mut headers = Vec::new();
        message.for_each_header(|name, value| headers.push((self.header_name(name), self.bytes(value))));
        Record {
            offset: message.offset(),
            timestamp: message.timestamp(),
            key,
            value,
            headers,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.is_empty() {
            return Bytes::new();
        }
        if bytes.len() > ARENA_BYTES / 4 {
            return Bytes::copy_from_slice(bytes);
        }
        if self.arena.capacity() < bytes.len() {
            self.arena = BytesMut::with_capacity(ARENA_BYTES);
        }
        self.arena.extend_from_slice(bytes);
        self.arena.split().freeze()
    }

    fn header_name(&mut self, name: &[u8]) -> Arc<str> {
        if let Some(known) = self.header_names.get(name) {
            return known.clone();
        }
        let text: Arc<str> = String::from_utf8_lossy(name).into();
        if self.header_names.len() < HEADER_NAMES_MAX {
            self.header_names.insert(name.to_vec(), text.clone());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_share_an_arena_and_large_ones_do_not_fill_it() {
        let mut copier = Copier::default();
        let first = copier.bytes(b"first");
        let second = copier.bytes(b"second");
        assert_eq!(first.as_ptr().wrapping_add(5), second.as_ptr());
        let large = copier.bytes(&vec![7; ARENA_BYTES]);
        let third = copier.bytes(b"third");
        assert_eq!(second.as_ptr().wrapping_add(6), third.as_ptr());
        assert_eq!(
            (&first[..], &second[..], &third[..]),
            (&b"first"[..], &b"second"[..], &b"third"[..])
        );
        assert_eq!(large.len(), ARENA_BYTES);
    }

    #[test]
    fn a_full_arena_is_followed_by_another() {
        let mut copier = Copier::default();
        let fields: Vec<_> = (0..1_000u32)
            .map(|n| copier.bytes(&n.to_be_bytes().repeat(50)))
            .collect();
        for (n, field) in (0..1_000u32).zip(fields) {
            assert_eq!(field, n.to_be_bytes().repeat(50));
        }
    }
}
