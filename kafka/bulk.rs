//! Clients for one-way bulk traffic, outside of groups and transactions: a producer that only counts failures, and a
//! consumer that starts at the ends of topics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interlock_streams::log::{Log as _, LogError};
use interlock_streams::record::TopicPartition;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientContext, Offset, Statistics, TopicPartitionList};
use tokio::sync::oneshot;

use crate::errors::{from_kafka, retriable};
use crate::{KafkaConfig, KafkaLog};

/// Pause while the client's queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);
/// Time after which the client gives up a record.
pub(crate) const DELIVERY_MAX: Duration = Duration::from_secs(60);
/// Time that a flush waits beyond [`DELIVERY_MAX`].
const FLUSH_MARGIN: Duration = Duration::from_secs(5);

/// An idempotent producer without transactions, which reports no successes.
pub struct BulkProducer {
    producer: ThreadedProducer<Deliveries>,
    failures: Arc<Failures>,
}

impl BulkProducer {
    /// Connects, and waits until the client may send, so that no record is charged for the client's start. Later errors
    /// of the connection go to `warn`.
    pub async fn connect(config: &KafkaConfig, client_id: &str, warn: fn(&str)) -> Result<Self, LogError> {
        let (ready, is_ready) = oneshot::channel();
        let failures = Arc::new(Failures::default());
        let deliveries = Deliveries {
            failures: failures.clone(),
            ready: Mutex::new(Some(ready)),
            warn,
        };
        let action = || format!("connect a producer to {}", config.place());
        let producer = config.bulk_producer(client_id).create_with_context(deliveries);
        let producer = producer.map_err(|error| from_kafka(action(), &error))?;
        match tokio::time::timeout(DELIVERY_MAX, is_ready).await {
            Ok(Ok(())) => Ok(Self { producer, failures }),
            _ => Err(retriable(
                action(),
                format!("no producer id within {} s", DELIVERY_MAX.as_secs()),
            )),
        }
    }

    /// Queues a record; waits while the queue is full.
    pub fn send(&self, topic: &str, key: &str, value: &[u8]) -> Result<(), LogError> {
        let mut record = BaseRecord::to(topic).key(key).payload(value);
        while let Err((error, unsent)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                return Err(from_kafka(format!("send to {topic}"), &error));
            }
            std::thread::sleep(QUEUE_FULL_PAUSE);
            record = unsent;
        }
        Ok(())
    }

    /// Waits until Kafka has taken or refused all records. Returns the number of refused ones, and the first reason.
    pub fn finish(&self) -> Result<(u64, Option<String>), LogError> {
        let flushed = self.producer.flush(DELIVERY_MAX + FLUSH_MARGIN);
        flushed.map_err(|error| from_kafka("wait for Kafka to take the last records", &error))?;
        let reason = self
            .failures
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok((self.failures.count.load(Ordering::Relaxed), reason))
    }
}

#[derive(Default)]
struct Failures {
    count: AtomicU64,
    first: Mutex<Option<String>>,
}

/// Counts the records that Kafka does not take.
struct Deliveries {
    failures: Arc<Failures>,
    /// Receives one message: the client may send.
    ready: Mutex<Option<oneshot::Sender<()>>>,
    warn: fn(&str),
}

impl ClientContext for Deliveries {
    fn stats(&self, statistics: Statistics) {
        // The statistics lack this state if the user's settings turn idempotence off.
        let may_send = statistics.eos.is_none_or(|state| state.idemp_state == "Assigned");
        let ready = || self.ready.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ready) = may_send.then(ready).flatten() {
            // The receiver is gone if it took too long.
            let _ = ready.send(());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        (self.warn)(&format!("Kafka: {error}: {reason}"));
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

/// A consumer of whole topics, outside of any group.
pub struct TailConsumer {
    consumer: BaseConsumer,
}

/// A record that a [`TailConsumer`] has read.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct TailRecord<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub value: &'a [u8],
}

impl TailConsumer {
    /// Starts at the current ends of the topics; `log` looks them up.
    pub async fn at_end(
        config: &KafkaConfig,
        client_id: &str,
        log: &KafkaLog,
        topics: &[&str],
    ) -> Result<Self, LogError> {
        let failed = |error: KafkaError| from_kafka(format!("read the ends of {}", topics.join(", ")), &error);
        let consumer: BaseConsumer = config.tail_consumer(client_id).create().map_err(failed)?;
        let mut ends = TopicPartitionList::new();
        for topic in topics {
            for partition in 0..log.partitions(topic).await?.unwrap_or(0) {
                let (_, end) = log.watermarks(&TopicPartition::new(*topic, partition)).await?;
                ends.add_partition_offset(topic, partition, Offset::Offset(end))
                    .map_err(failed)?;
            }
        }
        consumer.assign(&ends).map_err(failed)?;
        Ok(Self { consumer })
    }

    /// Passes the next committed record with a value to `each`, if one comes within `wait`.
    pub fn poll(&self, wait: Duration, each: impl FnOnce(TailRecord<'_>)) -> Result<(), LogError> {
        match self.consumer.poll(wait) {
            None => {}
            Some(Err(error)) if is_passing(&error) => {}
            Some(Err(error)) => return Err(from_kafka("read the ends of topics", &error)),
            Some(Ok(message)) => {
                if let Some(value) = message.payload() {
                    each(TailRecord {
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
