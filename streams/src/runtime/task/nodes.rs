//! The nodes of one task, by their kind.

use std::collections::BTreeMap;

use super::ledger_node::LedgerNode;
use super::node::{Node, NodeId};
use super::source::Source;
#[cfg(feature = "windows")]
use super::window_node::Window;

/// Fresh nodes of a subtopology.
#[derive(Default)]
pub(crate) struct Nodes {
    /// Sources by topic.
    pub(crate) sources: BTreeMap<String, (NodeId, Box<dyn Source>)>,
    /// Operators and outputs.
    pub(crate) operators: BTreeMap<NodeId, Box<dyn Node>>,
    pub(crate) ledger: Option<(NodeId, Box<dyn LedgerNode>)>,
    #[cfg(feature = "windows")]
    pub(crate) windows: BTreeMap<NodeId, Box<dyn Window>>,
}
