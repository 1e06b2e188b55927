//! Runs the gateway over in-process parts, and queries it over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use interlock_gateway::Parts;
use interlock_streams::runtime::Health;
use reqwest::{Client, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::memory::World;
use crate::real::wait_for;

/// Longest wait for an expected event.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A gateway and an HTTP client.
pub struct Gateway {
    http: Client,
    /// The address it listens on.
    pub address: SocketAddr,
    /// Its readiness, with the reason if it is not ready.
    pub health: Health,
}

impl Gateway {
    /// Serves a world on a free port for as long as the test runs.
    pub async fn new(world: &World) -> Result<Self> {
        let health = Health::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = interlock_gateway::router(Parts {
            log: Arc::new(world.log.clone()),
            ledgers: Arc::new(world.store.clone()),
            registry: world.registry.clone(),
            ids: world.ids,
            // The follower must be the only member of its group.
            group: format!("gateway-{}", address.port()),
            deciders: "interlock-booking".to_owned(),
            health: health.clone(),
        });
        let app = app.await?;
        tokio::spawn(async move { axum::serve(listener, app).await });
        let http = Client::new();
        Ok(Self { http, address, health })
    }

    /// Waits until the gateway has read everything that existed at its start.
    pub async fn up_to_date(&self) -> Result<()> {
        wait_for("the gateway is up to date", PATIENCE, async || {
            Ok(self.health.troubles().is_empty().then_some(()))
        })
        .await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a GET request and returns the response, whatever its status.
    pub async fn get(&self, path: &str) -> Result<Response> {
        Ok(self.http.get(self.url(path)).send().await?)
    }

    /// Sends a GET request that accepts a content type.
    pub async fn get_as(&self, path: &str, kind: &str) -> Result<Response> {
        let request = self.http.get(self.url(path)).header(header::ACCEPT, kind);
        Ok(request.send().await?)
    }

    /// Sends a GET request that must succeed, and returns its JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        let response = self.get(path).await?;
        let status = response.status();
        let body = response.text().await?;
        ensure!(status.is_success(), "{path}: {status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))
    }

    /// Repeats a GET request until its answer satisfies a condition.
    pub async fn wait(&self, path: &str, is_liked: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let liked = wait_for("the gateway's answer satisfies the condition", PATIENCE, async || {
            last = self.get(path).await?.json().await?;
            Ok(is_liked(&last).then(|| last.clone()))
        });
        let liked = liked.await;
        liked.with_context(|| format!("{path}: {last}"))
    }

    /// Posts a body.
    pub async fn post_text(&self, path: &str, kind: &str, body: impl Into<String>) -> Result<Response> {
        let request = self.http.post(self.url(path)).header(header::CONTENT_TYPE, kind);
        Ok(request.body(body.into()).send().await?)
    }

    /// Sends JSON under an idempotency key.
    pub async fn post_named(&self, path: &str, id: &str, body: &Value) -> Result<Response> {
        let request = self.http.post(self.url(path)).header("Idempotency-Key", id);
        Ok(request.json(body).send().await?)
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.post_text(path, "application/json", body.to_string()).await
    }

    /// Appends records, and returns their partitions and offsets.
    pub async fn append(&self, topic: &str, records: &Value) -> Result<Vec<(i64, i64)>> {
        let response = self.post(&format!("/topics/{topic}"), records).await?;
        let status = response.status();
        let body: Value = response.json().await?;
        ensure!(status == StatusCode::OK, "{topic}: {status}: {body}");
        let places = body["records"].as_array().context("no places")?;
        let place = |place: &Value| Some((place["partition"].as_i64()?, place["offset"].as_i64()?));
        places.iter().map(place).collect::<Option<_>>().context("no places")
    }
}

/// Returns a booking in JSON on the small train of `plans`.
pub fn booking(request_id: &str, train_id: &str, date: &str, passengers: usize) -> Value {
    let passenger = |number: usize| json!({ "name": format!("Ada {number}"), "age": 36 });
    json!({
        "request_id": request_id, "train_id": train_id, "travel_date": date, "user_id": "ada",
        "from_station": "A", "to_station": "E", "travel_class": "SL", "quota": "GN",
        "passengers": (0..passengers).map(passenger).collect::<Vec<_>>(),
        "requested_at": 1_795_000_000_000_i64,
    })
}

/// Returns the cancellation of such a booking.
pub fn cancellation(request_id: &str, booking: &Value) -> Value {
    json!({
        "request_id": request_id, "train_id": booking["train_id"], "travel_date": booking["travel_date"],
        "booking_request_id": booking["request_id"], "user_id": booking["user_id"], "requested_at": 0,
    })
}

/// Checks that an answer is a problem with this status whose sentence contains all these words.
pub async fn problem(response: Response, status: u16, says: &[&str]) -> Result<Value> {
    let found = response.status().as_u16();
    let kind = response.headers().get(header::CONTENT_TYPE).cloned();
    let body = response.text().await?;
    ensure!(found == status, "expected {status}, found {found}: {body}");
    ensure!(
        kind.is_some_and(|kind| kind == "application/problem+json"),
        "no problem: {body}"
    );
    let body: Value = serde_json::from_str(&body)?;
    ensure!(body["status"] == status && body["title"].is_string(), "{body}");
    let detail = body["detail"].as_str().context("no detail")?;
    for word in says {
        ensure!(detail.contains(word), "`{detail}` doesn't say `{word}`");
    }
    Ok(body)
}

/// Returns the data of the next server-sent event that satisfies a condition.
pub async fn next_event(
    response: &mut Response,
    buffer: &mut String,
    is_liked: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        while let Some((event, rest)) = buffer.split_once("\n\n") {
            let data = event
                .lines()
                .find_map(|line| line.strip_prefix("data: "))
                .map(str::to_owned);
            *buffer = rest.to_owned();
            if let Some(data) = data {
                let data: Value = serde_json::from_str(&data)?;
                if is_liked(&data) {
                    return Ok(data);
                }
            }
        }
        let chunk = tokio::time::timeout_at(deadline, response.chunk())
            .await
            .context("no event came")??;
        buffer.push_str(std::str::from_utf8(&chunk.context("the events ended")?)?);
    }
}
