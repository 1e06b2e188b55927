//! `/sales`: totals, revenue by minute, throughput.

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

/// How often it is looked whether there is something new to tell.
const LOOK: Duration = Duration::from_millis(500);

/// How sales go; as events while they change.
pub(super) async fn show(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let sales = move || gateway.followed.view().sales().clone();
    if !events::accepts(&headers, events::EVENTS) {
        return Json(sales()).into_response();
    }
    let events = stream::unfold((sales, None::<Sales>), async |(sales, last)| {
        let mut now = sales();
        while last.as_ref() == Some(&now) {
            tokio::time::sleep(LOOK).await;
            now = sales();
        }
        // Not more often than somebody can look.
        tokio::time::sleep(if last.is_some() { LOOK } else { Duration::ZERO }).await;
        Some((events::event(&now), (sales, Some(now))))
    });
    events::answer(Box::pin(events))
}
