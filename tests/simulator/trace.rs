//! What happened, line by line in virtual time, with a hash that tells two runs apart.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The trace of one run. Clones share it.
#[derive(Clone)]
pub(super) struct Trace {
    began: Instant,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    hash: DefaultHasher,
}

impl Trace {
    /// An empty trace that begins now.
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            lines: Arc::default(),
        }
    }

    /// Virtual milliseconds since the beginning.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a line.
    pub(super) fn line(&self, what: &str) {
        let line = format!("{:>7} {what}", self.now_ms());
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        line.hash(&mut lines.hash);
        lines.lines.push(line);
    }

    /// Takes the lines, and their hash.
    pub(super) fn finish(&self) -> (Vec<String>, u64) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut lines.lines), lines.hash.finish())
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}
