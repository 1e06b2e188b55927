//! Request ids that clients use again: with the same body that is a repetition, with another one it is a mistake.
//!
//! A worker refuses such a request (`IDEMPOTENCY_KEY_REUSED`) but stores no outcome for it, because the id's outcome
//! is that of the first request. So the gateway refuses it before it is appended. It compares the request with the
//! ledger, and with the requests that it appended itself, which the ledger may not have seen yet.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use interlock_inventory::{Digest, command_key};
use interlock_schemas::Command;
use rustc_hash::FxHashMap;

/// Requests that are remembered: far more than workers have undecided, unless they stand still.
const REQUESTS_MAX: usize = 100_000;

/// The name of a request: its train-date's key and its request id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestName {
    /// The train-date's key.
    pub(crate) key: String,
    pub(crate) request_id: String,
}

impl RequestName {
    /// Returns the name of a command and the digest of its body.
    pub(crate) fn of(command: &Command) -> (Self, Digest) {
        let request_id = match command {
            Command::Book(request) => &request.request_id,
            Command::Cancel(request) => &request.request_id,
        };
        let name = Self {
            key: command_key(command).to_string(),
            request_id: request_id.to_string(),
        };
        (name, Digest::of(command))
    }
}

/// The requests that this gateway appended last.
#[derive(Debug, Default)]
pub(crate) struct RequestIds(Mutex<Appended>);

#[derive(Debug, Default)]
struct Appended {
    digests: FxHashMap<RequestName, Digest>,
    /// The same requests, oldest first.
    order: VecDeque<RequestName>,
}

impl RequestIds {
    /// Returns the digest that was appended under a name.
    pub(crate) fn get(&self, name: &RequestName) -> Option<Digest> {
        let appended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        appended.digests.get(name).copied()
    }

    /// Remembers a request, unless one of its name is known: the first one counts.
    pub(crate) fn add(&self, name: RequestName, digest: Digest) {
        let mut appended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if appended.digests.contains_key(&name) {
            return;
        }
        appended.digests.insert(name.clone(), digest);
        appended.order.push_back(name);
        if appended.order.len() > REQUESTS_MAX
            && let Some(oldest) = appended.order.pop_front()
        {
            appended.digests.remove(&oldest);
        }
    }
}
