//! Reads and writes the topics as other clients do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interlock_kafka::{KafkaConfig, KafkaLog};
use interlock_schemas::registry::{ConfluentRegistry, Ids, Registry, RegistrySettings, register_all};
use interlock_schemas::{Decoder, Event, TrainService, topics};
use interlock_streams::log::Log as _;
use interlock_streams::record::{Record, TopicPartition};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::installation::Installation;
use super::{PATIENCE, wait_for};

/// A record to write, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Raw {
    /// The partition; by the key's hash if there is none.
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// The time of the producer's clock, in milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Read {
    /// The partition that it was read from.
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: BTreeMap<String, Vec<u8>>,
}

impl Raw {
    fn record(&self) -> FutureRecord<'_, Vec<u8>, Vec<u8>> {
        let mut record = FutureRecord::to(topics::BOOKING_REQUESTS);
        record.partition = self.partition;
        record.key = self.key.as_ref();
        record.payload = self.value.as_ref();
        record.timestamp = self.timestamp;
        if !self.headers.is_empty() {
            let headers = self.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            });
            record.headers = Some(headers);
        }
        record
    }
}

impl Installation {
    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.bootstrap_servers());
        client
    }

    /// Removes every topic of the contract.
    pub(super) async fn remove_topics(&self) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let names: Vec<String> = topics::TOPICS
            .iter()
            .flat_map(|(topic, _)| [(*topic).to_owned(), topics::dlq(topic)])
            .collect();
        wait_for("the topics are gone", PATIENCE, async || {
            let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10))?;
            let there = metadata.topics().iter().map(|topic| topic.name());
            let there: Vec<&str> = there.filter(|name| names.iter().any(|ours| ours == name)).collect();
            if there.is_empty() {
                return Ok(Some(()));
            }
            admin.delete_topics(&there, &AdminOptions::new()).await?;
            Ok(None)
        })
        .await
    }

    /// Writes a record to `booking-requests`; returns its partition and offset.
    pub async fn produce(&self, raw: &Raw) -> Result<(i32, i64)> {
        let places = self.produce_all(std::slice::from_ref(raw)).await?;
        places.first().copied().context("no place")
    }

    /// Writes records to `booking-requests` as fast as possible; returns their partitions and offsets.
    pub async fn produce_all(&self, raws: &[Raw]) -> Result<Vec<(i32, i64)>> {
        let mut client = self.client();
        client.set("partitioner", "murmur2_random");
        // A record that compresses well may be longer than the broker's limit.
        client
            .set("compression.type", "lz4")
            .set("message.max.bytes", "100000000");
        let producer: FutureProducer = client.create()?;
        let send = async |raw: &Raw| {
            let sent = producer.send(raw.record(), PATIENCE).await;
            let delivery = sent.map_err(|(error, _)| error).context("produce a record")?;
            anyhow::Ok((delivery.partition, delivery.offset))
        };
        let mut places = Vec::with_capacity(raws.len());
        // The client's queue takes this many records at a time.
        for some in raws.chunks(10_000) {
            places.extend(futures::future::try_join_all(some.iter().map(send)).await?);
        }
        Ok(places)
    }

    fn log(&self) -> Result<KafkaLog> {
        Ok(KafkaLog::new(KafkaConfig {
            bootstrap_servers: self.bootstrap_servers().to_owned(),
            ..KafkaConfig::default()
        })?)
    }

    /// Returns the committed records of a topic, in order within each partition.
    pub async fn read(&self, topic: &str) -> Result<Vec<Read>> {
        let log = self.log()?;
        let mut read = Vec::new();
        for partition in 0..log.partitions(topic).await?.unwrap_or(0) {
            let records = read_partition(&log, &TopicPartition::new(topic, partition)).await?;
            read.extend(records.into_iter().map(|record| {
                Read {
                    partition,
                    offset: record.offset,
                    key: record.key.map(|key| key.to_vec()),
                    value: record.value.map(|value| value.to_vec()),
                    headers: record
                        .headers
                        .into_iter()
                        .map(|(name, value)| (name.to_string(), value.unwrap_or_default().to_vec()))
                        .collect(),
                }
            }));
        }
        Ok(read)
    }

    /// Returns a client of the registry, and the contract's ids there.
    pub async fn registry(&self) -> Result<(Arc<dyn Registry>, Ids)> {
        let registry: Arc<dyn Registry> = Arc::new(ConfluentRegistry::new(RegistrySettings::new(self.registry_url()))?);
        let ids = register_all(&*registry, &topics::contract()).await?;
        Ok((registry, ids))
    }

    /// Returns all committed events.
    pub async fn events(&self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        self.each_event(|event| events.push(event)).await?;
        Ok(events)
    }

    /// Visits all committed events, one after the other; they need not fit into memory.
    pub async fn each_event(&self, mut what: impl FnMut(Event)) -> Result<()> {
        let (log, mut decoder) = (self.log()?, Decoder::<Event>::new(self.registry().await?.0));
        for topic in topics::EVENTS {
            for partition in 0..log.partitions(topic).await?.unwrap_or(0) {
                for record in read_partition(&log, &TopicPartition::new(topic, partition)).await? {
                    what(decoder.decode(record.value.as_deref().unwrap_or_default()).await?);
                }
            }
        }
        Ok(())
    }

    /// Returns the plans on sale.
    pub async fn plans(&self) -> Result<Vec<TrainService>> {
        let (log, mut decoder) = (self.log()?, Decoder::<TrainService>::new(self.registry().await?.0));
        let mut plans = Vec::new();
        for partition in 0..self.partitions() {
            for record in read_partition(&log, &TopicPartition::new(topics::TRAIN_SERVICES, partition)).await? {
                plans.push(decoder.decode(record.value.as_deref().unwrap_or_default()).await?);
            }
        }
        ensure!(!plans.is_empty(), "nothing is on sale");
        Ok(plans)
    }
}

/// Reads everything committed up to the partition's present end.
async fn read_partition(log: &KafkaLog, source: &TopicPartition) -> Result<Vec<Record>> {
    let (low, high) = log.watermarks(source).await?;
    let mut records = Vec::new();
    let mut reader = log.reader(source, low).await?;
    wait_for("a partition is read to its end", PATIENCE, async || {
        if reader.position() < high {
            records.extend(reader.next(10_000, Duration::from_secs(1)).await?);
        }
        Ok((reader.position() >= high).then_some(()))
    })
    .await
    .with_context(|| format!("{source} from {low} to {high}"))?;
    Ok(records)
}
