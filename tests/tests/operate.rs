//! Tests the operators' commands against real servers: dead letters are shown and sent again, ledgers and windows are
//! derived again. Also tests the states with which a worker refuses to start.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use interlock_schemas::topics;
use interlock_tests::real::{Finished, Installation, PATIENCE, Raw, Sums, Worker, in_installation, wait_for};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

/// Runs a command that must end with this status.
async fn call(installation: &Installation, arguments: &[&str], status: i32) -> Result<Finished> {
    let finished = installation.call(arguments, PATIENCE).await?;
    ensure!(finished.status == Some(status), "{arguments:?}: {finished:?}");
    Ok(finished)
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// Returns the dead letters as soon as there are `count` of them.
async fn letters(installation: &Installation, count: usize) -> Result<Vec<Value>> {
    wait_for("the dead letters are listed", PATIENCE, async || {
        let listed = lines(&call(installation, &["dlq", "list", "--json"], 0).await?.out)?;
        ensure!(listed.len() <= count, "more than {count}: {listed:?}");
        Ok((listed.len() == count).then_some(listed))
    })
    .await
}

/// The value of a letter's first header of this name.
fn header(letter: &Value, name: &str) -> Value {
    let headers = letter["headers"].as_array().into_iter().flatten();
    let found = headers
        .filter(|header| header["name"] == name)
        .map(|header| header["value"].clone());
    found.take(1).next().unwrap_or_default()
}

fn place(letter: &Value) -> String {
    format!("{}:{}", letter["partition"], letter["offset"])
}

#[tokio::test]
async fn dead_letters_are_mended_and_sent_again_once() -> Result<()> {
    in_installation("dlq", async |installation| {
        let unborn = call(installation, &["dlq", "list"], 1).await?;
        ensure!(unborn.error.contains("interlock seed"), "{unborn:?}");
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        installation.load(100).await?;
        let good = ["consume", "--topic", topics::BOOKING_REQUESTS, "--limit", "1"];
        let good = lines(&call(installation, &good, 0).await?.out)?.remove(0);

        let headers = vec![("theirs".to_owned(), b"1".to_vec())];
        for value in [&b"{\"no\": \"Avro\"}"[..], b"\0\0\0\0\x01\xff"] {
            let raw = Raw {
                key: Some(b"12951|2026-12-01".to_vec()),
                value: Some(value.to_vec()),
                headers: headers.clone(),
                ..Raw::default()
            };
            installation.produce(&raw).await?;
        }
        let [first, second] = &letters(installation, 2).await?[..] else {
            unreachable!("two were waited for")
        };
        ensure!(
            first["reason"] == "undecodable" && first["sent_again"] == false,
            "{first}"
        );
        ensure!(first["source_topic"] == topics::BOOKING_REQUESTS, "{first}");

        let shown = call(installation, &["dlq", "show", &place(first)], 0).await?.out;
        ensure!(
            shown.contains("7b 22 6e 6f 22") && shown.contains("theirs: 1"),
            "{shown}"
        );
        for (wrong, status) in [("0:9999999", 1), ("99:0", 1), ("first", 2)] {
            call(installation, &["dlq", "show", wrong], status).await?;
            call(installation, &["dlq", "replay", wrong], status).await?;
        }
        call(installation, &["dlq", "list", topics::CONFIRMED], 2).await?;
        let events = call(installation, &["dlq", "replay", "--all", "--topic", "confirmed.dlq"], 1).await?;
        ensure!(events.error.contains("topologies alone"), "{events:?}");

        // A repaired record takes the first one's place and is answered; it can't be sent twice by mistake.
        let mut mended = good["value"].clone();
        mended["request_id"] = "mended".into();
        let file = installation.folder().join("mended.json");
        let path = file.to_str().context("a path in UTF-8")?;
        std::fs::write(&file, "{\"train_id\": 7}")?;
        let misfit = call(installation, &["dlq", "replay", &place(first), "--value", path], 1).await?;
        ensure!(misfit.error.contains("--value"), "{misfit:?}");
        std::fs::write(&file, mended.to_string())?;
        let sent = call(installation, &["dlq", "replay", &place(first), "--value", path], 0).await?;
        ensure!(lines(&sent.out)?.len() == 1, "{sent:?}");
        let twice = call(installation, &["dlq", "replay", &place(first)], 1).await?;
        ensure!(twice.error.contains("--again") && twice.out.is_empty(), "{twice:?}");

        // The other goes back as it was, and comes again: nothing has changed. Its letter is a new one.
        let all = call(installation, &["dlq", "replay", "--all", "--reason", "undecodable"], 0).await?;
        ensure!(lines(&all.out)?.len() == 1, "{all:?}");
        let listed = letters(installation, 3).await?;
        let sent_again = |letter: &Value| {
            let found = listed.iter().find(|listed| place(listed) == place(letter));
            found.is_some_and(|listed| listed["sent_again"] == true)
        };
        ensure!(sent_again(first) && sent_again(second), "{listed:?}");
        let newest = listed.last().context("three letters")?;
        let newest = call(installation, &["dlq", "show", &place(newest), "--json"], 0)
            .await?
            .json()?;
        ensure!(
            newest["bytes"] == "0000000001ff" && header(&newest, "theirs") == "1",
            "{newest}"
        );
        let from = format!("booking-requests.dlq[{}]@{}", second["partition"], second["offset"]);
        ensure!(header(&newest, "__streams.resent.from") == from, "{newest}");

        let report = installation.audit().await?;
        ensure!(
            report["totals"]["dead_letters"] == 3 && report["totals"]["answered"] == 101,
            "{report:#}"
        );
        worker.stop().await?;
        Ok(())
    })
    .await
}

/// Checks that the audit passes, and that the tables equal the sums over the topics.
async fn all_holds(installation: &Installation) -> Result<()> {
    installation.audit().await?;
    let events = Sums::of_events(&installation.events().await?);
    let tables = Sums::of_tables(&mut installation.database().await?).await?;
    ensure!(
        events == tables,
        "over the topics: {events:?}\nin the tables: {tables:?}"
    );
    Ok(())
}

/// Waits until no worker lags. The topics are written in transactions, whose markers are offsets, too.
async fn no_lag(worker: &Worker) -> Result<()> {
    wait_for("the lag is 0", PATIENCE, async || {
        let metrics = worker.metrics().await?;
        let lags: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("interlock_lag_records{"))
            .collect();
        let is_none = |line: &&str| line.ends_with(" 0");
        Ok((!lags.is_empty() && lags.iter().all(is_none)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn ledgers_and_windows_are_derived_once_more_while_others_go_on() -> Result<()> {
    in_installation("replay", async |installation| {
        installation.seed(3).await?;
        let workers = [installation.worker().await?, installation.worker().await?];
        installation.load(3_000).await?;
        all_holds(installation).await?;
        for worker in &workers {
            no_lag(worker).await?;
        }

        // Idle: the workers notice by themselves.
        call(installation, &["replay", "--windows"], 0).await?;
        all_holds(installation).await?;
        let rebuilt = call(installation, &["replay", "--ledgers"], 0).await?;
        let told = rebuilt.error.lines().filter(|line| line.contains("is rebuilt")).count();
        ensure!(told == installation.partitions() as usize, "{rebuilt:?}");
        all_holds(installation).await?;

        // Under load; and one that is killed as soon as it has begun.
        let load = installation.start_load(6_000, Some(300))?;
        call(installation, &["replay", "--ledgers", "--partitions", "0,2-3"], 0).await?;
        call(installation, &["replay", "--windows", "--topology", "revenue"], 0).await?;
        let mut killed = installation.spawn(&mut installation.command(&["replay", "--windows"])?, "replay")?;
        wait_for("the tables are emptied", PATIENCE, async || {
            Ok(killed.log().contains("emptied").then_some(()))
        })
        .await?;
        killed.kill()?;
        load.finish().await?;
        all_holds(installation).await?;

        for worker in workers {
            worker.stop().await?;
        }
        // No worker is there to do it; the next one does.
        let begun = ["replay", "--ledgers", "--partitions", "1", "--wait", "1"];
        let begun = call(installation, &begun, 1).await?;
        ensure!(begun.error.contains("does a worker run"), "{begun:?}");
        let begun = call(installation, &["replay", "--windows", "--wait", "1"], 1).await?;
        ensure!(begun.error.contains("does a worker run"), "{begun:?}");
        let worker = installation.worker().await?;
        all_holds(installation).await?;
        worker.stop().await?;

        let unknown = call(installation, &["replay", "--ledgers", "--partitions", "99"], 1).await?;
        ensure!(unknown.error.contains("99"), "{unknown:?}");
        Ok(())
    })
    .await
}

/// Checks that no two bookings have the same PNR.
async fn pnrs_are_unique(installation: &Installation) -> Result<()> {
    let mut booked = BTreeMap::new();
    for event in installation.events().await? {
        let header = event.header();
        let (pnr, request_id) = (header.pnr.clone(), header.request_id.clone());
        if !pnr.is_empty() && *booked.entry(pnr.clone()).or_insert_with(|| request_id.clone()) != request_id {
            bail!("PNR {pnr} stands for {request_id} and for {}", booked[&pnr]);
        }
    }
    ensure!(booked.len() > 1_000, "{} bookings only", booked.len());
    Ok(())
}

#[tokio::test]
async fn more_ledgers_know_what_was_sold() -> Result<()> {
    in_installation("repartition", async |installation| {
        installation.seed(3).await?;
        let before = installation.partitions();
        let worker = installation.worker().await?;
        installation.load(3_000).await?;
        let grow = async |partitions: i32, status| {
            let partitions = partitions.to_string();
            call(
                installation,
                &["replay", "--repartition", &partitions, "--wait", "15"],
                status,
            )
            .await
        };
        let refused = grow(before + 3, 1).await?;
        ensure!(refused.error.contains("stop all workers"), "{refused:?}");
        // A worker that is killed leaves what a next one must settle.
        let load = installation.start_load(2_000, Some(1_000))?;
        wait_for("something is decided", PATIENCE, async || {
            Ok((worker.applied().await? > 3_500.0).then_some(()))
        })
        .await?;
        let mut worker = worker;
        worker.kill()?;
        let refused = grow(before + 3, 1).await?;
        ensure!(
            refused.error.contains("start workers") || refused.error.contains("stop all workers"),
            "{refused:?}"
        );
        let worker = installation.worker().await?;
        load.finish().await?;
        all_holds(installation).await?;
        worker.stop().await?;

        // No multiple of what there was, so that train-dates move between old ledgers as well; begun twice, killed
        // once.
        let mut killed = installation.command(&["replay", "--repartition", &(before + 3).to_string()])?;
        let mut killed = installation.spawn(&mut killed, "repartition")?;
        wait_for("the topics have grown", PATIENCE, async || {
            Ok(killed.log().contains("every topic").then_some(()))
        })
        .await?;
        killed.kill()?;
        let grown = grow(before + 3, 0).await?;
        ensure!(
            grown.error.contains("start the workers") || grown.error.contains("done already"),
            "{grown:?}"
        );
        let again = grow(before + 3, 0).await?;
        ensure!(again.error.contains("done already"), "{again:?}");
        let refused = grow(before, 1).await?;
        ensure!(refused.error.contains("can't shrink"), "{refused:?}");

        let workers = [installation.worker().await?, installation.worker().await?];
        all_holds(installation).await?;
        installation.load(3_000).await?;
        all_holds(installation).await?;
        for worker in workers {
            worker.stop().await?;
        }
        installation.flush_redis().await?;
        let worker = installation.worker().await?;
        all_holds(installation).await?;
        worker.stop().await?;
        grow(2 * (before + 3), 0).await?;
        let worker = installation.worker().await?;
        installation.load(3_000).await?;
        all_holds(installation).await?;
        pnrs_are_unique(installation).await?;
        worker.stop().await?;
        Ok(())
    })
    .await
}

/// How an operator loses the offsets of the workers' group.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// The group is deleted.
    Deleted,
    /// Kafka's tools set offsets without metadata.
    SetToEarliest,
}

/// Loses the offsets of the workers' group as soon as it has no members any more.
async fn lose_offsets(installation: &Installation, partitions: i32, loss: Loss) -> Result<()> {
    let group = format!("{}-booking", installation.application_id());
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", installation.bootstrap_servers());
    wait_for("the group has no members", PATIENCE, async || {
        let is_lost = match loss {
            Loss::Deleted => {
                let admin: AdminClient<DefaultClientContext> = client.create()?;
                let deleted = admin.delete_groups(&[&group], &AdminOptions::new()).await?;
                deleted.iter().all(Result::is_ok)
            }
            Loss::SetToEarliest => {
                let consumer: BaseConsumer = client.clone().set("group.id", &group).create()?;
                let mut offsets = TopicPartitionList::new();
                for partition in 0..partitions {
                    offsets.add_partition_offset(topics::BOOKING_REQUESTS, partition, Offset::Offset(0))?;
                }
                consumer.commit(&offsets, CommitMode::Sync).is_ok()
            }
        };
        Ok(is_lost.then_some(()))
    })
    .await
}

#[tokio::test]
async fn lost_offsets_are_restored_from_the_events() -> Result<()> {
    in_installation("offsets", async |installation| {
        installation.seed(3).await?;
        let restore = async |status| call(installation, &["replay", "--offsets", "--wait", "15"], status).await;
        let lose_and_restore = async |partitions, loss| {
            lose_offsets(installation, partitions, loss).await?;
            let refused = call(installation, &["run", "--metrics-listen", "127.0.0.1:0"], 1).await?;
            ensure!(
                refused.error.contains("interlock replay --offsets"),
                "{loss:?}: {refused:?}"
            );
            let restored = restore(0).await?;
            let all = format!("{partitions} offsets are restored");
            ensure!(restored.error.contains(&all), "{loss:?}: {restored:?}");
            let intact = restore(0).await?;
            ensure!(intact.error.contains("no offset is lost"), "{loss:?}: {intact:?}");
            Ok(())
        };
        let before = installation.partitions();
        let mut worker = installation.worker().await?;
        installation.load(2_000).await?;
        let refused = restore(1).await?;
        ensure!(refused.error.contains("stop all workers"), "{refused:?}");

        // A worker that is killed has applied requests that it has not answered.
        let load = installation.start_load(2_000, Some(1_000))?;
        wait_for("something is decided", PATIENCE, async || {
            Ok((worker.applied().await? > 2_500.0).then_some(()))
        })
        .await?;
        worker.kill()?;
        lose_and_restore(before, Loss::Deleted).await?;
        let worker = installation.worker().await?;
        load.finish().await?;
        all_holds(installation).await?;
        worker.stop().await?;

        lose_and_restore(before, Loss::SetToEarliest).await?;
        let after = before + 3;
        call(installation, &["replay", "--repartition", &after.to_string()], 1).await?;
        let worker = installation.worker().await?;
        all_holds(installation).await?;
        worker.stop().await?;

        call(installation, &["replay", "--repartition", &after.to_string()], 0).await?;
        let worker = installation.worker().await?;
        installation.load(2_000).await?;
        worker.stop().await?;
        lose_and_restore(after, Loss::Deleted).await?;
        let worker = installation.worker().await?;
        installation.load(2_000).await?;
        all_holds(installation).await?;
        worker.stop().await?;

        // Nothing is left but the events.
        installation.flush_redis().await?;
        lose_and_restore(after, Loss::Deleted).await?;
        let worker = installation.worker().await?;
        installation.load(2_000).await?;
        all_holds(installation).await?;
        pnrs_are_unique(installation).await?;
        worker.stop().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn keys_that_another_program_changed_are_named_by_the_audit() -> Result<()> {
    in_installation("foreign", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        installation.load(300).await?;
        worker.stop().await?;
        let client = redis::Client::open(installation.redis_url())?;
        let mut redis = client.get_multiplexed_async_connection().await?;
        let (mut ledger, mut documents) = (String::new(), Vec::<String>::new());
        for number in 0..installation.partitions() {
            ledger = format!("{{{}:{number}}}", installation.application_id());
            let mut fields = redis::cmd("HKEYS");
            let fields: Vec<String> = fields.arg(format!("{ledger}:meta")).query_async(&mut redis).await?;
            let index = fields.iter().filter(|field| field.starts_with("d:"));
            documents = index.map(|field| format!("{ledger}:{field}")).collect();
            if documents.len() > 2 {
                break;
            }
        }
        ensure!(documents.len() > 2, "no ledger with three documents");
        let mut tamper = async |command: &[&str]| {
            let mut tamper = redis::cmd(command[0]);
            tamper.arg(&command[1..]).query_async::<()>(&mut redis).await
        };
        let (unnamed, text) = (format!("{ledger}:d:x"), format!("{ledger}:d:y"));
        tamper(&["EXPIRE", &documents[0], "3600"]).await?;
        tamper(&["EXPIRE", &format!("{ledger}:log"), "3600"]).await?;
        tamper(&["HSET", &unnamed, "s|C1", "1"]).await?;
        tamper(&["SET", &text, "1"]).await?;
        let arguments = ["audit", "--json", "--settled", "--skip-windows", "--wait", "5"];
        let report = call(installation, &arguments, 1).await?.json()?;
        let violations = report["violations"].as_array().context("violations")?;
        let is_named = |key: &str, text: &str| {
            violations.iter().any(|violation| {
                let detail = violation["detail"].as_str().unwrap_or_default();
                violation["invariant"] == "I5" && detail.contains(key) && detail.contains(text)
            })
        };
        for (key, text) in [
            (documents[0].as_str(), "has a time to live"),
            (&format!("{ledger}:log"), "has a time to live"),
            (&unnamed, "index does not name"),
            (&text, "is a string"),
        ] {
            ensure!(is_named(key, text), "{key}: {text}: {report:#}");
        }
        tamper(&["PERSIST", &documents[0]]).await?;
        tamper(&["PERSIST", &format!("{ledger}:log")]).await?;
        tamper(&["DEL", &unnamed, &text]).await?;
        call(installation, &arguments, 0).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_database_that_refuses_the_connection_stops_no_sale() -> Result<()> {
    in_installation("no_database", async |installation| {
        installation.seed(3).await?;
        let refusing = format!("{}_that_is_missing", installation.database_url());
        for (url, trouble) in [
            // Nobody listens there: windows wait.
            ("postgres://interlock@127.0.0.1:1/interlock", "database.url"),
            // A mistake that doesn't pass: windows stop.
            (refusing.as_str(), "stopped"),
        ] {
            let worker = installation.worker_with(&[("INTERLOCK_DATABASE_URL", url)]).await?;
            worker.wait_until_troubled(trouble).await?;
            installation.load(100).await?;
            let mut worker = worker;
            ensure!(worker.is_running()?, "{url}: {}", worker.log());
            worker.kill()?;
        }
        // Nothing is missing in the windows once their database answers.
        let worker = installation.worker().await?;
        all_holds(installation).await?;
        worker.stop().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_does_not_start_with_what_does_not_belong_together() -> Result<()> {
    in_installation("belongs", async |installation| {
        installation.seed(3).await?;
        let worker = installation.worker().await?;
        installation.load(500).await?;
        worker.stop().await?;

        let refuses = async |settings: &[(&str, &str)], word: &str| {
            let mut command = installation.command(&["run", "--metrics-listen", "127.0.0.1:0"])?;
            command.envs(settings.iter().copied());
            let finished = installation.spawn(&mut command, "run")?.finish(PATIENCE).await?;
            ensure!(
                finished.status == Some(1) && finished.error.contains(word),
                "expected a refusal because of {word}: {finished:?}"
            );
            Ok(())
        };
        let other = ("INTERLOCK_APPLICATION_ID", "another");
        refuses(&[other], "redis.namespace").await?;
        refuses(&[other, ("INTERLOCK_REDIS_NAMESPACE", "another")], "application.id").await?;

        let client = redis::Client::open(installation.redis_url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut policy = async |policy: &str| {
            let mut set = redis::cmd("CONFIG");
            set.arg("SET").arg("maxmemory-policy").arg(policy);
            set.query_async::<()>(&mut connection).await
        };
        policy("allkeys-lru").await?;
        let refused = refuses(&[], "noeviction").await;
        policy("noeviction").await?;
        refused?;

        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", installation.bootstrap_servers());
        let admin: AdminClient<DefaultClientContext> = client.create()?;
        let count = installation.partitions() as usize + 3;
        let grow = async |topics: &[String]| {
            let grown: Vec<NewPartitions<'_>> = topics.iter().map(|topic| NewPartitions::new(topic, count)).collect();
            for result in admin.create_partitions(&grown, &AdminOptions::new()).await? {
                result.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
            }
            anyhow::Ok(())
        };
        let all = topics::TOPICS
            .iter()
            .flat_map(|(topic, _)| [(*topic).to_owned(), topics::dlq(topic)]);
        let (first, rest): (Vec<String>, Vec<String>) = all.partition(|topic| topic == topics::CONFIRMED);
        grow(&first).await?;
        refuses(&[], "the same number of partitions").await?;
        grow(&rest).await?;
        refuses(&[], "the number of partitions was changed").await?;
        Ok(())
    })
    .await
}
