//! A member of a group: the partitions it owns.
//!
//! The states of a partition:
//!
//! ```text
//!  (not ours) ─ Assigned ─> silent ─ start ─> active <─ start/stop ─> stopped
//!      ^                       │                 │                       │
//!      ├── Lost ───────────────┴─────────────────┴───────────────────────┤   at once
//!      └── complete_revocation <─ revoking <─ Revoked ───────────────────┘   when the stream thread has drained
//! ```
//!
//! An assignment is acknowledged at once, but with an *empty* `incremental_assign`: librdkafka learns of a partition
//! only when it is started, with its offset. Nothing has to be paused before or sought after; a `seek` would fail on a
//! partition whose fetcher librdkafka's main thread has not started yet. Later starts seek, and wait for the answer. In
//! both cases librdkafka's version barrier drops records that were fetched before.
//!
//! Between rebalance events, partitions are never removed from librdkafka's assignment: while a revocation waits in the
//! queue, any `incremental_unassign` would count as its acknowledgement.
//!
//! If a member polls so late that librdkafka leaves the group (`max.poll.interval.ms`), it has lost all partitions.
//! During a rebalance, librdkafka fails to report this (librdkafka#5604): a revocation that it announced looks
//! ordinary, and it regards the rest as its own although another member has it. Here, a revocation after such a pause
//! is therefore a loss, and librdkafka's notice of having left is the loss of everything else. Partitions that
//! librdkafka keeps are *doubted*: they stay silent until a later generation of the group has confirmed or revoked
//! them.

use std::sync::Arc;

use interlock_streams::log::{GroupMetadata, LogError, Polled};
use interlock_streams::record::TopicPartition;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::config::GroupProtocol;
use crate::errors::{from_kafka, retriable};
use crate::ffi::Membership;
use crate::member::Member;

/// A partition that the group assigned to this member.
#[derive(Default)]
pub(crate) struct Partition {
    /// True if librdkafka's assignment contains it, as from the first start on.
    pub(crate) started: bool,
    /// True if its records are delivered.
    pub(crate) active: bool,
    /// Offset of the last start; records before it are stale.
    pub(crate) from: i64,
    /// Offset after the last collected record.
    pub(crate) next: i64,
    /// Generation in which it may have been lost.
    pub(crate) doubted: Option<i32>,
}

impl Member<'_> {
    pub(crate) fn assigned(&mut self, partitions: Vec<(String, i32)>) -> Result<Option<Polled>, LogError> {
        let acknowledged = self.consumer.incremental_assign(&TopicPartitionList::new());
        acknowledged.map_err(|error| from_kafka(format!("accept partitions in {}", self.start.name), &error))?;
        let mut partitions = self.named(partitions);
        for partition in &partitions {
            self.partitions.insert(partition.clone(), Partition::default());
        }
        partitions.extend(self.confirm());
        Ok((!partitions.is_empty()).then_some(Polled::Assigned(partitions)))
    }

    /// Confirms the doubted partitions that this generation assigns. (The revocation of others comes before the
    /// assignment.)
    fn confirm(&mut self) -> Vec<TopicPartition> {
        let Some(membership) = Membership::of(self.consumer).filter(Membership::is_valid) else {
            return Vec::new();
        };
        let generation = membership.generation();
        let mut confirmed = Vec::new();
        for (name, partition) in &mut self.partitions {
            if partition.doubted.is_some_and(|doubted| doubted != generation) {
                partition.doubted = None;
                confirmed.push(name.clone());
            }
        }
        confirmed
    }

    pub(crate) fn revoked(&mut self, partitions: Vec<(String, i32)>) -> Result<Option<Polled>, LogError> {
        let partitions = self.named(partitions);
        let member = Membership::of(self.consumer).is_some_and(|now| now.is_valid());
        let lost = std::mem::take(&mut self.overslept) || self.consumer.assignment_lost() || !member;
        // The loss of doubted partitions was reported already.
        let (known, doubted): (Vec<_>, Vec<_>) = partitions.into_iter().partition(|name| {
            self.partitions
                .get(name)
                .is_some_and(|partition| partition.doubted.is_none())
        });
        if lost {
            self.release(&[&known[..], &doubted[..]].concat())?;
            return Ok((!known.is_empty()).then_some(Polled::Lost(known)));
        }
        if known.is_empty() {
            self.release(&doubted)?;
            return Ok(None);
        }
        for name in &known {
            if let Some(partition) = self.partitions.get_mut(name) {
                partition.active = false;
                self.buffer.drop_partition(name);
            }
        }
        self.revoking = [&known[..], &doubted[..]].concat();
        Ok(Some(Polled::Revoked(known)))
    }

    /// Handles that librdkafka has left the group for lack of polls. With KIP-848 it revokes everything itself.
    pub(crate) fn left(&mut self) -> Result<Option<Polled>, LogError> {
        self.overslept = false;
        if self.start.protocol == GroupProtocol::Consumer {
            return Ok(None);
        }
        let mut lost = std::mem::take(&mut self.revoking);
        if !lost.is_empty() {
            self.release(&lost)?;
        }
        let kept: Vec<_> = self.partitions.keys().cloned().collect();
        self.stop(&kept)?;
        let generation = Membership::of(self.consumer).map_or(-1, |membership| membership.generation());
        for (name, partition) in &mut self.partitions {
            if partition.doubted.replace(generation).is_none() {
                lost.push(name.clone());
            }
        }
        Ok((!lost.is_empty()).then_some(Polled::Lost(lost)))
    }

    pub(crate) fn complete_revocation(&mut self) -> Result<(), LogError> {
        let partitions = std::mem::take(&mut self.revoking);
        if partitions.is_empty() {
            return Ok(());
        }
        self.release(&partitions)
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            self.buffer.drop_partition(partition);
            if self
                .partitions
                .remove(partition)
                .is_some_and(|partition| partition.started)
            {
                list.add_partition(&partition.topic, partition.partition);
            }
        }
        let released = self.consumer.incremental_unassign(&list);
        released.map_err(|error| from_kafka(format!("give up partitions of {}", self.start.name), &error))
    }

    fn named(&mut self, partitions: Vec<(String, i32)>) -> Vec<TopicPartition> {
        let name = |(topic, partition): (String, i32)| TopicPartition {
            topic: self.topic(topic.as_bytes()),
            partition,
        };
        partitions.into_iter().map(name).collect()
    }

    pub(crate) fn group_metadata(&self) -> Result<GroupMetadata, LogError> {
        match Membership::of(self.consumer) {
            Some(membership) if membership.is_valid() => Ok(GroupMetadata(Arc::new(membership))),
            // The broker would accept offsets with generation −1 from anyone.
            _ => Err(retriable(
                format!("read the membership of {}", self.start.name),
                "not a member of the group now",
            )),
        }
    }
}
