//! Puts a timetable on sale, then its next version, which lacks a train, and withdraws that train.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use interlock_schemas::{Event, EventKind};
use interlock_tests::gateway::{booking, cancellation};
use interlock_tests::real::{Installation, PATIENCE, in_installation, wait_for};
use serde_json::Value;

const DAYS: &str = "20";

/// Writes a feed whose trains call at the stops A and B every day.
fn write_feed(folder: &Path, trains: &[&str]) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut trips = "route_id,service_id,trip_id,trip_short_name\n".to_owned();
    let mut times = "trip_id,arrival_time,departure_time,stop_id,stop_sequence\n".to_owned();
    for (hour, train) in (10..).zip(trains) {
        trips += &format!("R,W,trip-{train},{train}\n");
        times += &format!("trip-{train},{hour}:00:00,{hour}:00:00,A,1\ntrip-{train},{hour}:50:00,{hour}:50:00,B,2\n");
    }
    let files = [
        (
            "agency.txt",
            "agency_name,agency_url,agency_timezone\nRail,http://rail.example,Europe/Berlin\n",
        ),
        (
            "stops.txt",
            "stop_id,stop_name,stop_lat,stop_lon\nA,Aa,50.0,10.0\nB,Bb,50.4,10.0\n",
        ),
        ("routes.txt", "route_id,route_short_name,route_type\nR,RE1,2\n"),
        (
            "calendar.txt",
            "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
             W,1,1,1,1,1,1,1,20200101,20991231\n",
        ),
        ("trips.txt", &trips),
        ("stop_times.txt", &times),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

async fn seed(installation: &Installation, feed: &Path, more: &[&str]) -> Result<Value> {
    let feed = feed.to_str().context("a path in UTF-8")?;
    let arguments = [&["seed", "--json", "--days", DAYS, "--gtfs", feed], more].concat();
    let finished = installation.call(&arguments, PATIENCE).await?;
    let report = finished.json()?;
    finished.success()?;
    Ok(report)
}

/// Appends a request and returns its answer.
async fn ask(installation: &Installation, mut request: Value) -> Result<Event> {
    for (field, value) in [("from_station", "A"), ("to_station", "B"), ("travel_class", "SECOND")] {
        if request.get(field).is_some() {
            request[field] = value.into();
        }
    }
    let record = request.to_string();
    let produce = ["produce", "--topic", "booking-requests", &record];
    installation.call(&produce, PATIENCE).await?.success()?;
    wait_for("the request is answered", PATIENCE, async || {
        let is_answer = |event: &Event| {
            let header = event.header();
            header.kind == EventKind::Answer && request["request_id"] == header.cause_request_id.as_str()
        };
        Ok(installation.events().await?.into_iter().find(is_answer))
    })
    .await
}

async fn get(url: &str) -> Result<(u16, Value)> {
    let answer = reqwest::get(url).await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

/// Checks what a gateway shows: the train on its open date only.
async fn check_gateway(url: &str, open: &str, other: &str) -> Result<()> {
    wait_for("the gateway forgets the plan", PATIENCE, async || {
        let (_, trains) = get(&format!("{url}/trains")).await?;
        let trains = trains["trains"].as_array().context("trains")?;
        let ids: Vec<&Value> = trains.iter().map(|train| &train["train_id"]).collect();
        Ok((ids == ["N2"]).then_some(()))
    })
    .await?;
    let (status, shown) = get(&format!("{url}/trains/N1/{open}")).await?;
    ensure!(status == 200 && shown["bookings"] == 2, "{status} {shown}");
    let (status, problem) = get(&format!("{url}/trains/N1/{other}")).await?;
    ensure!(status == 404, "{status} {problem}");
    Ok(())
}

#[tokio::test]
async fn a_train_that_a_feed_no_longer_has_can_be_withdrawn() -> Result<()> {
    in_installation("withdrawal", async |installation| {
        let (first, next) = (installation.folder().join("first"), installation.folder().join("next"));
        write_feed(&first, &["N1", "N2"])?;
        // In this version N2 leaves an hour earlier.
        write_feed(&next, &["N2"])?;
        let report = seed(installation, &first, &[]).await?;
        ensure!(
            report["written"] == 2 && report["gone"] == serde_json::json!([]),
            "{report:#}"
        );
        let worker = installation.worker().await?;
        let (gateway, url) = installation.gateway().await?;
        let (_, trains) = get(&format!("{url}/trains")).await?;
        let dates = &trains["trains"][0]["running_dates"];
        let (open, other) = (
            dates[17].as_str().context("a date")?,
            dates[18].as_str().context("a date")?,
        );
        let request = booking("sold", "N1", open, 1);
        let sold = ask(installation, request.clone()).await?;
        ensure!(matches!(sold, Event::Confirmed(_)), "{sold:?}");

        // Without --withdraw it stays on sale, and the report says so.
        let report = seed(installation, &next, &[]).await?;
        ensure!(
            report["gone"] == serde_json::json!(["N1"]) && report["withdrawn"] == false && report["written"] == 1,
            "{report:#}"
        );
        let report = seed(installation, &next, &["--withdraw"]).await?;
        ensure!(report["withdrawn"] == true && report["written"] == 0, "{report:#}");
        let report = seed(installation, &next, &["--withdraw"]).await?;
        ensure!(report["gone"] == serde_json::json!([]), "withdrawn already: {report:#}");

        // A worker that starts now reads the tombstone; one that was there has followed it.
        let late = installation.worker_with(&[]).await?;
        late.wait_until_ready().await?;
        let refused = ask(installation, booking("refused", "N1", other, 1)).await?;
        ensure!(
            matches!(&refused, Event::Rejected(event) if event.code == "UNKNOWN_TRAIN"),
            "{refused:?}"
        );
        let sold = ask(installation, booking("sold-later", "N1", open, 1)).await?;
        ensure!(
            matches!(sold, Event::Confirmed(_)),
            "an open train-date keeps its plan: {sold:?}"
        );
        let cancelled = ask(installation, cancellation("cancelled", &request)).await?;
        ensure!(
            matches!(&cancelled, Event::Cancelled(event) if event.header.amount_minor < 0),
            "{cancelled:?}"
        );
        check_gateway(&url, open, other).await?;
        let (again, url) = installation.gateway().await?;
        check_gateway(&url, open, other).await?;
        installation.audit().await?;

        // The feed has it again: it is sold again.
        let report = seed(installation, &first, &[]).await?;
        ensure!(report["written"] == 2, "{report:#}");
        wait_for("N1 is back", PATIENCE, async || {
            let (status, _) = get(&format!("{url}/trains/N1/{other}")).await?;
            Ok((status == 200).then_some(()))
        })
        .await?;
        let sold = ask(installation, booking("sold-again", "N1", other, 1)).await?;
        ensure!(matches!(sold, Event::Confirmed(_)), "{sold:?}");
        installation.audit().await?;
        drop((gateway, again));
        worker.stop().await?;
        late.stop().await?;
        Ok(())
    })
    .await
}
