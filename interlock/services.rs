//! Makes clients of the real services from the configuration, and waits for services that start later.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use interlock_gateway::json_log::JsonLog;
use interlock_kafka::{GroupProtocol, KafkaConfig, KafkaLog};
use interlock_operate::OperateError;
use interlock_redis::RedisConfig;
use interlock_schemas::registry::{
    ConfluentRegistry, Credentials, Ids, Registry, RegistryError, RegistrySettings, register_all,
};
use interlock_schemas::topics::{BOOKING_REQUESTS, contract};
use interlock_streams::address::split;
use interlock_streams::backoff::Backoff;
use interlock_streams::ledger::LedgerError;
use interlock_streams::log::{Log as _, LogError};
use interlock_streams::sink::SinkError;
use rdkafka::ClientConfig;
use tokio::time::Instant;

use crate::config::{self, Config, PATIENCE};

/// First pause between attempts to reach a service.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between attempts to reach a service.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time after which a command that waits says how to get servers.
const HINT_AFTER: Duration = Duration::from_millis(1_500);
const HINT: &str = "no answer yet: `scripts/services start` starts the servers, `interlock dev` needs none";
/// Longest wait for Kafka's first answer.
const PROBE: Duration = Duration::from_secs(3);

/// Returns the certificates in the file that a setting names, or `None` if it names none.
fn certificates(path: &str, setting: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let read = || std::fs::read(path).with_context(|| format!("{setting}: {path} can't be read"));
    (!path.is_empty()).then(read).transpose()
}

/// Returns a client of the schema registry, without connecting yet.
pub(crate) fn registry(config: &Config) -> anyhow::Result<ConfluentRegistry> {
    let settings = &config.schema_registry;
    let credentials = match (&settings.token.0, &settings.user) {
        (token, _) if !token.is_empty() => Credentials::Bearer(token.clone()),
        (_, user) if !user.is_empty() => Credentials::Basic {
            user: user.clone(),
            password: settings.password.0.clone(),
        },
        _ => Credentials::None,
    };
    let urls = split(&settings.url).into_iter().map(str::to_owned).collect();
    Ok(ConfluentRegistry::new(RegistrySettings {
        urls,
        credentials,
        timeout: settings.timeout,
        ca: certificates(&settings.ca_file, "schema_registry.ca_file")?,
    })?)
}

/// Returns the configuration for Kafka.
pub(crate) fn kafka(config: &Config) -> KafkaConfig {
    let kafka = &config.kafka;
    let mut settings = kafka.properties.0.clone();
    for (name, value) in [("sasl.username", &kafka.user), ("sasl.password", &kafka.password.0)] {
        if !value.is_empty() {
            settings.push((name.to_owned(), value.clone()));
        }
    }
    KafkaConfig {
        bootstrap_servers: kafka.bootstrap_servers.clone(),
        settings,
        consumer_settings: kafka.consumer_properties.0.clone(),
        producer_settings: kafka.producer_properties.0.clone(),
        group_protocol: match kafka.group_protocol {
            config::GroupProtocol::Classic => GroupProtocol::Classic,
            config::GroupProtocol::Consumer => GroupProtocol::Consumer,
        },
        session_timeout: kafka.session_timeout,
        transaction_timeout: kafka.transaction_timeout,
        call_deadline: kafka.call_deadline,
        compression: kafka.compression.clone(),
        reader_group: format!("{}-reader", config.application.id),
        ..KafkaConfig::default()
    }
}

/// Checks that Kafka answers. The time-out is shorter than the log's, so that a broker that is down is reported soon.
pub(crate) async fn reach_kafka(config: &Config) -> Result<(), Trouble> {
    let kafka = kafka(config);
    let call_deadline = kafka.call_deadline.min(PROBE);
    let log = KafkaLog::new(KafkaConfig { call_deadline, ..kafka })?;
    log.partitions(BOOKING_REQUESTS).await?;
    Ok(())
}

/// Returns the log, without connecting yet.
pub(crate) fn log(config: &Config) -> anyhow::Result<Arc<KafkaLog>> {
    Ok(Arc::new(KafkaLog::new(kafka(config))?))
}

/// Returns the log once Kafka answers; meanwhile prints the reason for the wait on standard error.
pub(crate) async fn log_once_up(config: &Config) -> anyhow::Result<Arc<KafkaLog>> {
    patiently(Some(PATIENCE), say_waiting, async || reach_kafka(config).await).await?;
    log(config)
}

/// Returns a plain Kafka client's configuration: the address, and the settings of all clients.
pub(crate) fn plain_client(kafka: &KafkaConfig, client_id: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set_log_level(rdkafka::config::RDKafkaLogLevel::Warning);
    client
        .set("bootstrap.servers", &kafka.bootstrap_servers)
        .set("client.id", client_id);
    set_all(&mut client, &kafka.settings);
    client
}

/// Returns the configuration of a plain idempotent producer that partitions keys as Java clients do.
pub(crate) fn plain_producer(kafka: &KafkaConfig, client_id: &str) -> ClientConfig {
    let mut client = plain_client(kafka, client_id);
    client
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // librdkafka's default would send a key to another partition than Java clients do.
        .set("partitioner", "murmur2_random")
        .set("compression.type", &kafka.compression);
    set_all(&mut client, &kafka.producer_settings);
    client
}

fn set_all(client: &mut ClientConfig, settings: &[(String, String)]) {
    for (name, value) in settings {
        client.set(name, value);
    }
}

/// Returns the topics as JSON once registry and Kafka answer. For writing, registers the contract's schemas and
/// includes their ids.
pub(crate) async fn json_topics(config: &Config, to_write: bool) -> anyhow::Result<JsonLog> {
    let registry: Arc<dyn Registry> = Arc::new(registry(config)?);
    let ids = match to_write {
        true => {
            let register = async || Ok(register_all(&*registry, &contract()).await?);
            patiently(Some(PATIENCE), say_waiting, register).await?
        }
        false => Ids::default(),
    };
    Ok(JsonLog::new(log_once_up(config).await?, registry, ids))
}

/// Returns the configuration for Redis.
pub(crate) fn redis(config: &Config) -> anyhow::Result<RedisConfig> {
    let redis = &config.redis;
    Ok(RedisConfig {
        urls: split(&redis.url).into_iter().map(str::to_owned).collect(),
        cluster: redis.cluster,
        namespace: redis.namespace.clone(),
        application: config.application.id.clone(),
        response_timeout: redis.response_timeout,
        connection_timeout: redis.connection_timeout,
        ca: certificates(&redis.ca_file, "redis.ca_file")?,
    })
}

/// The reason why a request to a service failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The request may succeed later: the service is down or starting.
    Passing(anyhow::Error),
    /// A person has to intervene.
    Lasting(anyhow::Error),
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Retriable { .. } => Trouble::Passing(error.into()),
            other => Trouble::Lasting(other.into()),
        }
    }
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        let setting = "is it up, and is redis.url right?";
        match error {
            LedgerError::Unavailable { .. } => Trouble::Passing(anyhow::anyhow!("{error}; {setting}")),
            other => Trouble::Lasting(other.into()),
        }
    }
}

impl From<SinkError> for Trouble {
    fn from(error: SinkError) -> Self {
        let setting = "is it up, and is database.url right?";
        match error {
            SinkError::Unavailable { .. } => Trouble::Passing(anyhow::anyhow!("{error}; {setting}")),
            other => Trouble::Lasting(other.into()),
        }
    }
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        if error.is_transient() {
            Trouble::Passing(error.into())
        } else {
            Trouble::Lasting(error.into())
        }
    }
}

impl From<OperateError> for Trouble {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::Log(error) => error.into(),
            OperateError::Ledger(LedgerError::Unavailable { .. }) => Trouble::Passing(error.into()),
            other => Trouble::Lasting(other.into()),
        }
    }
}

impl From<anyhow::Error> for Trouble {
    /// Errors of the log and the ledgers keep their meaning; every other error is lasting.
    fn from(error: anyhow::Error) -> Self {
        let is_log_away = matches!(error.downcast_ref(), Some(LogError::Retriable { .. }));
        let is_store_away = matches!(error.downcast_ref(), Some(LedgerError::Unavailable { .. }));
        match is_log_away || is_store_away {
            true => Trouble::Passing(error),
            false => Trouble::Lasting(error),
        }
    }
}

/// Repeats an attempt until it succeeds or the time is over (without a time, forever). Passes the reason of each
/// failure to `say`, in one line.
///
/// With a time it is a command that somebody waits for: after [`HINT_AFTER`] a line on standard error says how to get
/// servers.
pub(crate) async fn patiently<T>(
    patience: Option<Duration>,
    mut say: impl FnMut(&str, Duration),
    mut attempt: impl AsyncFnMut() -> Result<T, Trouble>,
) -> anyhow::Result<T> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut hint = std::pin::pin!(hint(patience));
    let mut is_hinted = false;
    loop {
        let mut attempted = std::pin::pin!(attempt());
        let attempted = loop {
            tokio::select! {
                biased;
                attempted = &mut attempted => break attempted,
                () = &mut hint, if !is_hinted => is_hinted = true,
            }
        };
        let why = match attempted {
            Ok(done) => return Ok(done),
            Err(Trouble::Lasting(error)) => return Err(error),
            Err(Trouble::Passing(error)) => format!("{error:#}"),
        };
        let pause = backoff.failed();
        if let Some((deadline, patience)) = deadline.zip(patience)
            && Instant::now() + pause > deadline
        {
            anyhow::bail!("{why}; gave up after {patience:?}");
        }
        say(&why, pause);
        let mut paused = std::pin::pin!(tokio::time::sleep(pause));
        loop {
            tokio::select! {
                () = &mut paused => break,
                () = &mut hint, if !is_hinted => is_hinted = true,
            }
        }
    }
}

/// Waits, then writes the hint; writes nothing without patience.
async fn hint(patience: Option<Duration>) {
    if patience.is_none_or(|patience| patience < HINT_AFTER) {
        return std::future::pending().await;
    }
    tokio::time::sleep(HINT_AFTER).await;
    eprintln!("{HINT}");
}

/// Writes a warning to standard error.
pub(crate) fn warn(warning: &str) {
    eprintln!("warning: {warning}");
}

/// For [`patiently`]: prints a line on standard error.
pub(crate) fn say_waiting(why: &str, pause: Duration) {
    eprintln!("waiting: {why}; again in {pause:.1?}");
}

/// Waits for a future on a runtime of its own, which is enough for one-shot commands.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.context("no asynchronous runtime")?.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn patience_outlasts_what_passes_and_not_what_lasts() {
        let (mut said, mut left) = (0, 2);
        let waited = patiently(
            None,
            |_, _| said += 1,
            async || {
                left -= 1;
                if left == 0 {
                    Ok(7)
                } else {
                    Err(Trouble::Passing(anyhow::anyhow!("down")))
                }
            },
        );
        assert_eq!(waited.await.unwrap(), 7);
        assert_eq!(said, 1);

        let down = async || Err::<(), _>(Trouble::Passing(anyhow::anyhow!("down")));
        assert!(
            patiently(Some(Duration::ZERO), |_, _| panic!("waited"), down)
                .await
                .is_err()
        );
        let wrong = async || Err::<(), _>(Trouble::Lasting(anyhow::anyhow!("wrong")));
        assert!(patiently(None, |_, _| panic!("waited"), wrong).await.is_err());
    }
}
