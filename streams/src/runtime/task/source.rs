//! The source of a task: it decodes records, and forwards those that lie in the wrong partition.

use std::marker::PhantomData;

use async_trait::async_trait;

use super::node::Context;
use crate::dsl::message::Message;
use crate::dsl::policy::{OnError, forwarded, was_sent_on_to};
use crate::dsl::serde::{DeserializeError, Deserializer, decode};
use crate::log::murmur2::partition_for_key;
use crate::metric_definitions::RECORDS_FORWARDED;
use crate::record::Record;
use crate::runtime::error::{Reason, TaskError};

/// The edge at which a topic's records enter a task.
#[async_trait]
pub(crate) trait Source: Send {
    /// Decodes the records of a batch and forwards the messages.
    async fn read(&mut self, ctx: &mut Context<'_>) -> Result<(), TaskError>;
}

/// Reads values of type `T`.
pub(crate) struct TopicSource<T, D> {
    pub(crate) deserializer: D,
    pub(crate) policy: OnError,
    pub(crate) types: PhantomData<fn() -> T>,
}

#[async_trait]
impl<T: Send + 'static, D: Deserializer<T>> Source for TopicSource<T, D> {
    async fn read(&mut self, ctx: &mut Context<'_>) -> Result<(), TaskError> {
        let records = ctx.records;
        let mut messages = Vec::with_capacity(records.len());
        for record in records {
            let value = match decode(&mut self.deserializer, record).await {
                Ok(value) => value,
                Err(DeserializeError::Unavailable(detail)) => {
                    return Err(TaskError::restart(Reason::RegistryUnavailable, detail));
                }
                Err(malformed) => {
                    ctx.on_error(self.policy, record.offset, "undecodable", &malformed.to_string())?;
                    continue;
                }
            };
            let key = self.deserializer.key(record);
            if let Some(partition) = home_partition(ctx, key.as_deref()) {
                self.forward(ctx, record, partition)?;
                continue;
            }
            messages.push(Message {
                key,
                value,
                timestamp: record.timestamp,
                headers: record.headers.clone(),
                offset: record.offset,
            });
        }
        ctx.forward(0, messages);
        Ok(())
    }
}

impl<T, D> TopicSource<T, D> {
    /// Writes a record to the partition that its key belongs to; refuses one that was forwarded before.
    fn forward(&self, ctx: &mut Context<'_>, record: &Record, partition: i32) -> Result<(), TaskError> {
        if was_sent_on_to(ctx.source.partition, &record.headers) {
            let message = format!(
                "the record was sent on once and still lies in the wrong partition: its key belongs to {partition}"
            );
            return ctx.on_error(self.policy, record.offset, "wrong_partition", &message);
        }
        let output = forwarded(ctx.source, record, partition);
        if ctx.write(self.policy, record.offset, output)? {
            metrics::counter!(RECORDS_FORWARDED, "topic" => ctx.source.topic.to_string()).increment(1);
        }
        Ok(())
    }
}

/// Returns the partition that a record's key belongs to, if the record lies in another.
fn home_partition(ctx: &Context<'_>, key: Option<&[u8]>) -> Option<i32> {
    let partitions = ctx.partitions?;
    let home = partition_for_key(key?, partitions);
    (home != ctx.source.partition).then_some(home)
}
