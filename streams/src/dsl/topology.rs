//! The graph that a builder made: sources, operators, ledgers and outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::global_table::Follow;
use super::policy::dlq_topic;
use crate::runtime::task::ledger_node::LedgerNode;
use crate::runtime::task::node::{Children, Node, NodeId};
use crate::runtime::task::nodes::Nodes;
use crate::runtime::task::source::Source;
#[cfg(feature = "windows")]
use crate::runtime::task::window_node::Window;

/// Makes a node for each task.
pub(crate) type Factory<N> = Arc<dyn Fn() -> Box<N> + Send + Sync>;

/// A node's kind: its place in the picture and in the wiring, and how it is made.
#[derive(Clone)]
pub(crate) enum Kind {
    Source {
        topic: String,
        dead_letters: bool,
        make: Factory<dyn Source>,
    },
    Operator {
        verb: &'static str,
        make: Factory<dyn Node>,
    },
    Ledger {
        events: Vec<String>,
        make: Factory<dyn LedgerNode>,
    },
    To {
        topics: Vec<String>,
        keep_partition: bool,
        make: Factory<dyn Node>,
    },
    #[cfg(feature = "windows")]
    Window {
        tables: Vec<String>,
        make: Factory<dyn Window>,
    },
    /// The end of the graph behind a window. No node of a task: the task hands partials to its stream thread.
    #[cfg(feature = "windows")]
    Sink { name: String },
}

#[derive(Clone)]
pub(crate) struct NodeDef {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// The nodes of a topology that are connected. Its tasks are numbered by partition: the task of partition `p` reads
/// partition `p` of all its source topics.
#[derive(Clone)]
pub(crate) struct Subtopology {
    pub(crate) nodes: BTreeSet<NodeId>,
    /// Source topic → its node.
    pub(crate) sources: BTreeMap<String, NodeId>,
    pub(crate) ledger: Option<NodeId>,
}

/// A fault of a topology, found when it is built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The topology reads nothing.
    #[error("topology {0} has no source: begin with StreamsBuilder::stream")]
    NoSource(String),
    /// Two sources read the same topic.
    #[error("topology {topology}: topic {topic} has two sources; read it once and fork the stream")]
    #[allow(missing_docs, reason = "plain fields")]
    SourceTwice { topology: String, topic: String },
    /// A window or its sink can't be mixed with outputs to the log: the two could not be committed together.
    #[error("topology {0} writes both to a sink and to the log: make it two topologies")]
    MixedOutputs(String),
    /// A subtopology has two ledgers.
    #[error("topology {0} has two ledgers in one subtopology: put a repartition between them")]
    TwoLedgers(String),
    /// A ledger's input must be read from exactly one topic, whose offsets are its applied offset.
    #[error("topology {topology}: the ledger's subtopology reads {topics:?}; it must read exactly one topic")]
    #[allow(missing_docs, reason = "plain fields")]
    LedgerSources {
        topology: String,
        /// The topics that it reads.
        topics: Vec<String>,
    },
    /// A ledger's events are not all written where it is rebuilt from.
    #[error(
        "topology {topology}: the ledger is rebuilt from {topic}, but its events are not written there; \
         name the same topics in LedgerSpec::event_topics and Stream::to_ledger_topics"
    )]
    #[allow(missing_docs, reason = "plain fields")]
    EventsNotWritten {
        topology: String,
        /// The event topic.
        topic: String,
    },
}

/// A graph of sources, operators and outputs, ready to be run.
#[derive(Clone)]
pub struct Topology {
    pub(crate) name: String,
    pub(crate) nodes: Vec<NodeDef>,
    /// Node → its child on each port; a port may lead nowhere.
    pub(crate) children: Arc<Vec<Children>>,
    pub(crate) subtopologies: Vec<Subtopology>,
    pub(crate) globals: Vec<Arc<dyn Follow>>,
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Topology {
    pub(crate) fn new(
        name: String,
        nodes: Vec<NodeDef>,
        children: Vec<Children>,
        globals: Vec<Arc<dyn Follow>>,
    ) -> Result<Self, BuildError> {
        let subtopologies = split(&name, &nodes, &children)?;
        let topology = Self {
            name,
            nodes,
            children: Arc::new(children),
            subtopologies,
            globals,
        };
        if topology.has_sink() && !topology.output_topics().is_empty() {
            return Err(BuildError::MixedOutputs(topology.name));
        }
        Ok(topology)
    }

    /// Its name, which is part of its consumer group's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topics that it reads, global tables left out.
    pub fn source_topics(&self) -> Vec<String> {
        self.subtopologies
            .iter()
            .flat_map(|subtopology| subtopology.sources.keys().cloned())
            .collect()
    }

    /// The compacted topics that it keeps whole in memory.
    pub fn global_topics(&self) -> Vec<String> {
        self.globals.iter().map(|global| global.topic().to_owned()).collect()
    }

    /// The topics that it writes to, dead-letter queues left out.
    pub fn output_topics(&self) -> BTreeSet<String> {
        let of = |node: &NodeDef| match &node.kind {
            Kind::To { topics, .. } => topics.clone(),
            _ => Vec::new(),
        };
        self.nodes.iter().flat_map(of).collect()
    }

    /// The window tables that it merges into.
    pub fn window_tables(&self) -> Vec<String> {
        let of = |node: &NodeDef| match &node.kind {
            #[cfg(feature = "windows")]
            Kind::Window { tables, .. } => tables.clone(),
            _ => Vec::new(),
        };
        self.nodes.iter().flat_map(of).collect()
    }

    /// The dead-letter queues that it may write to.
    pub fn dlq_topics(&self) -> Vec<String> {
        let of = |node: &NodeDef| match &node.kind {
            Kind::Source {
                topic,
                dead_letters: true,
                ..
            } => Some(dlq_topic(topic)),
            _ => None,
        };
        // A topology with a sink has no transaction that a dead letter could be part of: it skips and counts.
        if self.has_sink() {
            Vec::new()
        } else {
            self.nodes.iter().filter_map(of).collect()
        }
    }

    /// Topics that must have the same number of partitions: those of a ledger's subtopology, with the events it emits.
    pub fn copartitioned_topics(&self) -> Vec<BTreeSet<String>> {
        let of = |subtopology: &Subtopology| {
            let mut topics: BTreeSet<String> = subtopology.sources.keys().cloned().collect();
            if let Some(Kind::Ledger { events, .. }) = subtopology.ledger.map(|id| &self.nodes[id].kind) {
                topics.extend(events.iter().cloned());
                topics.extend(subtopology.sources.keys().map(|topic| dlq_topic(topic)));
            }
            topics
        };
        self.subtopologies
            .iter()
            .map(of)
            .filter(|topics| topics.len() > 1)
            .collect()
    }

    /// Returns whether it merges windows into a database.
    pub fn has_sink(&self) -> bool {
        let is_sink = |kind: &Kind| match kind {
            #[cfg(feature = "windows")]
            Kind::Sink { .. } => true,
            _ => false,
        };
        self.nodes.iter().any(|node| is_sink(&node.kind))
    }

    /// Returns whether it keeps state in ledgers.
    pub fn has_ledger(&self) -> bool {
        self.subtopologies
            .iter()
            .any(|subtopology| subtopology.ledger.is_some())
    }

    /// Returns the event topics from which a subtopology's ledger is rebuilt.
    pub(crate) fn event_topics(&self, subtopology: usize) -> &[String] {
        match self.subtopologies[subtopology].ledger.map(|id| &self.nodes[id].kind) {
            Some(Kind::Ledger { events, .. }) => events,
            _ => &[],
        }
    }

    /// Returns the subtopology that reads a topic.
    pub(crate) fn subtopology_of(&self, topic: &str) -> Option<usize> {
        self.subtopologies
            .iter()
            .position(|subtopology| subtopology.sources.contains_key(topic))
    }

    /// Makes the nodes of a subtopology for a task.
    pub(crate) fn instantiate(&self, subtopology: usize) -> Nodes {
        let mut nodes = Nodes::default();
        for &id in &self.subtopologies[subtopology].nodes {
            match &self.nodes[id].kind {
                Kind::Source { topic, make, .. } => {
                    nodes.sources.insert(topic.clone(), (id, make()));
                }
                Kind::Operator { make, .. } | Kind::To { make, .. } => {
                    nodes.operators.insert(id, make());
                }
                Kind::Ledger { make, .. } => nodes.ledger = Some((id, make())),
                #[cfg(feature = "windows")]
                Kind::Window { make, .. } => {
                    nodes.windows.insert(id, make());
                }
                #[cfg(feature = "windows")]
                Kind::Sink { .. } => {}
            }
        }
        nodes
    }

    /// The topology as text, in the manner of Kafka Streams' `TopologyDescription`.
    pub fn describe(&self) -> String {
        let mut text = format!("Topology: {}\n", self.name);
        for global in &self.globals {
            let _ = writeln!(text, "   Global table: {}", global.topic());
        }
        for (index, subtopology) in self.subtopologies.iter().enumerate() {
            let _ = writeln!(text, "   Sub-topology: {index}");
            for &id in &subtopology.nodes {
                let node = &self.nodes[id];
                let _ = writeln!(text, "    {} {}", node.name, label(&node.kind));
                let names: Vec<&str> = self.children[id]
                    .iter()
                    .flatten()
                    .map(|&child| self.nodes[child].name.as_str())
                    .collect();
                if !names.is_empty() {
                    let _ = writeln!(text, "      --> {}", names.join(", "));
                }
            }
        }
        text
    }

    /// The topology as a Mermaid flow chart.
    pub fn mermaid(&self) -> String {
        mermaid([self])
    }
}

/// Topologies as one Mermaid flow chart: a box for each, and between them the topics by which they hang together.
pub fn mermaid<'a>(topologies: impl IntoIterator<Item = &'a Topology>) -> String {
    let mut text = String::from("flowchart LR\n");
    let topic_id = |topic: &str| format!("t_{}", topic.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    let mut topics = BTreeSet::new();
    let mut lines = String::new();
    for topology in topologies {
        let _ = writeln!(text, "  subgraph {}", topology.name);
        for (id, node) in topology.nodes.iter().enumerate() {
            let own = format!("{}_{id}", topology.name);
            let _ = writeln!(text, "    {own}[\"{}\"]", node.name);
            match &node.kind {
                Kind::Source { topic, .. } => {
                    topics.insert(topic);
                    let _ = writeln!(lines, "  {} --> {own}", topic_id(topic));
                }
                Kind::To { topics: targets, .. } => {
                    for topic in targets {
                        topics.insert(topic);
                        let _ = writeln!(lines, "  {own} --> {}", topic_id(topic));
                    }
                }
                Kind::Ledger { .. } => {
                    let _ = writeln!(lines, "  {own} <--> {own}_state[(ledger)]");
                }
                #[cfg(feature = "windows")]
                Kind::Sink { name } => {
                    let _ = writeln!(lines, "  {own} --> {own}_db[({name})]");
                }
                _ => {}
            }
            for child in topology.children[id].iter().flatten() {
                let _ = writeln!(lines, "  {own} --> {}_{child}", topology.name);
            }
        }
        text.push_str("  end\n");
    }
    for topic in topics {
        let _ = writeln!(text, "  {}([\"{topic}\"])", topic_id(topic));
    }
    text + &lines
}

fn label(kind: &Kind) -> String {
    match kind {
        Kind::Source { topic, .. } => format!("(source, topic: {topic})"),
        Kind::Operator { verb, .. } => format!("({verb})"),
        Kind::Ledger { events, .. } => format!("(ledger, rebuilt from: {})", events.join(", ")),
        Kind::To { topics, .. } => format!("(to: {})", topics.join(", ")),
        #[cfg(feature = "windows")]
        Kind::Window { tables, .. } => format!("(window, tables: {})", tables.join(", ")),
        #[cfg(feature = "windows")]
        Kind::Sink { name } => format!("(sink: {name})"),
    }
}

/// Splits the graph into its connected subtopologies.
fn split(name: &str, nodes: &[NodeDef], children: &[Children]) -> Result<Vec<Subtopology>, BuildError> {
    let mut root_of: Vec<usize> = (0..nodes.len()).collect();
    // Propagate the smallest id along the edges until nothing changes: graphs are small.
    loop {
        let mut changed = false;
        for (parent, targets) in children.iter().enumerate() {
            for &child in targets.iter().flatten() {
                let low = root_of[parent].min(root_of[child]);
                changed |= root_of[parent] != low || root_of[child] != low;
                root_of[parent] = low;
                root_of[child] = low;
            }
        }
        if !changed {
            break;
        }
    }
    let mut subtopologies: BTreeMap<usize, Subtopology> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (id, node) in nodes.iter().enumerate() {
        let subtopology = subtopologies.entry(root_of[id]).or_insert_with(|| Subtopology {
            nodes: BTreeSet::new(),
            sources: BTreeMap::new(),
            ledger: None,
        });
        subtopology.nodes.insert(id);
        match &node.kind {
            Kind::Source { topic, .. } => {
                if !seen.insert(topic.clone()) {
                    return Err(BuildError::SourceTwice {
                        topology: name.into(),
                        topic: topic.clone(),
                    });
                }
                subtopology.sources.insert(topic.clone(), id);
            }
            Kind::Ledger { .. } if subtopology.ledger.replace(id).is_some() => {
                return Err(BuildError::TwoLedgers(name.into()));
            }
            _ => {}
        }
    }
    let subtopologies: Vec<Subtopology> = subtopologies.into_values().collect();
    if subtopologies.iter().all(|subtopology| subtopology.sources.is_empty()) {
        return Err(BuildError::NoSource(name.into()));
    }
    for subtopology in &subtopologies {
        if subtopology.ledger.is_some() && subtopology.sources.len() != 1 {
            let topics = subtopology.sources.keys().cloned().collect();
            return Err(BuildError::LedgerSources {
                topology: name.into(),
                topics,
            });
        }
        let Some(Kind::Ledger { events, .. }) = subtopology.ledger.map(|id| &nodes[id].kind) else {
            continue;
        };
        let writes = |topic: &String| {
            let to = |id: &NodeId| matches!(&nodes[*id].kind, Kind::To { topics, keep_partition: true, .. } if topics.contains(topic));
            subtopology.nodes.iter().any(to)
        };
        if let Some(topic) = events.iter().find(|topic| !writes(topic)) {
            return Err(BuildError::EventsNotWritten {
                topology: name.into(),
                topic: topic.clone(),
            });
        }
    }
    Ok(subtopologies)
}
