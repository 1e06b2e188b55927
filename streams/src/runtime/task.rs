//! A task: one partition of one part of a topology, with its nodes and, where it has one, its ledger.

mod config;
pub(crate) mod ledger_node;
pub(crate) mod node;
pub(crate) mod session;
#[cfg(feature = "windows")]
pub(crate) mod sinking;
pub(crate) mod stages;
pub(crate) mod tasks;
pub(crate) mod transactional;
#[cfg(feature = "windows")]
pub(crate) mod window_node;

use std::sync::Arc;

use futures::future::join;
use tokio::sync::OwnedMutexGuard;
use tokio::task::yield_now;

pub(crate) use self::config::{TaskConfig, TaskId};
use self::ledger_node::LedgerSide;
use self::node::{Context, Node, ProcessError};
use self::session::LedgerSession;
use self::stages::{Stage, Stages, Stopwatch};
use super::error::TaskError;
use super::outbox;
use crate::dsl::topology::Topology;
use crate::record::{OutputRecord, PartitionRecords};
#[cfg(feature = "windows")]
use crate::sink::Partials;

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
    #[cfg(feature = "windows")]
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
