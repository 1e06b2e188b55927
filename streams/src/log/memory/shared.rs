//! The state with its lock and clock, and the one way of waiting.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::MemoryLogConfig;
use super::broker::{State, Timeouts};

pub(super) struct Shared {
    pub(super) config: MemoryLogConfig,
    /// Woken when a transaction is completed.
    pub(super) settled: Arc<Notify>,
    /// Woken when the next expiry comes earlier than it was.
    rearmed: Arc<Notify>,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(config: MemoryLogConfig) -> Self {
        let settled = Arc::new(Notify::new());
        let rearmed = Arc::new(Notify::new());
        let timeouts = Timeouts {
            session: config.session_timeout,
            transaction: config.transaction_timeout,
        };
        Self {
            config,
            state: Mutex::new(State::new(timeouts, Arc::clone(&settled), Arc::clone(&rearmed))),
            settled,
            rearmed,
        }
    }

    /// The state as of now: what is due has expired.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.try_lock().expect("a panic inside the log left its state unusable")
    }

    /// As [`Shared::lock`], for destructors: none after a panic inside the log.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = self.state.lock().ok()?;
        state.advance(self.config.clock.elapsed(), self.config.clock.timestamp());
        Some(state)
    }

    /// The moment so far from now.
    pub(super) fn deadline(&self, wait: Duration) -> Duration {
        self.config.clock.elapsed().saturating_add(wait)
    }

    pub(super) fn is_past(&self, deadline: Duration) -> bool {
        self.config.clock.elapsed() >= deadline
    }

    /// Waits for the event, the deadline, or the next thing that time brings about (an open transaction that times out
    /// frees the records behind it, although nobody does anything). The caller looks again and decides.
    pub(super) async fn wait(&self, event: impl Future<Output = ()>, deadline: Duration) {
        let rearmed = self.rearmed.notified();
        tokio::pin!(rearmed);
        rearmed.as_mut().enable();
        let until = deadline.min(self.lock().next_expiry());
        let duration = until.saturating_sub(self.config.clock.elapsed());
        tokio::select! {
            biased;
            () = event => {}
            () = rearmed => {}
            () = self.config.clock.sleep(duration) => {}
        }
    }
}
