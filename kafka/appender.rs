//! Appends records without a transaction, idempotently, and returns their positions.

use std::collections::VecDeque;

use interlock_streams::log::LogError;
use interlock_streams::record::{self, OutputRecord};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::{DeliveryFuture, FutureProducer, FutureRecord};

use crate::config::KafkaConfig;
use crate::context::Context;
use crate::errors::{fatal, from_kafka};

/// A producer without transactions, shared by all callers.
pub(crate) struct Appender {
    producer: FutureProducer<Context>,
    place: String,
}

impl Appender {
    /// Creates the producer; it connects in the background.
    pub(crate) fn new(config: &KafkaConfig) -> Result<Self, LogError> {
        let place = config.place();
        let context = Context::new("interlock-appender");
        let producer = config.appender().create_with_context(context);
        let producer = producer.map_err(|error| from_kafka(format!("create a producer for {place}"), &error))?;
        Ok(Self { producer, place })
    }

    /// Waits for the answer of each record; librdkafka gives it after `call_deadline` at the latest.
    pub(crate) async fn append(&self, records: &[OutputRecord]) -> Result<Vec<(i32, i64)>, LogError> {
        let mut sent = VecDeque::with_capacity(records.len());
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let mut next = to_record(record);
            while let Err((error, refused)) = self
                .producer
                .send_result(next)
                .map(|answer| sent.push_back((record, answer)))
            {
                let is_full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                // Answers free space in the queue.
                match sent.pop_front().filter(|_| is_full) {
                    Some(earlier) => places.push(self.answer(earlier).await?),
                    None => return Err(self.error(record, &error)),
                }
                next = refused;
            }
        }
        for earlier in sent {
            places.push(self.answer(earlier).await?);
        }
        Ok(places)
    }

    async fn answer(&self, (record, answer): (&OutputRecord, DeliveryFuture)) -> Result<(i32, i64), LogError> {
        match answer.await {
            Ok(Ok(delivery)) => Ok((delivery.partition, delivery.offset)),
            Ok(Err((error, _))) => Err(self.error(record, &error)),
            Err(_) => Err(fatal(format!("append to {}", record.topic), "the producer ended")),
        }
    }

    fn error(&self, record: &OutputRecord, error: &KafkaError) -> LogError {
        from_kafka(format!("append to {} at {}", record.topic, self.place), error)
    }
}

fn to_record(record: &OutputRecord) -> FutureRecord<'_, [u8], [u8]> {
    FutureRecord {
        topic: &record.topic,
        partition: record.partition,
        payload: record.value.as_deref(),
        key: record.key.as_deref(),
        timestamp: record.timestamp,
        headers: to_headers(record),
    }
}

/// Converts a record's headers for librdkafka; `None` if there are none.
pub(crate) fn to_headers(record: &OutputRecord) -> Option<OwnedHeaders> {
    let add = |headers: OwnedHeaders, (key, value): &record::Header| {
        headers.insert(Header {
            key,
            value: value.as_deref(),
        })
    };
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    (!record.headers.is_empty()).then(|| record.headers.iter().fold(empty, add))
}
