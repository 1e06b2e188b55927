//! The table of all settings: key, variable, default, unit and a sentence. The parser, `interlock config`,
//! `interlock.toml` and the reference are made from it; a test compares it with the types that the settings are read
//! into.

/// A setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The key in `interlock.toml`, such as `redis.url`.
    pub(crate) key: &'static str,
    /// The kind of its value.
    pub(crate) kind: Kind,
    /// The default, as it would be written in a variable.
    pub(crate) default: &'static str,
    /// The unit or form of the value; empty if it is obvious.
    pub(crate) unit: &'static str,
    /// A sentence that describes it.
    pub(crate) about: &'static str,
}

/// The kind of a value, which determines how a variable's text is parsed and displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text, including durations and choices.
    Text,
    /// Addresses, separated by commas. A password in one is never shown, and refused in the file.
    Url,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// A list of texts; in a variable, separated by commas.
    List,
    /// Names with values; in a variable `name=value`, separated by commas. Secret values are never shown, and are
    /// refused in the file.
    Map,
    /// A secret: never shown, and refused in the file.
    Secret,
}

impl Setting {
    /// Returns the variable that sets it: `redis.url` is `INTERLOCK_REDIS_URL`.
    pub(crate) fn variable(&self) -> String {
        format!("INTERLOCK_{}", self.key.replace('.', "_").to_uppercase())
    }
}

const fn setting(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    unit: &'static str,
    about: &'static str,
) -> Setting {
    Setting {
        key,
        kind,
        default,
        unit,
        about,
    }
}

/// Returns the setting with this key.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

use Kind::{List, Map, Number, Secret, Switch, Text, Url};

/// All settings, by section.
#[rustfmt::skip]
pub(crate) const SETTINGS: &[Setting] = &[
    setting("application.id", Text, "interlock", "",
        "Names the installation: first part of consumer groups and of transactional ids, and owner of the ledgers in Redis."),
    setting("application.instance_id", Text, "", "empty: host, process and a random number",
        "Identifies this worker. With a fixed id, a restarted worker takes over from its earlier process at once."),
    setting("application.static_membership", Switch, "false", "",
        "Join the consumer groups as a static member (KIP-345), so that a quick restart moves no partition; needs an instance_id."),

    setting("kafka.bootstrap_servers", Text, "127.0.0.1:9092", "host:port, separated by commas",
        "Addresses of Kafka's brokers."),
    setting("kafka.user", Text, "", "",
        "User for SASL (`sasl.username`); security.protocol and sasl.mechanism are properties."),
    setting("kafka.password", Secret, "", "",
        "Password for SASL (`sasl.password`)."),
    setting("kafka.password_file", Text, "", "path",
        "File that holds kafka.password."),
    setting("kafka.properties", Map, "", "librdkafka's names",
        "Further settings of all Kafka clients, such as security.protocol."),
    setting("kafka.consumer_properties", Map, "", "librdkafka's names",
        "Further settings of consumers."),
    setting("kafka.producer_properties", Map, "", "librdkafka's names",
        "Further settings of producers."),
    setting("kafka.group_protocol", Text, "classic", "classic or consumer",
        "Protocol by which partitions are assigned: `consumer` is KIP-848 and needs Kafka 4.0."),
    setting("kafka.session_timeout", Text, "10s", "duration",
        "A worker that is silent for longer loses its partitions (classic protocol)."),
    setting("kafka.transaction_timeout", Text, "30s", "duration",
        "The broker aborts a transaction that is open for longer."),
    setting("kafka.call_deadline", Text, "15s", "duration",
        "Longest wait for a call to Kafka; has to be less than transaction_timeout."),
    setting("kafka.compression", Text, "lz4", "none, gzip, snappy, lz4 or zstd",
        "Compression of producers."),

    setting("schema_registry.url", Url, "http://127.0.0.1:8081/apis/ccompat/v7", "separated by commas",
        "Address of the schema registry (Confluent's API; Apicurio's address ends in /apis/ccompat/v7)."),
    setting("schema_registry.timeout", Text, "10s", "duration",
        "Longest duration of one request to the registry."),
    setting("schema_registry.user", Text, "", "",
        "User for basic authentication (Confluent Cloud: the API key)."),
    setting("schema_registry.password", Secret, "", "",
        "Password for basic authentication."),
    setting("schema_registry.password_file", Text, "", "path",
        "File that holds schema_registry.password."),
    setting("schema_registry.token", Secret, "", "",
        "Bearer token, instead of user and password."),
    setting("schema_registry.token_file", Text, "", "path",
        "File that holds schema_registry.token."),
    setting("schema_registry.ca_file", Text, "", "path",
        "Certificate authorities (PEM) for an https:// registry; empty: those that the system trusts."),

    setting("redis.url", Url, "redis://127.0.0.1:6379", "of a cluster several, separated by commas",
        "Address of the Redis that keeps the ledgers: redis://, rediss:// (TLS), redis+unix:// or redis+sentinel://."),
    setting("redis.url_file", Text, "", "path",
        "File that holds redis.url, for an address with a password."),
    setting("redis.ca_file", Text, "", "path",
        "Certificate authorities (PEM) for a rediss:// server; empty: those that the system trusts."),
    setting("redis.cluster", Switch, "false", "",
        "True if the address is that of a Redis Cluster."),
    setting("redis.namespace", Text, "il", "letters, digits, `-`, `_`, `.`",
        "First part of all keys, so that installations can share a server."),
    setting("redis.response_timeout", Text, "5s", "duration",
        "Longest wait for the answer to a call."),
    setting("redis.connection_timeout", Text, "2s", "duration",
        "Longest time for establishing a connection."),

    setting("database.url", Url, "postgres://interlock@127.0.0.1:5432/interlock", "",
        "Address of the database of the window tables: TimescaleDB or plain PostgreSQL."),
    setting("database.url_file", Text, "", "path",
        "File that holds database.url, for an address with a password."),
    setting("database.migrate", Switch, "true", "",
        "Let `run` create the tables and bring them up to date. Turn it off if the role of `run` lacks the rights; `interlock migrate` does the same."),

    setting("topics.create", Switch, "true", "",
        "Let `run` create missing topics (`seed` always does)."),
    setting("topics.partitions", Number, "8", "partitions",
        "Partitions of new topics, and thereby the number of ledgers. Once there are bookings, only `interlock replay --repartition` changes it."),
    setting("topics.replication", Number, "1", "copies",
        "Replication factor of new topics. Use 3 in production; writes then need two replicas in sync."),
    setting("topics.retention", Text, "unlimited", "duration or `unlimited`",
        "Retention of new topics. The events must outlive the sale, because ledgers are rebuilt from them."),

    setting("run.topologies", List, "", "names; empty: all",
        "Topologies that a worker runs; `interlock topology` lists them."),
    setting("run.threads", Number, "1", "threads of each topology",
        "Stream threads; threads beyond the number of partitions stay idle."),
    setting("run.commit_interval", Text, "100ms", "duration",
        "Longest time until outcomes become visible while there is a backlog; without a backlog they become visible at once."),
    setting("run.commit_records_max", Number, "20000", "records",
        "Most input records in one transaction."),
    setting("run.batch_records_max", Number, "2000", "records",
        "Most input records that are decided in one round; this bounds the memory, and the time for which one commit blocks Redis."),
    setting("run.check_interval", Text, "1s", "duration",
        "Interval at which an idle worker checks that its ledgers are unchanged."),

    setting("metrics.listen", Text, "127.0.0.1:9464", "address:port",
        "Address at which a worker serves /metrics, /healthz and /readyz; port 0 takes a free one. Workers on one host need different ports."),

    setting("gateway.listen", Text, "127.0.0.1:8080", "address:port",
        "Address at which `gateway` serves HTTP and the live page; port 0 takes a free one."),

    setting("log.filter", Text, "info,sqlx=warn", "as in RUST_LOG, which is used where this is not set",
        "Filter for the log on standard error, such as `info,interlock_streams=debug`."),
    setting("log.format", Text, "text", "text or json",
        "Format of log lines."),
];

/// Variables with our prefix that belong to scripts, containers and dashboards.
pub(crate) const FOREIGN: &[&str] = &[
    "INTERLOCK_BROKERS",
    "INTERLOCK_CACHE",
    "INTERLOCK_CONFIG",
    "INTERLOCK_FUZZ_RUNS",
    "INTERLOCK_FUZZ_SEED",
    "INTERLOCK_GRAFANA_PORT",
    "INTERLOCK_GRAFANA_URL",
    "INTERLOCK_KAFKA_EXTRA",
    "INTERLOCK_KAFKA_PORT",
    "INTERLOCK_KAFKA_PROXIES",
    "INTERLOCK_POSTGRES_ADDRESS",
    "INTERLOCK_POSTGRES_PORT",
    "INTERLOCK_PROMETHEUS_PORT",
    "INTERLOCK_PROMETHEUS_URL",
    "INTERLOCK_REDIS_PORT",
    "INTERLOCK_REGISTRY_PORT",
    "INTERLOCK_SERVICES",
    "INTERLOCK_STATE",
    "INTERLOCK_TEST_BINARY",
];
