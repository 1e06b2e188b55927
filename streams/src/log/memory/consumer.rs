//! The client side of a group's member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::task::yield_now;

use super::broker::State;
use super::groups::{Event, Membership};
use super::shared::Shared;
use crate::log::{CommittedOffset, Consumer, ConsumerConfig, GroupMetadata, LogError, Polled};
use crate::record::{PartitionRecords, TopicPartition};

pub(super) struct MemoryConsumer {
    shared: Arc<Shared>,
    config: ConsumerConfig,
    /// Changes when the group lost and took us again.
    member: u64,
    listener: u64,
    notify: Arc<Notify>,
    /// The assigned partitions, revoked ones included until they are acknowledged.
    known: BTreeSet<TopicPartition>,
    /// The revoked partitions that are not acknowledged yet.
    revoked: BTreeSet<TopicPartition>,
    /// Next offset to read of each started partition.
    positions: BTreeMap<TopicPartition, i64>,
    /// Which partition has its turn first, so that a busy one doesn't starve the others.
    turn: usize,
}

impl MemoryConsumer {
    pub(super) fn join(shared: Arc<Shared>, config: ConsumerConfig) -> Self {
        let notify = Arc::new(Notify::new());
        let mut state = shared.lock();
        let member = state.join(&config, &notify);
        let listener = state.next_id();
        drop(state);
        Self {
            shared,
            config,
            member,
            listener,
            notify,
            known: BTreeSet::new(),
            revoked: BTreeSet::new(),
            positions: BTreeMap::new(),
            turn: 0,
        }
    }

    /// The next event, if there is one.
    fn step(&mut self, max_records: usize) -> Result<Option<Polled>, LogError> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if state.held.news.contains(&self.config.client_id) {
            return self.fetch(&state, max_records);
        }
        if !state.touch(&self.config.group, self.member, false) {
            return self.lose(&mut state);
        }
        match state.next_event(&self.config.group, self.member) {
            Some(Event::Assigned(partitions)) => {
                self.known.extend(partitions.iter().cloned());
                Ok(Some(Polled::Assigned(partitions)))
            }
            Some(Event::Revoked(partitions)) => {
                self.revoked.extend(partitions.iter().cloned());
                self.forget(&mut state, &partitions);
                Ok(Some(Polled::Revoked(partitions)))
            }
            None => self.fetch(&state, max_records),
        }
    }

    /// Reports the lost partitions after the group has removed this member, and joins again.
    fn lose(&mut self, state: &mut State) -> Result<Option<Polled>, LogError> {
        if state.is_superseded(&self.config.group, self.member, self.config.instance_id.as_ref()) {
            return Err(LogError::Fatal {
                action: format!("{} polls for group {}", self.config.client_id, self.config.group),
                reason: "another member took over its instance id".to_owned(),
            });
        }
        let lost: Vec<TopicPartition> = std::mem::take(&mut self.known).into_iter().collect();
        self.revoked.clear();
        self.forget(state, &lost);
        self.member = state.join(&self.config, &self.notify);
        // News of the group that came by now is seen at the next poll, or by looking again at once.
        self.notify.notify_one();
        Ok((!lost.is_empty()).then_some(Polled::Lost(lost)))
    }

    fn fetch(&mut self, state: &State, max_records: usize) -> Result<Option<Polled>, LogError> {
        let mut remaining = max_records;
        let mut fetched = Vec::new();
        let count = self.positions.len();
        let first = self.turn % count.max(1);
        let mut next_turn = self.turn;
        for index in (first..count).chain(0..first) {
            if remaining == 0 {
                break;
            }
            let Some((source, position)) = self.positions.iter_mut().nth(index) else {
                break;
            };
            let (records, after) = state.fetch(source, *position, remaining)?;
            *position = after;
            if !records.is_empty() {
                remaining -= records.len();
                next_turn = index + 1;
                let source = source.clone();
                fetched.push(PartitionRecords { source, records });
            }
        }
        self.turn = next_turn;
        Ok((!fetched.is_empty()).then_some(Polled::Records(fetched)))
    }

    /// Stops fetching from these partitions.
    fn forget(&mut self, state: &mut State, partitions: &[TopicPartition]) {
        for partition in partitions {
            if self.positions.remove(partition).is_some()
                && let Some((found, _)) = state.partition_mut(partition)
            {
                found.unlisten(self.listener);
            }
        }
    }

    fn busy(&self) -> Option<Busy> {
        let mut state = self.shared.lock();
        if state.held.news.contains(&self.config.client_id) {
            return None;
        }
        state.touch(&self.config.group, self.member, true);
        drop(state);
        Some(Busy {
            shared: Arc::clone(&self.shared),
            group: self.config.group.clone(),
            member: self.member,
        })
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError> {
        yield_now().await;
        let deadline = self.shared.deadline(wait);
        loop {
            if let Some(polled) = self.step(max_records)? {
                return Ok(polled);
            }
            if self.shared.is_past(deadline) {
                return Ok(Polled::Nothing);
            }
            let busy = self.busy();
            self.shared.wait(self.notify.notified(), deadline).await;
            drop(busy);
        }
    }

    async fn start(&mut self, positions: &[(TopicPartition, i64)]) -> Result<(), LogError> {
        yield_now().await;
        let mut state = self.shared.lock();
        state.touch(&self.config.group, self.member, false);
        if let Some((foreign, _)) = positions.iter().find(|(partition, _)| !self.known.contains(partition)) {
            return Err(LogError::Fatal {
                action: format!("start {foreign} in group {}", self.config.group),
                reason: "it is not assigned to this member".to_owned(),
            });
        }
        for (partition, position) in positions {
            // Revoked ones are ours, but stay silent.
            if self.revoked.contains(partition) {
                continue;
            }
            if let Some((found, _)) = state.partition_mut(partition) {
                found.listen(self.listener, &self.notify);
                self.positions.insert(partition.clone(), *position);
            }
        }
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.positions.get(partition).copied()
    }

    async fn stop(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        yield_now().await;
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        state.touch(&self.config.group, self.member, false);
        self.forget(&mut state, partitions);
        Ok(())
    }

    async fn complete_revocation(&mut self) -> Result<(), LogError> {
        yield_now().await;
        {
            let mut state = self.shared.lock();
            state.touch(&self.config.group, self.member, false);
            state.let_go(&self.config.group, self.member, &self.revoked);
        }
        for partition in std::mem::take(&mut self.revoked) {
            self.known.remove(&partition);
        }
        yield_now().await;
        Ok(())
    }

    async fn group_metadata(&mut self) -> Result<GroupMetadata, LogError> {
        yield_now().await;
        let state = self.shared.lock();
        let generation = state.generation(&self.config.group, self.member);
        Ok(GroupMetadata(Arc::new(Membership {
            group: self.config.group.clone(),
            member: self.member,
            generation,
        })))
    }

    async fn committed(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<CommittedOffset>>, LogError> {
        yield_now().await;
        let deadline = self.shared.deadline(self.shared.config.request_timeout);
        let _busy = self.busy();
        loop {
            let settled = self.shared.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let stable = self.shared.lock().stable_offsets(&self.config.group, partitions);
            if let Some(offsets) = stable {
                return Ok(offsets);
            }
            if self.shared.is_past(deadline) {
                return Err(LogError::Retriable {
                    action: format!("read the offsets of group {}", self.config.group),
                    reason: "an open transaction may change them".to_owned(),
                });
            }
            self.shared.wait(settled, deadline).await;
        }
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        yield_now().await;
        if self.config.instance_id.is_none() {
            self.shared.lock().leave(&self.config.group, self.member);
        }
        yield_now().await;
        Ok(())
    }
}

impl Drop for MemoryConsumer {
    /// A crash: the group hears nothing of it.
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        if let Some(mut state) = shared.try_lock() {
            let started: Vec<TopicPartition> = self.positions.keys().cloned().collect();
            self.forget(&mut state, &started);
        }
    }
}

/// A call of a member that waits: its session doesn't end meanwhile, as with heartbeats in the background.
struct Busy {
    shared: Arc<Shared>,
    group: String,
    member: u64,
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(mut state) = self.shared.try_lock() {
            state.touch(&self.group, self.member, false);
        }
    }
}
