//! A log of a run in virtual time, with a hash that distinguishes runs.
//!
//! It is kept only on request: most runs pass, and a run can be repeated.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The trace of one run. Clones share it.
#[derive(Clone)]
pub(super) struct Trace {
    began: Instant,
    /// None if the trace is not kept.
    lines: Option<Arc<Mutex<Lines>>>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    hash: DefaultHasher,
}

impl Trace {
    /// Starts an empty trace.
    pub(super) fn new(is_kept: bool) -> Self {
        Self {
            began: Instant::now(),
            lines: is_kept.then(Arc::default),
        }
    }

    /// Returns the virtual milliseconds since the beginning.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a line.
    pub(super) fn line(&self, what: fmt::Arguments<'_>) {
        let Some(lines) = &self.lines else { return };
        let line = format!("{:>7} {what}", self.now_ms());
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        line.hash(&mut lines.hash);
        lines.lines.push(line);
    }

    /// Formats the name of a call for later lines; returns an empty text if the trace is not kept.
    pub(super) fn text(&self, what: fmt::Arguments<'_>) -> String {
        match self.lines {
            Some(_) => what.to_string(),
            None => String::new(),
        }
    }

    /// Returns the lines and their hash.
    pub(super) fn finish(&self) -> (Vec<String>, u64) {
        let Some(lines) = &self.lines else {
            return (Vec::new(), 0);
        };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut lines.lines), lines.hash.finish())
    }
}
