//! Records: as they are read, and as they are to be written.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }

    /// Returns all partitions of a topic.
    pub fn all(topic: impl Into<Arc<str>>, partitions: i32) -> Vec<Self> {
        let topic = topic.into();
        (0..partitions)
            .map(|partition| Self::new(topic.clone(), partition))
            .collect()
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// Partitions as people read them: `a[0,1] b[3]`.
pub(crate) fn listed(partitions: &[TopicPartition]) -> String {
    let mut sorted: Vec<&TopicPartition> = partitions.iter().collect();
    sorted.sort();
    let topics = sorted.chunk_by(|a, b| a.topic == b.topic).map(|group| {
        let numbers: Vec<String> = group.iter().map(|partition| partition.partition.to_string()).collect();
        format!("{}[{}]", group[0].topic, numbers.join(","))
    });
    topics.collect::<Vec<_>>().join(" ")
}

/// A header of a record as Kafka keeps it: a name, which may occur more than once, and a value, which may be null.
pub type Header = (Arc<str>, Option<Bytes>);

/// A record as it was read from a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct Record {
    /// Its offset. Offsets ascend but are not consecutive: transaction markers and compaction leave gaps.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, as the topic's `message.timestamp.type` has it.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
}

/// Consecutive records of one partition, ascending by offset; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct PartitionRecords {
    /// Their partition.
    pub source: TopicPartition,
    pub records: Vec<Record>,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct OutputRecord {
    /// The topic it goes to.
    pub topic: Arc<str>,
    /// Its partition; none lets the key decide (murmur2, as Java clients do).
    pub partition: Option<i32>,
    /// Its timestamp in milliseconds; none lets the clock decide.
    pub timestamp: Option<i64>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

impl Record {
    /// Returns the value of the last header of this name; none where there is no such header or it is null.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        let last = self.headers.iter().rev().find(|(known, _)| **known == *name);
        last?.1.as_ref()
    }

    /// Bytes of key, value and headers, without any framing.
    pub fn bytes(&self) -> usize {
        bytes(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

impl OutputRecord {
    /// Bytes of key, value and headers, without any framing.
    pub fn bytes(&self) -> usize {
        bytes(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

fn bytes(key: Option<&Bytes>, value: Option<&Bytes>, headers: &[Header]) -> usize {
    let headers = headers
        .iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len));
    key.map_or(0, Bytes::len) + value.map_or(0, Bytes::len) + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_listed_by_topic() {
        let partitions =
            [("b", 3), ("a", 10), ("a", 2)].map(|(topic, partition)| TopicPartition::new(topic, partition));
        assert_eq!(listed(&partitions), "a[2,10] b[3]");
        assert_eq!(listed(&[]), "");
    }
}
