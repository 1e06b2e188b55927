//! Tests the built binary's `dev`, which needs nothing but itself.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use interlock_tests::real::{PATIENCE, binary, wait_for};
use serde_json::Value;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

/// Runs `interlock dev` to its end, in a folder without configuration.
fn dev(arguments: &[&str]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(binary()?)
        .arg("dev")
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output();
    output.context("run the binary")
}

fn summary(output: &Output) -> Result<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("no JSON; said: {said}"))
}

fn number(summary: &Value, pointer: &str) -> Result<u64> {
    let found = summary.pointer(pointer).and_then(Value::as_u64);
    found.with_context(|| format!("no {pointer} in {summary:#}"))
}

/// Checks that every request has one outcome and that all invariants hold, by the audit and by the sum of the outcomes.
fn all_holds(summary: &Value, requests: u64) -> Result<()> {
    ensure!(summary["audit"]["holds"] == true, "{summary:#}");
    ensure!(number(summary, "/answered")? == requests, "{summary:#}");
    ensure!(number(summary, "/audit/totals/answered")? == requests, "{summary:#}");
    ensure!(number(summary, "/audit/totals/pending")? == 0, "{summary:#}");
    let rejected = summary["outcomes"]["rejected"]
        .as_object()
        .context("rejections by code")?;
    let rejected: u64 = rejected.values().filter_map(Value::as_u64).sum();
    let mut outcomes = rejected;
    for outcome in ["confirmed", "waitlisted", "cancelled", "replays"] {
        let count = number(summary, &format!("/outcomes/{outcome}"))?;
        ensure!(count > 0, "nothing {outcome}: {summary:#}");
        outcomes += count;
    }
    // A booking may be confirmed in part, and then counts as waitlisted too.
    ensure!(
        outcomes >= requests,
        "{outcomes} outcomes of {requests} requests: {summary:#}"
    );
    ensure!(
        summary["outcomes"]["revenue_minor"]
            .as_object()
            .is_some_and(|money| !money.is_empty()),
        "{summary:#}"
    );
    Ok(())
}

#[test]
fn demonstrates_and_ends_with_a_verdict() -> Result<()> {
    let output = dev(&["--exit", "--requests", "3000", "--json"])?;
    let summary = summary(&output)?;
    all_holds(&summary, 3_000)?;
    ensure!(number(&summary, "/sent_before")? == 0);
    let fullest = summary["fullest"].as_array().context("the fullest trains")?;
    let loads: Vec<f64> = fullest
        .iter()
        .filter_map(|load| load["load_percent"].as_f64())
        .collect();
    ensure!(
        loads.len() == 8 && loads[0] > 0.0 && loads.is_sorted_by(|a, b| a >= b),
        "{loads:?}"
    );
    let seated = summary["pace"]["seated"].as_array().context("the pace")?;
    let seated: u64 = seated.iter().filter_map(Value::as_u64).sum();
    ensure!(
        seated == number(&summary, "/outcomes/passengers_seated")?,
        "{summary:#}"
    );
    Ok(())
}

#[test]
fn the_table_is_plain_in_a_pipe_and_the_pace_is_as_asked_for() -> Result<()> {
    let output = dev(&[
        "--exit",
        "--requests",
        "600",
        "--rate",
        "300",
        "--profile",
        "steady",
        "--seed",
        "5",
    ])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let table = String::from_utf8(output.stdout)?;
    for part in [
        "profile steady, seed 5",
        "when each was meant to be sent",
        "fullest trains",
        "all invariants hold",
    ] {
        ensure!(table.contains(part), "no `{part}` in:\n{table}");
    }
    for line in table.lines().chain(said.lines()) {
        ensure!(line.chars().count() <= 80, "wider than a terminal: {line}");
    }
    let drawn = table.chars().find(|character| ['\u{1b}', '█', '▁'].contains(character));
    ensure!(drawn.is_none(), "{drawn:?} in:\n{table}");
    Ok(())
}

/// Returns the one-line message about a folder that can't be used, after checking the exit status: 1 if another process
/// uses the folder, 2 if the arguments are wrong.
fn refused(status: i32, folder: &Path, arguments: &[&str]) -> Result<String> {
    let folder = folder.to_str().context("a path in UTF-8")?;
    let output = dev(&[&["--exit", "--data-dir", folder], arguments].concat())?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(status), "{}: {said}", output.status);
    ensure!(said.lines().count() == 1 && !said.contains("panicked"), "{said}");
    Ok(said)
}

#[tokio::test]
async fn killed_in_the_opening_it_goes_on_where_it_stopped() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("a path in UTF-8")?;
    let opening = [
        "dev",
        "--exit",
        "--data-dir",
        path,
        "--requests",
        "6000",
        "--rate",
        "400",
    ];
    let mut first = Command::new(binary()?)
        .args(opening)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let middle = wait_for("the first bookings are in the window tables", PATIENCE, async || {
        ensure!(first.try_wait()?.is_none(), "it ended before it could be killed");
        Ok(counted(&folder.path().join("windows.sqlite"))
            .await
            .filter(|passengers| *passengers > 0))
    });
    let seen = middle.await;
    // The first process is stopped in the middle of the opening, until the other one has been refused.
    let stopped = Command::new("kill").args(["-STOP", &first.id().to_string()]).status();
    let in_use = refused(1, folder.path(), &[]);
    first.kill()?;
    first.wait()?;
    seen?;
    ensure!(stopped?.success(), "it could not be stopped");
    ensure!(in_use?.contains("in use by another process"));
    let other = refused(2, folder.path(), &["--requests", "7"])?;
    ensure!(
        other.contains("--requests differs from the opening that was begun"),
        "{other}"
    );

    let second = summary(&dev(&["--exit", "--json", "--data-dir", path])?)?;
    all_holds(&second, 6_000)?;
    let before = number(&second, "/sent_before")?;
    ensure!(
        (1..6_000).contains(&before),
        "{before} of 6000 requests were sent when it was killed"
    );

    let third = summary(&dev(&["--exit", "--json", "--data-dir", path])?)?;
    all_holds(&third, 6_000)?;
    ensure!(number(&third, "/sent_before")? == 6_000);
    ensure!(third["outcomes"] == second["outcomes"], "{second:#}\n{third:#}");
    ensure!(third["fullest"] == second["fullest"], "{second:#}\n{third:#}");
    // Nothing is left to decide, so there is no pace to tell.
    let table = dev(&["--exit", "--data-dir", path])?;
    let table = String::from_utf8(table.stdout)?;
    ensure!(
        table.contains("decided by an earlier process") && !table.contains("/s"),
        "{table}"
    );
    Ok(())
}

/// Returns the passengers in the window tables of a running process; none while there are no tables.
async fn counted(file: &Path) -> Option<i64> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.ok()?;
    let passengers = sqlx::query_scalar("SELECT coalesce(sum(passengers), 0) FROM revenue_minute");
    passengers.fetch_one(&mut connection).await.ok()
}

#[test]
fn a_folder_that_can_not_be_used_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let letter = folder.path().join("letter.txt");
    fs::write(&letter, "hello")?;
    let said = refused(2, folder.path(), &[])?;
    ensure!(said.contains("letter.txt") && said.contains("another folder"), "{said}");
    let said = refused(2, &letter, &[])?;
    ensure!(
        said.contains("can't be created") && said.contains("another folder"),
        "{said}"
    );
    // Not even root may create a folder there.
    let said = refused(2, Path::new("/proc/interlock"), &[])?;
    ensure!(
        said.contains("can't be created") && said.contains("another folder"),
        "{said}"
    );

    let newer = tempfile::tempdir()?;
    fs::write(newer.path().join("opening.json"), "{\"format\": 99}")?;
    let said = refused(2, newer.path(), &[])?;
    ensure!(
        said.contains("format 99") && said.contains("the version that wrote it"),
        "{said}"
    );
    Ok(())
}
