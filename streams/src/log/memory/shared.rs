//! The state with its lock and clock, and the one way of waiting.

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;

use super::MemoryLogConfig;
use super::broker::{State, Timeouts};
use super::journal::{self, Change, Journal};
use crate::log::LogError;

/// State shared by the log and its clients. When the last of them is dropped, the journal's queue is written first.
pub(super) struct Shared {
    core: Arc<Core>,
    writer: Option<JoinHandle<()>>,
}

/// The part of it that the journal's writer thread has too.
pub(super) struct Core {
    pub(super) config: MemoryLogConfig,
    /// Woken when a transaction is completed.
    pub(super) settled: Arc<Notify>,
    /// Woken when the next expiry comes earlier than it was.
    rearmed: Arc<Notify>,
    state: Mutex<State>,
}

impl Shared {
    /// An empty log that ends with the process.
    pub(super) fn new(config: MemoryLogConfig) -> Self {
        let core = Arc::new(Core::new(config));
        Self { core, writer: None }
    }

    /// Restores a log from a journal, and writes further changes to the journal.
    pub(super) fn restore(
        config: MemoryLogConfig,
        history: Change,
        journal: Box<dyn Journal>,
    ) -> Result<Self, LogError> {
        let core = Arc::new(Core::new(config));
        core.lock().restore(history)?;
        let (queue, writer) = journal::start(journal, core.clone()).map_err(|error| LogError::Fatal {
            action: "start the log's writer thread".to_owned(),
            reason: error.to_string(),
        })?;
        core.lock().journal = Some(queue);
        let writer = Some(writer);
        Ok(Self { core, writer })
    }
}

impl Deref for Shared {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take()
            && let Some(mut state) = self.try_lock()
        {
            // The thread ends when the queue is empty and has no sender any more.
            state.journal = None;
            drop(state);
            // If it panicked, its own message is above.
            let _ = writer.join();
        }
    }
}

impl Core {
    fn new(config: MemoryLogConfig) -> Self {
        let settled = Arc::new(Notify::new());
        let rearmed = Arc::new(Notify::new());
        let timeouts = Timeouts {
            session: config.session_timeout,
            transaction: config.transaction_timeout,
        };
        let state = State::new(timeouts, config.bytes_max, Arc::clone(&settled), Arc::clone(&rearmed));
        Self {
            config,
            state: Mutex::new(state),
            settled,
            rearmed,
        }
    }

    /// Locks the state as of now, after time-outs have been applied.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.try_lock().expect("a panic inside the log left its state unusable")
    }

    /// Locks like [`Core::lock`], for destructors; returns none after a panic inside the log.
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

    /// Waits for the event, the deadline, or the next time-out (an open transaction that times out releases the records
    /// behind it). The caller then checks again.
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
