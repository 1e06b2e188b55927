//! A typed builder of topologies, in the spirit of Kafka Streams' DSL, batch-first.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

#[cfg(feature = "windows")]
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::decider::{Decider, Deciders, Events, KeyCheck};
use super::global_table::{Follow, Follower, GlobalTable};
use super::message::Message;
use super::policy::OnError;
use super::processor::{LedgerProcessor, Processor};
use super::serde::{Deserializer, Json, Serializer};
use super::topology::{BuildError, Kind, NodeDef, Topology};
use crate::runtime::task::ledger_node::{LedgerNode, ProcessorLedger};
pub use crate::runtime::task::node::Predicate;
use crate::runtime::task::node::{
    BatchNode, Children, Chooser, ForkNode, Node, NodeId, ProcessorNode, SplitNode, ToNode,
};
use crate::runtime::task::source::{Source, TopicSource};
#[cfg(feature = "windows")]
use crate::runtime::task::window_node::{Queries, Rows, Window, WindowNode};
#[cfg(feature = "windows")]
use crate::window::{WindowError, WindowQuery};

#[derive(Default)]
struct Graph {
    nodes: Vec<NodeDef>,
    children: Vec<Children>,
    globals: Vec<Arc<dyn Follow>>,
}

/// Builds a topology. Each operator consumes its stream; [`Stream::fork`] divides one for several operators.
pub struct StreamsBuilder {
    name: String,
    on_error: OnError,
    graph: Rc<RefCell<Graph>>,
}

impl StreamsBuilder {
    /// Begins a topology.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            on_error: OnError::default(),
            graph: Rc::default(),
        }
    }

    /// Sets the policy for records that can't be decoded or processed, or whose results can't be written. It holds for
    /// nodes that are added afterwards.
    pub fn on_error(mut self, policy: OnError) -> Self {
        self.on_error = policy;
        self
    }

    /// Reads a topic. `deserializer` makes one for each task.
    pub fn stream<T, D>(&self, topic: &str, deserializer: impl Fn() -> D + Send + Sync + 'static) -> Stream<T>
    where
        T: Send + 'static,
        D: Deserializer<T>,
    {
        let policy = self.on_error;
        let make = move || -> Box<dyn Source> {
            Box::new(TopicSource {
                deserializer: deserializer(),
                policy,
                types: PhantomData,
            })
        };
        let kind = Kind::Source {
            topic: topic.to_owned(),
            dead_letters: policy == OnError::SendToDlq,
            make: Arc::new(make),
        };
        let stream = Stream::<T> {
            graph: self.graph.clone(),
            from: None,
            on_error: policy,
            types: PhantomData,
        };
        stream.attach(format!("source-{topic}"), kind)
    }

    /// Keeps a compacted topic whole in the memory of every process.
    pub fn global_table<V, D>(
        &self,
        topic: &str,
        deserializer: impl Fn() -> D + Send + Sync + 'static,
    ) -> GlobalTable<V>
    where
        V: Clone + Send + Sync + 'static,
        D: Deserializer<V>,
    {
        let table = GlobalTable::empty();
        let follower = Follower {
            topic: topic.to_owned(),
            table: table.clone(),
            deserializer,
        };
        self.graph.borrow_mut().globals.push(Arc::new(follower));
        table
    }

    /// Checks the graph and ends the building.
    pub fn build(self) -> Result<Topology, BuildError> {
        let graph = self.graph.take();
        Topology::new(self.name, graph.nodes, graph.children, graph.globals)
    }
}

/// The wiring of a ledger's processor. The topics of its events are those from which it is rebuilt.
pub struct LedgerSpec<P, D> {
    /// Name of the node.
    pub name: String,
    /// The topics that hold its events, all of them written by this topology, in the ledger's own partition.
    pub event_topics: Vec<String>,
    /// Makes a processor for each task.
    pub processor: P,
    /// Makes a decoder of its events for each task.
    pub events: D,
}

/// A stream of records with values of type `T`.
pub struct Stream<T> {
    graph: Rc<RefCell<Graph>>,
    /// The node that it comes out of, and its port there.
    from: Option<(NodeId, usize)>,
    on_error: OnError,
    types: PhantomData<fn() -> T>,
}

impl<T: Send + 'static> Stream<T> {
    /// Adds a node behind this stream.
    fn attach<U>(self, name: String, kind: Kind) -> Stream<U> {
        let mut graph = self.graph.borrow_mut();
        let id = graph.nodes.len();
        graph.nodes.push(NodeDef { name, kind });
        graph.children.push(Vec::new());
        if let Some((parent, port)) = self.from {
            connect(&mut graph.children[parent], port, id);
        }
        drop(graph);
        Stream {
            graph: self.graph,
            from: Some((id, 0)),
            on_error: self.on_error,
            types: PhantomData,
        }
    }

    /// Adds an operator behind this stream.
    fn operator<U, N: Node + 'static>(
        self,
        name: String,
        verb: &'static str,
        make: impl Fn() -> N + Send + Sync + 'static,
    ) -> Stream<U> {
        let make = move || -> Box<dyn Node> { Box::new(make()) };
        let make = Arc::new(make);
        self.attach(name, Kind::Operator { verb, make })
    }

    fn batches<U, F>(self, verb: &'static str, apply: F) -> Stream<U>
    where
        U: Send + 'static,
        F: Fn(Vec<Message<T>>) -> Vec<Message<U>> + Send + Sync + 'static,
    {
        let name = format!("{verb}-{}", self.graph.borrow().nodes.len());
        let apply = Arc::new(apply);
        self.operator(name, verb, move || BatchNode {
            apply: apply.clone(),
            types: PhantomData,
        })
    }

    /// Makes one record of each.
    pub fn map<U: Send + 'static>(self, f: impl Fn(Message<T>) -> Message<U> + Send + Sync + 'static) -> Stream<U> {
        self.batches("map", move |batch| batch.into_iter().map(&f).collect())
    }

    /// Makes another value of each.
    pub fn map_values<U: Send + 'static>(self, f: impl Fn(T) -> U + Send + Sync + 'static) -> Stream<U> {
        self.values("map_values", move |value| [f(value)])
    }

    /// Keeps the records for which the predicate holds.
    pub fn filter(self, f: impl Fn(&Message<T>) -> bool + Send + Sync + 'static) -> Stream<T> {
        self.batches("filter", move |mut batch| {
            batch.retain(&f);
            batch
        })
    }

    /// Makes any number of records of each.
    pub fn flat_map<U, I>(self, f: impl Fn(Message<T>) -> I + Send + Sync + 'static) -> Stream<U>
    where
        U: Send + 'static,
        I: IntoIterator<Item = Message<U>>,
    {
        self.batches("flat_map", move |batch| batch.into_iter().flat_map(&f).collect())
    }

    /// Makes any number of values of each, all under the record's key.
    pub fn flat_map_values<U, I>(self, f: impl Fn(T) -> I + Send + Sync + 'static) -> Stream<U>
    where
        U: Send + 'static,
        I: IntoIterator<Item = U>,
    {
        self.values("flat_map_values", f)
    }

    fn values<U, I>(self, verb: &'static str, f: impl Fn(T) -> I + Send + Sync + 'static) -> Stream<U>
    where
        U: Send + 'static,
        I: IntoIterator<Item = U>,
    {
        self.batches(verb, move |batch| {
            let mut messages = Vec::with_capacity(batch.len());
            for Message {
                key,
                value,
                timestamp,
                headers,
                offset,
            } in batch
            {
                messages.extend(f(value).into_iter().map(|value| Message {
                    key: key.clone(),
                    value,
                    timestamp,
                    headers: headers.clone(),
                    offset,
                }));
            }
            messages
        })
    }

    /// Sets another key. The record stays in its task until it is repartitioned.
    pub fn select_key<K: Into<Bytes>>(self, f: impl Fn(&Message<T>) -> K + Send + Sync + 'static) -> Stream<T> {
        self.batches("select_key", move |mut batch| {
            for message in &mut batch {
                message.key = Some(f(message).into());
            }
            batch
        })
    }

    /// Runs a processor of batches. `supplier` makes one for each task.
    pub fn process<P: Processor<T>>(
        self,
        name: &str,
        supplier: impl Fn() -> P + Send + Sync + 'static,
    ) -> Stream<P::Out> {
        let policy = self.on_error;
        self.operator(name.to_owned(), "process", move || ProcessorNode {
            processor: supplier(),
            policy,
            types: PhantomData,
        })
    }

    /// Runs a processor whose state is in a ledger. Its events must all be written to the topics that the
    /// specification names, by [`Stream::to_ledger_topics`].
    pub fn process_ledger<P, D>(
        self,
        spec: LedgerSpec<impl Fn() -> P + Send + Sync + 'static, impl Fn() -> D + Send + Sync + 'static>,
    ) -> Stream<P::Event>
    where
        P: LedgerProcessor<Command = T>,
        D: Deserializer<P::Event>,
    {
        let LedgerSpec {
            name,
            event_topics,
            processor,
            events,
        } = spec;
        let make = move || -> Box<dyn LedgerNode> {
            Box::new(ProcessorLedger {
                processor: processor(),
                events: events(),
                types: PhantomData,
            })
        };
        let kind = Kind::Ledger {
            events: event_topics,
            make: Arc::new(make),
        };
        self.attach(name, kind)
    }

    /// Keeps a value for each key in a ledger: records are commands, decided by `A` on the value of their key, and its
    /// events are written to `event_topic`, which the ledger is rebuilt from. A record without a key is refused.
    pub fn decide<A: Decider<Command = T>>(self, name: &str, event_topic: &str) {
        let topic: Arc<str> = Arc::from(event_topic);
        let spec = LedgerSpec {
            name: name.to_owned(),
            event_topics: vec![event_topic.to_owned()],
            processor: Deciders::<A>::default,
            events: || Events,
        };
        self.process(&format!("{name}-keyed"), || KeyCheck)
            .process_ledger(spec)
            .to_ledger_topics(vec![event_topic.to_owned()], move |_| topic.clone(), Json);
    }

    /// Divides the stream: each record goes to the first branch whose predicate holds, or nowhere.
    pub fn split(self, predicates: Vec<Predicate<T>>) -> Vec<Stream<T>> {
        let count = predicates.len();
        let predicates = Arc::new(predicates);
        let name = format!("split-{}", self.graph.borrow().nodes.len());
        let split: Stream<T> = self.operator(name, "split", move || SplitNode {
            predicates: predicates.clone(),
        });
        split.ports(count)
    }

    /// Gives every record to each of `count` streams.
    pub fn fork(self, count: usize) -> Vec<Stream<T>>
    where
        T: Clone,
    {
        let name = format!("fork-{}", self.graph.borrow().nodes.len());
        let fork: Stream<T> = self.operator(name, "fork", move || ForkNode::<T> {
            children: count,
            types: PhantomData,
        });
        fork.ports(count)
    }

    fn ports(self, count: usize) -> Vec<Stream<T>> {
        let from = self.from.map(|(id, _)| id);
        let one = |port| Stream {
            graph: self.graph.clone(),
            from: from.map(|id| (id, port)),
            on_error: self.on_error,
            types: PhantomData,
        };
        (0..count).map(one).collect()
    }

    /// Joins streams of the same type into one. Between them there is no order.
    pub fn merge(self, others: Vec<Stream<T>>) -> Stream<T> {
        let (graph, on_error) = (self.graph.clone(), self.on_error);
        let merged = self.batches("merge", |batch| batch);
        let target = merged.from;
        for other in others {
            if let (Some((parent, port)), Some((id, _))) = (other.from, target) {
                connect(&mut graph.borrow_mut().children[parent], port, id);
            }
        }
        Stream {
            graph,
            from: target,
            on_error,
            types: PhantomData,
        }
    }

    /// Writes to a topic; the key chooses the partition.
    pub fn to(self, topic: &str, serializer: impl Serializer<T>) {
        let target: Arc<str> = Arc::from(topic);
        self.write(vec![topic.to_owned()], move |_| target.clone(), serializer, false);
    }

    /// Writes a ledger's events, each to the topic that `choose` names, in the ledger's own partition.
    pub fn to_ledger_topics(
        self,
        topics: Vec<String>,
        choose: impl Fn(&T) -> Arc<str> + Send + Sync + 'static,
        serializer: impl Serializer<T>,
    ) {
        self.write(topics, choose, serializer, true);
    }

    fn write<S: Serializer<T>>(
        self,
        topics: Vec<String>,
        choose: impl Fn(&T) -> Arc<str> + Send + Sync + 'static,
        serializer: S,
        keep_partition: bool,
    ) {
        let name = format!("to-{}", topics.join("-"));
        let topic: Chooser<T> = Arc::new(choose);
        let serializer = Arc::new(serializer);
        // A ledger's event has been decided: it can't be left out any more.
        let policy = if keep_partition { OnError::Fail } else { self.on_error };
        let make = move || -> Box<dyn Node> {
            Box::new(ToNode {
                topic: topic.clone(),
                serializer: serializer.clone(),
                policy,
                keep_partition,
                capacity: 0,
            })
        };
        let kind = Kind::To {
            topics,
            keep_partition,
            make: Arc::new(make),
        };
        self.attach::<()>(name, kind);
    }

    /// Writes to a topic and reads it again, so that records with the same key come together in one task.
    pub fn repartition<D>(
        self,
        topic: &str,
        serializer: impl Serializer<T>,
        deserializer: impl Fn() -> D + Send + Sync + 'static,
    ) -> Stream<T>
    where
        D: Deserializer<T>,
    {
        let builder = StreamsBuilder {
            name: String::new(),
            on_error: self.on_error,
            graph: self.graph.clone(),
        };
        self.to(topic, serializer);
        builder.stream(topic, deserializer)
    }

    /// Turns each batch into Arrow rows and runs window queries over them. `rows` must yield the queries' input schema;
    /// `queries` plans them, once now to check them and once more for each further stream thread.
    #[cfg(feature = "windows")]
    pub fn window_sql(
        self,
        name: &str,
        queries: impl Fn() -> Result<Vec<WindowQuery>, WindowError> + Send + Sync + 'static,
        rows: impl Fn(&[Message<T>]) -> Result<RecordBatch, String> + Send + Sync + 'static,
    ) -> Result<WindowPartials, WindowError> {
        let first = queries()?;
        let tables = first.iter().map(|query| query.table().name.clone()).collect();
        let queries = Arc::new(Queries::new(first, Box::new(queries)));
        let rows = Arc::new(rows);
        let make = move || -> Box<dyn Window> {
            let rows = rows.clone();
            let rows: Rows<T> = Box::new(move |batch: &[Message<T>]| rows(batch));
            Box::new(WindowNode::new(queries.clone(), rows))
        };
        let make = Arc::new(make);
        let stream = self.attach::<()>(name.to_owned(), Kind::Window { tables, make });
        Ok(WindowPartials { stream })
    }
}

/// Window partials on their way to a database.
#[cfg(feature = "windows")]
pub struct WindowPartials {
    stream: Stream<()>,
}

#[cfg(feature = "windows")]
impl WindowPartials {
    /// Merges the partials into the sink that the application names so.
    pub fn sink(self, name: &str) {
        let kind = Kind::Sink { name: name.to_owned() };
        self.stream.attach::<()>(format!("sink-{name}"), kind);
    }
}

/// Puts a child on a port.
fn connect(children: &mut Children, port: usize, child: NodeId) {
    if children.len() <= port {
        children.resize(port + 1, None);
    }
    children[port] = Some(child);
}
