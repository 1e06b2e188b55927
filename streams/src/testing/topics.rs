//! The ends of a driven topology: typed topics to pipe into and to read from.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::driver::{DriverError, START_MS, TopologyTestDriver};
use crate::dsl::message::Message;
use crate::dsl::serde::{Deserializer, Serializer, decode};
use crate::record::{OutputRecord, TopicPartition};

/// A topic that a test pipes values into. It has a time of its own, which its records carry.
pub struct TestInput<'a, T, S> {
    driver: &'a TopologyTestDriver,
    topic: Arc<str>,
    serializer: S,
    time: Cell<i64>,
    types: PhantomData<fn(T)>,
}

impl<'a, T, S> TestInput<'a, T, S> {
    pub(super) fn new(driver: &'a TopologyTestDriver, topic: &str, serializer: S) -> Self {
        Self {
            driver,
            topic: Arc::from(topic),
            serializer,
            time: Cell::new(START_MS),
            types: PhantomData,
        }
    }

    /// Advances the timestamp of further records (event time, which is independent of the wall clock).
    pub fn advance_time(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.time.set(self.time.get().saturating_add(by));
    }
}

impl<T, S: Serializer<T>> TestInput<'_, T, S> {
    /// Pipes a value; returns when it is processed and committed.
    pub fn pipe(&self, key: impl Into<Bytes>, value: impl Into<T>) -> Result<(), DriverError> {
        self.pipe_at(key, value, self.time.get())
    }

    /// Pipes a value with this timestamp, in milliseconds since the Unix epoch.
    pub fn pipe_at(&self, key: impl Into<Bytes>, value: impl Into<T>, timestamp: i64) -> Result<(), DriverError> {
        self.driver.pipe(vec![self.record(key, value, timestamp)])
    }

    /// Pipes values together, which become one batch for each partition.
    pub fn pipe_all<K: Into<Bytes>, V: Into<T>>(
        &self,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), DriverError> {
        let values = values.into_iter();
        let records = values.map(|(key, value)| self.record(key, value, self.time.get()));
        self.driver.pipe(records.collect())
    }

    fn record(&self, key: impl Into<Bytes>, value: impl Into<T>, timestamp: i64) -> OutputRecord {
        OutputRecord {
            topic: self.topic.clone(),
            partition: None,
            timestamp: Some(timestamp),
            key: Some(key.into()),
            value: Some(self.serializer.to_bytes(&value.into())),
            headers: Vec::new(),
        }
    }
}

/// A topic that a test reads values from: each once, committed ones only, partition by partition.
pub struct TestOutput<'a, T, D> {
    driver: &'a TopologyTestDriver,
    topic: Arc<str>,
    deserializer: RefCell<D>,
    positions: RefCell<BTreeMap<TopicPartition, i64>>,
    types: PhantomData<fn() -> T>,
}

impl<'a, T, D> TestOutput<'a, T, D> {
    pub(super) fn new(driver: &'a TopologyTestDriver, topic: &str, deserializer: D) -> Self {
        Self {
            driver,
            topic: Arc::from(topic),
            deserializer: RefCell::new(deserializer),
            positions: RefCell::default(),
            types: PhantomData,
        }
    }
}

impl<T, D: Deserializer<T>> TestOutput<'_, T, D> {
    /// Returns the messages since the last call; [`Message::offset`] is the offset in this topic.
    pub fn read_all(&self) -> Result<Vec<Message<T>>, DriverError> {
        let mut messages = Vec::new();
        for partition in self.driver.partitions_of(&self.topic)? {
            let mut positions = self.positions.borrow_mut();
            let position = positions.entry(partition.clone()).or_default();
            for record in self.driver.log().read(&partition, *position, usize::MAX)? {
                *position = record.offset + 1;
                let mut deserializer = self.deserializer.borrow_mut();
                let decoded = self.driver.block_on(decode(&mut *deserializer, &record));
                let value = decoded.map_err(|error| DriverError::Undecodable {
                    source_partition: partition.clone(),
                    offset: record.offset,
                    reason: error.to_string(),
                })?;
                messages.push(Message {
                    key: record.key,
                    value,
                    timestamp: record.timestamp,
                    headers: record.headers,
                    offset: record.offset,
                });
            }
        }
        Ok(messages)
    }

    /// The values of all that came since the last call.
    pub fn read_values(&self) -> Result<Vec<T>, DriverError> {
        Ok(self.read_all()?.into_iter().map(|message| message.value).collect())
    }

    /// Keys, as text, and values of all that came since the last call.
    pub fn read_key_values(&self) -> Result<Vec<(String, T)>, DriverError> {
        let pair = |message: Message<T>| {
            let key = String::from_utf8_lossy(message.key.as_deref().unwrap_or_default());
            (key.into_owned(), message.value)
        };
        Ok(self.read_all()?.into_iter().map(pair).collect())
    }
}
