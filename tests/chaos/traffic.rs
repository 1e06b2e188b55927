//! Sends a steady load from a thread of this process, without proxies, until it is stopped: travellers go on asking
//! while a server is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use interlock_loadgen::{Planned, Profile, Workload, running_from, wait};
use interlock_schemas::{Command, Encoder, TrainService, topics, train_date_key};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::clock::now_ms;
use crate::real::Installation;

/// Duration of one workload in seconds; then another one begins.
const WORKLOAD_S: u64 = 60;
/// Longest sleep before the thread checks whether to stop.
const NAP: Duration = Duration::from_millis(20);
/// Longest outage that a client waits for.
const DELIVERY: Duration = Duration::from_secs(300);
const DAY_MS: i64 = 86_400_000;

/// A running load.
#[derive(Debug)]
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

/// Counts the requests that the brokers did not take.
#[derive(Clone, Debug, Default)]
struct Refused(Arc<AtomicU64>);

impl rdkafka::ClientContext for Refused {
    // Errors of brokers that are down are expected.
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext<NoCustomPartitioner> for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread's state.
struct Sender {
    producer: ThreadedProducer<Refused>,
    refused: Refused,
    encoder: Encoder,
    profile: Profile,
    plans: Vec<TrainService>,
    rate: u32,
    seed: u64,
    stop: Arc<AtomicBool>,
    sent: u64,
}

impl Traffic {
    /// Sends requests of this profile at a constant rate until it is stopped.
    pub(super) async fn start(installation: &Installation, profile: &str, rate: u32, seed: u64) -> Result<Self> {
        let ids = installation.registry().await?.1;
        // Today's trains may have left.
        let tomorrow = i32::try_from(now_ms() / DAY_MS)? + 1;
        let refused = Refused::default();
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", installation.bootstrap_servers())
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "2")
            .set("reconnect.backoff.max.ms", "500")
            .set("message.timeout.ms", DELIVERY.as_millis().to_string());
        let stop = Arc::new(AtomicBool::new(false));
        let sender = Sender {
            producer: client.create_with_context(refused.clone())?,
            refused,
            encoder: Encoder::new(ids),
            profile: Profile::named(profile)?,
            plans: running_from(&installation.plans().await?, tomorrow),
            rate,
            seed,
            stop: stop.clone(),
            sent: 0,
        };
        let thread = std::thread::Builder::new().name("traffic".into());
        let thread = thread.spawn(move || sender.run())?;
        Ok(Self { stop, thread })
    }

    /// Stops the load. Returns the number of requests, all of which the brokers took.
    pub(super) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(sent) => sent,
            Err(_) => bail!("the load's thread panicked"),
        }
    }
}

impl Sender {
    fn run(mut self) -> Result<u64> {
        let requests = u64::from(self.rate) * WORKLOAD_S;
        while !self.stop.load(Ordering::Relaxed) {
            let workload = Workload::new(
                &self.profile,
                &self.plans,
                requests,
                Some(f64::from(self.rate)),
                self.seed,
            )?;
            self.seed += 1;
            let start = Instant::now();
            for planned in workload {
                while let Some(pause) = wait(planned.intended_at, start.elapsed()) {
                    if self.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    std::thread::sleep(pause.min(NAP));
                }
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                self.send(planned)?;
            }
        }
        self.producer.flush(DELIVERY).context("the last requests")?;
        let refused = self.refused.0.load(Ordering::Relaxed);
        ensure!(
            refused == 0,
            "the brokers didn't take {refused} of {} requests",
            self.sent
        );
        Ok(self.sent)
    }

    fn send(&mut self, mut planned: Planned) -> Result<()> {
        let now = now_ms();
        let key = match &mut planned.command {
            Command::Book(request) => {
                request.requested_at = now;
                train_date_key(&request.train_id, request.travel_date)
            }
            Command::Cancel(request) => {
                request.requested_at = now;
                train_date_key(&request.train_id, request.travel_date)
            }
        };
        let mut value = Vec::new();
        self.encoder.encode(&planned.command, &mut value)?;
        let mut record = BaseRecord::to(topics::BOOKING_REQUESTS)
            .key(key.as_str())
            .payload(&value);
        while let Err((error, unsent)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("send a request");
            }
            std::thread::sleep(NAP);
            record = unsent;
        }
        self.sent += 1;
        Ok(())
    }
}
