//! The routes of the gateway.

mod bookings;
mod events;
mod page;
mod sales;
mod topic_records;
mod trains;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::Gateway;
use crate::metric_definitions::{REQUEST_SECONDS, REQUESTS};
use crate::problem::Problem;

/// Longest accepted body, in bytes: a few thousand records.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Longest message of axum that becomes the detail of a problem, in bytes.
const SENTENCE_BYTES_MAX: usize = 4 << 10;

/// Builds the router with all routes.
pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new()
        .merge(page::router())
        .route("/topics/{topic}", get(topic_records::read).post(topic_records::append))
        .route("/trains", get(trains::list))
        .route("/trains/{train}/{date}", get(trains::snapshot))
        .route("/trains/{train}/{date}/availability", get(trains::availability))
        .route("/trains/{train}/{date}/requests/{request}", get(bookings::outcome))
        .route("/bookings/{pnr}", get(bookings::find))
        .route("/sales", get(sales::show))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response(as_problem))
        .route_layer(from_fn(measured))
        .with_state(Arc::new(gateway))
}

/// Counts a request and measures how long its answer took to begin. Routes have names, so that no label is a client's.
async fn measured(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let route = route.unwrap_or_else(|| "none".to_owned());
    let (method, began) = (request.method().to_string(), Instant::now());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::counter!(REQUESTS, "route" => route.clone(), "method" => method, "status" => status).increment(1);
    metrics::histogram!(REQUEST_SECONDS, "route" => route).record(began.elapsed().as_secs_f64());
    response
}

/// Turns axum's own refusals (no such route or method, a body that is too large) into problem documents.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if !is_error || kind == Some(&HeaderValue::from_static("application/problem+json")) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let sentence = to_bytes(body, SENTENCE_BYTES_MAX).await.unwrap_or_default();
    let detail = match (status, std::str::from_utf8(&sentence)) {
        (StatusCode::PAYLOAD_TOO_LARGE, _) => {
            format!("a body may have at most {BODY_BYTES_MAX} bytes; send fewer records")
        }
        (StatusCode::NOT_FOUND, _) => "nothing is served here; docs/http-api.md lists the routes".to_owned(),
        (StatusCode::METHOD_NOT_ALLOWED, _) => {
            "the method is not allowed here; the header Allow lists those that are".to_owned()
        }
        (_, Ok(sentence)) => sentence.to_owned(),
        (_, Err(_)) => String::new(),
    };
    let problem = Problem::new(status, detail).into_response();
    parts.headers.remove(header::CONTENT_TYPE);
    parts.headers.remove(header::CONTENT_LENGTH);
    let (own, body) = problem.into_parts();
    parts.headers.extend(own.headers);
    Response::from_parts(parts, body)
}

/// Returns the query's parameters, or the error in them as a problem.
fn parameters<T>(query: Result<axum::extract::Query<T>, QueryRejection>) -> Result<T, Problem> {
    let axum::extract::Query(parameters) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok(parameters)
}
