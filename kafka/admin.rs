//! Reads facts about topics and offsets without joining a group, and creates topics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use interlock_streams::log::{CommittedOffset, LogError, TopicSpec};
use interlock_streams::record::TopicPartition;
use rdkafka::admin::{self, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::config::{KafkaConfig, REQUEST_TIMEOUT};
use crate::context::Context;
use crate::errors::{fatal, from_code, from_kafka, retriable};
use crate::ffi;

/// Interval between checks whether a change is visible.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

type Client = Arc<BaseConsumer<Context>>;

/// Reads facts about topics and offsets. Its clients also see records of open transactions.
pub(crate) struct AdminClient {
    config: KafkaConfig,
    client: Client,
    /// One client per group, because librdkafka returns offsets of the client's own group only.
    groups: Mutex<HashMap<String, Client>>,
}

impl AdminClient {
    pub(crate) fn new(config: KafkaConfig) -> Result<Self, LogError> {
        let client = create(&config, None)?;
        Ok(Self {
            config,
            client,
            groups: Mutex::default(),
        })
    }

    /// Runs a blocking request on a thread of its own. Repeats it until the deadline if Kafka cannot answer at the
    /// moment.
    async fn ask<T, F>(&self, client: Client, action: String, question: F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: Fn(&BaseConsumer<Context>, Duration) -> KafkaResult<T> + Send + 'static,
    {
        let until = Instant::now() + self.config.call_deadline;
        let context = client.context().clone();
        let asked = tokio::task::spawn_blocking(move || {
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let answer = question(&client, left.min(REQUEST_TIMEOUT));
                serve_logs(&client);
                match answer {
                    Err(error) if !left.is_zero() && is_passing(&error) => std::thread::sleep(POLL_INTERVAL),
                    answer => return answer,
                }
            }
        });
        let answer = asked.await.map_err(|error| fatal(&action, error))?;
        match answer {
            Ok(answer) => {
                context.forget_trouble();
                Ok(answer)
            }
            Err(error) => Err(self.unanswered(action, &error, context.trouble())),
        }
    }

    /// Adds the server, its setting and the known cause to an error, if the server does not answer at all.
    fn unanswered(&self, action: String, error: &KafkaError, trouble: Option<String>) -> LogError {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::MessageTimedOut
                | RDKafkaErrorCode::Resolve,
            ) => {
                let why = trouble
                    .unwrap_or_else(|| format!("{error}; is it up, and does this port speak our security.protocol?"));
                retriable(action, format!("{} doesn't answer: {why}", self.config.place()))
            }
            Some(code) => from_code(action, code, error),
            None => from_kafka(action, error),
        }
    }

    pub(crate) async fn partitions(&self, topic: &str) -> Result<Option<i32>, LogError> {
        let name = topic.to_owned();
        let action = format!("look up topic \"{topic}\"");
        self.ask(self.client.clone(), action, move |client, timeout| {
            count_partitions(client, &name, timeout)
        })
        .await
    }

    pub(crate) async fn watermarks(&self, partition: &TopicPartition) -> Result<(i64, i64), LogError> {
        let name = partition.clone();
        let action = format!("read the watermarks of {partition}");
        self.ask(self.client.clone(), action, move |client, timeout| {
            let watermarks = || client.fetch_watermarks(&name.topic, name.partition, timeout);
            match watermarks() {
                // The client remembers the topic as it was before it grew.
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) => {
                    client.fetch_metadata(Some(&name.topic), timeout)?;
                    watermarks()
                }
                result => result,
            }
        })
        .await
    }

    pub(crate) async fn committed_unstable(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        let client = self.client_of(group)?;
        let asked = partitions.to_vec();
        let action = format!("read the offsets of group {group}");
        self.ask(client, action, move |client, timeout| {
            let mut list = TopicPartitionList::new();
            for partition in &asked {
                list.add_partition(&partition.topic, partition.partition);
            }
            let answers = ffi::committed(&client.committed_offsets(list, timeout)?);
            match answers.iter().find_map(|answer| answer.error) {
                Some(code) => Err(KafkaError::OffsetFetch(code)),
                None => Ok(ffi::in_order(&asked, answers)),
            }
        })
        .await
    }

    fn client_of(&self, group: &str) -> Result<Client, LogError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = groups.get(group) {
            return Ok(client.clone());
        }
        let client = create(&self.config, Some(group))?;
        groups.insert(group.to_owned(), client.clone());
        Ok(client)
    }

    pub(crate) async fn create_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let action = |name: &str| format!("create topic \"{name}\"");
        let mut missing = Vec::new();
        for topic in topics {
            if self.partitions(&topic.name).await?.is_none() {
                missing.push(topic);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let specs: Vec<NewTopic<'_>> = missing.iter().map(|topic| to_new_topic(topic)).collect();
        let (admin, options) = self.client_for("create topics")?;
        let created = admin.create_topics(&specs, &options).await;
        for result in created.map_err(|error| self.unanswered("create topics".into(), &error, None))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(from_code(action(&name), code, code)),
            }
        }
        for topic in missing {
            self.await_partitions(&topic.name, 1, action(&topic.name)).await?;
        }
        Ok(())
    }

    /// Reads the settings of topics as the broker states them, or the reason why it does not.
    pub(crate) async fn topic_settings(
        &self,
        topics: &[&str],
    ) -> Result<Vec<Result<HashMap<String, String>, String>>, LogError> {
        let action = "read the settings of the topics";
        let (admin, options) = self.client_for(action)?;
        let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let described = admin.describe_configs(&resources, &options).await;
        let described = described.map_err(|error| self.unanswered(action.into(), &error, None))?;
        let stated = described.into_iter().map(|settings| {
            let entries = settings.map_err(|code| code.to_string())?.entries;
            Ok(entries
                .into_iter()
                .filter_map(|entry| Some((entry.name, entry.value?)))
                .collect())
        });
        Ok(stated.collect())
    }

    pub(crate) async fn create_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        let action = format!("grow topic \"{topic}\" to {partitions} partitions");
        if self.partitions(topic).await?.is_some_and(|count| count >= partitions) {
            return Ok(());
        }
        let (admin, options) = self.client_for(&action)?;
        let count = usize::try_from(partitions).unwrap_or(0);
        let grown = admin
            .create_partitions(&[NewPartitions::new(topic, count)], &options)
            .await;
        for result in grown.map_err(|error| self.unanswered(action.clone(), &error, None))? {
            if let Err((_, code)) = result {
                return Err(from_code(action, code, code));
            }
        }
        self.await_partitions(topic, partitions, action).await
    }

    fn client_for(&self, action: &str) -> Result<(admin::AdminClient<Context>, AdminOptions), LogError> {
        let admin = self
            .config
            .admin_client()
            .create_with_context(Context::new("interlock-admin"))
            .map_err(|error| from_kafka(action, &error))?;
        let timeout = Some(self.config.call_deadline);
        let options = AdminOptions::new().operation_timeout(timeout).request_timeout(timeout);
        Ok((admin, options))
    }

    /// The controller's changes are visible a moment later.
    async fn await_partitions(&self, topic: &str, partitions: i32, action: String) -> Result<(), LogError> {
        let until = Instant::now() + self.config.call_deadline;
        while self.partitions(topic).await?.is_none_or(|count| count < partitions) {
            if Instant::now() > until {
                return Err(retriable(action, "done, but not to be seen yet"));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

/// Returns the number of partitions of a topic, once all of them have a leader.
fn count_partitions(client: &BaseConsumer<Context>, name: &str, timeout: Duration) -> KafkaResult<Option<i32>> {
    let metadata = client.fetch_metadata(Some(name), timeout)?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
        return Ok(None);
    };
    if let Some(error) = topic.error() {
        return match RDKafkaErrorCode::from(error) {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(None),
            code => Err(KafkaError::MetadataFetch(code)),
        };
    }
    if topic.partitions().iter().any(|partition| partition.leader() < 0) {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
    }
    Ok(i32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0))
}

fn create(config: &KafkaConfig, group: Option<&str>) -> Result<Client, LogError> {
    let mut client = config.admin_client();
    if let Some(group) = group {
        client.set("group.id", group);
    }
    let created = client.create_with_context(Context::new("interlock-admin"));
    let client = created.map_err(|error| from_kafka(format!("create a client for {}", config.place()), &error))?;
    Ok(Arc::new(client))
}

/// Serves librdkafka's logs, which wait on a queue that nothing else reads.
fn serve_logs(client: &BaseConsumer<Context>) {
    for _ in 0..16 {
        client.poll(Duration::ZERO);
    }
}

fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::BrokerTransportFailure
                | Code::BrokerNotAvailable
                | Code::ReplicaNotAvailable
                | Code::RequestTimedOut
                | Code::NetworkException
                | Code::CoordinatorLoadInProgress
                | Code::NotController
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::WaitingForCoordinator
        )
    )
}

fn to_new_topic(topic: &TopicSpec) -> NewTopic<'_> {
    let empty = NewTopic::new(
        &topic.name,
        topic.partitions,
        TopicReplication::Fixed(topic.replication),
    );
    topic
        .settings
        .iter()
        .fold(empty, |new, (name, value)| new.set(name, value))
}
