//! Serves `/trains`: the trains, seat maps and availability.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use interlock_inventory::{Plan, TrainDate};
use interlock_schemas::{Date, train_date_key};
use serde::Deserialize;
use serde_json::json;

use super::{events, parameters};
use crate::Gateway;
use crate::follower::change_of;
use crate::json::parse_date;
use crate::problem::Problem;
use crate::train_date::{Availability, Snapshot, Train};

/// Changes of a train-date within this time become one event.
const TOGETHER: Duration = Duration::from_millis(200);

/// Answers with all trains.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>) -> Result<Response, Problem> {
    if !gateway.followed.is_up_to_date() {
        return Err(still_reading());
    }
    let trains: Vec<Train> = gateway.followed.view().plans().map(|plan| Train::new(plan)).collect();
    Ok(Json(json!({ "trains": trains })).into_response())
}

fn still_reading() -> Problem {
    Problem::unavailable("the plans so far are still being read; ask again")
}

/// Returns the present state of the train-date that the path names, or an empty one by its plan if nothing is sold yet.
pub(super) async fn find(gateway: &Gateway, train: &str, date: &str) -> Result<TrainDate, Problem> {
    let travel_date = parse_date(date)
        .ok_or_else(|| Problem::bad_request(format!("`{date}` is not a date; expected one such as 2026-12-01")))?;
    let plan = gateway.followed.view().plan_of(train);
    let found = gateway.ledgers.train_date(&train_date_key(train, travel_date)).await?;
    if found.plan().is_some() {
        return Ok(found);
    }
    let plan = plan.ok_or_else(|| match gateway.followed.is_up_to_date() {
        true => Problem::not_found(format!("there is no train {train}; /trains lists all trains")),
        false => still_reading(),
    })?;
    let sold = plan.sold_on(travel_date);
    let sold = sold.ok_or_else(|| not_running(&plan, date, travel_date))?;
    // It may hold answers to requests from before the sale opened, but no seats.
    Ok(found.opened(Arc::clone(sold), travel_date))
}

fn not_running(plan: &Plan, date: &str, travel_date: Date) -> Problem {
    let service = plan.service();
    let next = service.dates().into_iter().find(|running| *running > travel_date);
    let hint = match next.and_then(crate::json::date_text) {
        Some(next) => format!("it runs next on {next}"),
        None => "it doesn't run later either".to_owned(),
    };
    Problem::not_found(format!("train {} doesn't run on {date}; {hint}", service.train_id))
}

async fn show(gateway: &Gateway, train: &str, date: &str) -> Result<Snapshot, Problem> {
    let train_date = find(gateway, train, date).await?;
    Snapshot::new(&train_date, date).ok_or_else(|| Problem::internal(format!("train {train} has no plan")))
}

/// Answers with the seat map and waitlists of a train-date; as events, again after each change.
pub(super) async fn snapshot(
    State(gateway): State<Arc<Gateway>>,
    Path((train, date)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Subscribes before the first read, so that no change is missed.
    let changes = gateway.followed.changes();
    let first = show(&gateway, &train, &date).await?;
    if !events::accepts(&headers, events::EVENTS) {
        return Ok(Json(first).into_response());
    }
    let key = parse_date(&date).map_or_else(String::new, |days| train_date_key(&train, days).to_string());
    let events = stream::unfold((changes, Some(first)), move |(mut changes, first)| {
        let (gateway, train, date, key) = (Arc::clone(&gateway), train.clone(), date.clone(), key.clone());
        async move {
            if let Some(first) = first {
                return Some((events::event(&first), (changes, None)));
            }
            if !change_of(&mut changes, &key).await {
                return None;
            }
            tokio::time::sleep(TOGETHER).await;
            changes = changes.resubscribe();
            let event = match show(&gateway, &train, &date).await {
                Ok(snapshot) => events::event(&snapshot),
                Err(problem) => events::problem(&problem),
            };
            Some((event, (changes, None)))
        }
    });
    Ok(events::answer(events))
}

/// Parameters of availability: `?from=&to=&class=&quota=`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AvailabilityQuery {
    from: String,
    to: String,
    class: Option<String>,
    quota: Option<String>,
}

/// Answers with the number of seats that fit a segment, for all or the requested classes and quotas.
pub(super) async fn availability(
    State(gateway): State<Arc<Gateway>>,
    Path((train, date)): Path<(String, String)>,
    query: Result<Query<AvailabilityQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let AvailabilityQuery { from, to, class, quota } = parameters(query)?;
    let train_date = find(&gateway, &train, &date).await?;
    let plan = train_date
        .plan()
        .ok_or_else(|| Problem::internal(format!("train {train} has no plan")))?;
    for station in [&from, &to] {
        if plan.stop(station).is_none() {
            let stops: Vec<&str> = plan.service().route.iter().map(|stop| stop.code.as_str()).collect();
            let stops = stops.join(", ");
            return Err(Problem::not_found(format!(
                "train {train} doesn't stop at {station}; it stops at {stops}"
            )));
        }
    }
    if plan.segment(&from, &to).is_none() {
        return Err(Problem::bad_request(format!(
            "train {train} doesn't run from {from} to {to}, but the other way"
        )));
    }
    let allotments: Vec<(&str, &str)> = train_date.allotments().collect();
    let is_wanted = |(of_class, of_quota): &&(&str, &str)| {
        class.as_deref().is_none_or(|class| class == *of_class)
            && quota.as_deref().is_none_or(|quota| quota == *of_quota)
    };
    let found = allotments.iter().filter(is_wanted).map(|(class, quota)| Availability {
        travel_class: (*class).to_owned(),
        quota: (*quota).to_owned(),
        available: train_date.availability(&from, &to, class, quota),
        waiting: train_date.waitlist(class, quota).len(),
    });
    let found: Vec<Availability> = found.collect();
    if found.is_empty() {
        let sold: Vec<String> = allotments
            .iter()
            .map(|(class, quota)| format!("{class} {quota}"))
            .collect();
        return Err(Problem::not_found(format!(
            "train {train} has no such class and quota; it has {}",
            sold.join(", ")
        )));
    }
    Ok(Json(json!({
        "train_id": train, "travel_date": date, "from_station": from, "to_station": to, "availability": found,
    }))
    .into_response())
}
