//! Runs `interlock loadgen` as a process and reads its report.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::PATIENCE;
use super::installation::Installation;
use super::process::Process;

/// A running load.
#[derive(Debug)]
pub struct Load {
    process: Process,
}

/// The outcomes of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Requests sent; each was answered.
    pub requests: u64,
    /// Bookings confirmed at once.
    pub confirmed: u64,
    /// Waiters promoted.
    pub promoted: u64,
    /// Cancellations carried out.
    pub cancelled: u64,
    /// Repeated answers.
    pub replays: u64,
}

impl Load {
    pub(super) fn new(process: Process) -> Self {
        Self { process }
    }

    /// Returns whether the load still sends or waits.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// Waits for the end of the load: every request must have its answer.
    pub async fn finish(self) -> Result<Outcome> {
        let finished = self.process.finish(PATIENCE * 3).await?;
        let report = finished.json()?;
        finished.success()?;
        let of = |value: &Value, name: &str| value[name].as_u64().with_context(|| format!("{name} in {report}"));
        let (requests, answered) = (of(&report, "requests")?, of(&report, "answered")?);
        ensure!(requests == answered, "{answered} of {requests} requests are answered");
        let outcomes = &report["outcomes"];
        Ok(Outcome {
            requests,
            confirmed: of(outcomes, "confirmed")?,
            promoted: of(outcomes, "promoted")?,
            cancelled: of(outcomes, "cancelled")?,
            replays: of(outcomes, "replays")?,
        })
    }
}

impl Outcome {
    /// Checks for the canonical mix: more than half confirmed, and promotions, cancellations and replays among the
    /// outcomes.
    pub fn check_mix(&self) -> Result<()> {
        ensure!(
            self.confirmed * 2 > self.requests && self.promoted > 0 && self.cancelled > 0 && self.replays > 0,
            "not the mix that was expected: {self:?}"
        );
        Ok(())
    }
}

impl Installation {
    /// Runs one load after another at this rate while an event happens to the workers. Ends when the event is over and
    /// the running load is answered.
    pub async fn under_load<T>(&self, rate: u32, event: impl Future<Output = Result<T>>) -> Result<T> {
        let mut event = std::pin::pin!(event);
        let mut load = self.start_load(rate * 10, Some(rate))?;
        loop {
            tokio::select! {
                happened = &mut event => {
                    let happened = happened?;
                    load.finish().await?;
                    return Ok(happened);
                }
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    if !load.is_running()? {
                        load.finish().await?;
                        load = self.start_load(rate * 10, Some(rate))?;
                    }
                }
            }
        }
    }
}
