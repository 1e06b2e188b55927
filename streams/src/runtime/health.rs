//! What a worker says of itself: is it ready, and if not, why.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Collects the state of a process's stream threads. Cheap to clone; written only when a state changes.
#[derive(Clone, Debug, Default)]
pub struct Health {
    threads: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Health {
    /// Something works, or says why it doesn't.
    pub fn set(&self, what: &str, trouble: Option<String>) {
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(what.to_owned(), trouble);
    }

    /// What doesn't work at present, and why. Empty: ready.
    pub fn troubles(&self) -> Vec<(String, String)> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads
            .iter()
            .filter_map(|(what, trouble)| Some((what.clone(), trouble.clone()?)))
            .collect()
    }
}
