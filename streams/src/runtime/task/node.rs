//! The nodes of a running task. Messages enter at a source and pass from node to node. The [`Flow`] collects the
//! records that leave the task; they take effect only when the whole batch has been processed.

use std::any::Any;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::stages::{Stage, Stopwatch};
use crate::dsl::dead_letter;
use crate::dsl::message::Message;
use crate::dsl::policy::{OnError, too_long};
use crate::dsl::processor::{Collector, Processor};
use crate::dsl::serde::Serializer;
use crate::metric_definitions::RECORDS_REFUSED;
use crate::record::{OutputRecord, Record, TopicPartition};
use crate::runtime::error::TaskError;

/// Position of a node in its topology.
pub(crate) type NodeId = usize;
/// The child on each port of a node.
pub(crate) type Children = Vec<Option<NodeId>>;
/// A `Vec<Message<T>>`.
pub(crate) type AnyBatch = Box<dyn Any + Send>;

/// Returns whether a message belongs to a branch.
pub type Predicate<T> = Box<dyn Fn(&Message<T>) -> bool + Send + Sync>;
/// Chooses the topic of a message.
pub(crate) type Chooser<T> = Arc<dyn Fn(&T) -> Arc<str> + Send + Sync>;

/// One operator or output of one task.
pub(crate) trait Node: Send {
    /// Processes messages and forwards or writes the results.
    fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), TaskError>;

    /// Returns the stage that the node's time counts for.
    fn stage(&self) -> Stage {
        Stage::Process
    }
}

/// The progress of one batch through a task.
pub(crate) struct Flow {
    /// Records to be written to the log, in order.
    pub(crate) outputs: Vec<OutputRecord>,
    pub(crate) watch: Stopwatch,
    /// The node that is at work.
    current: NodeId,
    queue: VecDeque<(NodeId, AnyBatch)>,
}

impl Flow {
    /// Begins at a source.
    pub(crate) fn from(source: NodeId, watch: Stopwatch) -> Self {
        Self {
            outputs: Vec::new(),
            watch,
            current: source,
            queue: VecDeque::new(),
        }
    }

    /// Returns the next node with its input.
    pub(crate) fn next(&mut self) -> Option<(NodeId, AnyBatch)> {
        let (id, input) = self.queue.pop_front()?;
        self.current = id;
        Some((id, input))
    }

    /// Continues at a node that was left out.
    pub(crate) fn resume(&mut self, node: NodeId) {
        self.current = node;
    }
}

/// The view of a batch that a node has.
pub(crate) struct Context<'a> {
    /// The partition of the batch.
    pub(crate) source: &'a TopicPartition,
    /// The records of the batch, for dead letters.
    pub(crate) records: &'a [Record],
    /// Number of partitions of the source topic, where keys must belong to their partition.
    pub(crate) partitions: Option<i32>,
    pub(crate) children: &'a [Children],
    pub(crate) flow: &'a mut Flow,
}

impl Context<'_> {
    /// Passes messages on to the current node's `port`-th child; without such a child they end here.
    pub(crate) fn forward<T: Send + 'static>(&mut self, port: usize, messages: Vec<Message<T>>) {
        if messages.is_empty() {
            return;
        }
        if let Some(child) = self.children[self.flow.current].get(port).copied().flatten() {
            self.flow.queue.push_back((child, Box::new(messages)));
        }
    }

    /// Writes a record. If it is too long, applies the policy to the input record at `offset` and returns `false`.
    pub(crate) fn write(&mut self, policy: OnError, offset: i64, output: OutputRecord) -> Result<bool, TaskError> {
        if let Some(message) = too_long(&output) {
            self.on_error(policy, offset, "production", &message)?;
            return Ok(false);
        }
        self.flow.outputs.push(output);
        Ok(true)
    }

    /// Applies the policy to an input record.
    pub(crate) fn on_error(
        &mut self,
        policy: OnError,
        offset: i64,
        reason: &'static str,
        message: &str,
    ) -> Result<(), TaskError> {
        let source = self.source;
        metrics::counter!(RECORDS_REFUSED, "topic" => source.topic.to_string(), "reason" => reason).increment(1);
        tracing::warn!(topic = %source.topic, partition = source.partition, offset, reason, message, ?policy, "record refused");
        match policy {
            OnError::Fail => Err(TaskError::Fatal(format!(
                "record {source}@{offset} is refused ({reason}: {message}) and the topology is set to stop at such records"
            ))),
            OnError::Skip => Ok(()),
            OnError::SendToDlq => {
                let at = self.records.binary_search_by_key(&offset, |record| record.offset);
                let record = at
                    .map(|index| &self.records[index])
                    .map_err(|_| TaskError::Fatal(format!("{source}@{offset} is not in the batch being processed")))?;
                let letter = dead_letter::compose(source, record, reason, message);
                self.flow.outputs.push(letter);
                Ok(())
            }
        }
    }
}

/// Returns a batch as the type that the builder gave this edge.
pub(crate) fn downcast<T: Send + 'static>(batch: AnyBatch) -> Result<Vec<Message<T>>, TaskError> {
    batch
        .downcast::<Vec<Message<T>>>()
        .map(|messages| *messages)
        .map_err(|_| other_type())
}

/// The error for a batch of another type than the builder gave its edge.
pub(crate) fn other_type() -> TaskError {
    TaskError::Fatal("a node was given a batch of another type".into())
}

/// Applies a function to whole batches: `map`, `filter`, `flat_map` and the like.
pub(crate) struct BatchNode<T, U, F> {
    pub(crate) apply: Arc<F>,
    pub(crate) types: PhantomData<fn(T) -> U>,
}

impl<T, U, F> Node for BatchNode<T, U, F>
where
    T: Send + 'static,
    U: Send + 'static,
    F: Fn(Vec<Message<T>>) -> Vec<Message<U>> + Send + Sync,
{
    fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), TaskError> {
        let messages = (self.apply)(downcast(input)?);
        ctx.forward(0, messages);
        Ok(())
    }
}

/// Gives each message to the first branch whose predicate holds; drops it if there is none.
pub(crate) struct SplitNode<T> {
    pub(crate) predicates: Arc<Vec<Predicate<T>>>,
}

impl<T: Send + 'static> Node for SplitNode<T> {
    fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), TaskError> {
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

impl<T: Clone + Send + 'static> Node for ForkNode<T> {
    fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), TaskError> {
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

impl<T: Send + 'static, P: Processor<T>> Node for ProcessorNode<T, P> {
    fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), TaskError> {
        let mut out = Collector::default();
        self.processor.process(downcast(input)?, &mut out);
        for (offset, message) in out.refused {
            ctx.on_error(self.policy, offset, "processing", &message)?;
        }
        ctx.forward(0, out.messages);
        Ok(())
    }
}

/// Encodes messages and writes them to the log.
pub(crate) struct ToNode<T, S> {
    pub(crate) topic: Chooser<T>,
    pub(crate) serializer: Arc<S>,
    /// Policy for the input of a record that can't be written.
    pub(crate) policy: OnError,
    /// Write to the task's own partition rather than to the one that the key belongs to.
    pub(crate) keep_partition: bool,
    /// Bytes of the last batch's values: an estimate for the next.
    pub(crate) capacity: usize,
}

impl<T: Send + 'static, S: Serializer<T>> Node for ToNode<T, S> {
    fn process(&mut self, input: AnyBatch, ctx: &mut Context<'_>) -> Result<(), TaskError> {
        let messages = downcast::<T>(input)?;
        ctx.flow.outputs.reserve(messages.len());
        let mut values = Vec::with_capacity(self.capacity);
        let mut ends = Vec::with_capacity(messages.len());
        for message in &messages {
            self.serializer.serialize(&message.value, &mut values);
            ends.push(values.len());
        }
        self.capacity = values.len();
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
