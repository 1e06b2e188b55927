//! The configuration shared by the tasks of one stream thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::stages::Stages;
use crate::dsl::topology::Topology;
use crate::log::Log;
use crate::record::TopicPartition;
use crate::runtime::config::TokenSource;
use crate::runtime::error::TaskError;

/// Names a task: subtopology, partition.
pub(crate) type TaskId = (usize, i32);

/// The configuration shared by the tasks of one stream thread.
#[derive(Clone)]
pub(crate) struct TaskConfig {
    pub(crate) topology: Arc<Topology>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) group: String,
    pub(crate) transactional_id: String,
    pub(crate) tokens: TokenSource,
    /// Source topic → number of partitions.
    pub(crate) partitions: Arc<BTreeMap<String, i32>>,
    pub(crate) stages: Arc<Stages>,
}

impl TaskConfig {
    /// The task that reads a partition.
    pub(crate) fn task_id(&self, source: &TopicPartition) -> Result<TaskId, TaskError> {
        let subtopology = self.topology.subtopology_of(&source.topic);
        subtopology
            .map(|subtopology| (subtopology, source.partition))
            .ok_or_else(|| TaskError::Fatal(format!("{source} is not read by topology {}", self.topology.name())))
    }

    pub(crate) fn partitions_of(&self, topic: &str) -> Result<i32, TaskError> {
        let partitions = self.partitions.get(topic).copied();
        partitions.ok_or_else(|| TaskError::Fatal(format!("how many partitions {topic} has is not known")))
    }
}
