//! Serves `/topics/{topic}`: appends and reads records.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::events::{self, EVENTS, accepts};
use super::parameters;
use crate::Gateway;
use crate::json_log::{From, ReadError, TopicError, names};
use crate::problem::Problem;

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
    let records = match body {
        Value::Array(records) => records,
        record => vec![record],
    };
    let appended = gateway.json_log.append(&topic, key.as_deref(), &records).await?;
    Ok(Json(json!({ "topic": topic, "records": appended })).into_response())
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
