//! The configuration: flags over `INTERLOCK_*` variables over `interlock.toml` over defaults.
//!
//! ```text
//! settings.rs: the table ──> layers.rs: the source of each value ──> Config: typed, checked ──> the commands
//!                                        └──> mask.rs ──> `interlock config`
//! ```
//!
//! Secrets come from variables, or from a file that a `…_file` setting names. They are never printed.

mod document;
mod layers;
mod mask;
mod names;
mod settings;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use interlock_streams::address::{MASK, redacted};
use serde::{Deserialize, Deserializer, de::Error as _};

pub(crate) use document::{example, reference};
pub(crate) use layers::{Flag, Loaded, Origin, Sources, directory, environment, load};
pub(crate) use settings::{SETTINGS, Setting};

/// Longest wait of a one-shot command for a service that is down, as containers start in any order.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) application: Application,
    pub(crate) kafka: Kafka,
    pub(crate) schema_registry: SchemaRegistry,
    pub(crate) redis: Redis,
    pub(crate) database: Database,
    pub(crate) topics: Topics,
    pub(crate) run: Run,
    pub(crate) metrics: Metrics,
    pub(crate) gateway: Gateway,
    pub(crate) log: Log,
}

/// `application.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Application {
    pub(crate) id: String,
    pub(crate) instance_id: String,
    pub(crate) static_membership: bool,
}

/// `kafka.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kafka {
    pub(crate) bootstrap_servers: String,
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) password_file: String,
    pub(crate) properties: Properties,
    pub(crate) consumer_properties: Properties,
    pub(crate) producer_properties: Properties,
    pub(crate) group_protocol: GroupProtocol,
    #[serde(deserialize_with = "duration")]
    pub(crate) session_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) transaction_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) call_deadline: Duration,
    pub(crate) compression: String,
}

/// The protocol by which members of a consumer group divide the partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GroupProtocol {
    /// The protocol that every broker supports.
    Classic,
    /// KIP-848.
    Consumer,
}

/// `schema_registry.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaRegistry {
    pub(crate) url: String,
    #[serde(deserialize_with = "duration")]
    pub(crate) timeout: Duration,
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) password_file: String,
    pub(crate) token: Secret,
    pub(crate) token_file: String,
    pub(crate) ca_file: String,
}

/// `redis.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redis {
    pub(crate) url: Addresses,
    pub(crate) url_file: String,
    pub(crate) ca_file: String,
    pub(crate) cluster: bool,
    pub(crate) namespace: String,
    #[serde(deserialize_with = "duration")]
    pub(crate) response_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) connection_timeout: Duration,
}

/// `database.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    pub(crate) url: Addresses,
    pub(crate) url_file: String,
    pub(crate) migrate: bool,
}

/// `topics.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topics {
    pub(crate) create: bool,
    pub(crate) partitions: i32,
    pub(crate) replication: i32,
    pub(crate) retention: Retention,
}

/// `run.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) topologies: Vec<String>,
    pub(crate) threads: usize,
    #[serde(deserialize_with = "duration")]
    pub(crate) commit_interval: Duration,
    pub(crate) commit_records_max: usize,
    pub(crate) batch_records_max: usize,
    #[serde(deserialize_with = "duration")]
    pub(crate) check_interval: Duration,
}

/// `metrics.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    pub(crate) listen: SocketAddr,
}

/// `gateway.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gateway {
    pub(crate) listen: SocketAddr,
}

/// `log.…`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Text, for people.
    Text,
    /// A JSON object on each line.
    Json,
}

impl Config {
    /// Checks the constraints that types can't express, and reads the files that contain secrets.
    fn complete(mut self) -> anyhow::Result<Self> {
        self.kafka
            .password
            .read_from(&self.kafka.password_file, "kafka.password_file")?;
        let registry = &mut self.schema_registry;
        registry
            .password
            .read_from(&registry.password_file, "schema_registry.password_file")?;
        registry
            .token
            .read_from(&registry.token_file, "schema_registry.token_file")?;
        if let Some(url) = read_secret(&self.redis.url_file, "redis.url_file")? {
            self.redis.url.0 = url;
        }
        if let Some(url) = read_secret(&self.database.url_file, "database.url_file")? {
            self.database.url.0 = url;
        }
        let (topics, run) = (&self.topics, &self.run);
        ensure!(
            !self.application.id.is_empty(),
            "application.id is empty; give the installation a name"
        );
        for (key, is_zero) in [
            ("topics.partitions", topics.partitions < 1),
            ("topics.replication", topics.replication < 1),
            ("run.threads", run.threads < 1),
            ("run.commit_records_max", run.commit_records_max < 1),
            ("run.batch_records_max", run.batch_records_max < 1),
        ] {
            ensure!(!is_zero, "{key} is less than 1; at least 1 is needed");
        }
        if self.application.static_membership && self.application.instance_id.is_empty() {
            bail!("application.static_membership needs application.instance_id, the same one after each restart");
        }
        Ok(self)
    }
}

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl Secret {
    fn read_from(&mut self, path: &str, key: &str) -> anyhow::Result<()> {
        if let Some(secret) = read_secret(path, key)? {
            self.0 = secret;
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { MASK })
    }
}

/// Addresses, whose passwords are never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(crate) struct Addresses(pub(crate) String);

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

/// Returns the secret in a file, without the end of the line, or `None` if no file is named.
fn read_secret(path: &str, key: &str) -> anyhow::Result<Option<String>> {
    if path.is_empty() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(Path::new(path)).with_context(|| format!("{key}: {path} can't be read"))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// librdkafka's settings: names with dots, and their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(pub(crate) Vec<(String, String)>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        Ok(Properties(
            names::leaves(&table)
                .into_iter()
                .map(|(name, value)| (name, names::text(value)))
                .collect(),
        ))
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|error| format!("`{text}` is not a duration ({error}); write 100ms, 10s, 5m, 2h or 400d"))
}

/// The retention of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    /// Without a limit.
    Unlimited,
    /// For this time.
    For(Duration),
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "unlimited" => Ok(Retention::Unlimited),
            text => parse_duration(text).map(Retention::For).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests;
