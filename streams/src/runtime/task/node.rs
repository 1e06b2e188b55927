//! The nodes of a running task. A batch enters at a source and is passed from node to node; what leaves the task is
//! collected in the [`Context`] and takes effect only when the whole batch has been processed.

use std::any::Any;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::session::LedgerSession;
use super::stages::{Stage, Stopwatch};
use crate::dsl::dead_letter;
use crate::dsl::message::Message;
use crate::dsl::policy::{self, OnError};
use crate::dsl::processor::{Collector, Processor};
use crate::dsl::serde::{DecodeError, Deserializer, Serializer, decode};
use crate::ledger::LedgerError;
use crate::log::LogError;
use crate::record::{OutputRecord, Record, TopicPartition};
#[cfg(feature = "windows")]
use crate::sink::Partials;

/// Position of a node in its topology.
pub(crate) type NodeId = usize;
/// The child on each port of a node.
pub(crate) type Children = Vec<Option<NodeId>>;
/// A `Vec<Message<T>>`, or the raw `Vec<Record>` that a source gets.
pub(crate) type AnyBatch = Box<dyn Any + Send>;

/// Why a task can't go on with a batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Fatal(String),
}

/// Says whether a message belongs to a branch.
pub type Predicate<T> = Box<dyn Fn(&Message<T>) -> bool + Send + Sync>;
/// Chooses the topic of a message.
pub(crate) type Chooser<T> = Arc<dyn Fn(&T) -> Arc<str> + Send + Sync>;

/// One node of one task.
#[async_trait]
pub(crate) trait Node: Send {
    async fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError>;

    /// What its time is spent on.
    fn stage(&self) -> Stage {
        Stage::Process
    }

    /// What the node has collected for the sink since the last call.
    #[cfg(feature = "windows")]
    async fn collected(&mut self) -> Result<Vec<Partials>, ProcessError> {
        Ok(Vec::new())
    }

    /// The node's ledger side, where it has one.
    fn ledger(&mut self) -> Option<&mut dyn super::ledger_node::LedgerSide> {
        None
    }
}

/// What a batch sees and leaves behind on its way through a task.
pub(crate) struct Context<'a> {
    /// Where the batch was read.
    pub(crate) source: &'a TopicPartition,
    /// The batch as it was read, for dead letters.
    pub(crate) records: &'a [Record],
    /// Number of partitions of the source topic, where keys must belong to their partition.
    pub(crate) partitions: Option<i32>,
    /// The task's ledger, where it has one.
    pub(crate) ledger: Option<&'a mut LedgerSession>,
    /// What is to be written to the log, in order.
    pub(crate) outputs: Vec<OutputRecord>,
    pub(crate) watch: Stopwatch,
    /// Held from before a ledger decides until what it decided is on its way to the store.
    pub(crate) turn: Option<OwnedMutexGuard<()>>,
    current: NodeId,
    children: &'a [Children],
    work: VecDeque<(NodeId, AnyBatch)>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        source: &'a TopicPartition,
        records: &'a [Record],
        partitions: Option<i32>,
        ledger: Option<&'a mut LedgerSession>,
        children: &'a [Children],
        watch: Stopwatch,
    ) -> Self {
        Self {
            source,
            records,
            partitions,
            ledger,
            outputs: Vec::new(),
            watch,
            turn: None,
            current: 0,
            children,
            work: VecDeque::new(),
        }
    }

    /// Runs a batch through the nodes, beginning at `entry`.
    pub(crate) async fn run(
        &mut self,
        nodes: &mut [Option<Box<dyn Node>>],
        entry: NodeId,
        batch: AnyBatch,
    ) -> Result<(), ProcessError> {
        self.work.push_back((entry, batch));
        while let Some((id, batch)) = self.work.pop_front() {
            self.current = id;
            let node = nodes.get_mut(id).and_then(Option::as_mut);
            let node = node.ok_or_else(|| ProcessError::Fatal(format!("node {id} is not part of this task")))?;
            node.process(batch, self).await?;
            self.watch.lap(node.stage());
        }
        Ok(())
    }

    /// Passes messages on to the current node's `port`-th child; without such a child they end here.
    pub(crate) fn forward<T: Send + 'static>(&mut self, port: usize, messages: Vec<Message<T>>) {
        if messages.is_empty() {
            return;
        }
        if let Some(child) = self.children[self.current].get(port).copied().flatten() {
            self.work.push_back((child, Box::new(messages)));
        }
    }

    /// Writes a record; if it can't be written, the input record at `offset` is treated as the policy says.
    pub(crate) fn write(&mut self, policy: OnError, offset: i64, output: OutputRecord) -> Result<bool, ProcessError> {
        if let Some(message) = policy::too_long(&output) {
            self.on_error(policy, offset, "production", &message)?;
            return Ok(false);
        }
        self.outputs.push(output);
        Ok(true)
    }

    /// Treats an input record as the policy says.
    pub(crate) fn on_error(
        &mut self,
        policy: OnError,
        offset: i64,
        reason: &'static str,
        message: &str,
    ) -> Result<(), ProcessError> {
        let source = self.source;
        metrics::counter!(crate::metric_definitions::RECORDS_REFUSED, "topic" => source.topic.to_string(), "reason" => reason)
            .increment(1);
        tracing::warn!(topic = %source.topic, partition = source.partition, offset, reason, message, ?policy, "record refused");
        match policy {
            OnError::Fail => Err(ProcessError::Fatal(format!(
                "record {source}@{offset} is refused ({reason}: {message}) and the topology is set to stop at such records"
            ))),
            OnError::Skip => Ok(()),
            OnError::SendToDlq => {
                let at = self.records.binary_search_by_key(&offset, |record| record.offset);
                let record = at.map(|index| &self.records[index]).map_err(|_| {
                    ProcessError::Fatal(format!("{source}@{offset} is not in the batch being processed"))
                })?;
                self.outputs.push(dead_letter::compose(source, record, reason, message));
                Ok(())
            }
        }
    }
}

/// A batch as the type that the builder gave this edge.
pub(crate) fn downcast<T: Send + 'static>(batch: AnyBatch) -> Result<Vec<Message<T>>, ProcessError> {
    batch
        .downcast::<Vec<Message<T>>>()
        .map(|messages| *messages)
        .map_err(|_| ProcessError::Fatal("a node was given a batch of another type".into()))
}

/// Decodes what was read; sends on what lies in the wrong partition.
pub(crate) struct SourceNode<T, D> {
    pub(crate) deserializer: D,
    pub(crate) policy: OnError,
    pub(crate) types: PhantomData<fn() -> T>,
}

#[async_trait]
impl<T: Send + 'static, D: Deserializer<T>> Node for SourceNode<T, D> {
    async fn process(&mut self, _input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let records = ctx.records;
        let mut messages = Vec::with_capacity(records.len());
        for record in records {
            let value = match decode(&mut self.deserializer, record).await {
                Ok(value) => value,
                Err(DecodeError::Malformed(message)) => {
                    ctx.on_error(self.policy, record.offset, "undecodable", &message)?;
                    continue;
                }
                Err(DecodeError::Unavailable(reason)) => return Err(ProcessError::Unavailable(reason)),
            };
            let key = self.deserializer.key(record);
            if let Some(partition) = misplaced(ctx, key.as_deref()) {
                if policy::hops(&record.headers) > 0 {
                    let message = format!(
                        "the record was sent on once and still lies in the wrong partition: its key belongs to {partition}"
                    );
                    ctx.on_error(self.policy, record.offset, "wrong_partition", &message)?;
                } else if ctx.write(
                    self.policy,
                    record.offset,
                    policy::forwarded(ctx.source, record, partition),
                )? {
                    metrics::counter!(crate::metric_definitions::RECORDS_FORWARDED, "topic" => ctx.source.topic.to_string())
                        .increment(1);
                }
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

    fn stage(&self) -> Stage {
        Stage::Decode
    }
}

/// Returns the partition that a record's key belongs to, if the record lies in another.
fn misplaced(ctx: &Context<'_>, key: Option<&[u8]>) -> Option<i32> {
    let partitions = ctx.partitions?;
    let home = crate::log::murmur2::partition_for_key(key?, partitions);
    (home != ctx.source.partition).then_some(home)
}

/// Applies a function to whole batches: `map`, `filter`, `flat_map` and the like.
pub(crate) struct BatchNode<T, U, F> {
    pub(crate) apply: Arc<F>,
    pub(crate) types: PhantomData<fn(T) -> U>,
}

#[async_trait]
impl<T, U, F> Node for BatchNode<T, U, F>
where
    T: Send + 'static,
    U: Send + 'static,
    F: Fn(Vec<Message<T>>) -> Vec<Message<U>> + Send + Sync,
{
    async fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let messages = (self.apply)(downcast(input)?);
        ctx.forward(0, messages);
        Ok(())
    }
}

/// Gives each message to the first branch whose predicate holds; a message that none wants is dropped.
pub(crate) struct SplitNode<T> {
    pub(crate) predicates: Arc<Vec<Predicate<T>>>,
}

#[async_trait]
impl<T: Send + 'static> Node for SplitNode<T> {
    async fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let mut branches: Vec<Vec<Message<T>>> = self.predicates.iter().map(|_| Vec::new()).collect();
        for message in downcast::<T>(input)? {
            if let Some(port) = self.predicates.iter().position(|wanted| wanted(&message)) {
                branches[port].push(message);
            }
        }
        for (port, messages) in branches.into_iter().enumerate() {
            ctx.forward(port, messages);
        }
        Ok(())
    }
}

/// Gives each message to every child.
pub(crate) struct ForkNode<T> {
    pub(crate) children: usize,
    pub(crate) types: PhantomData<fn(T)>,
}

#[async_trait]
impl<T: Clone + Send + 'static> Node for ForkNode<T> {
    async fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let messages = downcast::<T>(input)?;
        for port in 1..self.children {
            ctx.forward(port, messages.clone());
        }
        ctx.forward(0, messages);
        Ok(())
    }
}

/// Runs a user's processor.
pub(crate) struct ProcessorNode<T, P> {
    pub(crate) processor: P,
    pub(crate) policy: OnError,
    pub(crate) types: PhantomData<fn(T)>,
}

#[async_trait]
impl<T: Send + 'static, P: Processor<T>> Node for ProcessorNode<T, P> {
    async fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let mut out = Collector::default();
        self.processor.process(downcast(input)?, &mut out);
        for (offset, message) in out.refused {
            ctx.on_error(self.policy, offset, "processing", &message)?;
        }
        ctx.forward(0, out.messages);
        Ok(())
    }
}

/// Encodes messages and hands them to the log.
pub(crate) struct ToNode<T, S> {
    /// Chooses the topic of a message.
    pub(crate) topic: Chooser<T>,
    pub(crate) serializer: Arc<S>,
    /// What is done with the input of a record that can't be written.
    pub(crate) policy: OnError,
    /// Write to the task's own partition rather than the one that the key belongs to.
    pub(crate) keep_partition: bool,
    /// Bytes of the last batch's values: about what the next will need.
    pub(crate) room: usize,
}

#[async_trait]
impl<T: Send + 'static, S: Serializer<T>> Node for ToNode<T, S> {
    async fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), ProcessError> {
        let messages = downcast::<T>(input)?;
        ctx.outputs.reserve(messages.len());
        let mut values = Vec::with_capacity(self.room);
        let mut ends = Vec::with_capacity(messages.len());
        for message in &messages {
            self.serializer.serialize(&message.value, &mut values);
            ends.push(values.len());
        }
        self.room = values.len();
        let (values, mut start) = (Bytes::from(values), 0);
        for (message, end) in messages.into_iter().zip(ends) {
            let value = values.slice(start..end);
            start = end;
            let output = OutputRecord {
                topic: (self.topic)(&message.value),
                partition: self.keep_partition.then_some(ctx.source.partition),
                timestamp: Some(message.timestamp),
                value: Some(value),
                key: message.key,
                headers: message.headers,
            };
            ctx.write(self.policy, message.offset, output)?;
        }
        Ok(())
    }

    fn stage(&self) -> Stage {
        Stage::Encode
    }
}
