//! Settings of the Kafka clients, with the reasons for every value that isn't librdkafka's own.

use std::time::Duration;

use interlock_streams::log::{ConsumerConfig, LogError};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::errors::fatal;

/// How members of a group agree on who reads what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The protocol every broker has, with the cooperative-sticky assignor (KIP-429): partitions that stay are not
    /// interrupted.
    #[default]
    Classic,
    /// KIP-848: the broker assigns. Needs Kafka 4.0. Session time-out and heartbeat interval are then the broker's
    /// settings (`group.consumer.session.timeout.ms`, 45 s by default), so that by default a crashed worker's partitions
    /// wait longer than under [`GroupProtocol::Classic`].
    Consumer,
}

/// How long one request of the admin client waits for its answer before it is sent again.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach Kafka and how patient to be with it.
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
    /// How partitions are shared out.
    pub group_protocol: GroupProtocol,
    /// A member not heard of for so long is dead and loses its partitions. Brokers allow no less than 6 s by default.
    pub session_timeout: Duration,
    /// How often a member reports, which is also how soon it learns of a rebalance. A member that joins waits for two of
    /// them, one that takes over a dead one's partitions for one, and while one member is asked to join again the questions
    /// about offsets of those that did already wait, too: Kafka answers a connection's requests one after the other.
    pub heartbeat_interval: Duration,
    /// A member that takes nothing for so long, or that delays a rebalance for so long, is hung and loses its partitions.
    pub max_poll_interval: Duration,
    /// The broker aborts a transaction open for longer, and everything `read_committed` waits behind it until then.
    pub transaction_timeout: Duration,
    /// No call takes longer than about this. Less than `transaction_timeout`, or its answer would come too late.
    pub call_deadline: Duration,
    /// `compression.type`: lowers the broker's CPU time by a third and costs no throughput.
    pub compression: String,
    /// Group id under which readers introduce themselves. They never join it and never commit.
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

/// What exactly-once rests on; changing one of these would break it silently.
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
    /// Refuses settings that contradict each other or what exactly-once rests on.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let action = "check the Kafka settings";
        if self.bootstrap_servers.trim().is_empty() {
            return Err(fatal(
                action,
                "bootstrap_servers (INTERLOCK_BOOTSTRAP_SERVERS) is empty; give host:port",
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

    /// Where we connect to, for error messages.
    pub(crate) fn place(&self) -> String {
        format!("Kafka at {} (INTERLOCK_BOOTSTRAP_SERVERS)", self.bootstrap_servers)
    }

    /// A client that only asks questions. `read_uncommitted`, because librdkafka's answer to "what is the high watermark"
    /// is otherwise the last *stable* offset, and a rebuild that stopped there would miss an open transaction's records.
    pub(crate) fn admin_client(&self) -> ClientConfig {
        let mut config = self.client("interlock-admin");
        config.set("isolation.level", "read_uncommitted");
        config.set("allow.auto.create.topics", "false");
        // A connection that leaves a question unanswered is given up with it: else the next questions wait behind it.
        config.set("socket.timeout.ms", millis(REQUEST_TIMEOUT));
        override_with(config, &[&self.settings])
    }

    /// A member of a group.
    pub(crate) fn consumer(&self, consumer: &ConsumerConfig) -> ClientConfig {
        let mut config = self.fetching_client(&consumer.client_id);
        config.set("group.id", &consumer.group);
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

    /// A reader of one partition, told when it has reached the end.
    pub(crate) fn reader(&self) -> ClientConfig {
        let mut config = self.fetching_client("interlock-reader");
        config.set("group.id", &self.reader_group);
        config.set("enable.partition.eof", "true");
        override_with(config, &[&self.settings, &self.consumer_settings])
    }

    /// A transactional producer.
    pub(crate) fn producer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producing_client(transactional_id);
        config.set("transactional.id", transactional_id);
        config.set("transaction.timeout.ms", millis(self.transaction_timeout));
        // Must be less than the transaction's (librdkafka's INTRODUCTION.md).
        config.set("message.timeout.ms", millis(self.transaction_timeout * 2 / 3));
        // A round's records come all at once, right before its commit: what waits longer than that takes is on its way only
        // after the offsets.
        config.set("linger.ms", "1");
        // The broker answers CONCURRENT_TRANSACTIONS right after a commit; with librdkafka's 100 ms an idle commit takes
        // 100 ms instead of 8.
        config.set("retry.backoff.ms", "5");
        config.set("retry.backoff.max.ms", "20");
        // Successes are counted by librdkafka itself; only failures are worth an event.
        config.set("delivery.report.only.error", "true");
        override_with(config, &[&self.settings, &self.producer_settings])
    }

    /// A producer without transactions: somebody waits for each answer.
    pub(crate) fn appender(&self) -> ClientConfig {
        let mut config = self.producing_client("interlock-appender");
        config.set("message.timeout.ms", millis(self.call_deadline));
        config.set("linger.ms", "0");
        override_with(config, &[&self.settings, &self.producer_settings])
    }

    fn producing_client(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(client_id);
        config.set("enable.idempotence", "true");
        config.set("acks", "all");
        // As Java clients do; librdkafka's own default sends the same key to another partition.
        config.set("partitioner", "murmur2_random");
        config.set("batch.size", "1000000");
        // A dead letter is longer than what it is about.
        config.set("message.max.bytes", "2097152");
        config.set("compression.type", &self.compression);
        // Back-pressure beyond this.
        config.set("queue.buffering.max.kbytes", "65536");
        config
    }

    fn fetching_client(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(client_id);
        // Also makes `committed` ask for stable offsets (KIP-447): librdkafka derives that from the isolation level.
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // We always start at explicit offsets; one that is out of range must stop us, not move us.
        config.set("auto.offset.reset", "error");
        config.set("allow.auto.create.topics", "false");
        // The fetcher sleeps this long when its queue is full; with librdkafka's second, throughput is a fifth.
        config.set("fetch.queue.backoff.ms", "5");
        config.set("fetch.error.backoff.ms", "50");
        // A partition just started waits for the running fetch to end, at most this long.
        config.set("fetch.wait.max.ms", "100");
        // What is kept beyond the batches collected for each partition (`fetch_buffer`), uncompressed and with 250 bytes for each
        // record: a fetch of librdkafka's megabyte for each partition, and 16 MiB of queue, took 60 MiB and saved nothing.
        config.set("queued.max.messages.kbytes", "2048");
        config.set("max.partition.fetch.bytes", "131072");
        config
    }

    fn client(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("client.id", client_id);
        // Reconnect soon after a broker's restart; librdkafka would back off up to 10 s.
        config.set("reconnect.backoff.max.ms", "1000");
        // Less than the transaction's time-out, as librdkafka demands.
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
