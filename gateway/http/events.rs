//! Server-sent events.

use std::convert::Infallible;

use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use serde::Serialize;

use crate::problem::Problem;

/// Content type of server-sent events.
pub(super) const EVENTS: &str = "text/event-stream";

/// Returns whether a client accepts this content type.
pub(super) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains(kind))
}

/// Creates an event with JSON data.
pub(super) fn event(data: &impl Serialize) -> Event {
    Event::default().json_data(data).unwrap_or_else(|error| {
        tracing::error!("an event can't be written: {error}");
        Event::default().comment("left out")
    })
}

/// Creates an event named `problem` for an error during the stream.
pub(super) fn problem(problem: &Problem) -> Event {
    Event::default().event("problem").data(problem.detail())
}

/// Answers with events, and a comment every fifteen seconds to keep the connection alive.
pub(super) fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    use futures::StreamExt as _;
    Sse::new(events.map(Ok::<_, Infallible>))
        .keep_alive(KeepAlive::default())
        .into_response()
}
