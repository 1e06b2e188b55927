//! The topics' settings from the configuration, and the settings that the broker states.

use std::time::Duration;

use interlock_kafka::KafkaConfig;
use interlock_operate::topics::{TopicSettings, judge};
use interlock_schemas::topics::TOPICS;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::config::{Retention, Topics};
use crate::services;

/// Longest wait for the broker's settings.
const ANSWER: Duration = Duration::from_secs(10);

/// Returns the configuration of the topics.
pub(crate) fn settings(topics: &Topics) -> TopicSettings {
    TopicSettings {
        partitions: topics.partitions,
        replication: topics.replication,
        retention: match topics.retention {
            Retention::Unlimited => None,
            Retention::For(duration) => Some(duration),
        },
    }
}

/// Asks the broker for the settings of the topics. Fails if outcomes would be wrong with them; returns warnings about
/// the others, and about settings that the broker doesn't state.
pub(crate) async fn check_settings(kafka: &KafkaConfig) -> anyhow::Result<Vec<String>> {
    let admin: AdminClient<DefaultClientContext> = services::plain_client(kafka, "interlock-topics").create()?;
    let topics: Vec<ResourceSpecifier<'_>> = TOPICS
        .iter()
        .map(|(topic, _)| ResourceSpecifier::Topic(topic))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(kafka.call_deadline.min(ANSWER)));
    let described = match admin.describe_configs(&topics, &options).await {
        Ok(described) => described,
        Err(error) => {
            return Ok(vec![format!(
                "the settings of the topics can't be read ({error}); they are not checked"
            )]);
        }
    };
    let mut warnings = Vec::new();
    for ((topic, _), described) in TOPICS.iter().zip(described) {
        match described {
            Ok(settings) => {
                let stated = |name: &str| settings.get(name).and_then(|entry| entry.value.clone());
                warnings.extend(judge(topic, &stated)?);
            }
            Err(code) => warnings.push(format!(
                "the settings of topic {topic} can't be read ({code}); they are not checked"
            )),
        }
    }
    Ok(warnings)
}
