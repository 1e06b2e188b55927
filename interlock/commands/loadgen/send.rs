//! The sending side: each request at its intended time, or as soon after as Kafka takes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use interlock_loadgen::{Workload, wait};
use interlock_schemas::topics::BOOKING_REQUESTS;
use interlock_schemas::{Command, Encoder, train_date_key};
use interlock_streams::log::kafka::KafkaConfig;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::{Progress, pending};
use crate::services;

/// Pause while the client's queue is full.
const QUEUE_FULL: Duration = Duration::from_millis(1);
/// Longest sleep before it is looked again whether to stop.
const NAP: Duration = Duration::from_millis(100);
/// Kafka's client gives a request up after this time.
const DELIVERY: Duration = Duration::from_secs(60);

/// What the following side is told of a request, before it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// Hash of its key.
    pub(super) key: u64,
    /// When it was meant to be sent, since the start.
    pub(super) intended_at: Duration,
}

/// What was sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// Requests handed to Kafka's client.
    pub(super) requests: u64,
    /// Of these, how many Kafka did not take, and why (the first).
    pub(super) failed: u64,
    pub(super) failure: Option<String>,
    /// From the start until Kafka had the last.
    pub(super) elapsed: Duration,
}

/// Sends the load; `told` hears of every request before it goes out.
pub(super) fn run(
    kafka: &KafkaConfig,
    workload: Workload,
    encoder: Encoder,
    start: Instant,
    told: Option<mpsc::Sender<Told>>,
    progress: &Arc<Progress>,
) -> anyhow::Result<Sent> {
    let deliveries = Deliveries {
        progress: progress.clone(),
        failure: Arc::default(),
    };
    let failure = deliveries.failure.clone();
    let mut client = services::plain_producer(kafka, "interlock-loadgen");
    client
        .set("linger.ms", "2")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "200000")
        .set("message.timeout.ms", DELIVERY.as_millis().to_string())
        .set("delivery.report.only.error", "true");
    let producer: ThreadedProducer<Deliveries> = client.create_with_context(deliveries).context("no Kafka producer")?;
    let mut value = Vec::new();
    let mut requests = 0;
    for mut planned in workload {
        while let Some(pause) = wait(planned.intended_at, start.elapsed()) {
            std::thread::sleep(pause.min(NAP));
            if progress.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        if progress.stop.load(Ordering::Relaxed) {
            break;
        }
        value.clear();
        let (request_id, key) = stamp(&mut planned.command);
        encoder.encode(&planned.command, &mut value)?;
        if let Some(told) = &told {
            // Nobody listens any more only where the other thread failed, which ends this one too.
            let _ = told.send(Told {
                key: request_id,
                intended_at: planned.intended_at,
            });
        }
        send(&producer, &key, &value)?;
        requests += 1;
        progress.sent.store(requests, Ordering::Relaxed);
    }
    producer
        .flush(DELIVERY + Duration::from_secs(5))
        .context("wait for Kafka to take the last requests")?;
    // Nothing more will come: who follows waits for the answers only from now on.
    drop(told);
    let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(Sent {
        requests,
        failed: progress.failed.load(Ordering::Relaxed),
        failure,
        elapsed: start.elapsed(),
    })
}

/// Sets when it was asked; returns the hash of the request's key, and the record's key.
fn stamp(command: &mut Command) -> (u64, String) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    match command {
        Command::Book(request) => {
            request.requested_at = now;
            (
                pending::hash(&request.request_id),
                train_date_key(&request.train_id, request.travel_date),
            )
        }
        Command::Cancel(request) => {
            request.requested_at = now;
            (
                pending::hash(&request.request_id),
                train_date_key(&request.train_id, request.travel_date),
            )
        }
    }
}

fn send(producer: &ThreadedProducer<Deliveries>, key: &str, value: &[u8]) -> anyhow::Result<()> {
    let mut record = BaseRecord::to(BOOKING_REQUESTS).key(key).payload(value);
    while let Err((error, unsent)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error).with_context(|| format!("send to {BOOKING_REQUESTS}"));
        }
        std::thread::sleep(QUEUE_FULL);
        record = unsent;
    }
    Ok(())
}

/// Counts what Kafka does not take; successes are not reported.
struct Deliveries {
    progress: Arc<Progress>,
    failure: Arc<Mutex<Option<String>>>,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        eprintln!("warning: Kafka: {error}: {reason}");
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.progress.failed.fetch_add(1, Ordering::Relaxed);
            self.failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| error.to_string());
        }
    }
}
