//! The built binary's `dev`: a demonstration on nothing but itself.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use interlock_tests::real::binary;
use serde_json::Value;

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

/// Every request has one outcome and all invariants hold, by the audit and by the outcomes' own sum.
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
    let drawn = table.chars().find(|character| ['\u{1b}', '█', '▁'].contains(character));
    ensure!(drawn.is_none(), "{drawn:?} in:\n{table}");
    Ok(())
}
