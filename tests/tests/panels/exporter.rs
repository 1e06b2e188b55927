//! Runs a Prometheus of the test's own, and an exporter for it: every metric that the engine defines, with the labels
//! that the panels distinguish, and without refusals, forwarded records or restarts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Returns the engine's metrics and their kinds, from `metric_definitions.rs`.
pub(crate) fn definitions() -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../streams/src/metric_definitions.rs");
    let text = std::fs::read_to_string(file).unwrap();
    let mut kind = "";
    let mut metrics = BTreeMap::new();
    for line in text.lines() {
        let said = line.strip_prefix("/// ").unwrap_or_default();
        if let Some(found) = ["Counter", "Gauge", "Histogram"]
            .into_iter()
            .find(|kind| said.starts_with(kind))
        {
            kind = found;
        }
        if let Some((_, name)) = line.strip_prefix("pub const ").and_then(|line| line.split_once("= \"")) {
            metrics.insert(name.trim_end_matches("\";").to_owned(), kind.to_owned());
        }
    }
    assert!(metrics.len() > 10, "{metrics:?}");
    metrics
}

/// Returns the metrics of a busy worker at its `scrape`th scrape.
fn page(scrape: u64) -> String {
    const LABELS: &str =
        "topology=\"booking\",topic=\"booking-requests\",partition=\"0\",ledger=\"0\",verdict=\"continue\"";
    let mut text = String::new();
    for (name, kind) in definitions() {
        let write = match kind.as_str() {
            "Histogram" => writeln!(
                text,
                "# TYPE {name} histogram\n{name}_bucket{{{LABELS},le=\"0.1\"}} {scrape}\n\
                 {name}_bucket{{{LABELS},le=\"+Inf\"}} {scrape}\n{name}_sum{{{LABELS}}} {scrape}\n{name}_count{{{LABELS}}} {scrape}"
            ),
            "Counter"
                if ["refused", "forwarded", "migrations"]
                    .iter()
                    .any(|rare| name.contains(rare)) =>
            {
                Ok(())
            }
            "Counter" => writeln!(text, "# TYPE {name} counter\n{name}{{{LABELS}}} {scrape}"),
            _ => writeln!(text, "# TYPE {name} gauge\n{name}{{{LABELS}}} 3"),
        };
        write.unwrap();
    }
    text
}

/// A running Prometheus, which ends with this value.
pub(crate) struct Prometheus {
    pub(crate) url: String,
    process: Child,
    _data: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes a worker twice a second; returns `None` if the program isn't installed.
    pub(crate) async fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            for scrape in 1.. {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut request = [0; 4_096];
                let _ = client.read(&mut request).await;
                let page = page(scrape);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
                let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
                let _ = client.write_all(answer.as_bytes()).await;
            }
        });
        Self::launch(&[target]).await
    }

    /// Starts one that has nothing to scrape.
    pub(crate) async fn start_idle() -> Option<Self> {
        Self::launch(&[]).await
    }

    async fn launch(targets: &[String]) -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let config = data.path().join("prometheus.yml");
        let jobs = serde_json::json!({
            "global": { "scrape_interval": "500ms" },
            "scrape_configs": [{ "job_name": "interlock", "static_configs": [{ "targets": targets }] }],
        });
        std::fs::write(&config, jobs.to_string()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let prometheus = Self {
            url: format!("http://127.0.0.1:{port}"),
            process,
            _data: data,
        };
        prometheus.wait_for("vector(1)").await;
        Some(prometheus)
    }

    /// Waits until a query finds something.
    pub(crate) async fn wait_for(&self, query: &str) {
        let mut url = reqwest::Url::parse(&self.url).unwrap();
        url.set_path("/api/v1/query");
        url.query_pairs_mut().append_pair("query", query);
        let give_up = Instant::now() + Duration::from_secs(60);
        while Instant::now() < give_up {
            if let Ok(answer) = reqwest::get(url.clone()).await
                && answer.text().await.is_ok_and(|text| text.contains("\"value\""))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("Prometheus finds nothing for {query}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
