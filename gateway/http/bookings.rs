//! Serves `/bookings/{pnr}` and the outcome of a request.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use interlock_inventory::{Pnr, TrainDateKey};

use super::events::{self, EVENTS, accepts};
use super::trains::find as find_train_date;
use crate::Gateway;
use crate::follower::change_of;
use crate::json::date_text;
use crate::problem::Problem;
use crate::train_date::{Became, Bookings};

/// Answers with the booking of a PNR.
pub(super) async fn find(State(gateway): State<Arc<Gateway>>, Path(text): Path<String>) -> Result<Response, Problem> {
    let pnr = Pnr::parse(&text).ok_or_else(|| {
        Problem::bad_request(format!(
            "`{text}` is not a PNR: expected ten digits, the last of which is a check digit"
        ))
    })?;
    let unknown = || Problem::not_found(format!("no booking has the PNR {pnr}"));
    let key = gateway.followed.view().train_date_of(pnr);
    let Some(key) = key else {
        return Err(if gateway.followed.is_up_to_date() {
            unknown()
        } else {
            Problem::unavailable(format!(
                "PNR {pnr} is not known yet: the existing events are still being read; try again"
            ))
        });
    };
    let TrainDateKey { travel_date, .. } =
        TrainDateKey::parse(&key).map_err(|error| Problem::internal(error.to_string()))?;
    let train_date = gateway.ledgers.train_date(&key).await?;
    let date = date_text(travel_date).unwrap_or_default();
    let bookings = Bookings::new(&train_date, &date);
    let booking = bookings.and_then(|bookings| bookings.find(pnr)).ok_or_else(unknown)?;
    Ok(Json(booking).into_response())
}

/// Answers with the outcome of a request; as events, with a single one as soon as the outcome is known.
pub(super) async fn outcome(
    State(gateway): State<Arc<Gateway>>,
    Path((train, date, request)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Subscribes before the first read, so that no change is missed.
    let mut changes = gateway.followed.changes();
    let found = look(&gateway, &train, &date, &request).await?;
    if accepts(&headers, EVENTS) {
        let event = async move {
            let mut found = Ok(found);
            let key = format!("{train}|{date}");
            while let Ok(None) = found
                && change_of(&mut changes, &key).await
            {
                found = look(&gateway, &train, &date, &request).await;
            }
            match found {
                Ok(outcome) => events::event(&outcome),
                Err(problem) => events::problem(&problem),
            }
        };
        return Ok(events::answer(stream::once(event)));
    }
    let outcome = found.ok_or_else(|| {
        Problem::not_found(format!(
            "request {request} has no answer for train {train} on {date}, or none yet"
        ))
    })?;
    Ok(Json(outcome).into_response())
}

async fn look(gateway: &Gateway, train: &str, date: &str, request: &str) -> Result<Option<Became>, Problem> {
    let train_date = find_train_date(gateway, train, date).await?;
    let bookings = Bookings::new(&train_date, date);
    Ok(bookings.and_then(|bookings| bookings.outcome(request)))
}
