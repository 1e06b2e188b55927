//! Callbacks of librdkafka. Logs and errors go to `tracing`; delivery failures are kept for the error of the commit.

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
pub(crate) struct Context {
    /// Name of the client, for the logs.
    name: Arc<str>,
    /// The first undelivered record of the open transaction, which librdkafka's own error does not name.
    undelivered: Arc<Mutex<Option<String>>>,
    /// The last reason for a failed connection, because the error of the call lacks it.
    trouble: Arc<Mutex<Option<String>>>,
}

/// The facility under which librdkafka logs that a connection failed.
const CONNECTION_FAILED: &str = "FAIL";

impl Context {
    pub(crate) fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            undelivered: Arc::default(),
            trouble: Arc::default(),
        }
    }

    /// Takes the first delivery failure since the last call.
    pub(crate) fn take_undelivered(&self) -> Option<String> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the reason for the failed connection and its possible cause. It is kept until a connection works,
    /// because librdkafka reports it only once.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that a server has answered.
    pub(crate) fn forget_trouble(&self) {
        self.keep_trouble(None);
    }

    fn keep_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Formats a failed connection: librdkafka's message, and the settings to check.
fn explained(text: &str) -> String {
    let words = text.split(" (after ").next().unwrap_or(text);
    let ours = "; the broker wants one of ours: ssl.certificate.location and ssl.key.location";
    let advice = [
        (
            "certificate verify failed",
            "; is it signed by ssl.ca.location, for this host, and not expired?",
        ),
        ("uthentication", "; are kafka.user and kafka.password right?"),
        ("Disconnected", "; does this port speak our security.protocol?"),
        ("alert bad certificate", ours),
        ("alert certificate required", ours),
    ];
    let advice = advice.iter().find(|(cause, _)| words.contains(cause));
    format!("{words}{}", advice.map_or("", |(_, advice)| advice))
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let client = &*self.name;
        match level {
            // librdkafka reports this again as an error.
            _ if facility == CONNECTION_FAILED => tracing::debug!(client, facility, "librdkafka: {text}"),
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
        // librdkafka repeats this while a cluster is down, without an address. The errors of the calls are more
        // precise.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::debug!(client = &*self.name, %error, "librdkafka: {reason}");
            return;
        }
        let reason = explained(reason);
        let is_known = self.trouble().as_ref() == Some(&reason);
        match is_known {
            true => tracing::debug!(client = &*self.name, %error, "librdkafka: {reason}"),
            false => tracing::warn!(client = &*self.name, %error, "librdkafka: {reason}"),
        }
        self.keep_trouble(Some(reason));
    }
}

impl ConsumerContext for Context {
    /// Runs only while a consumer is being closed; before that, its own thread takes rebalances off the queue. The
    /// default would query the group's protocol here, which can hang during a close (librdkafka#4041).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_connection_is_explained() {
        for (text, words, setting) in [
            (
                "sasl_ssl://h:1/bootstrap: SSL handshake failed: certificate verify failed \
                 (after 25ms in state SSL_HANDSHAKE)",
                "sasl_ssl://h:1/bootstrap: SSL handshake failed: certificate verify failed;",
                "ssl.ca.location",
            ),
            (
                "sasl_ssl://h:1/bootstrap: SASL authentication error: no (after 3ms in state AUTH_REQ)",
                "SASL authentication error: no;",
                "kafka.password",
            ),
        ] {
            let explained = explained(text);
            assert!(explained.contains(words) && explained.contains(setting), "{explained}");
            assert!(!explained.contains("after"), "{explained}");
        }
    }
}
