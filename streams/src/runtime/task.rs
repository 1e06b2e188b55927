//! A task: one partition of one part of a topology, with its nodes and, where it has one, its ledger.

use std::sync::Arc;

use futures::future::join;
use tokio::sync::OwnedMutexGuard;
use tokio::task::yield_now;

use super::config::TaskConfig;
use super::error::TaskError;
use super::outbox;
use super::session::LedgerSession;
use super::stages::{Stage, Stages, Stopwatch};
use crate::ledger_node::LedgerSide;
use crate::node::{Context, Node, ProcessError};
use crate::record::{OutputRecord, PartitionRecords};
use crate::sink::Partials;
use crate::topology::Topology;

/// Which task: part of the topology, partition.
pub(crate) type TaskId = (usize, i32);

pub(crate) struct Task {
    topology: Arc<Topology>,
    part: usize,
    nodes: Vec<Option<Box<dyn Node>>>,
    pub(crate) session: Option<LedgerSession>,
    stages: Arc<Stages>,
}

impl Task {
    pub(crate) fn new(config: &TaskConfig, part: usize, session: Option<LedgerSession>) -> Self {
        Self {
            topology: config.topology.clone(),
            part,
            nodes: config.topology.instantiate(part),
            session,
            stages: config.stages.clone(),
        }
    }

    /// Processes a batch and returns what is to be sent. With a ledger, the batch is applied to it when this returns, and what
    /// is to be sent is in the outbox too.
    pub(crate) async fn process(&mut self, batch: &PartitionRecords) -> Result<Vec<OutputRecord>, TaskError> {
        let entry = self.topology.parts[self.part]
            .sources
            .get(&*batch.source.topic)
            .copied();
        let entry = entry.ok_or_else(|| TaskError::Fatal(format!("{} is not read by this task", batch.source)))?;
        let partitions = self.session.as_ref().map(|session| session.ledgers);
        let children = self.topology.children.clone();
        let mut ctx = Context::new(
            &batch.source,
            &batch.records,
            partitions,
            self.session.as_mut(),
            &children,
            self.stages.watch(),
        );
        ctx.run(&mut self.nodes, entry, Box::new(())).await?;
        let Context {
            outputs, watch, turn, ..
        } = ctx;
        if let Some(last) = batch.records.last() {
            self.commit_to_ledger(last.offset, &outputs, watch, turn).await?;
        }
        Ok(outputs)
    }

    /// What the nodes have collected for the sink since the last call.
    pub(crate) async fn collected(&mut self) -> Result<Vec<Partials>, TaskError> {
        let mut watch = self.stages.watch();
        let mut collected = Vec::new();
        for node in self.nodes.iter_mut().flatten() {
            collected.extend(node.collected().await?);
        }
        watch.lap(Stage::Window);
        Ok(collected)
    }

    async fn commit_to_ledger(
        &mut self,
        applied: i64,
        outputs: &[OutputRecord],
        mut watch: Stopwatch,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> Result<(), TaskError> {
        let Some(session) = self.session.as_mut() else {
            return Ok(());
        };
        let side = self.topology.parts[self.part]
            .ledger
            .and_then(|id| self.nodes[id].as_mut())
            .and_then(|node| node.ledger());
        let side = side.ok_or_else(|| ProcessError::Fatal("the task has a ledger but no node for it".into()))?;
        let writes = side.take_changes();
        watch.lap(Stage::Changes);
        let entry = outbox::encode(session.applied, outputs);
        watch.lap(Stage::Encode);
        let commit = session.commit(applied, writes, entry);
        // The first look at the commit hands it to the connection, which must come to write it before another ledger decides.
        let next_turn = async {
            yield_now().await;
            drop(turn);
        };
        join(commit, next_turn).await.0?;
        watch.lap(Stage::LedgerCommit);
        side.shrink();
        watch.lap(Stage::Changes);
        Ok(())
    }

    /// The ledger and its node, for a rebuild.
    pub(crate) fn ledger(&mut self) -> Option<(&mut LedgerSession, &mut dyn LedgerSide)> {
        let id = self.topology.parts[self.part].ledger?;
        let side = self.nodes[id].as_mut()?.ledger()?;
        Some((self.session.as_mut()?, side))
    }
}
