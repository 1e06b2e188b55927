//! The topics as they must be, and whether those that exist are so.
//!
//! | topics | settings | why |
//! | --- | --- | --- |
//! | `booking-requests` | `message.timestamp.type=LogAppendTime` | the time of a command is its record's, never the client's claim |
//! | `train-services` | `cleanup.policy=compact` | the last plan of each train is read at start, however old |
//! | the dead letters | `max.message.bytes=2097152` | the longest record that a broker takes fits in, with the reason |
//! | the events, requests, dead letters | `retention.ms` as configured, for ever by default | a ledger is rebuilt from its events |
//!
//! All but the plans have the same number of partitions: a partition of each belongs to one ledger. Plans are read whole by
//! every worker; theirs never grow, as a train's plans would then lie in two partitions.

use std::time::Duration;

use anyhow::{bail, ensure};
use interlock_kafka::KafkaConfig;
use interlock_schemas::topics::{BOOKING_REQUESTS, EVENTS, TOPICS, TRAIN_SERVICES, dlq};
use interlock_streams::log::{Log, TopicSpec};
use interlock_topologies::topic_specs;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::config::{Retention, Topics};
use crate::services;

/// Copies from which on a write must reach two of them to count.
const COPIES_FOR_TWO_IN_SYNC: i32 = 3;

/// Longest time that the broker takes to state its settings.
const ANSWER: Duration = Duration::from_secs(10);

/// The topics as the topologies need them, kept and copied as configured.
pub(crate) fn specs(topics: &Topics, partitions: i32) -> Vec<TopicSpec> {
    let mut specs = topic_specs(partitions, topics.replication);
    for spec in &mut specs {
        let settings = settings(&spec.name, topics).into_iter();
        spec.settings
            .extend(settings.map(|(name, value)| (name.to_owned(), value)));
    }
    specs
}

/// Creates the topics that are missing, with as many partitions as those that exist have; else as configured.
/// Refuses to go on where existing ones differ from each other. Returns the number of partitions.
pub(crate) async fn ensure(log: &dyn Log, topics: &Topics) -> anyhow::Result<i32> {
    let existing = existing(log).await?;
    let partitions = common(&existing)?.unwrap_or(topics.partitions);
    if partitions != topics.partitions {
        tracing::warn!(
            existing = partitions,
            configured = topics.partitions,
            "the topics have another number of partitions than topics.partitions says; it stays as it is"
        );
    }
    let missing: Vec<TopicSpec> = specs(topics, partitions)
        .into_iter()
        .filter(|spec| existing.iter().all(|(name, _)| *name != spec.name))
        .collect();
    if !missing.is_empty() {
        log.create_topics(&missing).await?;
        let names: Vec<&str> = missing.iter().map(|spec| spec.name.as_str()).collect();
        tracing::info!(
            topics = names.join(", "),
            partitions,
            replication = topics.replication,
            "created topics"
        );
    }
    Ok(partitions)
}

/// The number of partitions of topics that must all exist, because nobody is to create them.
pub(crate) async fn require(log: &dyn Log) -> anyhow::Result<i32> {
    let existing = existing(log).await?;
    let missing: Vec<&str> = TOPICS
        .iter()
        .map(|(topic, _)| *topic)
        .filter(|topic| existing.iter().all(|(name, _)| name != topic))
        .collect();
    if !missing.is_empty() {
        bail!(
            "these topics are missing: {}; run `interlock seed`, or set topics.create",
            missing.join(", ")
        );
    }
    Ok(common(&existing)?.unwrap_or_default())
}

/// The topics whose partitions belong to ledgers, the requests last.
pub(crate) fn of_ledgers() -> impl Iterator<Item = String> {
    let all = TOPICS.iter().rev().map(|(topic, _)| *topic);
    let of_ledgers = all.filter(|topic| *topic != TRAIN_SERVICES && *topic != BOOKING_REQUESTS);
    let others = of_ledgers.flat_map(|topic| [topic.to_owned(), dlq(topic)]);
    others.chain([dlq(BOOKING_REQUESTS), BOOKING_REQUESTS.to_owned()])
}

async fn existing(log: &dyn Log) -> anyhow::Result<Vec<(String, i32)>> {
    let mut existing = Vec::new();
    for name in TOPICS.iter().flat_map(|(topic, _)| [(*topic).to_owned(), dlq(topic)]) {
        if let Some(partitions) = log.partitions(&name).await? {
            existing.push((name, partitions));
        }
    }
    Ok(existing)
}

fn common(existing: &[(String, i32)]) -> anyhow::Result<Option<i32>> {
    let of_ledgers = |(name, _): &&(String, i32)| *name != TRAIN_SERVICES && *name != dlq(TRAIN_SERVICES);
    let mut existing = existing.iter().filter(of_ledgers).peekable();
    let Some((_, partitions)) = existing.peek().copied() else {
        return Ok(None);
    };
    let differ = existing.clone().any(|(_, other)| other != partitions);
    let list = || {
        existing
            .map(|(name, partitions)| format!("{name} {partitions}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    ensure!(
        !differ,
        "all topics must have the same number of partitions, but they have: {}; if `interlock replay --repartition` was interrupted, run \
         it again",
        list()
    );
    Ok(Some(*partitions))
}

fn settings(topic: &str, topics: &Topics) -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    if topic != TRAIN_SERVICES {
        settings.push(("retention.ms", retention_ms(topics.retention)));
        // Else the broker's default could delete by size what time keeps.
        settings.push(("retention.bytes", "-1".to_owned()));
    }
    if topics.replication >= COPIES_FOR_TWO_IN_SYNC {
        settings.push(("min.insync.replicas", "2".to_owned()));
    }
    settings
}

fn retention_ms(retention: Retention) -> String {
    match retention {
        Retention::Unlimited => "-1".to_owned(),
        Retention::For(duration) => duration.as_millis().to_string(),
    }
}

/// Asks the broker for the settings of the topics, refuses those with which outcomes would be wrong and returns what
/// should be said of the others. A broker that doesn't tell is believed.
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
                warnings.extend(judge(topic, &stated).map_err(anyhow::Error::msg)?);
            }
            Err(code) => warnings.push(format!(
                "the settings of topic {topic} can't be read ({code}); they are not checked"
            )),
        }
    }
    Ok(warnings)
}

/// A topic's settings as the broker states them.
type Stated<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wrong with the settings of a topic that existed before: `Err` where outcomes would be wrong, `Ok` with
/// what should be said where something may be lost one day.
fn judge(topic: &str, stated: Stated<'_>) -> Result<Option<String>, String> {
    let is = |name: &str, value: &str| stated(name).is_none_or(|stated| stated == value);
    let advice = |name: &str, value: &str| {
        format!(
            "set it: kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}"
        )
    };
    if topic == BOOKING_REQUESTS && !is("message.timestamp.type", "LogAppendTime") {
        let advice = advice("message.timestamp.type", "LogAppendTime");
        return Err(format!(
            "topic {topic} keeps the clients' timestamps, but the time of a command is the broker's; {advice}"
        ));
    }
    if topic == TRAIN_SERVICES && stated("cleanup.policy").is_some_and(|policy| !policy.contains("compact")) {
        let advice = advice("cleanup.policy", "compact");
        return Ok(Some(format!(
            "topic {topic} is not compacted, so that plans vanish when they are old; {advice}"
        )));
    }
    if EVENTS.contains(&topic) && !(is("retention.ms", "-1") && is("retention.bytes", "-1")) {
        let kept = stated("retention.ms").unwrap_or_default();
        return Ok(Some(format!(
            "topic {topic} keeps records for {kept} ms only; ledgers are rebuilt from it, so this must outlive the sale; else {}",
            advice("retention.ms", "-1")
        )));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(replication: i32, retention: Retention) -> Topics {
        Topics {
            create: true,
            partitions: 8,
            replication,
            retention,
        }
    }

    fn setting(specs: &[TopicSpec], topic: &str, name: &str) -> Option<String> {
        let spec = specs.iter().find(|spec| spec.name == topic).unwrap();
        spec.settings
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    }

    #[test]
    fn topics_are_as_the_contract_says() {
        let specs = specs(&topics(1, Retention::Unlimited), 4);
        assert_eq!(specs.len(), 2 * TOPICS.len());
        assert!(specs.iter().all(|spec| spec.partitions == 4 && spec.replication == 1));
        assert_eq!(
            setting(&specs, "booking-requests", "message.timestamp.type").as_deref(),
            Some("LogAppendTime")
        );
        assert_eq!(setting(&specs, "confirmed", "message.timestamp.type"), None);
        assert_eq!(
            setting(&specs, "train-services", "cleanup.policy").as_deref(),
            Some("compact")
        );
        for topic in EVENTS {
            assert_eq!(setting(&specs, topic, "retention.ms").as_deref(), Some("-1"), "{topic}");
        }
        assert_eq!(
            setting(&specs, "booking-requests.dlq", "retention.ms").as_deref(),
            Some("-1")
        );
        assert_eq!(setting(&specs, "confirmed", "min.insync.replicas"), None);
    }

    #[test]
    fn three_copies_need_two_in_sync_and_retention_can_be_limited() {
        let day = std::time::Duration::from_secs(86_400);
        let specs = specs(&topics(3, Retention::For(day)), 4);
        assert_eq!(
            setting(&specs, "confirmed", "min.insync.replicas").as_deref(),
            Some("2")
        );
        assert_eq!(
            setting(&specs, "confirmed", "retention.ms").as_deref(),
            Some("86400000")
        );
    }

    #[test]
    fn topics_that_do_not_fit_are_judged() {
        let judge = |topic: &str, settings: &[(&str, &str)]| {
            let find = |name: &str| {
                settings
                    .iter()
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            judge(topic, &find)
        };
        assert!(judge("booking-requests", &[("message.timestamp.type", "CreateTime")]).is_err());
        assert_eq!(
            judge("booking-requests", &[("message.timestamp.type", "LogAppendTime")]),
            Ok(None)
        );
        assert!(
            judge("train-services", &[("cleanup.policy", "delete")])
                .unwrap()
                .is_some()
        );
        assert_eq!(
            judge("train-services", &[("cleanup.policy", "compact,delete")]),
            Ok(None)
        );
        assert!(
            judge("waitlist", &[("retention.ms", "604800000")])
                .unwrap()
                .unwrap()
                .contains("604800000 ms")
        );
        assert_eq!(judge("waitlist", &[("retention.ms", "-1")]), Ok(None));
        assert_eq!(judge("waitlist", &[]), Ok(None));
    }

    #[test]
    fn all_must_have_the_same_number_of_partitions() {
        let list = |counts: &[(&str, i32)]| {
            counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect::<Vec<_>>()
        };
        assert_eq!(common(&[]).unwrap(), None);
        assert_eq!(common(&list(&[("a", 4), ("b", 4)])).unwrap(), Some(4));
        assert!(
            common(&list(&[("a", 4), ("b", 8)]))
                .unwrap_err()
                .to_string()
                .contains("a 4, b 8")
        );
    }
}
