//! Tests the gateway as a process in front of real servers: over HTTP, from the command line, and its page in a real
//! browser.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use interlock_tests::gateway::{booking, cancellation};
use interlock_tests::real::{Finished, Installation, PATIENCE, in_installation, say, wait_for};
use serde_json::{Value, json};

/// A small train of the demonstration, with three stations.
const TRAIN: &str = "IC7101";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

async fn json(url: &str) -> Result<Value> {
    Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
}

/// Returns a date on which the train runs, late enough that no other test uses it.
async fn last_date(url: &str) -> Result<String> {
    let trains = json(&format!("{url}/trains")).await?;
    let trains = trains["trains"].as_array().context("trains")?;
    let train = trains.iter().find(|train| train["train_id"] == TRAIN).context(TRAIN)?;
    let dates = train["running_dates"].as_array().context("dates")?;
    Ok(dates.last().and_then(Value::as_str).context("a date")?.to_owned())
}

async fn call(installation: &Installation, arguments: &[&str]) -> Result<Finished> {
    installation.call(arguments, PATIENCE).await
}

/// Runs `interlock produce`, directly or through the gateway that `place` names.
async fn produce(installation: &Installation, place: &[&str], record: &Value) -> Result<Finished> {
    let record = record.to_string();
    let rest = ["--topic", "booking-requests", &record];
    call(installation, &[&["produce"], place, &rest].concat()).await
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[tokio::test]
async fn records_go_in_and_out_over_http_and_from_the_command_line() -> Result<()> {
    in_installation("gateway", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        let (process, url) = installation.gateway().await?;
        let date = last_date(&url).await?;
        let mut request = booking("b-1", TRAIN, &date, 1);
        for (field, value) in [
            ("from_station", "POG"),
            ("to_station", "KRG"),
            ("travel_class", "FIRST"),
        ] {
            request[field] = json!(value);
        }
        let mut second = request.clone();
        second["request_id"] = json!("b-2");
        let (directly, through): (&[&str], &[&str]) = (&[], &["--url", &url]);
        let places = lines(&produce(installation, directly, &request).await?.success()?)?;
        ensure!(places.len() == 1 && places[0]["offset"].is_i64(), "{places:?}");
        let further = lines(&produce(installation, through, &second).await?.success()?)?;
        ensure!(
            further[0]["partition"] == places[0]["partition"],
            "one train-date, one partition: {further:?}"
        );

        let outcome = wait_for("the booking is answered", PATIENCE, async || {
            let answer = reqwest::get(format!("{url}/trains/{TRAIN}/{date}/requests/b-2")).await?;
            Ok(if answer.status().is_success() {
                Some(answer.json::<Value>().await?)
            } else {
                None
            })
        });
        let outcome = outcome.await?;
        ensure!(outcome["passengers"][0]["status"] == "confirmed", "{outcome}");
        let pnr = outcome["pnr"].as_str().context("a PNR")?;
        let found = wait_for("the booking is found by its number", PATIENCE, async || {
            let answer = reqwest::get(format!("{url}/bookings/{pnr}")).await?;
            Ok(if answer.status().is_success() {
                Some(answer.json::<Value>().await?)
            } else {
                None
            })
        });
        ensure!(found.await?["request_id"] == "b-2");

        let direct = call(installation, &["consume", "--topic", "confirmed"])
            .await?
            .success()?;
        let same = [&["consume", "--topic", "confirmed"], through].concat();
        let same = call(installation, &same).await?.success()?;
        ensure!(direct == same && lines(&direct)?.len() == 2, "{direct}\n{same}");
        let limited = call(installation, &["consume", "--topic", "confirmed", "--limit", "1"])
            .await?
            .success()?;
        ensure!(lines(&limited)?.len() == 1, "{limited}");
        let followed = [
            "consume",
            "--topic",
            "cancelled",
            "--from",
            "latest",
            "--follow",
            "--limit",
            "1",
            "--url",
            &url,
        ];
        let mut follower = installation.spawn(&mut installation.command(&followed)?, "consume")?;
        let cancel = cancellation("c", &request);
        // The reader may not have begun to follow yet, so the request is repeated until it has been seen.
        wait_for("the cancellation is followed", PATIENCE, async || {
            call(
                installation,
                &[
                    "produce",
                    "--url",
                    &url,
                    "--topic",
                    "booking-requests",
                    &cancel.to_string(),
                ],
            )
            .await?
            .success()?;
            Ok((!follower.is_running()?).then_some(()))
        })
        .await?;
        let seen = lines(&follower.finish(PATIENCE).await?.success()?)?;
        ensure!(seen[0]["value"]["request_id"] == "b-1", "{seen:?}");

        let mut wrong = second.clone();
        wrong["passengers"] = json!("me");
        for place in [directly, through] {
            let refused = produce(installation, place, &wrong).await?;
            ensure!(refused.status == Some(1), "{:?}", refused.status);
            ensure!(
                refused.error.contains("passengers: expected an array"),
                "{}",
                refused.error
            );
            let unknown = call(installation, &[&["consume", "--topic", "nothing"], place].concat()).await?;
            ensure!(
                unknown.status == Some(1) && unknown.error.contains("booking-requests"),
                "{}",
                unknown.error
            );
        }
        worker.stop().await?;
        process.signal("TERM")?;
        process.finish(PATIENCE).await?.success()?;
        installation.audit().await?;
        Ok(())
    })
    .await
}

/// Checks that Prometheus' own tool has no complaint about metrics.
fn check_metrics(of: &str, metrics: &str) -> Result<()> {
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut check) = check else {
        say(format_args!(
            "{of}: promtool isn't installed; apt-get install prometheus"
        ));
        return Ok(());
    };
    check.stdin.take().context("a pipe")?.write_all(metrics.as_bytes())?;
    let checked = check.wait_with_output()?;
    let complaints = String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.success() && complaints.is_empty(), "{of}: {complaints}");
    Ok(())
}

/// A gateway that runs while the ledgers are laid out anew shows no booked train-date as empty, and then all of them.
#[tokio::test]
async fn a_gateway_follows_a_repartition() -> Result<()> {
    in_installation("gateway_grown", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        let (process, url) = installation.gateway().await?;
        let trains = json(&format!("{url}/trains")).await?;
        let trains = trains["trains"].as_array().context("trains")?.clone();
        let train = trains.iter().find(|train| train["train_id"] == TRAIN).context(TRAIN)?;
        let dates = train["running_dates"].as_array().context("dates")?;
        // The train of the first date may have left.
        let dates: Vec<&str> = dates.iter().skip(1).filter_map(Value::as_str).collect();
        let book = async |kind: &str| {
            for date in &dates {
                let mut request = booking(&format!("{kind}-{date}"), TRAIN, date, 1);
                request["from_station"] = json!("POG");
                request["to_station"] = json!("KRG");
                request["travel_class"] = json!("FIRST");
                produce(installation, &[], &request).await?.success()?;
            }
            anyhow::Ok(())
        };
        let outcome = async |kind: &str, date: &str| {
            let answer = reqwest::get(format!("{url}/trains/{TRAIN}/{date}/requests/{kind}-{date}")).await?;
            anyhow::Ok((answer.status().as_u16(), answer.json::<Value>().await?))
        };
        let all_are_shown = async |kind: &str| {
            for date in &dates {
                wait_for("the booking is shown", PATIENCE, async || {
                    Ok((outcome(kind, date).await?.0 == 200).then_some(()))
                })
                .await?;
                let pnr = outcome(kind, date).await?.1["pnr"].clone();
                let pnr = pnr.as_str().context("a PNR")?.to_owned();
                wait_for("the booking is found by its number", PATIENCE, async || {
                    let found = reqwest::get(format!("{url}/bookings/{pnr}")).await?;
                    Ok(found.status().is_success().then_some(()))
                })
                .await?;
            }
            anyhow::Ok(())
        };
        book("before").await?;
        all_are_shown("before").await?;
        worker.stop().await?;
        let grown = (installation.partitions() + 3).to_string();
        let repartition = ["replay", "--repartition", &grown, "--wait", "15"];
        call(installation, &repartition).await?.success()?;
        for date in &dates {
            wait_for(
                "the gateway knows that the ledgers are not rebuilt",
                PATIENCE,
                async || {
                    let (status, body) = outcome("before", date).await?;
                    ensure!(status == 200 || status == 503, "{date}: {status} {body}");
                    Ok((status == 503).then_some(()))
                },
            )
            .await?;
        }
        let worker = installation.worker().await?;
        all_are_shown("before").await?;
        book("after").await?;
        all_are_shown("after").await?;
        check_metrics("worker", &worker.metrics().await?)?;
        let metrics = reqwest::get(format!("{url}/metrics")).await?.text().await?;
        ensure!(metrics.contains("interlock_"), "the gateway has no metrics: {metrics}");
        check_metrics("gateway", &metrics)?;
        worker.stop().await?;
        process.signal("TERM")?;
        process.finish(PATIENCE).await?.success()?;
        installation.audit().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_live_page_is_as_it_should_be_in_a_real_browser() -> Result<()> {
    in_installation("page", async |installation| {
        let setup = Command::new(root().join("scripts/browser/setup"))
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(setup.status.success(), "scripts/browser/setup failed");
        let paths = String::from_utf8(setup.stdout)?;
        let (python, browser) = paths.trim().split_once('\n').context("two paths")?;
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        let (process, url) = installation.gateway().await?;
        let date = last_date(&url).await?;
        let screenshot = installation.folder().join("page.png");
        let mut command = Command::new(python);
        command
            .arg(root().join("scripts/browser/page.py"))
            .args([browser, &url, TRAIN, &date])
            .arg(&screenshot);
        let looked = installation
            .spawn(&mut command, "browser")?
            .finish(PATIENCE * 2)
            .await?;
        say(format_args!("{browser}: {}", looked.success()?.trim()));
        process.signal("TERM")?;
        process.finish(PATIENCE).await?.success()?;
        worker.stop().await?;
        Ok(())
    })
    .await
}
