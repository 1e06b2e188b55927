//! The client side of a transactional producer.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::groups::Membership;
use super::partition::Outcome;
use super::shared::Shared;
use super::transactions::Operation;
use crate::log::{GroupMetadata, LogError, OffsetCommit, Producer};
use crate::record::OutputRecord;

pub(super) struct MemoryProducer {
    shared: Arc<Shared>,
    transactional_id: String,
    epoch: i32,
}

impl MemoryProducer {
    /// Fences earlier producers of this id, and waits until their transaction is aborted or completed.
    pub(super) async fn supersede(shared: Arc<Shared>, transactional_id: &str) -> Result<Self, LogError> {
        let deadline = shared.deadline(shared.config.request_timeout);
        let epoch = shared.lock().supersede(transactional_id);
        loop {
            {
                let settled = shared.settled.notified();
                tokio::pin!(settled);
                settled.as_mut().enable();
                if shared.lock().is_settled(transactional_id) {
                    break;
                }
                shared.wait(settled, deadline).await;
            }
            if shared.is_past(deadline) && !shared.lock().is_settled(transactional_id) {
                return Err(LogError::Retriable {
                    action: format!("initialise {transactional_id}"),
                    reason: "the last transaction's markers are not written yet".to_owned(),
                });
            }
        }
        Ok(Self {
            shared,
            transactional_id: transactional_id.to_owned(),
            epoch,
        })
    }

    fn submit(&self, operation: Operation) {
        self.shared.lock().submit(&self.transactional_id, self.epoch, operation);
    }

    fn end(&self, outcome: Outcome) -> BoxFuture<'static, Result<(), LogError>> {
        let (reply, answer) = oneshot::channel();
        self.submit(Operation::End(outcome, reply));
        let action = format!("{outcome:?} of {}", self.transactional_id);
        Box::pin(await_answer(Arc::clone(&self.shared), answer, action))
    }
}

impl Producer for MemoryProducer {
    fn send(&mut self, records: Vec<OutputRecord>) {
        if !records.is_empty() {
            self.submit(Operation::Send(records));
        }
    }

    fn commit(&mut self, offsets: Vec<OffsetCommit>, group: GroupMetadata) -> BoxFuture<'static, Result<(), LogError>> {
        if !offsets.is_empty() {
            let Some(membership) = group.0.downcast_ref::<Membership>() else {
                let error = LogError::Fatal {
                    action: format!("commit of {}", self.transactional_id),
                    reason: "the group metadata is of another log".to_owned(),
                };
                return Box::pin(std::future::ready(Err(error)));
            };
            self.submit(Operation::Offsets(offsets, membership.clone()));
        }
        self.end(Outcome::Commit)
    }

    fn abort(&mut self) -> BoxFuture<'static, Result<(), LogError>> {
        self.end(Outcome::Abort)
    }
}

/// Brings the answer of an operation that took effect already, or waits while a test holds it back or a journal writes.
pub(super) async fn await_answer(
    shared: Arc<Shared>,
    mut answer: oneshot::Receiver<Result<(), LogError>>,
    action: String,
) -> Result<(), LogError> {
    let deadline = shared.deadline(shared.config.request_timeout);
    yield_now().await;
    loop {
        if let Ok(result) = answer.try_recv() {
            return result;
        }
        if shared.is_past(deadline) {
            let reason = "no answer in time: whether it took effect is not known".to_owned();
            return Err(LogError::Fenced { action, reason });
        }
        let mut result = None;
        shared
            .wait(async { result = Some((&mut answer).await) }, deadline)
            .await;
        if let Some(Ok(result)) = result {
            return result;
        }
    }
}
