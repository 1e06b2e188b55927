//! Server-sent events.

use std::convert::Infallible;

use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;
use serde::Serialize;

use crate::problem::Problem;

/// What asks to be told of changes.
pub(super) const EVENTS: &str = "text/event-stream";

/// Whether a client asks for this type of answer.
pub(super) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains(kind))
}

/// Something as an event's data.
pub(super) fn event(data: &impl Serialize) -> Event {
    Event::default().json_data(data).unwrap_or_else(|error| {
        tracing::error!("an event can't be written: {error}");
        Event::default().comment("left out")
    })
}

/// What went wrong meanwhile: an event named `problem`.
pub(super) fn problem(problem: &Problem) -> Event {
    Event::default().event("problem").data(problem.detail())
}

/// Answers with events; a comment every fifteen seconds shows both ends that the other one is there.
pub(super) fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    use futures::StreamExt as _;
    Sse::new(events.map(Ok::<_, Infallible>))
        .keep_alive(KeepAlive::default())
        .into_response()
}
