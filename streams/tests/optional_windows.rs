//! A topology whose sink is of no use stops and says so, while the others of the process continue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use futures::FutureExt as _;
use interlock_streams::log::memory::MemoryLog;
use interlock_streams::log::{Log as _, TopicSpec};
use interlock_streams::record::{OutputRecord, TopicPartition};
use interlock_streams::runtime::{Health, RuntimeConfig, Services, StreamThreads, start};
use interlock_streams::serde::Utf8;
use interlock_streams::sink::{Merge, SinkError, WindowTable};
use interlock_streams::window::WindowQuery;
use interlock_streams::{StreamsBuilder, Topology};

const REASON: &str = "permission denied for table counts";

fn copy() -> Topology {
    let builder = StreamsBuilder::new("copy");
    builder.stream("numbers", || Utf8).to("copies", Utf8);
    builder.build().expect("a valid topology")
}

fn counts() -> Topology {
    let schema = Arc::new(Schema::new(vec![
        Field::new("number", DataType::Utf8, false),
        Field::new("one", DataType::Int64, false),
    ]));
    let rows = schema.clone();
    let queries = move || {
        let table = WindowTable {
            name: "counts".to_owned(),
            keys: vec!["number".to_owned()],
            measures: vec![("total".to_owned(), Merge::Sum)],
        };
        let sql = "SELECT number, SUM(one) AS total FROM input GROUP BY number";
        Ok(vec![WindowQuery::new("counts.sql", sql, schema.clone(), table)?])
    };
    let builder = StreamsBuilder::new("counts");
    let windows = builder
        .stream("numbers", || Utf8)
        .window_sql("counts", queries, move |batch| {
            let numbers = StringArray::from_iter_values(batch.iter().map(|message| &message.value));
            let ones = Int64Array::from(vec![1; batch.len()]);
            let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(ones)];
            RecordBatch::try_new(rows.clone(), columns).map_err(|error| error.to_string())
        });
    windows.expect("a valid query").sink("windows");
    builder.build().expect("a valid topology")
}

/// A process with these topologies, whose database refuses everything.
async fn running(topologies: &[Topology]) -> (Arc<MemoryLog>, Health, StreamThreads) {
    let log = Arc::new(MemoryLog::new());
    let topics = ["numbers", "copies", "numbers.dlq"].map(|name| TopicSpec::new(name, 1));
    log.create_topics(&topics).await.expect("topics");
    let refused = || {
        let task = "counts-0".to_owned();
        let reason = REASON.to_owned();
        std::future::ready(Err(SinkError::Fatal { task, reason })).boxed()
    };
    let services = Services {
        log: log.clone(),
        ledgers: None,
        sink: Some(Arc::new(refused)),
    };
    let health = Health::default();
    let config = RuntimeConfig::new("optional", "worker");
    let running = start(&config, topologies, &services, &health).expect("threads");
    (log, health, running)
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn windows_stop_and_say_so_while_the_others_continue() {
    let (log, health, running) = running(&[copy(), counts()]).await;
    eventually("the windows say that they stopped", || {
        health.troubles().iter().any(|(member, trouble)| {
            member.contains("counts") && trouble.contains("stopped") && trouble.contains(REASON)
        })
    })
    .await;
    let record = OutputRecord {
        topic: "numbers".into(),
        partition: None,
        timestamp: Some(0),
        key: None,
        value: Some(Bytes::from_static(b"1")),
        headers: Vec::new(),
    };
    log.append(vec![record]).expect("append");
    let copies = TopicPartition::new("copies", 0);
    eventually("the record is copied", || {
        log.read(&copies, 0, 1).is_ok_and(|read| !read.is_empty())
    })
    .await;
    assert!(!running.any_finished());
    running.stop();
    let error = running.wait().expect_err("the windows' error is not forgotten");
    assert!(error.to_string().contains(REASON), "{error}");
}

#[tokio::test]
async fn windows_alone_end_the_process() {
    let (_log, _health, running) = running(&[counts()]).await;
    eventually("the thread ends", || running.any_finished()).await;
    let error = running.wait().expect_err("nothing is left to do");
    assert!(error.to_string().contains(REASON), "{error}");
}
