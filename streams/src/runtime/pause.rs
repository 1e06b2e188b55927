//! Pauses between attempts.

use std::time::Duration;

use tokio::sync::watch;

use super::error::TaskError;
use super::health::Health;

/// Pauses between attempts, longer each time, and says why.
pub(crate) struct Pause<'a> {
    what: &'a str,
    health: &'a Health,
    shutdown: watch::Receiver<bool>,
    next: Duration,
}

impl<'a> Pause<'a> {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(5);

    pub(crate) fn new(what: &'a str, health: &'a Health, shutdown: watch::Receiver<bool>) -> Self {
        Self {
            what,
            health,
            shutdown,
            next: Self::FIRST,
        }
    }

    /// Waits before the next attempt; an error that trying again can't mend is returned.
    pub(crate) async fn after(&mut self, error: TaskError) -> Result<(), TaskError> {
        let TaskError::Restart { reason, detail, .. } = error else {
            return Err(error);
        };
        tracing::warn!(
            what = self.what,
            reason,
            detail,
            "will be tried again in {:?}",
            self.next
        );
        self.health.set(self.what, Some(format!("{reason}: {detail}")));
        tokio::select! {
            biased;
            () = tokio::time::sleep(self.next) => {}
            _ = self.shutdown.wait_for(|stop| *stop) => {}
        }
        self.next = (self.next * 2).min(Self::LONGEST);
        Ok(())
    }

    /// It works now: trouble to come is news, and its first pause is short.
    pub(crate) fn over(&mut self) {
        self.health.set(self.what, None);
        self.next = Self::FIRST;
    }
}
