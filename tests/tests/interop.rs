//! Clients written by others: the Python program of `docs/topics.md`, with Confluent's client, and Debian's kcat.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use interlock_schemas::{
    BerthPreference, BookingRequest, Command as Request, Encoder, Event, EventKind, Passenger, topics, train_date_key,
};
use interlock_streams::log::murmur2::partition_for_key;
use interlock_tests::plans::coming_days;
use interlock_tests::real::{Installation, PATIENCE, in_installation, say, wait_for};
use serde_json::{Value, json};

/// The train of the page's example.
const TRAIN: &str = "12951";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the Python program of `docs/topics.md` with this installation's addresses.
fn program(installation: &Installation, request: &str, date: &str, with_murmur2: bool) -> Result<String> {
    let page = std::fs::read_to_string(root().join("docs/topics.md"))?;
    let (_, rest) = page.split_once("```python\n").context("docs/topics.md has no Python")?;
    let (program, _) = rest.split_once("```").context("the end of the Python")?;
    let mut program = program.to_owned();
    let mut replace = |old: &str, new: &str| {
        ensure!(
            program.matches(old).count() == 1,
            "`{old}` should be in the Python of docs/topics.md once"
        );
        program = program.replace(old, new);
        Ok(())
    };
    let (year, month_day) = date.split_once('-').context("a date")?;
    let (month, day) = month_day.split_once('-').context("a date")?;
    let (month, day) = (month.trim_start_matches('0'), day.trim_start_matches('0'));
    replace("http://127.0.0.1:8081/apis/ccompat/v7", installation.registry_url())?;
    replace("127.0.0.1:9092", installation.bootstrap_servers())?;
    replace("str(uuid.uuid4())", &format!("\"{request}\""))?;
    replace("date(2026, 12, 1)", &format!("date({year}, {month}, {day})"))?;
    if !with_murmur2 {
        replace("\"partitioner\": \"murmur2_random\",", "")?;
    }
    Ok(program)
}

/// The interpreter that has Confluent's client.
fn python() -> Result<String> {
    let output = Command::new(root().join("scripts/interop/setup"))
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "scripts/interop/setup failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Runs the page's program and returns the partition that it prints.
async fn send(installation: &Installation, python: &str, program: &str) -> Result<i32> {
    let file = installation.folder().join("producer.py");
    std::fs::write(&file, program)?;
    let mut command = Command::new(python);
    // It reads schemas/booking_request.avsc.
    command.arg(&file).current_dir(root());
    let out = installation
        .spawn(&mut command, "python")?
        .finish(PATIENCE)
        .await?
        .success()?;
    let (_, rest) = out.split_once("sent to partition ").with_context(|| out.clone())?;
    let (partition, _) = rest.split_once(',').with_context(|| out.clone())?;
    Ok(partition.parse()?)
}

/// Reads `confirmed` by Confluent's deserializer until the answer is there.
async fn confirmed(installation: &Installation, python: &str, request: &str) -> Result<Value> {
    let mut command = Command::new(python);
    command.arg(root().join("scripts/interop/answer.py"));
    command.args([
        installation.bootstrap_servers(),
        installation.registry_url(),
        topics::CONFIRMED,
        request,
    ]);
    let finished = installation.spawn(&mut command, "python")?.finish(PATIENCE).await?;
    let answer = finished.json()?;
    finished.success()?;
    let (event, names) = (&answer["event"], ["request_id", "cause_request_id"]);
    ensure!(
        names.iter().all(|name| event[name] == request)
            && event["replay"] == false
            && event["passengers"][0]["coach"] != "",
        "{answer:#}"
    );
    Ok(answer)
}

fn key(date: i32) -> String {
    train_date_key(TRAIN, date).to_string()
}

fn date(date: i32) -> String {
    key(date)
        .split_once('|')
        .map(|(_, date)| date.to_owned())
        .unwrap_or_default()
}

#[tokio::test]
async fn the_readmes_python_books_a_seat_with_either_partitioner() -> Result<()> {
    in_installation("python", async |installation| {
        let python = python()?;
        installation.seed(12).await?;
        let worker = installation.worker().await?;
        let mut dates = coming_days(9).into_iter();
        let first = dates.next().context("a date")?;

        let right = send(
            installation,
            &python,
            &program(installation, "python-murmur2", &date(first), true)?,
        )
        .await?;
        ensure!(right == partition_for_key(key(first).as_bytes(), installation.partitions()));
        let answer = confirmed(installation, &python, "python-murmur2").await?;
        ensure!(
            answer["key"] == key(first) && answer["partition"] == right,
            "{answer:#}"
        );

        // CRC32 and murmur2 may agree on a key.
        for day in dates {
            let request = format!("python-default-{day}");
            let sent = send(
                installation,
                &python,
                &program(installation, &request, &date(day), false)?,
            )
            .await?;
            let home = partition_for_key(key(day).as_bytes(), installation.partitions());
            let answer = confirmed(installation, &python, &request).await?;
            ensure!(answer["partition"] == home, "{answer:#}");
            if sent != home {
                let forwarded = worker.metric("interlock_records_forwarded_total", &[]).await?;
                ensure!(forwarded >= 1.0, "{forwarded} records were forwarded");
                installation.audit().await?;
                worker.stop().await?;
                return Ok(());
            }
        }
        bail!("the default partitioner never chose another partition than murmur2")
    })
    .await
}

fn booking(request: &str, date: i32) -> Request {
    Request::Book(BookingRequest {
        request_id: request.into(),
        train_id: TRAIN.into(),
        travel_date: date,
        user_id: "ada".into(),
        from_station: "MMCT".into(),
        to_station: "NDLS".into(),
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: vec![Passenger {
            name: "Ada".into(),
            age: 36,
            berth_preference: BerthPreference::None,
            preference_is_hard: false,
        }],
        partial_confirmation: false,
        requested_at: 0,
    })
}

/// Returns whether kcat is installed; its absence is an error if everything must be tested.
fn has_kcat() -> Result<bool> {
    let found = Command::new("kcat")
        .arg("-V")
        .output()
        .is_ok_and(|output| output.status.success());
    ensure!(
        found || std::env::var("CI").is_err(),
        "kcat is missing: apt-get install kcat"
    );
    if !found {
        say("SKIPPED kcat: not on the PATH. Install it: apt-get install kcat");
    }
    Ok(found)
}

#[tokio::test]
async fn kcat_puts_bookings_in_and_lists_what_comes_out() -> Result<()> {
    if !interlock_tests::real::is_wanted("kcat") || !has_kcat()? {
        return Ok(());
    }
    in_installation("kcat", async |installation| {
        installation.seed(6).await?;
        let worker = installation.worker().await?;
        let (_, ids) = installation.registry().await?;
        let day = coming_days(1)[0];
        let kcat = || {
            let mut kcat = Command::new("kcat");
            kcat.args(["-b", installation.bootstrap_servers()]);
            kcat
        };
        let encode = |request: &str| {
            let mut value = Vec::new();
            Encoder::new(ids)
                .encode(&booking(request, day), &mut value)
                .map(|()| value)
        };
        let put = [
            "-P",
            "-t",
            topics::BOOKING_REQUESTS,
            "-X",
            "partitioner=murmur2_random",
            "-k",
            &key(day),
        ];

        // Sends from a file, as docs/topics.md shows, and through a pipe with a delimiter that occurs in neither value.
        let file = installation.folder().join("request.avro");
        std::fs::write(&file, encode("kcat-file")?)?;
        let output = kcat().args(put).arg(&file).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut piped = kcat().args(put).args(["-D", "<end>"]).stdin(Stdio::piped()).spawn()?;
        let mut bytes = encode("kcat-pipe")?;
        bytes.extend(b"<end>");
        piped.stdin.take().context("the pipe")?.write_all(&bytes)?;
        ensure!(piped.wait()?.success(), "kcat failed");

        let format = [
            "-C",
            "-t",
            topics::CONFIRMED,
            "-X",
            "isolation.level=read_committed",
            "-e",
            "-q",
            "-f",
            "%p %k %S\n",
        ];
        let listed = wait_for("kcat lists two confirmed bookings", PATIENCE, async || {
            let output = kcat().args(format).output()?;
            let listed = String::from_utf8(output.stdout)?;
            Ok((listed.lines().count() == 2).then_some(listed))
        })
        .await?;
        let home = partition_for_key(key(day).as_bytes(), installation.partitions());
        let begins = format!("{home} {} ", key(day));
        ensure!(listed.lines().all(|line| line.starts_with(&begins)), "{listed}");
        let events = installation.events().await?;
        for request in ["kcat-file", "kcat-pipe"] {
            let is_answer =
                |event: &&Event| matches!(event, Event::Confirmed(event) if event.header.request_id == request);
            ensure!(events.iter().filter(is_answer).count() == 1, "{request}");
        }
        installation.audit().await?;
        worker.stop().await?;
        Ok(())
    })
    .await
}

/// Ways to write a request that are understood, as `scripts/interop/send.py` names them.
const UNDERSTOOD: [&str; 10] = [
    "topic",
    "union",
    "header",
    "key",
    "key-header",
    "headers",
    "gzip",
    "snappy",
    "lz4",
    "zstd",
];

/// Returns a booking request that `scripts/interop/send.py` sends in this way.
fn booking_case(how: &str, date: i32) -> Value {
    json!({
        "how": how,
        "key": key(date),
        "type": "BookingRequest",
        "value": {
            "request_id": how, "train_id": TRAIN, "travel_date": self::date(date), "user_id": "ada",
            "from_station": "MMCT", "to_station": "NDLS", "travel_class": "SL", "quota": "GN",
            "passengers": [{"name": "Ada", "age": 36, "berth_preference": "NONE", "preference_is_hard": false}],
            "partial_confirmation": false, "requested_at": "2026-11-21T08:00:00+00:00",
        },
    })
}

/// Returns a cancellation of the booking that was sent in the same way.
fn cancellation_case(how: &str, date: i32) -> Value {
    json!({
        "how": how,
        "key": key(date),
        "type": "CancellationRequest",
        "value": {
            "request_id": format!("{how}-cancelled"), "train_id": TRAIN, "travel_date": self::date(date),
            "booking_request_id": how, "passengers": [], "user_id": "ada",
            "requested_at": "2026-11-21T08:00:00+00:00",
        },
    })
}

/// Sends cases by Confluent's client.
async fn send_cases(installation: &Installation, python: &str, cases: &[Value]) -> Result<()> {
    let file = installation.folder().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(cases)?)?;
    let mut command = Command::new(python);
    command.arg(root().join("scripts/interop/send.py"));
    command.args([installation.bootstrap_servers(), installation.registry_url()]);
    command.arg(&file);
    let out = installation
        .spawn(&mut command, "python")?
        .finish(PATIENCE)
        .await?
        .success()?;
    ensure!(out.trim() == "sent", "{out}");
    Ok(())
}

/// Waits for this many answers; returns the ids of the requests, sorted.
async fn answered(installation: &Installation, count: usize) -> Result<Vec<String>> {
    wait_for("every request is answered", PATIENCE, async || {
        let events = installation.events().await?;
        let answers = events.iter().filter(|event| event.header().kind == EventKind::Answer);
        let mut ids: Vec<String> = answers
            .map(|event| event.header().cause_request_id.to_string())
            .collect();
        ids.sort();
        Ok((ids.len() >= count).then_some(ids))
    })
    .await
}

/// Returns the dead letters as `interlock dlq show` shows them.
async fn letters(installation: &Installation) -> Result<Vec<Value>> {
    let mut shown = Vec::new();
    for letter in installation.read(&topics::dlq(topics::BOOKING_REQUESTS)).await? {
        let place = format!("{}:{}", letter.partition, letter.offset);
        let arguments = ["dlq", "show", &place, "--json"];
        shown.push(installation.call(&arguments, PATIENCE).await?.json()?);
    }
    Ok(shown)
}

#[tokio::test]
async fn confluents_client_is_understood_however_it_writes() -> Result<()> {
    in_installation("confluent", async |installation| {
        let python = python()?;
        installation.seed(12).await?;
        let worker = installation.worker().await?;
        let day = *coming_days(9).last().context("a date")?;
        let mut cases: Vec<Value> = UNDERSTOOD.iter().map(|how| booking_case(how, day)).collect();
        cases.extend(["topic", "union"].map(|how| cancellation_case(how, day)));
        // None of these can be answered.
        cases.extend(["aborted", "undecodable", "guid"].map(|how| booking_case(how, day)));
        send_cases(installation, &python, &cases).await?;

        let mut expected = [&UNDERSTOOD[..], &["topic-cancelled", "union-cancelled"]].concat();
        expected.sort_unstable();
        let ids = answered(installation, expected.len()).await?;
        ensure!(ids == expected, "answered: {ids:?}");

        let letters = wait_for("two dead letters", PATIENCE, async || {
            let letters = letters(installation).await?;
            Ok((letters.len() == 2).then_some(letters))
        })
        .await?;
        let of_guid = |letter: &&Value| letter["message"].as_str().is_some_and(|text| text.contains("GUID"));
        let (unknown, undecodable): (Vec<&Value>, Vec<&Value>) = letters.iter().partition(of_guid);
        let headers = json!([
            { "name": "h", "value": "1" }, { "name": "h", "value": null }, { "name": "h", "value": "2" },
        ]);
        ensure!(
            undecodable.len() == 1 && undecodable[0]["headers"] == headers,
            "{letters:#?}"
        );
        let unknown = unknown.first().context("no letter about the GUID")?;
        let named = "has no schema of GUID 89791762-2336-4186-9674-299b90a802e2";
        ensure!(
            unknown["message"].as_str().is_some_and(|text| text.ends_with(named)),
            "{unknown:#}"
        );
        let guid = "0189791762233641869674299b90a802e2";
        let guid = json!([{ "name": "__value_schema_id", "value": null, "bytes": guid }]);
        ensure!(unknown["headers"] == guid, "{unknown:#}");

        // The corrected record names its schema itself.
        let file = installation.folder().join("mended.json");
        std::fs::write(&file, booking_case("guid", day)["value"].to_string())?;
        let (place, path) = (
            format!("{}:{}", unknown["partition"], unknown["offset"]),
            file.display().to_string(),
        );
        let replay = ["dlq", "replay", &place, "--value", &path];
        installation.call(&replay, PATIENCE).await?.success()?;
        let ids = answered(installation, expected.len() + 1).await?;
        ensure!(ids.contains(&"guid".to_owned()), "answered: {ids:?}");

        installation.audit().await?;
        worker.stop().await?;
        Ok(())
    })
    .await
}
