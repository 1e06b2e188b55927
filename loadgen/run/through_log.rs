//! Sends a load through any log: the requests in batches, the outcomes by a consumer.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use interlock_schemas::topics::BOOKING_REQUESTS;
use interlock_streams::log::{Consumer, ConsumerConfig, Log, LogError, Polled};
use interlock_streams::record::{Header, OutputRecord, Record, TopicPartition};
use tokio::runtime::Runtime;

use super::{ClientError, Inlet, OUTCOME_TOPICS, Outcome, Outlet, Refused};

/// Name of both clients, and of the group that reads the outcomes.
const CLIENT: &str = "interlock-opening";
/// Requests in one append, at most.
const BATCH: usize = 500;
/// Records in one read, at most.
const RECORDS_PER_POLL: usize = 2_000;

/// Longest wait of one read for further records.
const READ: Duration = Duration::from_millis(100);

/// Header that tells a load's requests from others; its value is the load's name.
const LOAD: &str = "interlock.load";

/// Appends requests in batches.
pub struct LogOutlet {
    log: Arc<dyn Log>,
    runtime: Runtime,
    topic: Arc<str>,
    header: Header,
    batch: Vec<OutputRecord>,
}

impl LogOutlet {
    /// Appends the requests of a load of this name.
    pub fn new(log: Arc<dyn Log>, load: &str) -> Result<Self, ClientError> {
        Ok(Self {
            log,
            runtime: runtime()?,
            topic: BOOKING_REQUESTS.into(),
            header: (LOAD.into(), Some(Bytes::copy_from_slice(load.as_bytes()))),
            batch: Vec::with_capacity(BATCH),
        })
    }
}

impl Outlet for LogOutlet {
    fn send(&mut self, key: &str, value: &[u8]) -> Result<(), ClientError> {
        self.batch.push(OutputRecord {
            topic: self.topic.clone(),
            partition: None,
            timestamp: None,
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::copy_from_slice(value)),
            headers: vec![self.header.clone()],
        });
        if self.batch.len() < BATCH {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.runtime.block_on(self.log.append(batch))?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Refused, ClientError> {
        self.flush()?;
        Ok(Refused::default())
    }
}

/// Counts the requests of a load that the log holds. They were written in the load's order, so they are its beginning.
pub async fn sent(log: &dyn Log, load: &str) -> Result<u64, LogError> {
    let is_ours = |record: &&Record| record.header(LOAD).is_some_and(|value| *value == load.as_bytes());
    let mut count = 0;
    for partition in 0..log.partitions(BOOKING_REQUESTS).await?.unwrap_or(0) {
        let source = TopicPartition::new(BOOKING_REQUESTS, partition);
        let (low, high) = log.watermarks(&source).await?;
        let mut reader = log.reader(&source, low).await?;
        while reader.position() < high {
            let records = reader.next(RECORDS_PER_POLL, READ).await?;
            count += records.iter().filter(is_ours).count() as u64;
        }
    }
    Ok(count)
}

/// The only member of a group of its own.
pub struct LogInlet {
    consumer: Box<dyn Consumer>,
    runtime: Runtime,
    low: BTreeMap<TopicPartition, i64>,
}

impl LogInlet {
    /// Reads from the first outcome kept, so that those of an earlier process are counted too.
    pub async fn from_beginning(log: &dyn Log) -> Result<Self, ClientError> {
        let mut low = BTreeMap::new();
        for topic in OUTCOME_TOPICS {
            for partition in 0..log.partitions(topic).await?.unwrap_or(0) {
                let source = TopicPartition::new(topic, partition);
                let (first, _) = log.watermarks(&source).await?;
                low.insert(source, first);
            }
        }
        let config = ConsumerConfig {
            group: CLIENT.to_owned(),
            topics: OUTCOME_TOPICS.map(str::to_owned).to_vec(),
            client_id: CLIENT.to_owned(),
            instance_id: None,
        };
        Ok(Self {
            consumer: log.consumer(&config).await?,
            runtime: runtime()?,
            low,
        })
    }
}

impl Inlet for LogInlet {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Outcome<'_>)) -> Result<(), ClientError> {
        match self.runtime.block_on(self.consumer.poll(RECORDS_PER_POLL, wait))? {
            Polled::Records(batches) => {
                for batch in &batches {
                    for record in &batch.records {
                        each(Outcome {
                            topic: &batch.source.topic,
                            partition: batch.source.partition,
                            offset: record.offset,
                            value: record.value.as_deref().unwrap_or_default(),
                        });
                    }
                }
            }
            Polled::Assigned(partitions) => {
                let known = |source: TopicPartition| self.low.get(&source).map(|low| (source.clone(), *low));
                let positions: Vec<_> = partitions.into_iter().filter_map(known).collect();
                self.runtime.block_on(self.consumer.start(&positions))?;
            }
            Polled::Revoked(_) => self.runtime.block_on(self.consumer.complete_revocation())?,
            Polled::Lost(lost) => {
                return Err(format!("the log took {} partitions of outcomes away", lost.len()).into());
            }
            Polled::Nothing => {}
        }
        Ok(())
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
