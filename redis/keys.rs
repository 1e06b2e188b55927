//! Names of a ledger's keys. All have the hash tag `{namespace:ledger}`, so all are in one slot of a cluster: one
//! function can touch all of them at once, and the loss of a node takes all of them or none.

use bytes::Bytes;

/// Begins the names of the index's fields in `meta`.
pub(crate) const INDEX_PREFIX: &[u8] = b"d:";

/// The keys of one ledger.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    tag: String,
}

impl Keys {
    pub(crate) fn new(namespace: &str, ledger: i32) -> Self {
        Self {
            tag: format!("{{{namespace}:{ledger}}}"),
        }
    }

    /// Hash: the holder and the progress of the ledger, and the index.
    pub(crate) fn meta(&self) -> String {
        format!("{}:meta", self.tag)
    }

    /// Hash: the outputs of each batch, by the batch's last offset.
    pub(crate) fn log(&self) -> String {
        format!("{}:log", self.tag)
    }

    /// Hash: a document. Its name may be any bytes: the first closing brace ends the hash tag.
    pub(crate) fn document(&self, name: &[u8]) -> Vec<u8> {
        [self.tag.as_bytes(), b":d:", name].concat()
    }

    /// Returns the field of the index for a document.
    pub(crate) fn index_field(name: &[u8]) -> Vec<u8> {
        [INDEX_PREFIX, name].concat()
    }

    /// Returns the pattern that all keys of the ledger match. A namespace has no character that is special in it.
    pub(crate) fn pattern(&self) -> String {
        format!("{}:*", self.tag)
    }

    /// Returns the name of the document with this key.
    pub(crate) fn name(&self, key: &[u8]) -> Option<Bytes> {
        let name = key.strip_prefix(self.tag.as_bytes())?.strip_prefix(b":d:")?;
        Some(Bytes::copy_from_slice(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_keys() {
        let keys = Keys::new("il", 12);
        assert_eq!(keys.meta(), "{il:12}:meta");
        for name in [b"12951|2026-12-01".as_slice(), b"", b"}{:d:\0"] {
            assert_eq!(keys.name(&keys.document(name)).as_deref(), Some(name));
        }
        assert_eq!(keys.name(b"{il:1}:d:x"), None);
    }
}
