//! One round of a stream thread: its ledgers load their documents and commit at the same time, and decide one by one.
//!
//! A decision's commit is handed to the store before the next ledger decides. So the store works on it meanwhile: a
//! thread that decided for all ledgers first would write only after the last of them.

use std::collections::VecDeque;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::task::yield_now;

use super::{Decision, Input, Outcome, Task, TaskId};
use crate::record::PartitionRecords;
use crate::runtime::error::TaskError;

/// The batches of a task that come after the one under way.
type Queue = VecDeque<PartitionRecords>;

/// A task that reads a batch.
struct Load<'a> {
    id: TaskId,
    input: Input<'a>,
    queue: Queue,
}

/// A task that committed a batch.
struct Commit<'a> {
    id: TaskId,
    task: &'a mut Task,
    outcome: Outcome,
    queue: Queue,
}

/// The tasks of one round.
#[derive(Default)]
pub(crate) struct Rounds<'a> {
    loading: FuturesUnordered<BoxFuture<'a, Result<Load<'a>, TaskError>>>,
    committing: FuturesUnordered<BoxFuture<'a, Result<Commit<'a>, TaskError>>>,
    outcomes: Vec<(TaskId, Outcome)>,
    failure: Option<TaskError>,
}

impl<'a> Rounds<'a> {
    /// Begins to read the first batch of a queue.
    pub(crate) fn read(&mut self, id: TaskId, task: &'a mut Task, mut queue: Queue) {
        if let Some(batch) = queue.pop_front() {
            self.loading.push(Box::pin(async move {
                let input = task.read(batch).await?;
                Ok(Load { id, input, queue })
            }));
        }
    }

    /// Processes all batches; returns the outcomes in order of the tasks. After an error no ledger decides any more,
    /// but commits under way are waited for.
    pub(crate) async fn run(mut self) -> Result<Vec<(TaskId, Outcome)>, TaskError> {
        while !(self.loading.is_empty() && self.committing.is_empty()) {
            tokio::select! {
                biased;
                Some(commit) = self.committing.next() => self.on_commit(commit),
                Some(load) = self.loading.next() => {
                    self.on_load(load);
                    // The connection to the store is a task of its own, which must come to write the commit.
                    tokio::select! {
                        biased;
                        Some(commit) = self.committing.next() => self.on_commit(commit),
                        () = yield_now() => {}
                    }
                }
            }
        }
        match self.failure {
            Some(error) => Err(error),
            None => {
                self.outcomes.sort_by_key(|(id, _)| *id);
                Ok(self.outcomes)
            }
        }
    }

    fn on_load(&mut self, load: Result<Load<'a>, TaskError>) {
        let decision = load.and_then(|Load { id, input, queue }| Ok((id, input.decide()?, queue)));
        match decision {
            Ok((id, decision, queue)) => self.commit(id, decision, queue),
            Err(error) => self.fail(error),
        }
    }

    fn commit(&mut self, id: TaskId, decision: Decision<'a>, queue: Queue) {
        self.committing.push(Box::pin(async move {
            let (task, outcome) = decision.commit().await?;
            Ok(Commit {
                id,
                task,
                outcome,
                queue,
            })
        }));
    }

    fn on_commit(&mut self, commit: Result<Commit<'a>, TaskError>) {
        match commit {
            Ok(Commit {
                id,
                task,
                outcome,
                queue,
            }) => {
                self.outcomes.push((id, outcome));
                if self.failure.is_none() {
                    self.read(id, task, queue);
                }
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: TaskError) {
        self.loading.clear();
        self.failure.get_or_insert(error);
    }
}
