//! Turns the ledger's events into Arrow rows, and defines the window queries over them.
//!
//! A query reads them as the table `input`, one row for each event (for an opened train-date, one for each class). Only
//! the column `departure_time` can be null:
//!
//! | column | type | |
//! | --- | --- | --- |
//! | `event_time` | timestamp (ms, UTC) | time of the command |
//! | `event` | text | `confirmed`, `waitlist`, `cancelled`, `rejected`, `opened` |
//! | `kind` | text | `ANSWER`, `PROMOTION`, `POSITION`, `OPENED` |
//! | `replay` | boolean | a repeated answer, which the windows don't count |
//! | `train_id`, `travel_date` (date), `travel_class`, `quota` | text | the subject of the event; class and quota may be empty |
//! | `code` | text | reason of a rejection, else empty |
//! | `seated` | int | passengers who got a seat, or gave one back (`cancelled`) |
//! | `waiting` | int | passengers who began to wait, or ceased to (`cancelled`) |
//! | `refused` | int | passengers whom a refused request named |
//! | `bookings` | int | 1 for the answer that accepts a booking's first passenger, else 0 |
//! | `distance_m` | int | length of the segment |
//! | `amount_minor`, `currency` | int, text | the amount collected (+) or refunded (−), in minor units |
//! | `seats`, `length_m` | int | opened: seats of the class, length of the route; else 0 |
//! | `departure_time` | timestamp (ms, UTC) | opened: when the train leaves its origin; else null |
//!
//! A booking may be answered by two events, one for those who got seats and one for those who wait (R12). Together they
//! name each passenger once, so the one that names the first counts the booking.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanBuilder, Date32Builder, Int64Builder, StringBuilder, TimestampMillisecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use chrono::{NaiveDate, NaiveTime, TimeZone};
use interlock_schemas::{
    BookingCancelled, BookingConfirmed, BookingWaitlisted, Date, Event, EventHeader, EventKind, TimestampMs,
    TrainService,
};
use interlock_streams::sink::{Merge, WindowTable};
use interlock_streams::window::{WindowError, WindowQuery};

/// Returns the windows of the occupancy topology: tables `occupancy_minute`, `rejections_minute` and `capacity`.
///
/// # Errors
/// Only if a query is wrong, which the tests of this file would find.
pub fn occupancy_queries() -> Result<Vec<WindowQuery>, WindowError> {
    use Merge::{Max, Sum};
    let sums = [
        "confirmed",
        "promoted",
        "released",
        "waitlisted",
        "waitlist_left",
        "seats_sold",
        "seat_metres_sold",
    ];
    let occupancy = table(
        "occupancy_minute",
        &["minute", "train_id", "travel_date", "travel_class", "quota"],
        &sums.map(|name| (name, Sum)),
    );
    let rejections = table(
        "rejections_minute",
        &["minute", "train_id", "travel_date", "travel_class", "code"],
        &[("rejected", Sum), ("requests", Sum)],
    );
    let capacity = table(
        "capacity",
        &["train_id", "travel_date", "travel_class"],
        &[("seats", Max), ("seat_metres_offered", Max), ("departure_time", Max)],
    );
    Ok(vec![
        query("occupancy.sql", include_str!("occupancy.sql"), occupancy)?,
        query(
            "occupancy_rejections.sql",
            include_str!("occupancy_rejections.sql"),
            rejections,
        )?,
        query(
            "occupancy_capacity.sql",
            include_str!("occupancy_capacity.sql"),
            capacity,
        )?,
    ])
}

/// Returns the windows of the revenue topology: table `revenue_minute`.
///
/// # Errors
/// Only if a query is wrong, which the tests of this file would find.
pub fn revenue_queries() -> Result<Vec<WindowQuery>, WindowError> {
    let sums = ["collected_minor", "refunded_minor", "bookings", "passengers"];
    let revenue = table(
        "revenue_minute",
        &["minute", "train_id", "travel_date", "travel_class", "quota", "currency"],
        &sums.map(|name| (name, Merge::Sum)),
    );
    Ok(vec![query("revenue.sql", include_str!("revenue.sql"), revenue)?])
}

fn query(file: &str, sql: &str, table: WindowTable) -> Result<WindowQuery, WindowError> {
    WindowQuery::new(format!("topologies/{file}"), sql, event_schema(), table)
}

fn table(name: &str, keys: &[&str], measures: &[(&str, Merge)]) -> WindowTable {
    WindowTable {
        name: name.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        measures: measures
            .iter()
            .map(|(name, merge)| ((*name).to_owned(), *merge))
            .collect(),
    }
}

/// Replaces what a database's text can't hold. Clients choose class and quota freely; PostgreSQL refuses NUL.
fn storable(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let instant = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let column = |name: &str, data_type: DataType| Field::new(name, data_type, name == "departure_time");
    Arc::new(Schema::new(vec![
        column("event_time", instant.clone()),
        column("event", DataType::Utf8),
        column("kind", DataType::Utf8),
        column("replay", DataType::Boolean),
        column("train_id", DataType::Utf8),
        column("travel_date", DataType::Date32),
        column("travel_class", DataType::Utf8),
        column("quota", DataType::Utf8),
        column("code", DataType::Utf8),
        column("seated", DataType::Int64),
        column("waiting", DataType::Int64),
        column("refused", DataType::Int64),
        column("bookings", DataType::Int64),
        column("distance_m", DataType::Int64),
        column("amount_minor", DataType::Int64),
        column("currency", DataType::Utf8),
        column("seats", DataType::Int64),
        column("length_m", DataType::Int64),
        column("departure_time", instant),
    ]))
});

/// Returns the schema of `input`.
pub fn event_schema() -> SchemaRef {
    SCHEMA.clone()
}

/// Returns events as rows of `input`, in their order.
pub fn events_to_batch<'a>(events: impl IntoIterator<Item = &'a Event>) -> RecordBatch {
    let mut rows = Rows::default();
    for event in events {
        let header = event.header();
        match event {
            Event::Confirmed(event) => rows.push(header, "confirmed", &confirmed(event)),
            Event::Waitlisted(event) => rows.push(header, "waitlist", &waitlisted(event)),
            Event::Cancelled(event) => rows.push(header, "cancelled", &cancelled(event)),
            Event::Rejected(event) => {
                let code = event.code.as_str();
                let refused = event.passenger_count.into();
                rows.push(
                    header,
                    "rejected",
                    &Facts {
                        code,
                        refused,
                        ..Facts::default()
                    },
                );
            }
            Event::Opened(event) => {
                for facts in offered(&event.plan, event.header.travel_date) {
                    rows.push(header, "opened", &facts);
                }
            }
        }
    }
    rows.finish()
}

/// The columns of a row that do not come from the event's shared header.
#[derive(Default)]
struct Facts<'a> {
    class: Option<&'a str>,
    code: &'a str,
    seated: i64,
    waiting: i64,
    refused: i64,
    bookings: i64,
    distance_m: i64,
    seats: i64,
    length_m: i64,
    departure_time: Option<TimestampMs>,
}

fn confirmed(event: &BookingConfirmed) -> Facts<'static> {
    Facts {
        seated: event.passengers.len() as i64,
        bookings: accepts(&event.header, event.passengers.iter().map(|passenger| passenger.index)),
        distance_m: event.distance_m,
        ..Facts::default()
    }
}

fn waitlisted(event: &BookingWaitlisted) -> Facts<'static> {
    // A POSITION event names the passengers who moved up; none of them began to wait.
    Facts {
        waiting: event.passengers.len() as i64,
        bookings: accepts(&event.header, event.passengers.iter().map(|passenger| passenger.index)),
        distance_m: event.distance_m,
        ..Facts::default()
    }
}

fn accepts(header: &EventHeader, mut passengers: impl Iterator<Item = i32>) -> i64 {
    (header.kind == EventKind::Answer && passengers.any(|index| index == 0)).into()
}

fn cancelled(event: &BookingCancelled) -> Facts<'static> {
    let left = |was_confirmed: bool| {
        let given = event.passengers.iter().filter(|given| !given.already_cancelled);
        given.filter(|given| given.was_confirmed == was_confirmed).count() as i64
    };
    Facts {
        seated: left(true),
        waiting: left(false),
        distance_m: event.distance_m,
        ..Facts::default()
    }
}

/// Returns one row for each class of the plan, in the order of the coaches.
fn offered(plan: &TrainService, travel_date: Date) -> Vec<Facts<'_>> {
    let mut classes: Vec<Facts<'_>> = Vec::new();
    for coach in &plan.coaches {
        let layout = plan.layouts.iter().find(|layout| layout.name == coach.layout);
        let seats = layout.map_or(0, |layout| layout.seats.into());
        let class = Some(coach.travel_class.as_str());
        match classes.iter_mut().find(|facts| facts.class == class) {
            Some(facts) => facts.seats += seats,
            None => classes.push(Facts {
                class,
                seats,
                length_m: plan.route.last().map_or(0, |stop| stop.distance_m),
                departure_time: departure_time(plan, travel_date),
                ..Facts::default()
            }),
        }
    }
    classes
}

/// Returns the time at which the train leaves its origin. Times count from noon minus twelve hours of the service day
/// in the train's time zone (GTFS). A train that leaves at 24:00 or later has a service day before its travel date.
fn departure_time(plan: &TrainService, travel_date: Date) -> Option<TimestampMs> {
    let zone: chrono_tz::Tz = plan.time_zone.parse().ok()?;
    let departure_s = plan.route.first()?.departure_s;
    let service_day = travel_date.checked_sub(departure_s.div_euclid(86_400))?;
    let day = NaiveDate::from_epoch_days(service_day)?;
    let noon = day.and_time(NaiveTime::from_hms_opt(12, 0, 0)?);
    let noon = zone.from_local_datetime(&noon).earliest()?.timestamp_millis();
    Some(noon - 43_200_000 + i64::from(departure_s) * 1_000)
}

/// The builders of `input`'s columns.
#[derive(Default)]
struct Rows {
    event_time: TimestampMillisecondBuilder,
    event: StringBuilder,
    kind: StringBuilder,
    replay: BooleanBuilder,
    train_id: StringBuilder,
    travel_date: Date32Builder,
    travel_class: StringBuilder,
    quota: StringBuilder,
    code: StringBuilder,
    seated: Int64Builder,
    waiting: Int64Builder,
    refused: Int64Builder,
    bookings: Int64Builder,
    distance_m: Int64Builder,
    amount_minor: Int64Builder,
    currency: StringBuilder,
    seats: Int64Builder,
    length_m: Int64Builder,
    departure_time: TimestampMillisecondBuilder,
}

impl Rows {
    fn push(&mut self, header: &EventHeader, event: &str, facts: &Facts<'_>) {
        self.event_time.append_value(header.event_time);
        self.event.append_value(event);
        self.kind.append_value(match header.kind {
            EventKind::Answer => "ANSWER",
            EventKind::Promotion => "PROMOTION",
            EventKind::Position => "POSITION",
            EventKind::Opened => "OPENED",
        });
        self.replay.append_value(header.replay);
        self.train_id.append_value(&header.train_id);
        self.travel_date.append_value(header.travel_date);
        self.travel_class
            .append_value(storable(facts.class.unwrap_or(&header.travel_class)));
        self.quota.append_value(storable(&header.quota));
        self.code.append_value(facts.code);
        self.seated.append_value(facts.seated);
        self.waiting.append_value(facts.waiting);
        self.refused.append_value(facts.refused);
        self.bookings.append_value(facts.bookings);
        self.distance_m.append_value(facts.distance_m);
        self.amount_minor.append_value(header.amount_minor);
        self.currency.append_value(&header.currency);
        self.seats.append_value(facts.seats);
        self.length_m.append_value(facts.length_m);
        self.departure_time.append_option(facts.departure_time);
    }

    fn finish(mut self) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.event_time.finish().with_timezone("UTC")),
            Arc::new(self.event.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.replay.finish()),
            Arc::new(self.train_id.finish()),
            Arc::new(self.travel_date.finish()),
            Arc::new(self.travel_class.finish()),
            Arc::new(self.quota.finish()),
            Arc::new(self.code.finish()),
            Arc::new(self.seated.finish()),
            Arc::new(self.waiting.finish()),
            Arc::new(self.refused.finish()),
            Arc::new(self.bookings.finish()),
            Arc::new(self.distance_m.finish()),
            Arc::new(self.amount_minor.finish()),
            Arc::new(self.currency.finish()),
            Arc::new(self.seats.finish()),
            Arc::new(self.length_m.finish()),
            Arc::new(self.departure_time.finish().with_timezone("UTC")),
        ];
        RecordBatch::try_new(event_schema(), columns).expect("the columns are in the order of SCHEMA")
    }
}
