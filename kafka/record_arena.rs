//! Records copied out of librdkafka's memory.
//!
//! Keys, values and headers of many records share one allocation (a block): librdkafka's buffers would otherwise be
//! kept alive for as long as a record is cached, and one allocation for each field costs more than the copy.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use interlock_streams::record::Record;
use rustc_hash::FxHashMap;

use crate::ffi::Message;

/// Size of a block. A cached record keeps its whole block alive.
const BLOCK_BYTES: usize = 64 * 1024;

/// Different header names remembered, so that a name is not allocated for each record.
const HEADER_NAMES_MAX: usize = 64;

/// Copies records into blocks of memory that they share.
#[derive(Default)]
pub(crate) struct RecordArena {
    block: BytesMut,
    header_names: FxHashMap<Vec<u8>, Arc<str>>,
}

impl RecordArena {
    pub(crate) fn copy(&mut self, message: &Message) -> Record {
        let key = message.key().map(|bytes| self.bytes(bytes));
        let value = message.value().map(|bytes| self.bytes(bytes));
        let mut headers = Vec::new();
        message.for_each_header(|name, value| {
            headers.push((self.header_name(name), value.map(|value| self.bytes(value))));
        });
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
        if bytes.len() > BLOCK_BYTES / 4 {
            return Bytes::copy_from_slice(bytes);
        }
        if self.block.capacity() < bytes.len() {
            self.block = BytesMut::with_capacity(BLOCK_BYTES);
        }
        self.block.extend_from_slice(bytes);
        self.block.split().freeze()
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
    fn fields_share_a_block_and_large_ones_do_not_fill_it() {
        let mut arena = RecordArena::default();
        let first = arena.bytes(b"first");
        let second = arena.bytes(b"second");
        assert_eq!(first.as_ptr().wrapping_add(5), second.as_ptr());
        let large = arena.bytes(&vec![7; BLOCK_BYTES]);
        let third = arena.bytes(b"third");
        assert_eq!(second.as_ptr().wrapping_add(6), third.as_ptr());
        assert_eq!(
            (&first[..], &second[..], &third[..]),
            (&b"first"[..], &b"second"[..], &b"third"[..])
        );
        assert_eq!(large.len(), BLOCK_BYTES);
    }

    #[test]
    fn a_full_block_is_followed_by_another() {
        let mut arena = RecordArena::default();
        let fields: Vec<_> = (0..1_000u32)
            .map(|n| arena.bytes(&n.to_be_bytes().repeat(50)))
            .collect();
        for (n, field) in (0..1_000u32).zip(fields) {
            assert_eq!(field, n.to_be_bytes().repeat(50));
        }
    }
}
