//! Tests producers that are hostile, careless or outdated: all their records are answered or in the dead-letter queue
//! with a reason, and no worker stops.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use interlock_inventory::command_key;
use interlock_schemas::registry::Ids;
use interlock_schemas::{BookingRequest, Command, Encoder, Event, EventKind, Passenger, RecordType, frame, topics};
use interlock_tests::real::{Installation, PATIENCE, Raw, Read, Worker, in_installation, wait_for};

use super::bookings;

/// Ten years.
const SKEW_MS: i64 = 10 * 365 * 86_400_000;

/// A text that, with the rest of the request, just fits into the longest record that brokers take by default (1 MiB).
const TEXT_BYTES: usize = 1_000_000;

fn encoded(ids: Ids, booking: BookingRequest) -> Result<Raw> {
    let (command, mut value) = (Command::Book(booking), Vec::new());
    Encoder::new(ids).encode(&command, &mut value)?;
    Ok(Raw {
        key: Some(command_key(&command).as_bytes().to_vec()),
        value: Some(value),
        ..Raw::default()
    })
}

/// Waits until the worker has decided `count` records.
async fn applied(worker: &Worker, count: usize) -> Result<()> {
    let decided = wait_for("all are refused or answered", PATIENCE, async || {
        Ok((worker.applied().await? >= count as f64).then_some(()))
    });
    decided.await.with_context(|| worker.log())
}

/// Returns the answer to each request; fails if a request has two.
async fn answers(installation: &Installation) -> Result<BTreeMap<String, Event>> {
    let mut answers = BTreeMap::new();
    for event in installation.events().await? {
        let header = event.header();
        if header.kind == EventKind::Answer && !header.replay {
            let id = header.cause_request_id.clone();
            ensure!(
                answers.insert(id.to_string(), event).is_none(),
                "{id} is answered twice"
            );
        }
    }
    Ok(answers)
}

/// Returns a record that can't be decoded; the kinds take turns.
fn garbage(number: usize, good: &Raw) -> Raw {
    let mut value = good.value.clone().unwrap_or_default();
    match number % 5 {
        0 => value = format!("{{\"garbage\": {number}}}").into_bytes(),
        1 => value.truncate(value.len() / 2),
        2 => value[1..5].copy_from_slice(&(4_000_000 + number as u32 % 3).to_be_bytes()),
        3 => value
            .splice(5.., [0xff; 30].into_iter().chain([number as u8]))
            .for_each(drop),
        _ => value.extend_from_slice(&number.to_be_bytes()),
    }
    Raw {
        value: Some(value),
        headers: vec![("number".into(), number.to_string().into_bytes())],
        ..good.clone()
    }
}

/// Checks that each record is among the letters once, byte for byte, with its place and a reason.
fn check_letters(letters: &[Read], sent: &BTreeMap<(i32, i64), Raw>) -> Result<()> {
    ensure!(
        letters.len() == sent.len(),
        "{} letters of {}",
        letters.len(),
        sent.len()
    );
    let mut open = sent.clone();
    for letter in letters {
        let header = |name: &str| {
            let value = letter.headers.get(&format!("__streams.errors.{name}"));
            String::from_utf8_lossy(value.map_or(&[], Vec::as_slice)).into_owned()
        };
        let place = (header("partition").parse()?, header("offset").parse()?);
        let raw = open
            .remove(&place)
            .with_context(|| format!("twice, or not ours: {letter:?}"))?;
        ensure!(
            letter.key == raw.key && letter.value == raw.value,
            "{letter:?} of {raw:?}"
        );
        ensure!(letter.headers.get("number") == Some(&raw.headers[0].1), "{letter:?}");
        ensure!(
            !header("message").is_empty() && !header("exception").is_empty(),
            "{letter:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn garbage_in_a_burst_and_a_flood_of_one_train_date() -> Result<()> {
    in_installation("flood", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        let (_, ids) = installation.registry().await?;
        let all = bookings(installation, 12_000).await?;
        let (train_id, travel_date) = (all[0].train_id.clone(), all[0].travel_date);
        let mut raws = Vec::new();
        for (number, booking) in all.iter().cloned().enumerate() {
            // Half of the requests ask for the same train.
            let booking = match number % 2 {
                0 => booking,
                _ => BookingRequest {
                    train_id: train_id.clone(),
                    travel_date,
                    ..booking
                },
            };
            let raw = encoded(ids, booking)?;
            if number % 100 == 0 {
                raws.push(garbage(number / 100, &raw));
            }
            raws.push(raw);
        }
        let places = installation.produce_all(&raws).await?;
        applied(&worker, raws.len()).await?;
        let is_bad = |(_, raw): &(_, Raw)| !raw.headers.is_empty();
        let bad: BTreeMap<(i32, i64), Raw> = places.into_iter().zip(raws).filter(is_bad).collect();
        installation.audit().await?;
        check_letters(&installation.read(&topics::dlq(topics::BOOKING_REQUESTS)).await?, &bad)?;
        let answers = answers(installation).await?;
        ensure!(
            answers.len() == all.len(),
            "{} of {} are answered",
            answers.len(),
            all.len()
        );
        worker.stop().await?;
        Ok(())
    })
    .await
}

/// Returns bookings that exceed a limit, each with the code of its answer.
fn oversized(bookings: &[BookingRequest]) -> Vec<(&'static str, BookingRequest)> {
    let long = || "ü".repeat(TEXT_BYTES / 2);
    let passenger = bookings[0].passengers[0].clone();
    let mut next = bookings.iter().cloned();
    let mut of = |code, change: &dyn Fn(&mut BookingRequest)| {
        let mut booking = next.next().unwrap_or_else(|| bookings[0].clone());
        change(&mut booking);
        (code, booking)
    };
    vec![
        of("TOO_MANY_PASSENGERS", &|booking| {
            booking.passengers = vec![passenger.clone(); 50_000]
        }),
        of("MALFORMED_REQUEST", &|booking| {
            booking.passengers = vec![Passenger {
                name: long().into(),
                ..passenger.clone()
            }];
        }),
        of("MALFORMED_REQUEST", &|booking| booking.user_id = long().into()),
        of("MALFORMED_REQUEST", &|booking| booking.from_station = long().into()),
        of("MALFORMED_REQUEST", &|booking| {
            booking.quota = "\0\u{202e}".repeat(100_000).into()
        }),
        of("MALFORMED_REQUEST", &|booking| booking.passengers[0].age = i32::MIN),
    ]
}

#[tokio::test]
async fn oversized_requests_and_clocks_that_are_wrong_by_years() -> Result<()> {
    in_installation("oversized", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        let (_, ids) = installation.registry().await?;
        let all = bookings(installation, 60).await?;
        let mut raws = Vec::new();
        let oversized = oversized(&all[..20]);
        for (_, booking) in &oversized {
            raws.push(encoded(ids, booking.clone())?);
        }
        // Such an id can't be answered.
        let unanswerable = |end: &str| BookingRequest {
            request_id: format!("{}{end}", "ü".repeat(TEXT_BYTES / 2)).into(),
            ..all[0].clone()
        };
        let mut letters = Vec::new();
        for end in ["", "1", "2"] {
            let raw = encoded(ids, unanswerable(end))?;
            installation.produce(&raw).await?;
            letters.push(raw.value);
        }
        for (number, booking) in all[20..].iter().cloned().enumerate() {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_millis() as i64;
            let skewed = now + if number % 2 == 0 { SKEW_MS } else { -SKEW_MS };
            let requested_at = [skewed, i64::MAX, i64::MIN, 0][number % 4];
            let booking = BookingRequest {
                requested_at,
                ..booking
            };
            let raw = encoded(ids, booking)?;
            raws.push(Raw {
                timestamp: Some(skewed),
                ..raw
            });
        }
        let began = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_millis() as i64;
        let places = installation.produce_all(&raws).await?;
        applied(&worker, raws.len() + letters.len()).await?;
        installation.audit().await?;
        let ended = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_millis() as i64;

        let events = installation.events().await?;
        let answer_of = |(partition, offset): (i32, i64)| {
            let of = |event: &&Event| {
                let header = event.header();
                (header.ledger, header.source_offset, header.kind) == (partition, offset, EventKind::Answer)
            };
            events
                .iter()
                .find(of)
                .with_context(|| format!("no answer to {partition}@{offset}"))
        };
        for ((code, _), place) in oversized.iter().zip(&places) {
            let Event::Rejected(rejected) = answer_of(*place)? else {
                anyhow::bail!("not rejected: {:?}", answer_of(*place)?);
            };
            let bytes = rejected.message.len() + rejected.header.request_id.len() + rejected.header.user_id.len();
            ensure!(
                rejected.code == *code && bytes < 8_000,
                "{code}, {bytes} bytes: {}",
                rejected.code
            );
        }
        for place in &places[oversized.len()..] {
            let header = answer_of(*place)?.header();
            ensure!(
                (began..=ended).contains(&header.event_time),
                "{} is not when the log took it",
                header.event_time
            );
        }
        let found = installation.read(&topics::dlq(topics::BOOKING_REQUESTS)).await?;
        ensure!(found.len() == letters.len(), "{} letters", found.len());
        for letter in &found {
            let message = letter.headers.get("__streams.errors.message").context("no message")?;
            ensure!(String::from_utf8_lossy(message).contains("request_id"), "{message:?}");
            ensure!(letters.contains(&letter.value), "not byte for byte");
        }
        worker.stop().await?;
        Ok(())
    })
    .await
}

/// Returns our schema with a textual change.
fn variant(from: &str, to: &str) -> Result<String> {
    let schema = RecordType::BookingRequest.schema();
    let changed = schema.replacen(from, to, 1);
    ensure!(changed != schema, "`{from}` is not in the schema");
    Ok(changed)
}

#[tokio::test]
async fn older_and_newer_versions_of_the_schema_are_answered() -> Result<()> {
    in_installation("evolution", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        let (registry, ids) = installation.registry().await?;
        let subject = topics::subject(topics::BOOKING_REQUESTS, RecordType::BookingRequest);
        // Two newer producers add a channel and an optional note; an older one has no partial confirmation.
        let first = r#""fields": ["#;
        let channel = format!(r#"{first}{{"name": "channel", "type": "string", "default": "web"}},"#);
        let note = format!(r#"{first}{{"name": "note", "type": ["null", "string"], "default": null}},"#);
        let newer = registry.register(&subject, &variant(first, &channel)?).await?;
        let noting = registry.register(&subject, &variant(first, &note)?).await?;
        let older = registry.register(&subject, &without_partial_confirmation()?).await?;

        let all = bookings(installation, 40).await?;
        let mut raws = Vec::new();
        for (number, booking) in all.iter().cloned().enumerate() {
            let mut raw = encoded(ids, booking.clone())?;
            let datum = raw.value.take().context("a value")?.split_off(5);
            let (id, datum) = match number % 4 {
                0 => (newer, [&[6][..], b"app", &datum].concat()),
                1 => (noting, [&[2, 4][..], b"hi", &datum].concat()),
                2 => (older, without_last_but_one(&datum, booking.requested_at)),
                _ => (noting, [&[0][..], &datum].concat()),
            };
            let mut value = Vec::new();
            frame(id, &mut value);
            value.extend(datum);
            raws.push(Raw {
                value: Some(value),
                ..raw
            });
        }
        installation.produce_all(&raws).await?;
        applied(&worker, raws.len()).await?;
        ensure!(
            installation
                .read(&topics::dlq(topics::BOOKING_REQUESTS))
                .await?
                .is_empty()
        );
        let answers = answers(installation).await?;
        for booking in &all {
            let answer = answers
                .get(booking.request_id.as_str())
                .with_context(|| booking.request_id.clone())?;
            ensure!(answer.header().user_id == booking.user_id, "{answer:?} of {booking:?}");
        }
        worker.stop().await?;

        // A worker older than the newest schema starts and works.
        let worker = installation.worker().await?;
        installation.load(200).await?;
        installation.audit().await?;
        worker.stop().await?;
        // The registry refuses a schema that would break either side.
        let breaking = variant(first, &format!(r#"{first}{{"name": "must", "type": "string"}},"#))?;
        let refused = registry.register(&subject, &breaking).await;
        ensure!(refused.is_err(), "the registry took a field without default");
        Ok(())
    })
    .await
}

/// Returns the schema without partial confirmation.
fn without_partial_confirmation() -> Result<String> {
    let mut schema: serde_json::Value = serde_json::from_str(RecordType::BookingRequest.schema())?;
    let fields = schema["fields"].as_array_mut().context("fields")?;
    let count = fields.len();
    fields.retain(|field| field["name"] != "partial_confirmation");
    ensure!(fields.len() + 1 == count, "partial_confirmation is not a field");
    Ok(schema.to_string())
}

/// Returns a datum without its last field but one, a boolean.
fn without_last_but_one(datum: &[u8], last: i64) -> Vec<u8> {
    let zigzag = (last << 1 ^ last >> 63) as u64;
    let bytes = (0..10).find(|bytes| zigzag >> (7 * (bytes + 1)) == 0).unwrap_or(9) + 1;
    let end = datum.len() - bytes;
    [&datum[..end - 1], &datum[end..]].concat()
}
