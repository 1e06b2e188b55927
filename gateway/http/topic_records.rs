//! Serves `/topics/{topic}`: appends and reads records.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use interlock_inventory::Digest;
use interlock_schemas::topics::BOOKING_REQUESTS;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::events::{self, EVENTS, accepts};
use super::parameters;
use crate::Gateway;
use crate::json_log::{From, ReadError, TopicError, names};
use crate::problem::Problem;
use crate::request_ids::RequestName;

/// Content type of JSON lines, which have no limit.
const LINES: &str = "application/x-ndjson";
/// Records in one JSON document: by default, and at most.
const LIMIT: (usize, usize) = (100, 1_000);

impl std::convert::From<TopicError> for Problem {
    fn from(error: TopicError) -> Self {
        let detail = error.to_string();
        match error {
            TopicError::Unknown { .. } => Problem::not_found(detail).with("topics", names()),
            TopicError::Missing { .. } | TopicError::NoPartition { .. } => Problem::not_found(detail),
            TopicError::NotAnInput { .. } => Problem::new(StatusCode::FORBIDDEN, detail),
            TopicError::Schema { errors, .. } => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("errors", json!(errors))
            }
            TopicError::TooLong { record, .. } => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).with("record", record)
            }
            TopicError::Registry(_) => Problem::unavailable(detail),
            TopicError::Log(error) => error.into(),
        }
    }
}

impl std::convert::From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Log(error) => error.into(),
            ReadError::Registry(error) => error.into(),
        }
    }
}

/// The header that names a request, as the IETF's draft has it.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Parameters of an append: `?key=`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppendQuery {
    key: Option<String>,
}

/// Appends the record, or the array of records, in the body.
pub(super) async fn append(
    State(gateway): State<Arc<Gateway>>,
    Path(topic): Path<String>,
    query: Result<Query<AppendQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let key = parameters(query)?.key;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    // This also stops pages of other sites: they need a preflight for this content type, which is not granted.
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        let detail = "records are JSON; send the header `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let body: Value = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("the body is not JSON: {error}")))?;
    let mut records = match body {
        Value::Array(records) => records,
        record => vec![record],
    };
    if let Some(id) = headers.get(IDEMPOTENCY_KEY) {
        name_request(&mut records, id)?;
    }
    let commands = match topic.as_str() {
        BOOKING_REQUESTS => gateway.json_log.commands(&records).await?,
        _ => Vec::new(),
    };
    let names: Vec<(RequestName, Digest)> = commands.iter().map(RequestName::of).collect();
    check_ids(&gateway, &names).await?;
    let appended = gateway.json_log.append(&topic, key.as_deref(), &records).await?;
    for (name, digest) in names {
        gateway.request_ids.add(name, digest);
    }
    Ok(Json(json!({ "topic": topic, "records": appended })).into_response())
}

/// Makes the header `Idempotency-Key` the request id of the one record that is sent.
fn name_request(records: &mut [Value], id: &HeaderValue) -> Result<(), Problem> {
    let unusable = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
    let id = id
        .to_str()
        .map_err(|_| Problem::bad_request("Idempotency-Key: expected ASCII text"))?;
    let [Value::Object(record)] = records else {
        return Err(unusable(
            "Idempotency-Key is for one record; give each record of a list its own request_id".to_owned(),
        ));
    };
    match record.get("request_id") {
        None => drop(record.insert("request_id".to_owned(), id.into())),
        Some(known) if known == id => {}
        Some(other) => {
            return Err(unusable(format!(
                "Idempotency-Key is `{id}`, and request_id is {other}; send one"
            )));
        }
    }
    Ok(())
}

/// Refuses a request id that is known with another body.
async fn check_ids(gateway: &Gateway, names: &[(RequestName, Digest)]) -> Result<(), Problem> {
    let mut among_these: FxHashMap<&RequestName, Digest> = FxHashMap::default();
    for (record, (name, digest)) in names.iter().enumerate() {
        let earlier = *among_these.entry(name).or_insert(*digest);
        let appended = gateway.request_ids.get(name);
        let decided = match names.len() {
            1 => decided(gateway, name).await,
            // A list would load the train-dates of all its records; workers refuse what is found out too late.
            _ => None,
        };
        let known = [Some(earlier), appended, decided];
        if known.into_iter().flatten().any(|known| known != *digest) {
            let detail = format!(
                "record {record}: request_id `{}` was used before, with another body; send this one under a new id",
                name.request_id
            );
            return Err(Problem::new(StatusCode::CONFLICT, detail).with("code", "IDEMPOTENCY_KEY_REUSED"));
        }
    }
    Ok(())
}

/// Returns the digest under which the ledger knows a request; none where it does not know it or does not answer.
/// Requests wait in the log while ledgers are away, and workers then refuse an id that is used again.
async fn decided(gateway: &Gateway, name: &RequestName) -> Option<Digest> {
    match gateway.ledgers.train_date(&name.key).await {
        Ok(train_date) => Some(train_date.outcome(&name.request_id)?.digest()),
        Err(problem) => {
            tracing::warn!(
                request = name.request_id,
                "the ledger can't be asked: {}",
                problem.detail()
            );
            None
        }
    }
}

/// Parameters of a read: `?from=&limit=&partition=&follow=`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadQuery {
    from: Option<String>,
    limit: Option<usize>,
    partition: Option<i32>,
    #[serde(default)]
    follow: bool,
}

/// Reads records: as one JSON document, as lines of JSON, or as events.
pub(super) async fn read(
    State(gateway): State<Arc<Gateway>>,
    Path(topic): Path<String>,
    query: Result<Query<ReadQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = parameters(query)?;
    let (as_events, as_lines) = (accepts(&headers, EVENTS), accepts(&headers, LINES));
    if query.follow && !as_events && !as_lines {
        let detail = format!("follow: a JSON document has to end; send `Accept: {EVENTS}` or `Accept: {LINES}`");
        return Err(Problem::bad_request(detail));
    }
    let follow = query.follow || as_events;
    let from = match &query.from {
        Some(from) => from
            .parse()
            .map_err(|error| Problem::bad_request(format!("from: {error}")))?,
        None if follow => From::Latest,
        None => From::Beginning,
    };
    let permit = Arc::clone(&gateway.topic_readers).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::unavailable("too many clients read topics at the moment; try again"))?;
    let mut records = gateway.json_log.read(&topic, query.partition, from, follow).await?;
    if as_events || as_lines {
        let records = stream::try_unfold((records, permit), async |(mut records, permit)| {
            let next = records.next().await?;
            Ok::<_, ReadError>(next.map(|record| (record, (records, permit))))
        });
        let records = records.take(query.limit.unwrap_or(usize::MAX)).boxed();
        return Ok(if as_events {
            events::answer(records.map(|record| match record {
                Ok(record) => events::event(&record),
                Err(error) => events::problem(&error.into()),
            }))
        } else {
            let lines = Body::from_stream(records.map_ok(|record| record.line()));
            ([(header::CONTENT_TYPE, LINES)], lines).into_response()
        });
    }
    let limit = query.limit.unwrap_or(LIMIT.0);
    if !(1..=LIMIT.1).contains(&limit) {
        let detail = format!(
            "limit: expected 1 to {}, found {limit}; `Accept: {LINES}` has no limit",
            LIMIT.1
        );
        return Err(Problem::bad_request(detail));
    }
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(record) = records.next().await?
    {
        found.push(record);
    }
    Ok(Json(json!({ "topic": topic, "records": found })).into_response())
}
