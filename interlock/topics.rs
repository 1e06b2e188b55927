//! The topics' settings: those of the configuration, and a check of those that the broker states.

use interlock_kafka::KafkaLog;
use interlock_operate::topics::{TopicSettings, judge};
use interlock_schemas::topics::TOPICS;

use crate::config::{Retention, Topics};

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

/// Reads the settings of the topics. Fails if outcomes would be wrong with them; returns warnings about the others, and
/// about settings that the broker doesn't state.
pub(crate) async fn check_settings(log: &KafkaLog) -> anyhow::Result<Vec<String>> {
    let topics = TOPICS.map(|(topic, _)| topic);
    let stated = match log.topic_settings(&topics).await {
        Ok(stated) => stated,
        Err(error) => {
            return Ok(vec![format!(
                "the settings of the topics can't be read ({error}); they are not checked"
            )]);
        }
    };
    let mut warnings = Vec::new();
    for (topic, stated) in topics.into_iter().zip(stated) {
        match stated {
            Ok(settings) => warnings.extend(judge(topic, &|name| settings.get(name).cloned())?),
            Err(code) => warnings.push(format!(
                "the settings of topic {topic} can't be read ({code}); they are not checked"
            )),
        }
    }
    Ok(warnings)
}
