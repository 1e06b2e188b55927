//! Tests the command line against real servers: its messages for bad input and for servers that are down, and its exit
//! status.

#[path = "cli/hostile.rs"]
mod hostile;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_inventory::command_key;
use interlock_loadgen::{Profile, Workload};
use interlock_schemas::{BookingRequest, Command, Encoder, topics};
use interlock_streams::dead_letter::DEAD_LETTER_BYTES_MAX;
use interlock_streams::log::murmur2::partition_for_key;
use interlock_tests::real::{Installation, PATIENCE, Raw, Read, in_installation, wait_for};

/// Returns bookings of trains on sale, each under its own id.
async fn bookings(installation: &Installation, count: u64) -> Result<Vec<BookingRequest>> {
    let plans = installation.plans().await?;
    let workload = Workload::new(&Profile::named("burst")?, &plans, count * 10, None, 5)?;
    let mut seen = BTreeSet::new();
    let bookings = workload.filter_map(|planned| match planned.command {
        Command::Book(booking) if seen.insert(booking.request_id.clone()) => Some(booking),
        _ => None,
    });
    Ok(bookings.take(usize::try_from(count)?).collect())
}

/// Returns such bookings encoded, with their keys.
async fn requests(installation: &Installation, count: u64) -> Result<Vec<(String, Vec<u8>)>> {
    let (_, ids) = installation.registry().await?;
    let bookings = bookings(installation, count).await?;
    let encoded = bookings.into_iter().map(|booking| {
        let (command, mut value) = (Command::Book(booking), Vec::new());
        Encoder::new(ids).encode(&command, &mut value)?;
        Ok((command_key(&command).to_string(), value))
    });
    encoded.collect()
}

/// A request's trace, which is passed on in its answers.
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Returns records that can't be decided, each with a word that its dead letter's message must contain.
fn bad_records(requests: &[(String, Vec<u8>)]) -> Vec<(&'static str, Raw)> {
    let (key, good) = &requests[0];
    let keyed = |value: Option<Vec<u8>>| Raw {
        key: Some(key.clone().into_bytes()),
        value,
        ..Raw::default()
    };
    let mut undecodable = good[..5].to_vec();
    undecodable.extend([0xff; 40]);
    let mut wrong_magic = good.clone();
    wrong_magic[0] = 7;
    let mut unknown_id = good.clone();
    unknown_id[1..5].copy_from_slice(&999_999u32.to_be_bytes());
    let other_key = requests.iter().map(|(key, _)| key).find(|other| *other != key);
    vec![
        ("", keyed(Some(undecodable))),
        ("", keyed(Some(good[..good.len() - 3].to_vec()))),
        ("07", keyed(Some(wrong_magic))),
        ("7b", keyed(Some(br#"{"request_id": "json"}"#.to_vec()))),
        ("999999", keyed(Some(unknown_id))),
        ("empty", keyed(Some(Vec::new()))),
        ("null", keyed(None)),
        ("", keyed(Some(vec![0; 10 * DEAD_LETTER_BYTES_MAX]))),
        (
            "key is null",
            Raw {
                key: None,
                value: Some(good.clone()),
                partition: Some(1),
                headers: vec![("traceparent".into(), b"00-1-2-01".to_vec())],
                ..Raw::default()
            },
        ),
        (
            "UTF-8",
            Raw {
                key: Some(vec![0xc3, 0x28]),
                ..keyed(Some(good.clone()))
            },
        ),
        (
            "disagrees",
            Raw {
                key: other_key.map(|key| key.clone().into_bytes()),
                ..keyed(Some(good.clone()))
            },
        ),
        (
            "key",
            Raw {
                key: Some(b"no train-date".to_vec()),
                ..keyed(Some(good.clone()))
            },
        ),
    ]
}

fn check_dead_letter(letter: &Read, word: &str, raw: &Raw, partition: i32, offset: i64) -> Result<()> {
    ensure!(
        letter.key == raw.key && letter.value == raw.value,
        "not byte for byte: {letter:?} of {raw:?}"
    );
    let header = |name: &str| {
        let value = letter.headers.get(&format!("__streams.errors.{name}"));
        value
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .with_context(|| format!("{name} in {letter:?}"))
    };
    for (name, value) in &raw.headers {
        ensure!(letter.headers.get(name) == Some(value), "the header {name} is lost");
    }
    ensure!(
        header("topic")? == topics::BOOKING_REQUESTS
            && header("partition")? == partition.to_string()
            && header("offset")? == offset.to_string(),
        "{letter:?}"
    );
    ensure!(
        header("message")?.contains(word),
        "`{}` says nothing of `{word}`",
        header("message")?
    );
    ensure!(!header("exception")?.is_empty() && !header("version")?.is_empty());
    Ok(())
}

#[tokio::test]
async fn bad_input_goes_to_the_dlq_byte_for_byte() -> Result<()> {
    in_installation("bad_input", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        let requests = requests(installation, 40).await?;
        let mut sent = BTreeMap::new();
        for (word, raw) in bad_records(&requests) {
            sent.insert(installation.produce(&raw).await?, (word, raw));
        }
        let good = &requests[1..];
        for (key, value) in good {
            let raw = Raw {
                key: Some(key.clone().into_bytes()),
                value: Some(value.clone()),
                headers: vec![("traceparent".into(), TRACE.into()), ("theirs".into(), b"1".into())],
                ..Raw::default()
            };
            let (partition, _) = installation.produce(&raw).await?;
            ensure!(partition == partition_for_key(key.as_bytes(), installation.partitions()));
        }
        let refused = || worker.metric("interlock_records_refused_total", &["topic=\"booking-requests\""]);
        wait_for("all are refused or answered", PATIENCE, async || {
            Ok((worker.applied().await? >= (sent.len() + good.len()) as f64).then_some(()))
        })
        .await
        .with_context(|| worker.log())?;

        let letters = wait_for("the dead letters are committed", PATIENCE, async || {
            let letters = installation.read(&topics::dlq(topics::BOOKING_REQUESTS)).await?;
            Ok((letters.len() >= sent.len()).then_some(letters))
        })
        .await?;
        ensure!(
            letters.len() == sent.len(),
            "{} dead letters of {}",
            letters.len(),
            sent.len()
        );
        for letter in &letters {
            let offset = letter.headers.get("__streams.errors.offset").context("no offset")?;
            let offset = String::from_utf8_lossy(offset).parse()?;
            let (word, raw) = sent
                .get(&(letter.partition, offset))
                .with_context(|| format!("{letter:?}"))?;
            // A record that is too long is not copied.
            let (raw, word) = match raw
                .value
                .as_ref()
                .is_some_and(|value| value.len() > DEAD_LETTER_BYTES_MAX)
            {
                true => (
                    &Raw::default(),
                    format!("booking-requests[{}]@{offset}", letter.partition),
                ),
                false => (raw, (*word).to_owned()),
            };
            check_dead_letter(letter, &word, raw, letter.partition, offset)?;
        }
        ensure!(
            refused().await? == sent.len() as f64,
            "{} are counted",
            refused().await?
        );
        let traced: BTreeMap<String, Vec<u8>> = [("traceparent".into(), TRACE.into())].into();
        for topic in topics::EVENTS {
            let events = installation.read(topic).await?;
            ensure!(
                events.iter().all(|event| event.headers == traced),
                "{topic}: {events:?}"
            );
        }
        let report = installation.audit().await?;
        ensure!(
            report["totals"]["dead_letters"] == sent.len() && report["totals"]["answered"] == good.len(),
            "{report:#}"
        );
        worker.stop().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_waits_for_each_server_and_says_which() -> Result<()> {
    in_installation("waits", async |installation| {
        // Port 1 refuses.
        let cases = [
            ("INTERLOCK_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1", "127.0.0.1:1"),
            (
                "INTERLOCK_SCHEMA_REGISTRY_URL",
                "http://127.0.0.1:1",
                "schema_registry.url",
            ),
            ("INTERLOCK_REDIS_URL", "redis://127.0.0.1:1", "redis.url"),
            (
                "INTERLOCK_DATABASE_URL",
                "postgres://interlock@127.0.0.1:1/interlock",
                "database.url",
            ),
        ];
        for (variable, address, named) in cases {
            let worker = installation.worker_with(&[(variable, address)]).await?;
            worker
                .wait_until_troubled(named)
                .await
                .with_context(|| variable.to_owned())?;
            let warnings: Vec<String> = wait_for("it says so more than once", PATIENCE, async || {
                let warnings = worker
                    .log()
                    .lines()
                    .filter(|line| line.contains(" WARN "))
                    .map(str::to_owned)
                    .collect();
                Ok(Some(warnings).filter(|warnings: &Vec<String>| {
                    warnings
                        .iter()
                        .filter(|line| line.contains(named) && line.contains("again in"))
                        .count()
                        >= 2
                }))
            })
            .await
            .with_context(|| format!("{variable}:\n{}", worker.log()))?;
            let others: Vec<&String> = warnings.iter().filter(|line| !line.contains(named)).collect();
            ensure!(
                others.is_empty(),
                "{variable}: besides one line for each attempt it says {others:#?}"
            );
            let log = worker.stop().await?.error;
            ensure!(!log.contains("panicked"), "{log}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn exit_statuses_tell_whether_all_held() -> Result<()> {
    in_installation("exit", async |installation| {
        let status = async |arguments: &[&str]| Ok::<_, anyhow::Error>(installation.call(arguments, PATIENCE).await?);
        ensure!(status(&["sell"]).await?.status == Some(2));
        let unknown = status(&["run", "--topology", "bookings", "--metrics-listen", "127.0.0.1:0"]).await?;
        ensure!(
            unknown.status != Some(0) && unknown.error.contains("booking"),
            "{unknown:?}"
        );
        let missing = status(&["loadgen", "--requests", "10"]).await?;
        ensure!(
            missing.status == Some(1) && missing.error.contains("interlock seed"),
            "{missing:?}"
        );

        ensure!(installation.seed(3).await? > 0);
        let again = status(&["seed", "--demo", "--days", "3"]).await?.success()?;
        ensure!(again.contains("0 to train-services"), "{again}");

        // No worker runs, so there are no answers.
        let began = std::time::Instant::now();
        let unanswered = status(&["loadgen", "--requests", "200", "--timeout", "2", "--json"]).await?;
        ensure!(
            unanswered.status == Some(1) && unanswered.json()?["unanswered"] == 200,
            "{unanswered:?}"
        );
        ensure!(
            began.elapsed() < Duration::from_secs(60),
            "--timeout 2 took {:?}",
            began.elapsed()
        );
        let audit = ["audit", "--settled", "--wait", "1", "--json", "--skip-windows"];
        let pending = status(&audit).await?;
        ensure!(
            pending.status == Some(1) && pending.json()?["holds"] == false,
            "{pending:?}"
        );

        // A worker that starts later answers them, and stops when asked to.
        let worker = installation.worker().await?;
        installation.audit().await?;
        let log = worker.stop().await?.error;
        ensure!(log.contains("stopped"), "{log}");
        Ok(())
    })
    .await
}
