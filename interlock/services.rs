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
pub(crate) async fn reach_kafka(config: &Config) -> anyhow::Result<()> {
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
        urls: split(&redis.url.0).into_iter().map(str::to_owned).collect(),
        cluster: redis.cluster,
        namespace: redis.namespace.clone(),
        application: config.application.id.clone(),
        response_timeout: redis.response_timeout,
        connection_timeout: redis.connection_timeout,
        ca: certificates(&redis.ca_file, "redis.ca_file")?,
    })
}

/// Returns whether the request may succeed later, because the service is down or starting.
fn is_passing(error: &anyhow::Error) -> bool {
    let is_log_away = |error: &LogError| matches!(error, LogError::Retriable { .. });
    let is_store_away = |error: &LedgerError| matches!(error, LedgerError::Unavailable { .. });
    error.downcast_ref().is_some_and(is_log_away)
        || error.downcast_ref().is_some_and(is_store_away)
        || matches!(error.downcast_ref(), Some(SinkError::Unavailable { .. }))
        || error.downcast_ref().is_some_and(RegistryError::is_transient)
        || error.downcast_ref().is_some_and(|error| match error {
            OperateError::Log(error) => is_log_away(error),
            OperateError::Ledger(error) => is_store_away(error),
            _ => false,
        })
}

/// Returns a question about the setting that may be wrong, for errors that don't name it.
fn advice(error: &anyhow::Error) -> &'static str {
    match () {
        () if error.is::<LedgerError>() => "; is it up, and is redis.url right?",
        () if error.is::<SinkError>() => "; is it up, and is database.url right?",
        () => "",
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
    mut attempt: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut attempts = std::pin::pin!(async {
        loop {
            let why = match attempt().await {
                Err(error) if is_passing(&error) => format!("{error:#}{}", advice(&error)),
                ended => return ended,
            };
            let pause = backoff.failed();
            if let Some((deadline, patience)) = deadline.zip(patience)
                && Instant::now() + pause > deadline
            {
                anyhow::bail!("{why}; gave up after {patience:?}");
            }
            say(&why, pause);
            tokio::time::sleep(pause).await;
        }
    });
    tokio::select! {
        biased;
        ended = &mut attempts => return ended,
        () = hint(patience) => {}
    }
    attempts.await
}

/// Waits, then writes the hint; writes nothing without patience.
async fn hint(patience: Option<Duration>) {
    if patience.is_none_or(|patience| patience < HINT_AFTER) {
        return std::future::pending().await;
    }
    tokio::time::sleep(HINT_AFTER).await;
    eprintln!("{HINT}");
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
        let down = || {
            anyhow::Error::new(LogError::Retriable {
                action: "look up".into(),
                reason: "down".into(),
            })
        };
        let (mut said, mut left) = (0, 2);
        let waited = patiently(
            None,
            |_, _| said += 1,
            async || {
                left -= 1;
                if left == 0 { Ok(7) } else { Err(down()) }
            },
        );
        assert_eq!(waited.await.unwrap(), 7);
        assert_eq!(said, 1);

        let away = async || Err::<(), _>(down());
        assert!(
            patiently(Some(Duration::ZERO), |_, _| panic!("waited"), away)
                .await
                .is_err()
        );
        let wrong = async || Err::<(), _>(anyhow::anyhow!("wrong"));
        assert!(patiently(None, |_, _| panic!("waited"), wrong).await.is_err());
    }
}
