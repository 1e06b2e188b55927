//! The health of a worker: whether it is ready, and if not, the reasons.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Collects the state of a process's stream threads. Cheap to clone; written only when a state changes.
#[derive(Clone, Debug, Default)]
pub struct Health {
    threads: Arc<Mutex<BTreeMap<String, Option<String>>>>,
}

impl Health {
    /// Sets or clears the reason why a part does not work.
    pub fn set(&self, what: &str, trouble: Option<String>) {
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(what.to_owned(), trouble);
    }

    /// Returns the parts that do not work at present, with the reasons. If there are none, the worker is ready.
    pub fn troubles(&self) -> Vec<(String, String)> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads
            .iter()
            .filter_map(|(what, trouble)| Some((what.clone(), trouble.clone()?)))
            .collect()
    }
}
