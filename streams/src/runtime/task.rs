//! A task: one partition of one part of a topology, with its nodes and, where it has one, its ledger.

use std::sync::Arc;

use super::error::TaskError;
use super::outbox;
use super::session::LedgerSession;
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
}

/// What a batch of a task leaves to be written.
#[derive(Default)]
pub(crate) struct Processed {
    pub(crate) outputs: Vec<OutputRecord>,
    pub(crate) partials: Vec<Partials>,
}

impl Task {
    pub(crate) fn new(topology: &Arc<Topology>, part: usize, session: Option<LedgerSession>) -> Self {
        Self {
            topology: topology.clone(),
            part,
            nodes: topology.instantiate(part),
            session,
        }
    }

    /// Processes a batch. With a ledger, the batch is applied to it when this returns; what is returned is then in the
    /// outbox too, and must be sent.
    pub(crate) async fn process(&mut self, batch: &PartitionRecords) -> Result<Processed, TaskError> {
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
        );
        ctx.run(&mut self.nodes, entry, Box::new(())).await?;
        let Context { outputs, partials, .. } = ctx;
        if let Some(last) = batch.records.last() {
            self.commit_to_ledger(last.offset, &outputs).await?;
        }
        Ok(Processed { outputs, partials })
    }

    async fn commit_to_ledger(&mut self, watermark: i64, outputs: &[OutputRecord]) -> Result<(), TaskError> {
        let Some(session) = self.session.as_mut() else {
            return Ok(());
        };
        let side = self.topology.parts[self.part]
            .ledger
            .and_then(|id| self.nodes[id].as_mut())
            .and_then(|node| node.ledger());
        let side = side.ok_or_else(|| ProcessError::Fatal("the task has a ledger but no node for it".into()))?;
        let writes = side.take_changes();
        let entry = outbox::encode(session.watermark, outputs);
        session.commit(watermark, writes, entry).await?;
        side.shrink();
        Ok(())
    }

    /// The ledger and its node, for a rebuild.
    pub(crate) fn ledger(&mut self) -> Option<(&mut LedgerSession, &mut dyn LedgerSide)> {
        let id = self.topology.parts[self.part].ledger?;
        let side = self.nodes[id].as_mut()?.ledger()?;
        Some((self.session.as_mut()?, side))
    }
}
