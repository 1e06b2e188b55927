//! Handles SIGINT and SIGTERM, and stops stream threads.

use anyhow::{Context as _, anyhow};
use interlock_streams::runtime::StreamThreads;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives the signals that ask the process to stop.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Takes over the signals, which from now on do not end the process by themselves.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals can't be listened for");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal to stop.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits until all stream threads have left.
pub(crate) async fn leave(running: StreamThreads) -> anyhow::Result<()> {
    running.stop();
    let waited = tokio::task::spawn_blocking(move || running.wait()).await;
    waited
        .context("waiting for the stream threads")?
        .map_err(|error| anyhow!(error).context("a stream thread failed"))
}
