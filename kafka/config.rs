//! Settings of the Kafka clients, with the reason for every value that differs from librdkafka's default.

use std::time::Duration;

use interlock_streams::log::{ConsumerConfig, LogError};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::bulk::DELIVERY_MAX;
use crate::errors::fatal;

/// The protocol by which the members of a group share partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The protocol of all brokers, with the cooperative-sticky assignor (KIP-429): partitions that stay are not
    /// interrupted.
    #[default]
    Classic,
    /// KIP-848: the broker assigns. Needs Kafka 4.0. The broker then sets session time-out and heartbeat interval
    /// (`group.consumer.session.timeout.ms`, 45 s by default), so a crashed worker's partitions wait longer by default
    /// than with [`GroupProtocol::Classic`].
    Consumer,
}

/// Time-out of one request of the admin client, after which it is sent again.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses, time-outs and further settings of Kafka.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// librdkafka settings of all clients, such as `security.protocol`.
    pub settings: Vec<(String, String)>,
    /// librdkafka settings of consumers and readers; they win over ours.
    pub consumer_settings: Vec<(String, String)>,
    /// librdkafka settings of producers; they win over ours.
    pub producer_settings: Vec<(String, String)>,
    /// The protocol by which partitions are shared.
    pub group_protocol: GroupProtocol,
    /// Session time-out: a member that is silent for longer loses its partitions. Brokers require at least 6 s by
    /// default.
    pub session_timeout: Duration,
    /// Heartbeat interval, which is also the delay until a member learns of a rebalance. A new member waits for two of
    /// them, and a member that takes over a dead one's partitions for one. While a member is asked to rejoin, requests
    /// for offsets of members that have rejoined wait too, because Kafka answers the requests of a connection in order.
    pub heartbeat_interval: Duration,
    /// A member that does not poll, or delays a rebalance, for longer counts as hung and loses its partitions.
    pub max_poll_interval: Duration,
    /// The broker aborts a transaction that is open for longer. Until then, all readers with `read_committed` wait
    /// behind it.
    pub transaction_timeout: Duration,
    /// Approximate longest duration of a call. It is less than `transaction_timeout`, or the answer would come too
    /// late.
    pub call_deadline: Duration,
    /// `compression.type`; compression lowers the broker's CPU time by a third and costs no throughput.
    pub compression: String,
    /// Group id of readers, which never join the group and never commit.
    pub reader_group: String,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".into(),
            settings: Vec::new(),
            consumer_settings: Vec::new(),
            producer_settings: Vec::new(),
            group_protocol: GroupProtocol::default(),
            session_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(200),
            max_poll_interval: Duration::from_secs(60),
            transaction_timeout: Duration::from_secs(30),
            call_deadline: Duration::from_secs(15),
            compression: "lz4".into(),
            reader_group: "interlock-reader".into(),
        }
    }
}

/// Settings that exactly-once depends on; changing one of them would break it silently.
const RESERVED: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "log.queue",
    "max.poll.interval.ms",
    "message.timeout.ms",
    "partition.assignment.strategy",
    "partitioner",
    "transaction.timeout.ms",
    "transactional.id",
];

impl KafkaConfig {
    /// Refuses settings that contradict each other or break exactly-once.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let action = "check the Kafka settings";
        if self.bootstrap_servers.trim().is_empty() {
            return Err(fatal(
                action,
                "bootstrap_servers (INTERLOCK_KAFKA_BOOTSTRAP_SERVERS) is empty; give host:port",
            ));
        }
        for (name, _) in self
            .settings
            .iter()
            .chain(&self.consumer_settings)
            .chain(&self.producer_settings)
        {
            if RESERVED.contains(&name.as_str()) {
                let reason =
                    format!("\"{name}\" can't be overridden: exactly-once rests on it, or it has a field of its own");
                return Err(fatal(action, reason));
            }
        }
        if self.call_deadline >= self.transaction_timeout {
            let (call, transaction) = (self.call_deadline, self.transaction_timeout);
            let reason = format!("call_deadline ({call:?}) must be less than transaction_timeout ({transaction:?})");
            return Err(fatal(action, reason));
        }
        Ok(())
    }

    /// Returns the servers, for error messages.
    pub(crate) fn place(&self) -> String {
        format!(
            "Kafka at {} (INTERLOCK_KAFKA_BOOTSTRAP_SERVERS)",
            self.bootstrap_servers
        )
    }

    /// Returns the settings of the admin client. It uses `read_uncommitted`, because librdkafka otherwise returns the
    /// last *stable* offset as the high watermark, and a rebuild that stopped there would miss the records of an open
    /// transaction.
    pub(crate) fn admin_client(&self) -> ClientConfig {
        let mut config = self.client("interlock-admin");
        config.set("isolation.level", "read_uncommitted");
        config.set("allow.auto.create.topics", "false");
        // A connection with an unanswered request is closed, or further requests would wait behind it.
        config.set("socket.timeout.ms", millis(REQUEST_TIMEOUT));
        override_with(config, &[&self.settings])
    }

    /// Returns the settings of a group member, which gets an event at the end of a partition.
    pub(crate) fn consumer(&self, consumer: &ConsumerConfig) -> ClientConfig {
        let mut config = self.fetching_client(&consumer.client_id);
        config.set("group.id", &consumer.group);
        config.set("enable.partition.eof", "true");
        config.set("max.poll.interval.ms", millis(self.max_poll_interval));
        match self.group_protocol {
            GroupProtocol::Classic => {
                config.set("group.protocol", "classic");
                config.set("partition.assignment.strategy", "cooperative-sticky");
                config.set("session.timeout.ms", millis(self.session_timeout));
                config.set("heartbeat.interval.ms", millis(self.heartbeat_interval));
            }
            GroupProtocol::Consumer => {
                config.set("group.protocol", "consumer");
            }
        }
        if let Some(instance) = &consumer.instance_id {
            config.set("group.instance.id", instance);
        }
        override_with(config, &[&self.settings, &self.consumer_settings])
    }

    /// Returns the settings of a reader of one partition, which gets an event at the end of the partition.
    pub(crate) fn reader(&self) -> ClientConfig {
        let mut config = self.fetching_client("interlock-reader");
        config.set("group.id", &self.reader_group);
        config.set("enable.partition.eof", "true");
        override_with(config, &[&self.settings, &self.consumer_settings])
    }

    /// Returns the settings of a transactional producer.
    pub(crate) fn producer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producing_client(transactional_id);
        config.set("transactional.id", transactional_id);
        config.set("transaction.timeout.ms", millis(self.transaction_timeout));
        // Must be less than the transaction's (librdkafka's INTRODUCTION.md).
        config.set("message.timeout.ms", millis(self.transaction_timeout * 2 / 3));
        // The records of a round come together, right before its commit. A longer wait would send them only after the
        // offsets.
        config.set("linger.ms", "1");
        // The broker answers CONCURRENT_TRANSACTIONS right after a commit. With librdkafka's default of 100 ms, an idle
        // commit takes 100 ms instead of 8.
        config.set("retry.backoff.ms", "5");
        config.set("retry.backoff.max.ms", "20");
        // Successes are counted by librdkafka itself; only failures are worth an event.
        config.set("delivery.report.only.error", "true");
        override_with(config, &[&self.settings, &self.producer_settings])
    }

    /// Returns the settings of a producer without transactions; a caller waits for each answer.
    pub(crate) fn appender(&self) -> ClientConfig {
        let mut config = self.producing_client("interlock-appender");
        config.set("message.timeout.ms", millis(self.call_deadline));
        config.set("linger.ms", "0");
        override_with(config, &[&self.settings, &self.producer_settings])
    }

    /// Returns the settings of a producer that sends as much as it can and reports only failures.
    pub(crate) fn bulk_producer(&self, client_id: &str) -> ClientConfig {
        let mut config = self.producing_client(client_id);
        config.set("linger.ms", "5");
        // The client sends nothing before it has a producer id, which it requests twice a second and which its
        // statistics show.
        config.set("statistics.interval.ms", "100");
        // Less than a consumer's fetch per partition: a broker sends a longer batch alone or not at all.
        config.set("batch.size", "100000");
        config.set("queue.buffering.max.messages", "200000");
        config.set("message.timeout.ms", millis(DELIVERY_MAX));
        config.set("delivery.report.only.error", "true");
        override_with(config, &[&self.settings, &self.producer_settings])
    }

    /// Returns the settings of a consumer outside of any group, with librdkafka's large fetches.
    pub(crate) fn tail_consumer(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(client_id);
        config.set("group.id", &self.reader_group);
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false");
        config.set("auto.offset.reset", "error");
        config.set("fetch.queue.backoff.ms", "5");
        override_with(config, &[&self.settings, &self.consumer_settings])
    }

    fn producing_client(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(client_id);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        // The partitioner of the Java client; librdkafka's default sends the same key to another partition.
        config.set("partitioner", "murmur2_random");
        config.set("batch.size", "1000000");
        // A dead letter is longer than its record.
        config.set("message.max.bytes", "2097152");
        config.set("compression.type", &self.compression);
        // Back-pressure beyond this.
        config.set("queue.buffering.max.kbytes", "65536");
        config
    }

    fn fetching_client(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(client_id);
        // This also makes `committed` request stable offsets (KIP-447): librdkafka derives that from the isolation
        // level.
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // Readers always start at explicit offsets; one that is out of range must be an error, not a jump.
        config.set("auto.offset.reset", "error");
        config.set("allow.auto.create.topics", "false");
        // The fetcher sleeps this long when its queue is full; with librdkafka's second, throughput is a fifth.
        config.set("fetch.queue.backoff.ms", "5");
        config.set("fetch.error.backoff.ms", "50");
        // A partition just started waits for the running fetch to end, at most this long.
        config.set("fetch.wait.max.ms", "100");
        // Memory beyond the batches collected per partition (`fetch_buffer`), uncompressed and with 250 bytes per
        // record. With librdkafka's fetch of 1 MiB per partition and 16 MiB of queue, it took 60 MiB and saved nothing.
        config.set("queued.max.messages.kbytes", "2048");
        config.set("max.partition.fetch.bytes", "131072");
        config
    }

    fn client(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("client.id", client_id);
        // Reconnects soon after a broker's restart; librdkafka would back off up to 10 s.
        config.set("reconnect.backoff.max.ms", "1000");
        // Less than the transaction's time-out, as librdkafka requires.
        config.set(
            "socket.timeout.ms",
            millis((self.transaction_timeout / 2).min(Duration::from_secs(20))),
        );
        config
    }
}

fn override_with(mut config: ClientConfig, settings: &[&[(String, String)]]) -> ClientConfig {
    for (name, value) in settings.iter().copied().flatten() {
        config.set(name, value);
    }
    config
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exactly_once_rests_on_can_not_be_overridden() {
        for field in ["isolation.level", "acks", "partitioner"] {
            let config = KafkaConfig {
                consumer_settings: vec![(field.into(), "x".into())],
                ..KafkaConfig::default()
            };
            let error = config.check().expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
        }
        assert!(KafkaConfig::default().check().is_ok());
    }

    #[test]
    fn a_deadline_beyond_the_transaction_is_refused() {
        let config = KafkaConfig {
            call_deadline: Duration::from_secs(30),
            ..KafkaConfig::default()
        };
        assert!(config.check().is_err());
    }
}
