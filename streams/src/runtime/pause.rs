//! Pauses between attempts of one thread, with the reason in its health.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::error::TaskError;
use super::health::Health;
use crate::backoff::Backoff;
use crate::log::murmur2::murmur2;

/// First and longest pause while a thread connects or follows a table.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Pauses between attempts, longer each time, and reports the reason.
pub(crate) struct Pause<'a> {
    name: &'a str,
    health: &'a Health,
    shutdown: watch::Receiver<bool>,
    backoff: Backoff,
}

impl<'a> Pause<'a> {
    pub(crate) fn new(name: &'a str, health: &'a Health, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            name,
            health,
            shutdown,
            backoff: backoff(name, BACKOFF),
        }
    }

    /// Waits before the next attempt; returns a fatal error.
    pub(crate) async fn after(&mut self, error: TaskError) -> Result<(), TaskError> {
        let TaskError::Restart { reason, detail } = error else {
            return Err(error);
        };
        let (reason, pause) = (reason.name(), self.backoff.failed());
        tracing::warn!(name = self.name, reason, detail, "will be tried again in {pause:?}");
        self.health.set(self.name, Some(format!("{reason}: {detail}")));
        tokio::select! {
            biased;
            () = sleep(pause) => {}
            _ = self.shutdown.wait_for(|stop| *stop) => {}
        }
        Ok(())
    }

    /// Reports that the thread works; the first pause after the next error is short again.
    pub(crate) fn over(&mut self) {
        self.health.set(self.name, None);
        self.backoff.succeeded();
    }
}

/// Returns the pauses of a thread: other ones than those of other threads, and the same in each simulation.
pub(crate) fn backoff(name: &str, (first, longest): (Duration, Duration)) -> Backoff {
    Backoff::with_seed(first, longest, u64::from(murmur2(name.as_bytes())))
}
