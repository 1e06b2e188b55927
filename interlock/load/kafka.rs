//! Sends a load through Kafka clients that are tuned for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use interlock_kafka::KafkaConfig;
use interlock_loadgen::run::{ClientError, Inlet, OUTCOME_TOPICS, Outcome, Outlet, Refused};
use interlock_schemas::topics::BOOKING_REQUESTS;
use interlock_streams::log::Log;
use interlock_streams::record::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientContext, Offset, Statistics, TopicPartitionList};
use tokio::sync::oneshot;

use crate::services;

/// Name of both clients.
const CLIENT: &str = "interlock-loadgen";
/// Pause while the client's queue is full.
const QUEUE_FULL: Duration = Duration::from_millis(1);
/// Interval of the client's statistics. The client sends nothing before it has a producer id, which it requests twice a
/// second.
const STATE_MS: &str = "100";
/// Time after which the client gives up a request.
const DELIVERY: Duration = Duration::from_secs(60);

/// An idempotent producer without transactions.
pub(crate) struct KafkaOutlet {
    producer: ThreadedProducer<Deliveries>,
    failures: Arc<Failures>,
}

impl KafkaOutlet {
    /// Connects and waits until the client may send, so that no request is charged for the client's start.
    pub(crate) async fn connect(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let (ready, is_ready) = oneshot::channel();
        let failures = Arc::new(Failures::default());
        let mut client = services::plain_producer(kafka, CLIENT);
        client
            .set("linger.ms", "5")
            .set("statistics.interval.ms", STATE_MS)
            // Less than a consumer's fetch per partition: a broker sends a longer batch alone or not at all.
            .set("batch.size", "100000")
            .set("queue.buffering.max.messages", "200000")
            .set("message.timeout.ms", DELIVERY.as_millis().to_string())
            .set("delivery.report.only.error", "true");
        let deliveries = Deliveries {
            failures: failures.clone(),
            ready: Mutex::new(Some(ready)),
        };
        let producer = client.create_with_context(deliveries).context("no Kafka producer")?;
        let connected = tokio::time::timeout(DELIVERY, is_ready).await;
        connected.with_context(|| {
            let seconds = DELIVERY.as_secs();
            format!(
                "Kafka at {} gave no producer id within {seconds} s",
                kafka.bootstrap_servers
            )
        })??;
        Ok(Self { producer, failures })
    }
}

impl Outlet for KafkaOutlet {
    fn send(&mut self, key: &str, value: &[u8]) -> Result<(), ClientError> {
        let mut record = BaseRecord::to(BOOKING_REQUESTS).key(key).payload(value);
        while let Err((error, unsent)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                return Err(anyhow::Error::new(error)
                    .context(format!("send to {BOOKING_REQUESTS}"))
                    .into());
            }
            std::thread::sleep(QUEUE_FULL);
            record = unsent;
        }
        Ok(())
    }

    /// The client lingers 5 ms at most.
    fn flush(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Refused, ClientError> {
        self.producer
            .flush(DELIVERY + Duration::from_secs(5))
            .context("wait for Kafka to take the last requests")?;
        let reason = self
            .failures
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(Refused {
            count: self.failures.count.load(Ordering::Relaxed),
            reason,
        })
    }
}

#[derive(Default)]
struct Failures {
    count: AtomicU64,
    first: Mutex<Option<String>>,
}

/// Counts the requests that Kafka does not take; successes are not reported.
struct Deliveries {
    failures: Arc<Failures>,
    /// Receives one message: the client may send.
    ready: Mutex<Option<oneshot::Sender<()>>>,
}

impl ClientContext for Deliveries {
    fn stats(&self, statistics: Statistics) {
        // There is none if the user's settings turn idempotence off.
        let may_send = statistics.eos.is_none_or(|state| state.idemp_state == "Assigned");
        let ready = || self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ready) = may_send.then(ready).flatten() {
            // The receiver is gone if it took too long.
            let _ = ready.send(());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        eprintln!("warning: Kafka: {error}: {reason}");
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failures.count.fetch_add(1, Ordering::Relaxed);
            let mut first = self.failures.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.to_string());
        }
    }
}

/// A consumer outside of any group.
pub(crate) struct KafkaInlet {
    consumer: BaseConsumer,
}

impl KafkaInlet {
    /// Starts at the ends of the topics, because the answers come after them.
    pub(crate) async fn at_end(kafka: &KafkaConfig, log: &dyn Log) -> anyhow::Result<Self> {
        let mut client = services::plain_client(kafka, CLIENT);
        client
            .set("group.id", &kafka.reader_group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            // The fetcher sleeps this long when its queue is full.
            .set("fetch.queue.backoff.ms", "5");
        for (name, value) in &kafka.consumer_settings {
            client.set(name, value);
        }
        let consumer: BaseConsumer = client.create().context("no Kafka consumer")?;
        let mut ends = TopicPartitionList::new();
        for topic in OUTCOME_TOPICS {
            for partition in 0..log.partitions(topic).await?.unwrap_or(0) {
                let (_, end) = log.watermarks(&TopicPartition::new(topic, partition)).await?;
                ends.add_partition_offset(topic, partition, Offset::Offset(end))?;
            }
        }
        consumer.assign(&ends).context("read the outcomes")?;
        Ok(Self { consumer })
    }
}

impl Inlet for KafkaInlet {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Outcome<'_>)) -> Result<(), ClientError> {
        match self.consumer.poll(wait) {
            None => {}
            Some(Err(error)) if is_passing(&error) => {}
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                if let Some(value) = message.payload() {
                    each(Outcome {
                        topic: message.topic(),
                        partition: message.partition(),
                        offset: message.offset(),
                        value,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Returns whether Kafka's client recovers from the error by itself.
fn is_passing(error: &KafkaError) -> bool {
    let passing = [
        Code::BrokerTransportFailure,
        Code::AllBrokersDown,
        Code::OperationTimedOut,
        Code::NotLeaderForPartition,
        Code::LeaderNotAvailable,
        Code::Resolve,
    ];
    error.rdkafka_error_code().is_some_and(|code| passing.contains(&code))
}
