//! Clients written by others: the Python program of `docs/topics.md`, with Confluent's client, and Debian's kcat.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use interlock_schemas::{
    BerthPreference, BookingRequest, Command as Request, Encoder, Event, Passenger, topics, train_date_key,
};
use interlock_streams::log::murmur2::partition_for_key;
use interlock_tests::plans::coming_days;
use interlock_tests::real::{Installation, PATIENCE, in_installation, say, wait_for};
use serde_json::Value;

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
