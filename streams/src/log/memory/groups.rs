//! The group coordinator: cooperative rebalancing in two phases (KIP-429), static members (KIP-345), and offsets that
//! belong to transactions (KIP-447).
//!
//! Every change of membership is a rebalance with a generation of its own. A partition that is to move is first
//! announced to its owner as revoked; only after the owner let go of it does another rebalance hand it out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::assignor::{Candidate, assign};
use super::broker::State;
use super::partition::{Outcome, TransactionId};
use crate::log::{CommittedOffset, ConsumerConfig, OffsetCommit};
use crate::record::TopicPartition;

/// The membership that a member claims; behind [`crate::log::GroupMetadata`].
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) group: String,
    pub(super) member: u64,
    /// −1 where it is not a member (any more).
    pub(super) generation: i32,
}

/// News for a member.
#[derive(Debug)]
pub(super) enum Event {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) generation: i32,
    offsets: BTreeMap<TopicPartition, CommittedOffset>,
    /// Open transactions that commit offsets of these partitions; the sets are never empty.
    pub(super) pending: BTreeMap<TopicPartition, BTreeSet<TransactionId>>,
    members: BTreeMap<u64, Member>,
}

struct Member {
    topics: Vec<Arc<str>>,
    instance_id: Option<String>,
    /// All it was given and has not let go of, revoked ones included.
    owned: BTreeSet<TopicPartition>,
    revoked: BTreeSet<TopicPartition>,
    events: VecDeque<Event>,
    notify: Arc<Notify>,
    /// End of its session; none while one of its calls is waiting.
    expiry: Option<Duration>,
}

impl Group {
    pub(super) fn set_offset(&mut self, source: &TopicPartition, committed: Option<CommittedOffset>) {
        match committed {
            Some(committed) => self.offsets.insert(source.clone(), committed),
            None => self.offsets.remove(source),
        };
    }

    pub(super) fn expiries(&self) -> impl Iterator<Item = Duration> {
        self.members.values().filter_map(|member| member.expiry)
    }

    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        let mut topics = self.members.values().flat_map(|member| &member.topics);
        topics.any(|subscribed| **subscribed == *topic)
    }

    /// Takes over offsets that were committed in an earlier process.
    pub(super) fn restore(&mut self, offsets: Vec<OffsetCommit>) {
        self.offsets
            .extend(offsets.into_iter().map(|commit| (commit.source, commit.committed)));
    }

    /// A transaction that commits offsets has ended.
    pub(super) fn settle(&mut self, transaction: TransactionId, outcome: Outcome, offsets: Vec<OffsetCommit>) {
        for OffsetCommit { source, committed } in offsets {
            if let Some(transactions) = self.pending.get_mut(&source) {
                transactions.remove(&transaction);
                if transactions.is_empty() {
                    self.pending.remove(&source);
                }
            }
            if outcome == Outcome::Commit {
                self.offsets.insert(source, committed);
            }
        }
    }
}

impl State {
    /// Adds a member. A static one takes over the partitions of the former member of its identity, without a rebalance.
    pub(super) fn join(&mut self, config: &ConsumerConfig, notify: &Arc<Notify>) -> u64 {
        let id = self.next_id();
        let expiry = self.now() + self.timeouts.session;
        self.expires_at(expiry);
        let group = self.groups.entry(config.group.clone()).or_default();
        let predecessor = config.instance_id.as_ref().and_then(|_| {
            let same = |member: &Member| member.instance_id == config.instance_id;
            group.members.iter().find(|(_, member)| same(member)).map(|(id, _)| *id)
        });
        let mut member = Member {
            topics: config.topics.iter().map(|topic| Arc::from(topic.as_str())).collect(),
            instance_id: config.instance_id.clone(),
            owned: BTreeSet::new(),
            revoked: BTreeSet::new(),
            events: VecDeque::new(),
            notify: Arc::clone(notify),
            expiry: Some(expiry),
        };
        let predecessor = predecessor.and_then(|id| group.members.remove(&id));
        let unchanged = predecessor.is_some_and(|predecessor| {
            predecessor.notify.notify_one();
            member.owned = &predecessor.owned - &predecessor.revoked;
            predecessor.revoked.is_empty() && predecessor.topics == member.topics
        });
        if !member.owned.is_empty() {
            let owned = member.owned.iter().cloned().collect();
            member.events.push_back(Event::Assigned(owned));
        }
        group.members.insert(id, member);
        if !unchanged {
            self.rebalance(&config.group);
        }
        id
    }

    /// Removes a member and assigns its partitions to others.
    pub(super) fn leave(&mut self, group: &str, member: u64) {
        let removed = self
            .groups
            .get_mut(group)
            .and_then(|group| group.members.remove(&member));
        if removed.is_some() {
            self.rebalance(group);
        }
    }

    /// Returns whether another member took over this static identity.
    pub(super) fn is_superseded(&self, group: &str, member: u64, instance_id: Option<&String>) -> bool {
        instance_id.is_some()
            && self.groups.get(group).is_some_and(|group| {
                let mut others = group.members.iter().filter(|(id, _)| **id != member);
                others.any(|(_, other)| other.instance_id.as_ref() == instance_id)
            })
    }

    /// Renews a member's session; while `waiting` it can't expire. False where it is no member any more.
    pub(super) fn touch(&mut self, group: &str, member: u64, waiting: bool) -> bool {
        let expiry = self.now() + self.timeouts.session;
        let Some(member) = self
            .groups
            .get_mut(group)
            .and_then(|group| group.members.get_mut(&member))
        else {
            return false;
        };
        member.expiry = (!waiting).then_some(expiry);
        if !waiting {
            self.expires_at(expiry);
        }
        true
    }

    pub(super) fn next_event(&mut self, group: &str, member: u64) -> Option<Event> {
        let group = self.groups.get_mut(group)?;
        group.members.get_mut(&member)?.events.pop_front()
    }

    /// Completes the revocation of a member's partitions.
    pub(super) fn let_go(&mut self, group: &str, member: u64, partitions: &BTreeSet<TopicPartition>) {
        let found = self
            .groups
            .get_mut(group)
            .and_then(|group| group.members.get_mut(&member));
        if let Some(found) = found
            && !partitions.is_empty()
        {
            found.owned.retain(|partition| !partitions.contains(partition));
            found.revoked.retain(|partition| !partitions.contains(partition));
            self.rebalance(group);
        }
    }

    pub(super) fn generation(&self, group: &str, member: u64) -> i32 {
        match self.groups.get(group) {
            Some(group) if group.members.contains_key(&member) => group.generation,
            _ => -1,
        }
    }

    pub(super) fn check_membership(&self, holder: &Membership) -> Result<(), String> {
        let current = self.generation(&holder.group, holder.member);
        if holder.generation >= 0 && holder.generation == current {
            return Ok(());
        }
        Err(format!(
            "IllegalGeneration: group {} is at generation {current} for this member, the offsets are of {}",
            holder.group, holder.generation
        ))
    }

    /// The group's offsets of these partitions; none where an open transaction may change them.
    pub(super) fn stable_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Option<Vec<Option<CommittedOffset>>> {
        let pending = |group: &Group| partitions.iter().any(|partition| group.pending.contains_key(partition));
        if self.groups.get(group).is_some_and(pending) {
            return None;
        }
        Some(self.offsets(group, partitions))
    }

    /// The group's offsets of these partitions as they stand.
    pub(super) fn offsets(&self, group: &str, partitions: &[TopicPartition]) -> Vec<Option<CommittedOffset>> {
        let group = self.groups.get(group);
        let offset = |partition| group.and_then(|group| group.offsets.get(partition).cloned());
        partitions.iter().map(offset).collect()
    }

    /// Begins a generation: assigns free partitions, and revokes those that should move.
    pub(super) fn rebalance(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        group.generation += 1;
        let mut partitions = BTreeSet::new();
        for topic in group.members.values().flat_map(|member| &member.topics) {
            if let Some(topic) = self.topics.get(topic) {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                partitions.extend((0..count).map(|number| TopicPartition::new(Arc::clone(&topic.name), number)));
            }
        }
        let candidate = |member: &Member| Candidate {
            topics: member.topics.clone(),
            keeps: &member.owned - &member.revoked,
        };
        let candidates = group
            .members
            .iter()
            .map(|(id, member)| (*id, candidate(member)))
            .collect();
        let mut target = assign(&partitions, &candidates);
        let owned: BTreeSet<TopicPartition> = group
            .members
            .values()
            .flat_map(|member| member.owned.iter().cloned())
            .collect();
        for (id, member) in &mut group.members {
            member.approach(&target.remove(id).unwrap_or_default(), &owned);
        }
    }

    /// Begins a generation in which all members give up all partitions.
    pub(super) fn revoke(&mut self, name: &str) {
        if let Some(group) = self.groups.get_mut(name) {
            group.generation += 1;
            for member in group.members.values_mut() {
                member.approach(&BTreeSet::new(), &BTreeSet::new());
            }
        }
    }

    /// Removes members whose session ended.
    pub(super) fn expire_members(&mut self) {
        let now = self.now();
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            let before = group.members.len();
            group.members.retain(|_, member| {
                let alive = member.expiry.is_none_or(|expiry| expiry > now);
                if !alive {
                    member.notify.notify_one();
                }
                alive
            });
            if group.members.len() < before {
                self.rebalance(&name);
            }
        }
    }
}

impl Member {
    /// Brings a member closer to its target: assigns partitions that are free now, and revokes those it must give up.
    fn approach(&mut self, target: &BTreeSet<TopicPartition>, owned_by_anyone: &BTreeSet<TopicPartition>) {
        let moving = |partition: &&TopicPartition| !target.contains(*partition) && !self.revoked.contains(*partition);
        let revoked: Vec<TopicPartition> = self.owned.iter().filter(moving).cloned().collect();
        let assigned: Vec<TopicPartition> = target.difference(owned_by_anyone).cloned().collect();
        if !revoked.is_empty() {
            self.revoked.extend(revoked.iter().cloned());
            self.events.push_back(Event::Revoked(revoked));
        }
        if !assigned.is_empty() {
            self.owned.extend(assigned.iter().cloned());
            self.events.push_back(Event::Assigned(assigned));
        }
        if !self.events.is_empty() {
            self.notify.notify_one();
        }
    }
}
