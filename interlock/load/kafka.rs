//! Sends a load through Kafka clients that are tuned for it.

use std::time::Duration;

use interlock_kafka::{BulkProducer, KafkaConfig, KafkaLog, TailConsumer, TailRecord};
use interlock_loadgen::run::{ClientError, Inlet, OUTCOME_TOPICS, Outcome, Outlet, Refused};
use interlock_schemas::topics::BOOKING_REQUESTS;

/// Name of both clients.
const CLIENT: &str = "interlock-loadgen";

/// Sends requests.
pub(crate) struct KafkaOutlet(BulkProducer);

impl KafkaOutlet {
    pub(crate) async fn connect(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        Ok(Self(BulkProducer::connect(kafka, CLIENT, crate::warn).await?))
    }
}

impl Outlet for KafkaOutlet {
    fn send(&mut self, key: &str, value: &[u8]) -> Result<(), ClientError> {
        Ok(self.0.send(BOOKING_REQUESTS, key, value)?)
    }

    /// The client lingers 5 ms at most.
    fn flush(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Refused, ClientError> {
        let (count, reason) = self.0.finish()?;
        Ok(Refused { count, reason })
    }
}

/// Reads outcomes.
pub(crate) struct KafkaInlet(TailConsumer);

impl KafkaInlet {
    /// Starts at the ends of the topics, because the answers come after them.
    pub(crate) async fn at_end(kafka: &KafkaConfig, log: &KafkaLog) -> anyhow::Result<Self> {
        Ok(Self(TailConsumer::at_end(kafka, CLIENT, log, &OUTCOME_TOPICS).await?))
    }
}

impl Inlet for KafkaInlet {
    fn poll(&mut self, wait: Duration, each: &mut dyn FnMut(Outcome<'_>)) -> Result<(), ClientError> {
        let pass = |record: TailRecord<'_>| {
            each(Outcome {
                topic: record.topic,
                partition: record.partition,
                offset: record.offset,
                value: record.value,
            });
        };
        Ok(self.0.poll(wait, pass)?)
    }
}
