//! Serves `/sales`: totals, revenue by minute, throughput.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use futures::stream;

use super::events;
use crate::Gateway;
use crate::view::Sales;

/// Interval between checks for new figures.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Answers with the figures of the sale; as events, again after each change.
pub(super) async fn show(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let sales = move || gateway.followed.view().sales().clone();
    if !events::accepts(&headers, events::EVENTS) {
        return Json(sales()).into_response();
    }
    let events = stream::unfold((sales, None::<Sales>), async |(sales, last)| {
        let mut now = sales();
        while last.as_ref() == Some(&now) {
            tokio::time::sleep(CHECK_INTERVAL).await;
            now = sales();
        }
        // Limits the rate of events to one per interval.
        tokio::time::sleep(if last.is_some() { CHECK_INTERVAL } else { Duration::ZERO }).await;
        Some((events::event(&now), (sales, Some(now))))
    });
    events::answer(Box::pin(events))
}
