//! The clock of the in-memory log. A simulator or a test can inject its own.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

/// The source of timestamps, time-outs and waits.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch, for timestamps of records.
    fn timestamp(&self) -> i64;

    /// Time since some fixed moment, never going back, for time-outs.
    fn elapsed(&self) -> Duration;

    /// Resolves once [`Clock::elapsed`] has grown by this much.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock for timestamps, tokio's for time-outs (so that tokio's paused time applies).
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the implementation of the injected clock"
    )]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the implementation of the injected clock"
    )]
    fn timestamp(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Takes timestamps from tokio's clock, too. Under tokio's paused time a test controls all of them.
pub struct TokioClock {
    start: i64,
    origin: Instant,
    /// The runtime whose clock this is, also when the log is used from outside of it.
    runtime: tokio::runtime::Handle,
}

impl TokioClock {
    /// A clock that shows this timestamp now (milliseconds since the Unix epoch).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(timestamp: i64) -> Self {
        Self {
            start: timestamp,
            origin: Instant::now(),
            runtime: tokio::runtime::Handle::current(),
        }
    }
}

impl Clock for TokioClock {
    fn timestamp(&self) -> i64 {
        let elapsed = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.start.saturating_add(elapsed)
    }

    fn elapsed(&self) -> Duration {
        let _within = self.runtime.enter();
        self.origin.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that a test advances.
pub struct ManualClock {
    start: i64,
    elapsed: watch::Sender<Duration>,
}

impl ManualClock {
    /// A clock that shows this timestamp (milliseconds since the Unix epoch).
    pub fn new(timestamp: i64) -> Self {
        Self {
            start: timestamp,
            elapsed: watch::Sender::new(Duration::ZERO),
        }
    }

    /// Advances the time, and wakes sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }
}

impl Clock for ManualClock {
    fn timestamp(&self) -> i64 {
        let elapsed = self.elapsed().as_millis();
        self.start.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut elapsed = self.elapsed.subscribe();
        let until = self.elapsed().saturating_add(duration);
        Box::pin(async move {
            // An error means that the clock is gone: no time will pass any more.
            if elapsed.wait_for(|now| *now >= until).await.is_err() {
                futures::future::pending::<()>().await;
            }
        })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({} ms)", self.timestamp())
    }
}
