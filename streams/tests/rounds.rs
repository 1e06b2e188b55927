//! Tests the rounds and commits of a stream thread: records that arrive during a commit are taken together, a backlog
//! doesn't wait for it, and offsets of idle partitions are committed again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use interlock_streams::log::memory::{MemoryLog, MemoryLogConfig, TokioClock};
use interlock_streams::log::{CommittedOffset, Log, TopicSpec};
use interlock_streams::record::{OutputRecord, TopicPartition};
use interlock_streams::runtime::{Health, RuntimeConfig, Services, run_here};
use interlock_streams::serde::Utf8;
use interlock_streams::{Collector, Message, Processor, StreamsBuilder, Topology};
use tokio::sync::watch;

const BATCH_MAX: usize = 8;
/// Of the only thread of the only worker.
const TRANSACTIONAL_ID: &str = "rounds-numbers-worker-0";
const GROUP: &str = "rounds-numbers";
/// Within this time an offset is committed again.
const RENEWAL_MAX: Duration = Duration::from_secs(2 * 3_600);
/// Longer than anything takes that can go on; time stands still while something can.
const LONG: Duration = Duration::from_millis(500);

/// Notes how many records each round had.
struct Note(Arc<Mutex<Vec<usize>>>);

impl Processor<String> for Note {
    type Out = String;

    fn process(&mut self, batch: Vec<Message<String>>, out: &mut Collector<String>) {
        self.0.lock().expect("rounds").push(batch.len());
        for message in batch {
            out.emit(message);
        }
    }
}

fn topology(rounds: &Arc<Mutex<Vec<usize>>>) -> Arc<Topology> {
    let builder = StreamsBuilder::new("numbers");
    let rounds = rounds.clone();
    let numbers = builder.stream("numbers", || Utf8);
    numbers.process("note", move || Note(rounds.clone())).to("noted", Utf8);
    Arc::new(builder.build().expect("a valid topology"))
}

struct Worker {
    log: Arc<MemoryLog>,
    rounds: Arc<Mutex<Vec<usize>>>,
}

impl Worker {
    fn append(&self, count: usize) {
        let record = OutputRecord {
            topic: "numbers".into(),
            partition: None,
            timestamp: Some(0),
            key: None,
            value: Some(Bytes::from_static(b"1")),
            headers: Vec::new(),
        };
        self.log.append(vec![record; count]).expect("append");
    }

    /// The rounds since the last look, once nothing goes on any more.
    async fn rounds(&self) -> Vec<usize> {
        tokio::time::sleep(LONG).await;
        std::mem::take(&mut self.rounds.lock().expect("rounds"))
    }
}

/// Runs a worker beside a test.
async fn with_worker(test: impl AsyncFnOnce(&Worker)) {
    let clock = Arc::new(TokioClock::new(0));
    let log = MemoryLog::with(MemoryLogConfig {
        clock,
        ..MemoryLogConfig::default()
    });
    let worker = Worker {
        log: Arc::new(log),
        rounds: Arc::default(),
    };
    let topology = topology(&worker.rounds);
    let topics = ["numbers", "noted", "numbers.dlq"].map(|name| TopicSpec::new(name, 1));
    worker.log.create_topics(&topics).await.expect("topics");
    let config = RuntimeConfig {
        batch_records_max: BATCH_MAX,
        commit_records_max: BATCH_MAX,
        ..RuntimeConfig::new("rounds", "worker")
    };
    let services = Services {
        log: worker.log.clone(),
        ledgers: None,
        sink: None,
    };
    let (health, (_running, shutdown)) = (Health::default(), watch::channel(false));
    tokio::select! {
        result = run_here(&config, &topology, &services, &health, shutdown) => panic!("the worker ended: {result:?}"),
        () = test(&worker) => {}
    }
}

/// Runs a worker whose first record is decided and in a commit that goes on until it is released.
async fn during_a_commit(test: impl AsyncFnOnce(&Worker)) {
    with_worker(async |worker| {
        worker.log.hold_commits(TRANSACTIONAL_ID);
        worker.append(1);
        assert_eq!(worker.rounds().await, [1]);
        test(worker).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_a_commit_is_taken_together() {
    during_a_commit(async |worker| {
        for _ in 0..3 {
            worker.append(1);
            assert!(worker.rounds().await.is_empty(), "it could not be committed yet");
        }
        worker.log.release_commits(TRANSACTIONAL_ID);
        assert_eq!(worker.rounds().await, [3]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_worked_off_during_a_commit() {
    during_a_commit(async |worker| {
        worker.append(3 * BATCH_MAX + 1);
        worker.log.release_commits(TRANSACTIONAL_ID);
        worker.log.hold_commits(TRANSACTIONAL_ID);
        assert_eq!(
            worker.rounds().await,
            [BATCH_MAX, BATCH_MAX],
            "one in the next commit, one beside it"
        );
        worker.log.release_commits(TRANSACTIONAL_ID);
        assert_eq!(worker.rounds().await, [BATCH_MAX, 1]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn offsets_of_idle_partitions_are_committed_again() {
    with_worker(async |worker| {
        let source = TopicPartition::new("numbers", 0);
        let committed = async || {
            let read = worker.log.committed_unstable(GROUP, std::slice::from_ref(&source));
            let committed = read.await.expect("offsets").remove(0);
            committed.map(|committed| committed.offset)
        };
        // The offset that the worker finds when it begins, and one that it commits itself.
        let found = CommittedOffset {
            offset: 0,
            metadata: String::new(),
        };
        worker.log.set_offset(GROUP, &source, Some(found));
        for (count, offset) in [(0, 0), (3, 3)] {
            worker.append(count);
            worker.rounds().await;
            worker.log.set_offset(GROUP, &source, None);
            tokio::time::sleep(RENEWAL_MAX).await;
            assert_eq!(committed().await, Some(offset));
        }
    })
    .await;
}
