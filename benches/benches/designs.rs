//! Compares two designs. In the first, a script in Redis takes seats, called for each passenger or party, as in most
//! booking engines. In the second, the process decides and commits to the ledger in batches.
//! `INTERLOCK_REDIS_URL=redis://… cargo bench --bench designs` prints a table. The benchmark writes under `benchmark`
//! and deletes its data.
//!
//! Both sell the same trains to the same parties. The script keeps less: no fare, no waitlist, no party seated
//! together, no events for a log, and its writes are not tied to the request's offset.
#![allow(clippy::expect_used, reason = "a benchmark stops at the first error")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use interlock_benches::{NOW, TRAVEL_DATE, bookings, train};
use interlock_inventory::{Change, CommandContext, Ledger, Plan, decide, evolve};
use interlock_redis::{RedisConfig, RedisLedgerStore};
use interlock_schemas::{BookingRequest, Command, train_date_key};
use interlock_streams::ledger::{DocumentWrites, FieldWrite, Holder, Index, LedgerCommit, LedgerStore as _, Token};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;

const TRAINS: usize = 100;
/// Seats in a train.
const SEATS: usize = 720;
const REQUESTS: usize = 100_000;
/// Requests of the run in which one client waits for every call.
const REQUESTS_ONE_BY_ONE: usize = 20_000;
const BATCH: usize = 500;
/// Bytes of a booking's outputs in the outbox.
const OUTPUT_BYTES: usize = 400;
const SCRIPT: &str = include_str!("take_seats.lua");
/// Clock ticks per second, as Linux reports them to programs.
const TICKS_PER_S: f64 = 100.0;

/// Returns the same requests for all designs: about as many passengers as the trains have seats, repeated.
fn requests(count: usize) -> Vec<BookingRequest> {
    let numbered = bookings().take(count).enumerate();
    numbered
        .map(|(number, request)| BookingRequest {
            train_id: format!("{:05}", number % TRAINS).into(),
            ..request
        })
        .collect()
}

/// The CPU time used so far by Redis and by this process.
struct Meter {
    began: Instant,
    redis: f64,
    client: f64,
}

impl Meter {
    async fn start(connection: &mut MultiplexedConnection) -> Meter {
        Meter {
            redis: redis_cpu(connection).await,
            client: own_cpu(),
            began: Instant::now(),
        }
    }

    async fn print(self, design: &str, requests: usize, connection: &mut MultiplexedConnection) {
        let elapsed = self.began.elapsed().as_secs_f64();
        let million = requests as f64 / 1e6;
        let redis = (redis_cpu(connection).await - self.redis) / million;
        let client = (own_cpu() - self.client) / million;
        println!(
            "| {design} | {:.0} | {redis:.1} | {client:.1} |",
            requests as f64 / elapsed
        );
    }
}

/// Returns the CPU seconds of the server.
async fn redis_cpu(connection: &mut MultiplexedConnection) -> f64 {
    let info: String = redis::cmd("INFO")
        .arg("cpu")
        .query_async(connection)
        .await
        .expect("Redis answers");
    let seconds = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).expect("a number")
    };
    seconds("used_cpu_user:") + seconds("used_cpu_sys:")
}

/// Returns the CPU seconds of this process.
fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(") ").next().expect("fields after the name");
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / TICKS_PER_S
}

/// The number of passengers that one call takes seats for.
#[derive(Clone, Copy)]
enum Each {
    Passenger,
    Party,
}

/// Returns the calls of a request.
fn calls(sha: &str, each: Each, request: &BookingRequest) -> Vec<redis::Cmd> {
    let train = &request.train_id;
    let stop = |name: &str| -> usize { name.trim_start_matches("ST").parse().expect("a stop's number") };
    let legs = stop(&request.from_station)..stop(&request.to_station);
    let (count, seats) = match each {
        Each::Passenger => (request.passengers.len(), 1),
        Each::Party => (1, request.passengers.len()),
    };
    let call = |number: usize| {
        let mut call = redis::cmd("EVALSHA");
        call.arg(sha).arg(2 + legs.len());
        call.arg(format!("benchmark:{{{train}}}:bookings"));
        call.arg(format!("benchmark:{{{train}}}:scratch"));
        for leg in legs.clone() {
            call.arg(format!("benchmark:{{{train}}}:{leg}"));
        }
        call.arg(format!("{}|{number}", request.request_id))
            .arg(SEATS)
            .arg(seats);
        call
    };
    (0..count).map(call).collect()
}

/// Runs clients that each wait for every answer.
async fn one_by_one(client: &redis::Client, sha: &str, requests: &[BookingRequest], clients: usize) {
    let mut tasks = JoinSet::new();
    for own in requests.chunks(requests.len().div_ceil(clients)) {
        let mut connection = connect(client).await;
        let (own, sha) = (own.to_vec(), sha.to_owned());
        tasks.spawn(async move {
            for request in &own {
                for call in calls(&sha, Each::Passenger, request) {
                    let _: String = call.query_async(&mut connection).await.expect("a seat or none");
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a client");
    }
}

/// Runs one client that sends a batch and then reads its answers.
async fn pipelined(connection: &mut MultiplexedConnection, sha: &str, each: Each, requests: &[BookingRequest]) {
    for batch in requests.chunks(BATCH) {
        let mut pipeline = redis::pipe();
        for call in batch.iter().flat_map(|request| calls(sha, each, request)) {
            pipeline.add_command(call);
        }
        let _: Vec<String> = pipeline.query_async(connection).await.expect("seats or none");
    }
}

/// Decides in this process, with one commit for each batch.
async fn ledger(url: &str, requests: &[BookingRequest]) {
    let config = RedisConfig {
        namespace: "benchmark".to_owned(),
        ..RedisConfig::new(url, "benchmark")
    };
    let store = RedisLedgerStore::connect(config).await.expect("Redis answers");
    let token = Token(format!("benchmark {}", std::process::id()));
    let state = store
        .acquire(0, "benchmark", &token)
        .await
        .expect("the ledger is acquired");
    let holder = Holder {
        ledger: 0,
        epoch: state.epoch,
        token,
    };
    let plan = |number: usize| {
        let mut train = train();
        train.train_id = format!("{number:05}").into();
        Arc::new(Plan::compile(train).expect("a valid plan"))
    };
    let plans: Vec<Arc<Plan>> = (0..TRAINS).map(plan).collect();
    let mut ledger = Ledger::new(0, 1);
    let text = holder.token.0.as_str().into();
    let (mut index, mut sequence, mut trim) = (Index::new(), 0, Vec::new());
    for (number, batch) in requests.chunks(BATCH).enumerate() {
        let (first, mut outputs) = (number * BATCH, 0);
        for (place, request) in batch.iter().enumerate() {
            let at = CommandContext {
                ledger: 0,
                next_sequence: sequence + 1,
                source_offset: (first + place) as i64,
                time: NOW,
                token: &text,
            };
            let plan = &plans[(first + place) % TRAINS];
            let events = decide(&ledger, &Command::Book(request.clone()), Some(plan), &at);
            events.iter().for_each(|event| evolve(&mut ledger, event));
            sequence += events.len() as i64;
            outputs += events.len();
        }
        let write = |change: Change| FieldWrite {
            document: Bytes::copy_from_slice(change.document.as_bytes()),
            field: change.field,
            value: change.value,
        };
        let next = (first + batch.len()) as i64 - 1;
        let writes = ledger.take_changes().into_iter().map(write).collect();
        let chain = next.to_be_bytes();
        let commit = LedgerCommit {
            version: number as u64,
            applied: next,
            sequence,
            documents: DocumentWrites::new(&index, writes, sequence, &holder.token, chain),
            entry: Bytes::from(vec![b'x'; outputs * OUTPUT_BYTES]),
            chain,
            trim: std::mem::take(&mut trim),
            ..LedgerCommit::default()
        };
        store.commit(&holder, &commit).await.expect("it is applied");
        commit.documents.enter(&mut index);
        ledger.leave_in_store();
        trim.push(next);
    }
    let key = train_date_key("00000", TRAVEL_DATE);
    assert!(ledger.get(&key).is_some(), "the first train was on sale");
}

async fn connect(client: &redis::Client) -> MultiplexedConnection {
    client.get_multiplexed_async_connection().await.expect("Redis answers")
}

/// Deletes the data of the design that ran before.
async fn clear(connection: &mut MultiplexedConnection) {
    let mut keys: Vec<String> = connection.keys("benchmark:{*").await.expect("keys");
    keys.extend(connection.keys::<_, Vec<String>>("{benchmark:*").await.expect("keys"));
    for keys in keys.chunks(1_000) {
        let _: i64 = connection.unlink(keys).await.expect("they are deleted");
    }
}

async fn run(url: &str) {
    let client = redis::Client::open(url).expect("an address");
    let mut connection = connect(&client).await;
    let sha: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(SCRIPT)
        .query_async(&mut connection)
        .await
        .expect("the script is loaded");
    let requests = requests(REQUESTS);
    let passengers: usize = requests.iter().map(|request| request.passengers.len()).sum();
    println!(
        "{REQUESTS} requests of {passengers} passengers on {TRAINS} trains of {SEATS} seats; batches of {BATCH}\n"
    );
    println!("| design | requests/s | Redis CPU-s per million | client CPU-s per million |");
    println!("| --- | --: | --: | --: |");
    for (clients, requests) in [(1, &requests[..REQUESTS_ONE_BY_ONE]), (50, &requests[..])] {
        clear(&mut connection).await;
        let meter = Meter::start(&mut connection).await;
        one_by_one(&client, &sha, requests, clients).await;
        let design = format!("a call for each passenger, {clients} clients");
        meter.print(&design, requests.len(), &mut connection).await;
    }
    for (each, design) in [
        (Each::Passenger, "a call for each passenger, pipelined"),
        (Each::Party, "a call for each party, pipelined"),
    ] {
        clear(&mut connection).await;
        let meter = Meter::start(&mut connection).await;
        pipelined(&mut connection, &sha, each, &requests).await;
        meter.print(design, REQUESTS, &mut connection).await;
    }
    clear(&mut connection).await;
    let meter = Meter::start(&mut connection).await;
    ledger(url, &requests).await;
    meter
        .print(
            "decided in the process, a ledger commit for each batch",
            REQUESTS,
            &mut connection,
        )
        .await;
    clear(&mut connection).await;
}

fn main() {
    let Ok(url) = std::env::var("INTERLOCK_REDIS_URL") else {
        println!("skipped: INTERLOCK_REDIS_URL is not set");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(&url));
}
