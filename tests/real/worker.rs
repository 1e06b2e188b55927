//! Runs `interlock run` as a process of its own, and observes it over HTTP.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::process::{Finished, Process};
use super::{PATIENCE, wait_for};

/// Longest wait for an answer over HTTP.
const ANSWER: Duration = Duration::from_secs(5);

/// A worker; killed when dropped.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    address: String,
    http: reqwest::Client,
}

impl Worker {
    /// Waits until the worker logs the address of its metrics.
    pub(super) async fn new(process: Process) -> Result<Self> {
        let said = wait_for("the worker logs the address of its metrics", PATIENCE, async || {
            Ok(address(&process.log()))
        });
        let address = said.await.with_context(|| process.tail())?;
        let http = reqwest::Client::builder().timeout(ANSWER).build()?;
        Ok(Self { process, address, http })
    }

    /// Returns the log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns whether the worker is still running.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.is_running()
    }

    /// Sends a signal, by its name without `SIG`: `STOP` freezes it, `CONT` lets it go on.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Sends SIGKILL and waits until the worker is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Sends SIGTERM and waits for the graceful end.
    pub async fn stop(self) -> Result<Finished> {
        self.process.signal("TERM")?;
        let finished = self.process.finish(PATIENCE).await?;
        ensure!(
            finished.status == Some(0),
            "a worker that was asked to stop ended with {:?}:\n{}",
            finished.status,
            finished.error
        );
        Ok(finished)
    }

    /// Returns whether the worker is ready; if not, the reason.
    pub async fn ready(&self) -> Result<Result<(), String>> {
        let response = self.http.get(format!("http://{}/readyz", self.address)).send().await?;
        let status = response.status();
        let body: Value = response.json().await?;
        ensure!(body["ready"] == status.is_success(), "/readyz says {status} and {body}");
        Ok(if status.is_success() {
            Ok(())
        } else {
            Err(body["reasons"].to_string())
        })
    }

    /// Waits until the worker is ready.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let mut last = String::new();
        let ready = wait_for("the worker is ready", PATIENCE, async || match self.ready().await? {
            Ok(()) => Ok(Some(())),
            Err(why) => {
                last = why;
                Ok(None)
            }
        });
        ready
            .await
            .with_context(|| format!("/readyz says {last}; {}", self.process.tail()))
    }

    /// Waits until the worker is not ready, for a reason that contains this text.
    pub async fn wait_until_troubled(&self, by: &str) -> Result<String> {
        let what = format!("/readyz names {by}");
        let mut last = None;
        let troubled = wait_for(&what, PATIENCE, async || {
            last = self.ready().await?.err();
            let names = |why: &String| why.to_lowercase().contains(&by.to_lowercase());
            Ok(last.clone().filter(names))
        });
        troubled
            .await
            .with_context(|| format!("/readyz says {last:?}; {}", self.process.tail()))
    }

    /// Returns everything that Prometheus would read.
    pub async fn metrics(&self) -> Result<String> {
        let response = self.http.get(format!("http://{}/metrics", self.address)).send().await?;
        Ok(response.error_for_status()?.text().await?)
    }

    /// Returns the sum of a metric's series with these labels, written as Prometheus does: `topology="booking"`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let metrics = self.metrics().await?;
        let values = metrics.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, rest) = series.split_once('{').unwrap_or((series, ""));
            let fits = metric == name && labels.iter().all(|label| rest.contains(label));
            fits.then(|| value.parse::<f64>().ok()).flatten()
        });
        Ok(values.sum())
    }

    /// Returns the number of records of `booking-requests` that the worker has decided.
    pub async fn applied(&self) -> Result<f64> {
        self.metric("interlock_records_applied_total", &["topology=\"booking\""])
            .await
    }
}

/// Returns the address of the metrics that a worker's log states.
fn address(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("metrics and health on http://")?;
    Some(rest.split_once('/')?.0.to_owned())
}
