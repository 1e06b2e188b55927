//! Serves the state of a process over HTTP: `/metrics` for Prometheus, `/healthz` (the process is alive), `/readyz` (it
//! works, or the reason why not).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use interlock_streams::runtime::Health;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::net::TcpListener;

use crate::metric_definitions;

/// Renders the metrics.
pub type Handle = PrometheusHandle;

/// Upper bounds of the histograms, in seconds: from a commit without a backlog to a rebuild.
const SECONDS: [f64; 17] = [
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 60.0,
];
/// Interval at which the histograms are drained.
const UPKEEP: Duration = Duration::from_secs(5);
/// The content type that Prometheus expects.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why a process can't be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The buckets of the histograms are wrong.
    #[error("no metrics")]
    Recorder(#[from] BuildError),
    /// Another recorder is installed.
    #[error("metrics are collected already")]
    Installed,
    /// The address can't be listened on.
    #[error(
        "{setting}: {address} can't be listened on; give another address by {flag} (each process on a host needs a \
         port of its own; port 0 takes a free one)"
    )]
    Listen {
        /// The setting.
        setting: String,
        /// The flag for the same setting.
        flag: String,
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
}

/// Collects the metrics of this process from now on.
///
/// # Errors
/// A recorder is installed already.
pub fn install_recorder() -> Result<Handle, ObserveError> {
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| ObserveError::Installed)?;
    describe();
    Ok(handle)
}

/// Describes each metric to the recorder.
fn describe() {
    interlock_streams::metric_definitions::describe();
    metric_definitions::describe();
}

/// Listens on the address of a setting that also has a flag.
///
/// # Errors
/// The address is taken, or this host doesn't have it.
pub async fn listen(setting: &str, flag: &str, address: SocketAddr) -> Result<TcpListener, ObserveError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ObserveError::Listen {
        setting: setting.to_owned(),
        flag: flag.to_owned(),
        address,
        source,
    })
}

/// Serves until the process ends; returns the address.
///
/// # Errors
/// The system does not tell the listener's address.
pub fn serve(listener: TcpListener, app: Router) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, %address, "no longer served");
        }
    });
    Ok(address)
}

/// Returns the routes `/metrics`, `/healthz` and `/readyz`. Begins to drain the histograms, on the runtime of the
/// caller.
pub fn router(health: Health, metrics: Handle) -> Router {
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Router::new()
        .route(
            "/metrics",
            get(async |State(metrics): State<Handle>| ([(header::CONTENT_TYPE, TEXT)], metrics.render())),
        )
        .with_state(metrics)
        .merge(
            Router::new()
                .route("/healthz", get(async || Json(json!({ "alive": true }))))
                .route("/readyz", get(ready))
                .with_state(health),
        )
}

async fn ready(State(health): State<Health>) -> Response {
    let reasons: Vec<_> = health
        .troubles()
        .into_iter()
        .map(|(what, why)| json!({ "what": what, "why": why }))
        .collect();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_worker_reports_its_state() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let health = Health::default();
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = listen("metrics.listen", "--metrics-listen", any).await.unwrap();
        let address = serve(listener, router(health.clone(), recorder.handle())).unwrap();

        health.set("booking-0", Some("Redis is down".into()));
        let answer = ask(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains(r#""why":"Redis is down""#),
            "{answer}"
        );
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));

        health.set("booking-0", None);
        let answer = ask(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains(r#""ready":true"#),
            "{answer}"
        );
        assert!(ask(address, "/metrics").await.contains("text/plain"));

        let taken = listen("metrics.listen", "--metrics-listen", address).await.unwrap_err();
        assert!(taken.to_string().contains("--metrics-listen"), "{taken}");
    }

    /// The metrics satisfy Prometheus's own check: a help text for each, base units, and names by type.
    #[test]
    fn metrics_pass_the_check_of_prometheus() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};

        use interlock_streams::metric_definitions as engine;
        use metrics::{counter, gauge, histogram};

        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS);
        let recorder = builder.unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            for name in engine::COUNTERS.iter().chain(metric_definitions::COUNTERS) {
                counter!(*name).increment(1);
            }
            for name in engine::GAUGES {
                gauge!(*name).set(1.0);
            }
            for name in engine::HISTOGRAMS.iter().chain(metric_definitions::HISTOGRAMS) {
                histogram!(*name).record(1.0);
            }
        });
        let text = recorder.handle().render();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help text");
        }
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else {
            assert!(
                std::env::var("CI").is_err(),
                "promtool is missing: apt-get install prometheus"
            );
            eprintln!("SKIPPED promtool: not on the PATH. Install it: apt-get install prometheus");
            return;
        };
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success() && said.is_empty(),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
}
