//! A task: one partition of one subtopology, with its nodes and, where it has one, its ledger.
//!
//! A batch passes through it in three steps, so that a stream thread can load and commit several ledgers at a time:
//!
//! ```text
//!  Task::read ─> Input ─ decide ─> Decision ─ commit ─> Outcome
//!  decode, load documents          apply to the ledger    records to be sent
//! ```

mod config;
pub(crate) mod ledger_node;
pub(crate) mod node;
pub(crate) mod nodes;
mod rounds;
pub(crate) mod session;
#[cfg(feature = "windows")]
pub(crate) mod sinking;
pub(crate) mod source;
pub(crate) mod stages;
pub(crate) mod tasks;
pub(crate) mod transactional;
#[cfg(feature = "windows")]
pub(crate) mod window_node;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::config::{TaskConfig, TaskId};
use self::ledger_node::LedgerNode;
use self::node::{AnyBatch, Context, Flow, NodeId};
use self::nodes::Nodes;
use self::session::LedgerSession;
use self::stages::{Stage, Stages, Stopwatch};
use super::entry;
use super::error::TaskError;
use crate::dsl::topology::Topology;
use crate::ledger::FieldWrite;
use crate::record::{OutputRecord, PartitionRecords, TopicPartition};
#[cfg(feature = "windows")]
use crate::sink::Partials;

pub(crate) struct Task {
    topology: Arc<Topology>,
    nodes: Nodes,
    pub(crate) session: Option<LedgerSession>,
    stages: Arc<Stages>,
}

impl Task {
    pub(crate) fn new(config: &TaskConfig, subtopology: usize, session: Option<LedgerSession>) -> Self {
        Self {
            topology: config.topology.clone(),
            nodes: config.topology.instantiate(subtopology),
            session,
            stages: config.stages.clone(),
        }
    }

    /// Reads a batch: decodes it, runs the operators before the ledger and loads the documents that the commands need.
    pub(crate) async fn read(&mut self, batch: PartitionRecords) -> Result<Input<'_>, TaskError> {
        let Some((id, source)) = self.nodes.sources.get_mut(&*batch.source.topic) else {
            return Err(TaskError::Fatal(format!("{} is not read by this task", batch.source)));
        };
        let mut flow = Flow::from(*id, self.stages.watch());
        let mut ctx = Context {
            source: &batch.source,
            records: &batch.records,
            partitions: self.session.as_ref().map(|session| session.ledgers),
            children: &self.topology.children,
            flow: &mut flow,
        };
        source.read(&mut ctx).await?;
        ctx.flow.watch.lap(Stage::Decode);
        let mut commands = Vec::new();
        run(&mut self.nodes, &mut ctx, &mut commands)?;
        if let (Some((_, node)), Some(session)) = (&mut self.nodes.ledger, &mut self.session) {
            for commands in &mut commands {
                node.load(commands, session).await?;
            }
            flow.watch.lap(Stage::Load);
        }
        Ok(Input {
            task: self,
            batch,
            flow,
            commands,
        })
    }

    /// Returns the partials of all windows since the last call.
    #[cfg(feature = "windows")]
    pub(crate) async fn partials(&mut self) -> Result<Vec<Partials>, TaskError> {
        let mut watch = self.stages.watch();
        let mut partials = Vec::new();
        for window in self.nodes.windows.values_mut() {
            partials.extend(window.partials().await?);
        }
        watch.lap(Stage::Window);
        Ok(partials)
    }

    /// Returns the ledger and its node, for a rebuild.
    pub(crate) fn ledger(&mut self) -> Option<(&mut LedgerSession, &mut dyn LedgerNode)> {
        let (_, node) = self.nodes.ledger.as_mut()?;
        Some((self.session.as_mut()?, &mut **node))
    }
}

/// Runs nodes until no messages are left but commands of the ledger.
fn run(nodes: &mut Nodes, ctx: &mut Context<'_>, commands: &mut Vec<AnyBatch>) -> Result<(), TaskError> {
    let ledger: Option<NodeId> = nodes.ledger.as_ref().map(|(id, _)| *id);
    while let Some((id, input)) = ctx.flow.next() {
        if ledger == Some(id) {
            commands.push(input);
            continue;
        }
        #[cfg(feature = "windows")]
        if let Some(window) = nodes.windows.get_mut(&id) {
            window.collect(input)?;
            ctx.flow.watch.lap(Stage::Window);
            continue;
        }
        let node = nodes.operators.get_mut(&id);
        let node = node.ok_or_else(|| TaskError::Fatal(format!("node {id} is not part of this task")))?;
        node.process(input, ctx)?;
        ctx.flow.watch.lap(node.stage());
    }
    Ok(())
}

/// A batch that was read.
pub(crate) struct Input<'a> {
    task: &'a mut Task,
    batch: PartitionRecords,
    flow: Flow,
    commands: Vec<AnyBatch>,
}

impl<'a> Input<'a> {
    /// Decides the commands and runs the nodes behind the ledger. Waits for nothing.
    pub(crate) fn decide(self) -> Result<Decision<'a>, TaskError> {
        let Self {
            task,
            batch,
            mut flow,
            commands,
        } = self;
        let mut ctx = Context {
            source: &batch.source,
            records: &batch.records,
            partitions: None,
            children: &task.topology.children,
            flow: &mut flow,
        };
        for commands in commands {
            let (Some((id, node)), Some(session)) = (&mut task.nodes.ledger, &mut task.session) else {
                return Err(TaskError::Fatal(
                    "the node of a ledger runs in a task without one".into(),
                ));
            };
            ctx.flow.resume(*id);
            node.decide(commands, session, &mut ctx)?;
            ctx.flow.watch.lap(Stage::Decide);
            let mut further = Vec::new();
            run(&mut task.nodes, &mut ctx, &mut further)?;
            if !further.is_empty() {
                return Err(TaskError::Fatal("the events of a ledger are its own commands".into()));
            }
        }
        let Flow { outputs, mut watch, .. } = flow;
        let mut change = None;
        if let Some((session, node)) = task.ledger() {
            let writes = node.take_changes();
            watch.lap(Stage::Changes);
            let entry = entry::encode(session.applied, session.chain, &outputs);
            watch.lap(Stage::Encode);
            change = Some((writes, entry));
        }
        Ok(Decision {
            task,
            watch,
            change,
            outcome: Outcome {
                last_offset: batch.records.last().map_or(-1, |record| record.offset),
                records: batch.records.len(),
                source: batch.source,
                outputs,
            },
        })
    }
}

/// A batch that was decided, and its change of the ledger.
pub(crate) struct Decision<'a> {
    task: &'a mut Task,
    watch: Stopwatch,
    change: Option<(Vec<FieldWrite>, Bytes)>,
    outcome: Outcome,
}

impl<'a> Decision<'a> {
    /// Applies the batch to the ledger. Then its outputs are in the ledger's log and can be sent.
    pub(crate) async fn commit(self) -> Result<(&'a mut Task, Outcome), TaskError> {
        let Self {
            task,
            mut watch,
            change,
            outcome,
        } = self;
        if let (Some((session, node)), Some((writes, entry))) = (task.ledger(), change) {
            session.commit(outcome.last_offset, writes, entry).await?;
            watch.lap(Stage::LedgerCommit);
            node.shrink();
            watch.lap(Stage::Changes);
        }
        Ok((task, outcome))
    }
}

/// The outputs of a batch.
pub(crate) struct Outcome {
    pub(crate) source: TopicPartition,
    /// Offset of the last record of the batch.
    pub(crate) last_offset: i64,
    /// Number of records in the batch.
    pub(crate) records: usize,
    /// Records to be sent.
    pub(crate) outputs: Vec<OutputRecord>,
}
