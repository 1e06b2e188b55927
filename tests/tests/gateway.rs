//! Tests the gateway over in-process parts: every answer, every refusal, and the changes that it streams.

#[path = "gateway/ledgers.rs"]
mod ledgers;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use interlock_schemas::topics::BOOKING_REQUESTS;
use interlock_schemas::{Command, Decoder, civil_from_days};
use interlock_streams::record::{OutputRecord, TopicPartition};
use interlock_streams::runtime::StreamThreads;
use interlock_tests::gateway::{Gateway, booking, cancellation, next_event, problem};
use interlock_tests::memory::World;
use interlock_tests::plans::{coming_days, sleeper};
use serde_json::{Value, json};

const TRAIN: &str = "12951";
const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";
/// Seats of the small train's general quota.
const SEATS: usize = 124;

/// Returns a world with one small train, and a date on which it runs.
async fn world() -> Result<(World, String)> {
    let world = World::new(4).await?;
    let days = coming_days(2);
    let (year, month, day) = civil_from_days(days[0]);
    world.seed(&[sleeper(TRAIN, days)])?;
    Ok((world, format!("{year:04}-{month:02}-{day:02}")))
}

/// Returns such a world with a gateway that knows the train.
async fn gateway() -> Result<(World, Gateway, String)> {
    let (world, date) = world().await?;
    let gateway = Gateway::new(&world).await?;
    gateway.up_to_date().await?;
    Ok((world, gateway, date))
}

async fn stop(worker: StreamThreads) -> Result<()> {
    worker.stop();
    Ok(tokio::task::spawn_blocking(move || worker.wait()).await??)
}

#[tokio::test]
async fn appended_records_are_everybodys() -> Result<()> {
    let (world, gateway, date) = gateway().await?;
    let records = json!([booking("b-1", TRAIN, &date, 1), booking("b-2", TRAIN, &date, 2)]);
    let places = gateway.append(BOOKING_REQUESTS, &records).await?;
    let (partition, offset) = places[1];
    assert_eq!(places[0].0, partition, "one train-date, one partition");
    let source = TopicPartition::new(BOOKING_REQUESTS, i32::try_from(partition)?);
    let record = world
        .log
        .read(&source, offset, 1)?
        .pop()
        .context("nothing was written")?;
    assert_eq!(record.key.as_deref(), Some(format!("{TRAIN}|{date}").as_bytes()));
    let mut decoder = Decoder::<Command>::new(world.registry.clone());
    let Command::Book(request) = decoder.decode(&record.value.context("no value")?).await? else {
        panic!("another type")
    };
    assert_eq!((request.request_id.as_str(), request.passengers.len()), ("b-2", 2));

    let keyed = gateway.post("/topics/booking-requests?key=x%7C1", &records[0]).await?;
    assert_eq!(keyed.status(), 200);
    let read = gateway
        .json(&format!(
            "/topics/booking-requests?from={offset}&partition={partition}&limit=1"
        ))
        .await?;
    let record = &read["records"][0];
    assert_eq!(
        (record["offset"].as_i64(), &record["type"]),
        (Some(offset), &json!("interlock.BookingRequest"))
    );
    assert_eq!(record["value"]["travel_date"], json!(date));
    assert_eq!(record["value"]["passengers"][1]["berth_preference"], "NONE");
    let all = gateway.json("/topics/booking-requests").await?;
    assert_eq!(all["records"].as_array().map(Vec::len), Some(3));
    assert!(all["records"].to_string().contains("x|1"));
    let lines = gateway
        .get_as("/topics/booking-requests?from=beginning&limit=2", LINES)
        .await?
        .text()
        .await?;
    assert_eq!(lines.lines().count(), 2);
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_is_refused_as_a_whole_and_named() -> Result<()> {
    let (_world, gateway, date) = gateway().await?;
    let mut wrong = booking("b-2", TRAIN, &date, 2);
    wrong["passengers"][1]["age"] = json!("old");
    wrong["user_id"] = Value::Null;
    let records = json!([booking("b-1", TRAIN, &date, 1), wrong]);
    let body = problem(
        gateway.post("/topics/booking-requests", &records).await?,
        422,
        &["record 1", "user_id"],
    )
    .await?;
    let expected = json!({ "record": 1, "field": "passengers[1].age", "problem": "expected a whole number of 32 bits, found \"old\"" });
    assert!(
        body["errors"]
            .as_array()
            .is_some_and(|errors| errors.contains(&expected)),
        "{body}"
    );
    let read = gateway.json("/topics/booking-requests").await?;
    assert_eq!(read["records"], json!([]), "none is appended");

    let post = async |path: &str, kind: &str, body: &str| gateway.post_text(path, kind, body).await;
    problem(
        post("/topics/booking-requests", "application/json", "{\"a\": ").await?,
        400,
        &["not JSON", "line 1"],
    )
    .await?;
    problem(
        post("/topics/booking-requests", "text/plain", "{}").await?,
        415,
        &["application/json"],
    )
    .await?;
    problem(
        post("/topics/booking-requests", "application/json", "7").await?,
        422,
        &["an object"],
    )
    .await?;
    problem(
        post("/topics/booking-requests?kee=1", "application/json", "{}").await?,
        400,
        &["kee"],
    )
    .await?;
    let large = format!("[\"{}\"]", "x".repeat(5 << 20));
    problem(
        post("/topics/booking-requests", "application/json", &large).await?,
        413,
        &["fewer records"],
    )
    .await?;
    problem(
        post("/topics/confirmed", "application/json", "{}").await?,
        403,
        &["topologies only", "booking-requests"],
    )
    .await?;
    let unknown = problem(
        post("/topics/bookings", "application/json", "{}").await?,
        404,
        &["no topic bookings"],
    )
    .await?;
    assert!(
        unknown["topics"]
            .as_array()
            .is_some_and(|topics| topics.contains(&json!("booking-requests")))
    );
    problem(gateway.get("/topics/bookings").await?, 404, &["confirmed"]).await?;
    problem(
        gateway.get("/topics/confirmed?from=yesterday").await?,
        400,
        &["yesterday", "beginning"],
    )
    .await?;
    problem(gateway.get("/topics/confirmed?from=-3").await?, 400, &["-3"]).await?;
    problem(gateway.get("/topics/confirmed?limit=0").await?, 400, &["1 to"]).await?;
    problem(gateway.get("/topics/confirmed?partition=4").await?, 404, &["0 to 3"]).await?;
    problem(gateway.get("/topics/confirmed?follow=true").await?, 400, &[EVENTS]).await?;
    problem(gateway.get("/nowhere").await?, 404, &["docs/http-api.md"]).await?;
    problem(gateway.post("/trains", &json!({})).await?, 405, &["Allow"]).await?;
    Ok(())
}

#[tokio::test]
async fn trains_and_availability_are_as_planned_and_as_sold() -> Result<()> {
    let (world, gateway, date) = gateway().await?;
    let trains = gateway
        .wait("/trains", |body| body["trains"][0]["train_id"] == TRAIN)
        .await?;
    assert_eq!(trains["trains"][0]["running_dates"][0], json!(date));
    assert_eq!(trains["trains"][0]["stops"][4]["code"], "E");
    let path = format!("/trains/{TRAIN}/{date}/availability?from=B&to=D");
    let general = |available: usize| {
        json!([
            { "travel_class": "SL", "quota": "TQ", "available": 20, "waiting": 0 },
            { "travel_class": "SL", "quota": "GN", "available": available, "waiting": 0 },
        ])
    };
    assert_eq!(
        gateway.json(&path).await?["availability"],
        general(SEATS),
        "before anything is sold"
    );

    let (worker, _) = world.worker("one")?;
    gateway
        .append(BOOKING_REQUESTS, &booking("b-1", TRAIN, &date, 2))
        .await?;
    gateway
        .wait(&path, |body| body["availability"] == general(SEATS - 2))
        .await?;
    let one = gateway.json(&format!("{path}&class=SL&quota=GN")).await?;
    assert_eq!(one["availability"].as_array().map(Vec::len), Some(1));

    for (path, status, says) in [
        (format!("/trains/9/{date}"), 404, "no train 9"),
        (
            format!("/trains/{TRAIN}/1999-01-01"),
            404,
            "doesn't run on 1999-01-01; it runs next on",
        ),
        (format!("/trains/{TRAIN}/1.1.2027"), 400, "expected one such as"),
        (format!("/trains/{TRAIN}/2027-02-30"), 400, "not a date"),
        (
            format!("/trains/{TRAIN}/{date}/availability?from=X&to=D"),
            404,
            "doesn't stop at X; it stops at A, B",
        ),
        (
            format!("/trains/{TRAIN}/{date}/availability?from=D&to=B"),
            400,
            "the other way",
        ),
        (format!("/trains/{TRAIN}/{date}/availability?from=B"), 400, "to"),
        (format!("{path}&class=1A"), 404, "it has SL TQ, SL GN"),
        (format!("{path}&klass=1A"), 400, "klass"),
    ] {
        problem(gateway.get(&path).await?, status, &[says])
            .await
            .with_context(|| path.clone())?;
    }
    stop(worker).await
}

#[tokio::test]
async fn a_booking_is_found_by_its_number_and_by_its_request() -> Result<()> {
    let (world, gateway, date) = gateway().await?;
    let (worker, _) = world.worker("one")?;
    let request = booking("b-1", TRAIN, &date, 2);
    gateway.append(BOOKING_REQUESTS, &request).await?;
    let path = format!("/trains/{TRAIN}/{date}/requests/b-1");
    let mut told = gateway.get_as(&path, EVENTS).await?;
    let told = next_event(&mut told, &mut String::new(), |_| true).await?;
    let became = gateway.wait(&path, |body| body["outcome"] == "booking").await?;
    assert_eq!(told, became);
    let pnr = became["pnr"].as_str().context("no PNR")?.to_owned();
    let found = gateway
        .wait(&format!("/bookings/{pnr}"), |body| body["pnr"] == json!(pnr))
        .await?;
    assert_eq!(found["passengers"], became["passengers"]);
    assert_eq!(
        (&found["request_id"], &found["to_station"], &found["quota"]),
        (&json!("b-1"), &json!("E"), &json!("GN"))
    );
    let events = gateway
        .wait("/topics/confirmed", |body| body["records"][0]["value"].is_object())
        .await?;
    let seated = &events["records"][0]["value"]["passengers"][1];
    let shown = &found["passengers"][1];
    assert_eq!(shown["status"], "confirmed");
    for field in ["coach", "seat_number", "berth", "fare_minor", "name"] {
        assert_eq!(shown[field], seated[field], "{field}");
    }

    let mut rejected = booking("b-2", TRAIN, &date, 1);
    rejected["to_station"] = json!("Z");
    gateway
        .append(BOOKING_REQUESTS, &json!([rejected, cancellation("c-1", &request)]))
        .await?;
    let rejected = gateway
        .wait(&format!("/trains/{TRAIN}/{date}/requests/b-2"), |body| {
            body["outcome"].is_string()
        })
        .await?;
    assert_eq!(rejected["outcome"], "rejection");
    let cancelled = gateway
        .wait(&format!("/trains/{TRAIN}/{date}/requests/c-1"), |body| {
            body["outcome"].is_string()
        })
        .await?;
    assert_eq!(
        (&cancelled["outcome"], &cancelled["passengers"]),
        (&json!("cancellation"), &json!(2))
    );
    let gone = gateway.json(&format!("/bookings/{pnr}")).await?;
    assert_eq!(gone["passengers"][0]["status"], "cancelled");

    let mistyped = format!("{}{}", &pnr[..9], (pnr[9..].parse::<u8>()? + 1) % 10);
    problem(
        gateway.get(&format!("/bookings/{mistyped}")).await?,
        400,
        &["check digit"],
    )
    .await?;
    problem(gateway.get("/bookings/12").await?, 400, &["ten digits"]).await?;
    let other = (1..)
        .map(|n| interlock_inventory::Pnr::new(n, 0, 7).to_string())
        .find(|other| *other != pnr);
    problem(
        gateway.get(&format!("/bookings/{}", other.unwrap_or_default())).await?,
        404,
        &["no booking has"],
    )
    .await?;
    problem(
        gateway.get(&format!("/trains/{TRAIN}/{date}/requests/none")).await?,
        404,
        &["none yet"],
    )
    .await?;
    stop(worker).await
}

#[tokio::test]
async fn a_full_train_and_a_promotion_are_told_as_they_happen() -> Result<()> {
    let (world, gateway, date) = gateway().await?;
    let (worker, _) = world.worker("one")?;
    let path = format!("/trains/{TRAIN}/{date}");
    let (mut events, mut buffer) = (gateway.get_as(&path, EVENTS).await?, String::new());
    let (mut confirmed, mut rest) = (gateway.get_as("/topics/confirmed", EVENTS).await?, String::new());
    let (mut sales, mut sold) = (gateway.get_as("/sales", EVENTS).await?, String::new());
    let empty = next_event(&mut events, &mut buffer, |_| true).await?;
    assert_eq!(
        (&empty["bookings"], &empty["coaches"][0]["seats"][0]["legs"]),
        (&json!(0), &json!("...."))
    );

    let fill: Vec<Value> = (0..SEATS / 4)
        .map(|n| booking(&format!("b-{n}"), TRAIN, &date, 4))
        .collect();
    gateway.append(BOOKING_REQUESTS, &json!(fill)).await?;
    gateway
        .append(BOOKING_REQUESTS, &booking("late", TRAIN, &date, 1))
        .await?;
    let waiting = |body: &Value| body["waitlists"][1]["waiting"] == 1;
    let full = next_event(&mut events, &mut buffer, waiting).await?;
    assert_eq!(
        (&full["coaches"][0]["seats"][0]["legs"], &full["bookings"]),
        (&json!("xxxx"), &json!(SEATS / 4 + 1))
    );
    let class = &full["classes"][0];
    let load = class["seat_metres_sold"]
        .as_f64()
        .zip(class["seat_metres_offered"].as_f64());
    assert_eq!(
        load.map(|(sold, offered)| (sold / offered * 144.0).round()),
        Some(SEATS as f64)
    );
    let waiter = full["waitlists"][1]["first"][0].clone();
    assert_eq!((&waiter["current_position"], &waiter["to"]), (&json!(1), &json!("E")));

    gateway.append(BOOKING_REQUESTS, &cancellation("c-1", &fill[3])).await?;
    let promoted = next_event(&mut events, &mut buffer, |body| body["waitlists"][1]["waiting"] == 0).await?;
    assert_eq!(promoted["waitlists"][1]["first"], json!([]));
    let record = next_event(&mut confirmed, &mut rest, |record| {
        record["value"]["kind"] == "PROMOTION"
    })
    .await?;
    assert_eq!(record["value"]["pnr"], waiter["pnr"]);
    let totals = json!({
        "confirmed": SEATS / 4, "waitlisted": 1, "promoted": 1, "cancelled": 1, "rejected": 0, "replayed": 0,
    });
    let sales = next_event(&mut sales, &mut sold, |body| body["totals"] == totals).await?;
    let decided: u64 = sales["decided_by_second"]
        .as_object()
        .context("no seconds")?
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(decided, SEATS as u64 / 4 + 2);
    let mut revenue = 0;
    for ledger in 0..world.partitions {
        revenue += world
            .events(ledger)
            .await?
            .iter()
            .map(|event| event.header().amount_minor)
            .sum::<i64>();
    }
    let told = sales["revenue_by_minute"]
        .as_object()
        .context("no minutes")?
        .values()
        .filter_map(|minute| minute["INR"].as_i64());
    assert_eq!(told.sum::<i64>(), revenue);
    stop(worker).await
}

#[tokio::test]
async fn it_says_what_it_does_not_know_yet() -> Result<()> {
    let (world, _) = world().await?;
    let gateway = Gateway::new(&world).await?;
    let pnr = interlock_inventory::Pnr::new(1, 0, 4);
    // The gateway may still be reading, or may already know that there is none.
    let response = gateway.get(&format!("/bookings/{pnr}")).await?;
    let status = response.status().as_u16();
    ensure!(
        status == 404 || response.headers().contains_key("retry-after"),
        "{status}"
    );
    gateway.up_to_date().await?;
    problem(gateway.get(&format!("/bookings/{pnr}")).await?, 404, &["no booking"]).await?;
    let page = gateway.get("/").await?;
    let policy = page.headers().get("content-security-policy").cloned();
    ensure!(policy.is_some_and(|policy| {
        policy
            .to_str()
            .is_ok_and(|policy| policy.starts_with("default-src 'none'"))
    }));
    Ok(())
}

#[tokio::test]
async fn a_record_that_is_too_long_takes_the_others_of_its_request_with_it() -> Result<()> {
    let (_world, gateway, date) = gateway().await?;
    let mut long = booking("b-2", TRAIN, &date, 1);
    long["passengers"][0]["name"] = json!("A".repeat(1_100_000));
    let records = json!([booking("b-1", TRAIN, &date, 1), long, booking("b-3", TRAIN, &date, 1)]);
    let refused = gateway.post("/topics/booking-requests", &records).await?;
    let body = problem(refused, 413, &["record 1", "nothing was appended"]).await?;
    assert_eq!(body["record"], 1);
    let read = gateway.json("/topics/booking-requests").await?;
    assert_eq!(read["records"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_request_id_names_one_request() -> Result<()> {
    let (world, gateway, date) = gateway().await?;
    let path = "/topics/booking-requests";
    let mut unnamed = booking("", TRAIN, &date, 1);
    unnamed.as_object_mut().context("an object")?.remove("request_id");
    let sent = gateway.post_named(path, "key-1", &unnamed).await?;
    assert_eq!(sent.status(), 200);
    let read = gateway.json(path).await?;
    assert_eq!(read["records"][0]["value"]["request_id"], "key-1");

    // Before a worker has seen it, by what the gateway appended.
    let other = booking("key-1", TRAIN, &date, 2);
    let mut changed = other.clone();
    changed.as_object_mut().context("an object")?.remove("request_id");
    let refused = gateway.post_named(path, "key-1", &changed).await?;
    let body = problem(refused, 409, &["key-1", "another body"]).await?;
    assert_eq!(body["code"], "IDEMPOTENCY_KEY_REUSED");
    problem(gateway.post(path, &other).await?, 409, &["key-1"]).await?;
    assert_eq!(
        gateway.post_named(path, "key-1", &unnamed).await?.status(),
        200,
        "the same once more"
    );
    let twice = json!([booking("b-1", TRAIN, &date, 1), booking("b-1", TRAIN, &date, 2)]);
    problem(gateway.post(path, &twice).await?, 409, &["record 1", "b-1"]).await?;
    problem(
        gateway.post_named(path, "key-2", &other).await?,
        422,
        &["key-2", "key-1"],
    )
    .await?;
    problem(gateway.post_named(path, "key-2", &twice).await?, 422, &["one record"]).await?;

    // After it was decided, by the ledger: another gateway has appended nothing.
    let (worker, _) = world.worker("a")?;
    let outcome = format!("/trains/{TRAIN}/{date}/requests/key-1");
    gateway.wait(&outcome, |found| found["outcome"] == "booking").await?;
    let second = Gateway::new(&world).await?;
    second.up_to_date().await?;
    problem(second.post(path, &other).await?, 409, &["key-1"]).await?;
    assert_eq!(second.post_named(path, "key-1", &unnamed).await?.status(), 200);
    stop(worker).await
}

#[tokio::test]
async fn what_is_not_read_yet_is_unavailable_not_missing() -> Result<()> {
    let (world, date) = world().await?;
    let gateway = Gateway::new(&world).await?;
    for path in ["/trains".to_owned(), format!("/trains/{TRAIN}/{date}")] {
        let response = gateway.get(&path).await?;
        // Plans are read within a moment, but that they are all is known only later.
        if response.status() != 200 {
            assert_eq!(response.headers()["retry-after"], "1");
            problem(response, 503, &["still being read"]).await?;
        }
    }
    let unknown = gateway.get(&format!("/trains/nobody/{date}")).await?;
    assert_eq!(unknown.headers()["retry-after"], "1");
    problem(unknown, 503, &["still being read"]).await?;
    gateway.up_to_date().await?;
    assert_eq!(gateway.get("/trains").await?.status(), 200);
    problem(gateway.get(&format!("/trains/nobody/{date}")).await?, 404, &["nobody"]).await?;
    Ok(())
}

#[tokio::test]
async fn headers_are_shown_as_they_came() -> Result<()> {
    let (world, gateway, date) = gateway().await?;
    gateway
        .append(BOOKING_REQUESTS, &json!([booking("b-1", TRAIN, &date, 1)]))
        .await?;
    let headers = [("h", Some("1")), ("h", None), ("h", Some("2"))];
    let record = OutputRecord {
        topic: BOOKING_REQUESTS.into(),
        partition: Some(0),
        timestamp: None,
        key: None,
        value: None,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).into(), value.map(Bytes::from)))
            .collect(),
    };
    world.log.append(vec![record])?;
    let read = gateway.json("/topics/booking-requests?partition=0").await?;
    let shown = read["records"]
        .as_array()
        .and_then(|records| records.last())
        .context("no record")?;
    let expected = headers.map(|(name, value)| json!({ "name": name, "value": value }));
    assert_eq!(shown["headers"], json!(expected));
    Ok(())
}
