//! What librdkafka calls back: logs and errors go to `tracing`, delivery failures are kept for the commit's error.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

/// The context of all our clients.
#[derive(Clone)]
pub(super) struct Context {
    /// Whose client this is, for the logs.
    name: Arc<str>,
    /// The first record of the open transaction that could not be delivered: librdkafka's own error doesn't say which.
    undelivered: Arc<Mutex<Option<String>>>,
}

impl Context {
    pub(super) fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            undelivered: Arc::default(),
        }
    }

    /// The first delivery failure since the last call.
    pub(super) fn take_undelivered(&self) -> Option<String> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let client = &*self.name;
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(client, facility, "librdkafka: {text}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(client, facility, "librdkafka: {text}"),
            RDKafkaLogLevel::Debug => tracing::debug!(client, facility, "librdkafka: {text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Said over and over while a cluster is down, without an address; what could not be done says it better.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::debug!(client = &*self.name, %error, "librdkafka: {reason}");
            return;
        }
        tracing::warn!(client = &*self.name, %error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for Context {
    /// Only reached while a consumer is being closed; before that, its own thread takes rebalances off the queue.
    /// The default would ask for the group's protocol here, which can hang during a close (librdkafka#4041).
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let acknowledged = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                consumer.incremental_assign(&TopicPartitionList::new())
            }
            _ => consumer.incremental_unassign(partitions),
        };
        if let Err(error) = acknowledged {
            tracing::debug!(client = &*self.name, %error, "rebalance while closing");
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): ()) {
        let Err((error, message)) = delivery else { return };
        let mut first = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| format!("record for {}[{}]: {error}", message.topic(), message.partition()));
    }
}
