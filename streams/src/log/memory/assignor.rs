//! Assigns partitions: sticky and balanced, in the spirit of Kafka's cooperative-sticky assignor (KIP-429).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::record::TopicPartition;

/// A member as the assignor sees it.
pub(super) struct Candidate {
    /// The topics that it is subscribed to.
    pub(super) topics: Vec<Arc<str>>,
    /// The partitions that it has and may keep; no other candidate has them.
    pub(super) keeps: BTreeSet<TopicPartition>,
}

type Assignment = BTreeMap<u64, BTreeSet<TopicPartition>>;

/// Assigns each partition to a member that is subscribed to its topic. No member gets two more than another that could
/// take one of them. Otherwise members keep their partitions, and the partitions of a topic are spread.
pub(super) fn assign(partitions: &BTreeSet<TopicPartition>, members: &BTreeMap<u64, Candidate>) -> Assignment {
    let mut assignment: Assignment = members
        .iter()
        .map(|(id, member)| {
            let subscribed = |kept: &&TopicPartition| member.topics.contains(&kept.topic);
            let kept = member.keeps.intersection(partitions).filter(subscribed);
            (*id, kept.cloned().collect())
        })
        .collect();
    let taken: BTreeSet<TopicPartition> = assignment.values().flatten().cloned().collect();
    for partition in partitions.difference(&taken) {
        let taker = members
            .iter()
            .filter(|(_, member)| member.topics.contains(&partition.topic))
            .map(|(id, _)| *id)
            .min_by_key(|id| (assignment[id].len(), of_topic(&assignment[id], &partition.topic), *id));
        if let Some(owned) = taker.and_then(|id| assignment.get_mut(&id)) {
            owned.insert(partition.clone());
        }
    }
    while let Some((giver, taker, partition)) = next_move(members, &assignment) {
        assignment.entry(giver).or_default().remove(&partition);
        assignment.entry(taker).or_default().insert(partition);
    }
    assignment
}

/// A move that makes the assignment more balanced: from who has most to who has least, of the topic that is spread
/// worst, the highest partition.
fn next_move(members: &BTreeMap<u64, Candidate>, assignment: &Assignment) -> Option<(u64, u64, TopicPartition)> {
    let mut givers: Vec<u64> = members.keys().copied().collect();
    givers.sort_by_key(|id| (std::cmp::Reverse(assignment[id].len()), *id));
    let mut takers: Vec<u64> = members.keys().copied().collect();
    takers.sort_by_key(|id| (assignment[id].len(), *id));
    for giver in givers {
        let owned = &assignment[&giver];
        for taker in takers.iter().copied() {
            let other = &assignment[&taker];
            if other.len() + 1 >= owned.len() {
                break;
            }
            let moved = owned
                .iter()
                .filter(|partition| members[&taker].topics.contains(&partition.topic))
                .max_by_key(|partition| {
                    let spread = of_topic(owned, &partition.topic).saturating_sub(of_topic(other, &partition.topic));
                    (spread, partition.partition)
                });
            if let Some(partition) = moved {
                return Some((giver, taker, partition.clone()));
            }
        }
    }
    None
}

fn of_topic(owned: &BTreeSet<TopicPartition>, topic: &Arc<str>) -> usize {
    owned.iter().filter(|partition| partition.topic == *topic).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(topics: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
        let of_topic = |&(topic, count): &(&str, i32)| {
            let topic: Arc<str> = Arc::from(topic);
            (0..count).map(move |number| TopicPartition::new(topic.clone(), number))
        };
        topics.iter().flat_map(of_topic).collect()
    }

    fn member(topics: &[&str], keeps: BTreeSet<TopicPartition>) -> Candidate {
        Candidate {
            topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
            keeps,
        }
    }

    #[test]
    fn a_newcomer_takes_half_of_each_topic_and_nothing_else_moves() {
        let all = partitions(&[("a", 4), ("b", 4)]);
        let members = [
            (1, member(&["a", "b"], all.clone())),
            (2, member(&["a", "b"], BTreeSet::new())),
        ];
        let assignment = assign(&all, &members.into());
        assert_eq!((assignment[&1].len(), assignment[&2].len()), (4, 4));
        assert_eq!(of_topic(&assignment[&1], &Arc::from("a")), 2);
        assert_eq!(of_topic(&assignment[&2], &Arc::from("b")), 2);
        let again: BTreeMap<u64, Candidate> = assignment
            .iter()
            .map(|(id, owned)| (*id, member(&["a", "b"], owned.clone())))
            .collect();
        assert_eq!(assign(&all, &again), assignment);
    }

    #[test]
    fn partitions_go_only_to_subscribers() {
        let all = partitions(&[("a", 4), ("b", 2)]);
        let members = [
            (1, member(&["a"], BTreeSet::new())),
            (2, member(&["b"], BTreeSet::new())),
        ];
        let assignment = assign(&all, &members.into());
        assert_eq!(assignment[&1], partitions(&[("a", 4)]));
        assert_eq!(assignment[&2], partitions(&[("b", 2)]));
    }

    #[test]
    fn more_members_than_partitions_leaves_some_idle() {
        let all = partitions(&[("a", 2)]);
        let members: BTreeMap<u64, Candidate> = (1..=3).map(|id| (id, member(&["a"], BTreeSet::new()))).collect();
        let sizes: Vec<usize> = assign(&all, &members).values().map(BTreeSet::len).collect();
        assert_eq!(sizes, [1, 1, 0]);
    }
}
