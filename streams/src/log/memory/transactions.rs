//! The transaction coordinator (KIP-98, KIP-447): who may write under a `transactional.id`, and how transactions end.
//!
//! ```text
//!             send, offsets                 commit, abort                    last marker written
//!   (nothing) ────────────> open ─────────────────────────────> completing ─────────────────────> (nothing)
//!                            │ time-out, or a new producer: epoch + 1, abort ─────^
//! ```
//!
//! A commit is *decided* (and acknowledged) when the coordinator has it; its markers reach each partition and the
//! group's offsets afterwards, in any order. Here that is at once, unless a test holds some back. Until the last one is
//! written the producer's next operations wait, and so does a new producer under the same id, as with Kafka's
//! `CONCURRENT_TRANSACTIONS`. With a journal a commit is acknowledged, and its markers are written, once it is durable.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;

use super::broker::State;
use super::groups::Membership;
use super::journal::Then;
use super::partition::{Outcome, TransactionId};
use crate::log::{LogError, OffsetCommit};
use crate::record::{OutputRecord, TopicPartition};

/// Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;

pub(super) type Reply = oneshot::Sender<Result<(), LogError>>;

/// An operation of a producer. Operations take effect in the order of the calls.
pub(super) enum Operation {
    Send(Vec<OutputRecord>),
    Offsets(Vec<OffsetCommit>, Membership),
    End(Outcome, Reply),
}

/// All about one `transactional.id`.
#[derive(Default)]
pub(super) struct Coordinated {
    /// Epoch of the newest producer; any other is fenced.
    epoch: i32,
    transaction: Option<Transaction>,
    completing: Option<(Outcome, Transaction)>,
    /// The reason why the open transaction can only be aborted.
    doomed: Option<String>,
    queue: VecDeque<Operation>,
}

/// The partitions and offsets of a transaction that have no marker yet.
struct Transaction {
    id: TransactionId,
    expiry: Duration,
    partitions: BTreeSet<TopicPartition>,
    offsets: Vec<(String, Vec<OffsetCommit>)>,
    /// False from the decision to commit until the journal has it.
    is_durable: bool,
}

impl Coordinated {
    pub(super) fn expiry(&self) -> Option<Duration> {
        self.transaction.as_ref().map(|transaction| transaction.expiry)
    }
}

impl State {
    /// Supersedes the former producer of this id: fences it and aborts its open transaction. The new producer may be
    /// used once [`State::is_settled`].
    pub(super) fn supersede(&mut self, transactional_id: &str) -> i32 {
        let producer = self.producers.entry(transactional_id.to_owned()).or_default();
        producer.epoch += 1;
        producer.doomed = None;
        let epoch = producer.epoch;
        for operation in std::mem::take(&mut producer.queue) {
            refuse(operation, transactional_id);
        }
        if let Some(transaction) = producer.transaction.take() {
            self.end(transactional_id, Outcome::Abort, transaction);
        }
        epoch
    }

    /// Returns whether all markers of the last transaction are written.
    pub(super) fn is_settled(&self, transactional_id: &str) -> bool {
        self.producers
            .get(transactional_id)
            .is_none_or(|producer| producer.completing.is_none())
    }

    pub(super) fn submit(&mut self, transactional_id: &str, epoch: i32, operation: Operation) {
        match self.producers.get_mut(transactional_id) {
            Some(producer) if producer.epoch == epoch => {
                producer.queue.push_back(operation);
                self.proceed(transactional_id);
            }
            _ => refuse(operation, transactional_id),
        }
    }

    /// Executes the queued operations up to the first that is held back.
    pub(super) fn proceed(&mut self, transactional_id: &str) {
        while let Some(operation) = self.next_operation(transactional_id) {
            match operation {
                Operation::Send(records) => self.send(transactional_id, records),
                Operation::Offsets(offsets, membership) => self.send_offsets(transactional_id, offsets, &membership),
                Operation::End(outcome, reply) => self.decide(transactional_id, outcome, reply),
            }
        }
    }

    fn next_operation(&mut self, transactional_id: &str) -> Option<Operation> {
        let held = self.held.commits.contains(transactional_id);
        let producer = self.producers.get_mut(transactional_id)?;
        let is_end = matches!(producer.queue.front()?, Operation::End(..));
        if producer.completing.is_some() || (held && is_end) {
            return None;
        }
        producer.queue.pop_front()
    }

    /// The open transaction, begun if need be; none where it can only be aborted.
    fn begin(&mut self, transactional_id: &str) -> Option<&mut Transaction> {
        let expiry = self.now() + self.timeouts.transaction;
        let producer = self.producers.get(transactional_id)?;
        if producer.doomed.is_some() {
            return None;
        }
        if producer.transaction.is_none() {
            let id = self.next_id();
            self.expires_at(expiry);
            let producer = self.producers.get_mut(transactional_id)?;
            producer.transaction = Some(Transaction {
                id,
                expiry,
                partitions: BTreeSet::new(),
                offsets: Vec::new(),
                is_durable: true,
            });
        }
        self.producers.get_mut(transactional_id)?.transaction.as_mut()
    }

    pub(super) fn doom(&mut self, transactional_id: &str, reason: String) {
        if let Some(producer) = self.producers.get_mut(transactional_id) {
            producer.doomed.get_or_insert(reason);
        }
    }

    fn send(&mut self, transactional_id: &str, records: Vec<OutputRecord>) {
        let Some(id) = self.begin(transactional_id).map(|transaction| transaction.id) else {
            return;
        };
        let mut touched = BTreeSet::new();
        for record in records {
            match self.place(&record) {
                Ok(partition) => {
                    // Looked up by name only where the partition is new to this batch: there are few.
                    if !touched
                        .iter()
                        .any(|(topic, number)| *number == partition && *topic == record.topic)
                    {
                        touched.insert((record.topic.clone(), partition));
                    }
                    self.append(record, partition, Some(id));
                }
                Err(reason) => self.doom(transactional_id, reason),
            }
        }
        let producer = self.producers.get_mut(transactional_id);
        if let Some(transaction) = producer.and_then(|producer| producer.transaction.as_mut()) {
            let touched = touched
                .into_iter()
                .map(|(topic, number)| TopicPartition::new(topic, number));
            transaction.partitions.extend(touched);
        }
    }

    /// As a real broker, this checks the generation, and not whether the member owns the partitions.
    fn send_offsets(&mut self, transactional_id: &str, offsets: Vec<OffsetCommit>, membership: &Membership) {
        let too_long = offsets
            .iter()
            .find(|offset| offset.committed.metadata.len() > METADATA_BYTES_MAX);
        if let Some(offset) = too_long {
            let reason = format!("metadata of the offset of {} is too large", offset.source);
            return self.doom(transactional_id, reason);
        }
        if let Err(reason) = self.check_membership(membership) {
            return self.doom(transactional_id, reason);
        }
        let Some(transaction) = self.begin(transactional_id) else {
            return;
        };
        let id = transaction.id;
        let sources: Vec<TopicPartition> = offsets.iter().map(|offset| offset.source.clone()).collect();
        transaction.offsets.push((membership.group.clone(), offsets));
        let group = self.groups.entry(membership.group.clone()).or_default();
        for source in sources {
            group.pending.entry(source).or_default().insert(id);
        }
    }

    /// Decides how the transaction ends, and answers: where there is a journal, a commit once it is durable.
    fn decide(&mut self, transactional_id: &str, outcome: Outcome, reply: Reply) {
        match self.take_decided(transactional_id, outcome) {
            Ok(Some(transaction)) if outcome == Outcome::Commit && self.journal.is_some() => {
                self.keep_commit(transactional_id, transaction, reply);
            }
            Ok(transaction) => {
                if let Some(transaction) = transaction {
                    self.end(transactional_id, outcome, transaction);
                }
                answer(reply, Ok(()));
            }
            Err(error) => answer(reply, Err(error)),
        }
    }

    /// The transaction that is to end, if one is open.
    fn take_decided(&mut self, transactional_id: &str, outcome: Outcome) -> Result<Option<Transaction>, LogError> {
        let action = || format!("commit of {transactional_id}");
        if outcome == Outcome::Commit {
            self.check_journal(action)?;
        }
        let producer = self.producers.get_mut(transactional_id);
        let producer = producer.ok_or_else(|| fenced(transactional_id))?;
        match (outcome, &producer.doomed) {
            (Outcome::Commit, Some(reason)) => {
                return Err(LogError::Abortable {
                    action: action(),
                    reason: reason.clone(),
                });
            }
            (Outcome::Abort, _) => producer.doomed = None,
            (Outcome::Commit, None) => {}
        }
        Ok(producer.transaction.take())
    }

    /// Has a transaction written; it is decided, and its markers follow when it is durable.
    fn keep_commit(&mut self, transactional_id: &str, mut transaction: Transaction, reply: Reply) {
        transaction.is_durable = false;
        let then = Then::Commit(transactional_id.to_owned(), reply);
        let offsets = transaction.offsets.clone();
        self.keep(transaction.id, transaction.partitions.iter(), offsets, then);
        if let Some(producer) = self.producers.get_mut(transactional_id) {
            producer.completing = Some((Outcome::Commit, transaction));
        }
    }

    /// The commit that was being written is durable.
    pub(super) fn commit_is_durable(&mut self, transactional_id: &str) {
        let producer = self.producers.get_mut(transactional_id);
        if let Some((_, transaction)) = producer.and_then(|producer| producer.completing.as_mut()) {
            transaction.is_durable = true;
        }
        self.write_markers(transactional_id);
        self.proceed(transactional_id);
    }

    fn end(&mut self, transactional_id: &str, outcome: Outcome, transaction: Transaction) {
        if let Some(producer) = self.producers.get_mut(transactional_id) {
            producer.completing = Some((outcome, transaction));
        }
        self.write_markers(transactional_id);
    }

    /// Writes the markers that are not held back; after the last, the producer goes on.
    fn write_markers(&mut self, transactional_id: &str) {
        let completing = self
            .producers
            .get_mut(transactional_id)
            .and_then(|producer| producer.completing.take());
        let Some((outcome, mut transaction)) = completing else {
            return;
        };
        if !transaction.is_durable {
            if let Some(producer) = self.producers.get_mut(transactional_id) {
                producer.completing = Some((outcome, transaction));
            }
            return;
        }
        for partition in std::mem::take(&mut transaction.partitions) {
            if self.held.markers.contains(&partition) {
                transaction.partitions.insert(partition);
            } else if let Some((found, retention)) = self.partition_mut(&partition) {
                found.end(transaction.id, outcome, retention);
            }
        }
        for (name, offsets) in std::mem::take(&mut transaction.offsets) {
            if self.held.offsets.contains(&name) {
                transaction.offsets.push((name, offsets));
            } else {
                self.groups
                    .entry(name)
                    .or_default()
                    .settle(transaction.id, outcome, offsets);
            }
        }
        if !(transaction.partitions.is_empty() && transaction.offsets.is_empty())
            && let Some(producer) = self.producers.get_mut(transactional_id)
        {
            producer.completing = Some((outcome, transaction));
        }
        self.settled.notify_waiters();
    }

    /// Writes markers that are no longer held back, and executes the operations that waited for them.
    pub(super) fn release(&mut self) {
        let ids: Vec<String> = self.producers.keys().cloned().collect();
        for id in ids {
            self.write_markers(&id);
            self.proceed(&id);
        }
    }

    /// Aborts transactions that are open for too long, and fences their producers.
    pub(super) fn expire_transactions(&mut self) {
        let now = self.now();
        let due = |producer: &Coordinated| producer.expiry().is_some_and(|expiry| expiry <= now);
        let ids: Vec<String> = self
            .producers
            .iter()
            .filter(|(_, producer)| due(producer))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.supersede(&id);
        }
    }
}

pub(super) fn fenced(transactional_id: &str) -> LogError {
    LogError::Fenced {
        action: format!("operation of {transactional_id}"),
        reason: "superseded by a newer producer, or its transaction timed out".to_owned(),
    }
}

fn refuse(operation: Operation, transactional_id: &str) {
    if let Operation::End(_, reply) = operation {
        answer(reply, Err(fenced(transactional_id)));
    }
}

/// Sends the answer, unless the future of the call was dropped.
pub(super) fn answer(reply: Reply, result: Result<(), LogError>) {
    let _ = reply.send(result);
}
