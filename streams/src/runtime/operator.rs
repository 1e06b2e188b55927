//! An operator's access to all ledgers of a topology: alone in the group, as a worker that has every partition.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::acquire::{self, Acquisition};
use super::config::RuntimeConfig;
use super::error::TaskError;
use super::task::TaskConfig;
use super::task::stages::Stages;
use crate::dsl::topology::Topology;
use crate::ledger::{LedgerError, LedgerStore};
use crate::log::{Consumer, ConsumerConfig, Log, LogError, Polled, Producer};
use crate::record::TopicPartition;

/// Longest wait of one poll of the group.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// The reason why an operator's work on the ledgers failed. The ledgers are unchanged, and it can be repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepartitionError {
    /// Another member of the group has partitions.
    #[error(
        "{missing} of {partitions} partitions of {topic} are with others of group {group}, or not given out yet: stop all workers \
         of it, wait until they have left, and try again"
    )]
    NotAlone {
        /// Topic of the commands.
        topic: String,
        /// Group of the workers.
        group: String,
        /// Partitions that the group didn't give.
        missing: usize,
        /// Partitions in all.
        partitions: usize,
    },
    /// There are undecided commands.
    #[error(
        "{source_partition} has records that are not decided, from offset {committed} on: stop what produces them, start workers, and \
         let them finish (`lag` 0) before they are stopped"
    )]
    #[allow(missing_docs, reason = "plain fields")]
    Undecided {
        /// Partition of the commands.
        source_partition: TopicPartition,
        committed: i64,
    },
    /// The contents of a ledger are not those that the log has committed.
    #[error("ledger {ledger} {problem}; start workers, which settle this, and stop them again")]
    #[allow(missing_docs, reason = "plain fields")]
    Unsettled {
        ledger: i32,
        /// The difference.
        problem: &'static str,
    },
    /// A ledger beyond the last one.
    #[error(
        "there is a ledger {ledger} already, and only {ledgers} were laid out: it is another installation's, or one's before the \
         topics were made anew; remove it if nobody needs it"
    )]
    #[allow(missing_docs, reason = "plain fields")]
    Foreign {
        ledger: i32,
        /// Ledgers laid out.
        ledgers: i32,
    },
    /// The number of ledgers would shrink.
    #[error("there are {ledgers} ledgers: their number can only grow, and {wanted} was asked for")]
    Shrinks {
        /// Ledgers laid out.
        ledgers: i32,
        /// Ledgers asked for.
        wanted: i32,
    },
    /// The error of a step that workers take, too.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl From<LogError> for RepartitionError {
    fn from(error: LogError) -> Self {
        Self::Task(error.into())
    }
}

impl From<LedgerError> for RepartitionError {
    fn from(error: LedgerError) -> Self {
        Self::Task(error.into())
    }
}

/// All ledgers of a topology, acquired by the operator, and the clients to commit their offsets.
pub(crate) struct TakenLedgers {
    pub(crate) producer: Box<dyn Producer>,
    pub(crate) consumer: Box<dyn Consumer>,
    /// One for each partition, in their order.
    pub(crate) acquired: Vec<Acquisition>,
}

/// The ledgers of a topology, and the services to reach them.
pub(crate) struct Operator {
    pub(crate) tasks: TaskConfig,
    pub(crate) store: Arc<dyn LedgerStore>,
    /// Topic of the commands.
    pub(crate) topic: String,
    /// Longest time until the group has given every partition.
    wait: Duration,
}

impl Operator {
    /// `name` tells the operator's `transactional.id` from those of workers.
    pub(crate) fn new(
        name: &str,
        config: &RuntimeConfig,
        topology: &Arc<Topology>,
        log: Arc<dyn Log>,
        store: Arc<dyn LedgerStore>,
        wait: Duration,
    ) -> Self {
        let mut subtopologies = topology.subtopologies.iter();
        let subtopology = subtopologies.find(|subtopology| subtopology.ledger.is_some());
        let topic = subtopology.and_then(|subtopology| subtopology.sources.keys().next().cloned());
        let group = config.group(topology.name());
        let tasks = TaskConfig {
            topology: topology.clone(),
            log,
            transactional_id: format!("{group}-{name}"),
            group,
            tokens: config.tokens.clone(),
            partitions: Arc::default(),
            stages: Stages::new(topology.name()),
        };
        Self {
            tasks,
            store,
            topic: topic.unwrap_or_default(),
            wait,
        }
    }

    /// Returns the number of partitions of the commands' topic.
    pub(crate) async fn partitions(&self) -> Result<i32, RepartitionError> {
        Ok(self.tasks.log.partitions(&self.topic).await?.unwrap_or(0))
    }

    /// Takes all ledgers as a worker does: joins the group alone, acquires every ledger, and fences the former owners.
    pub(crate) async fn take(&self) -> Result<TakenLedgers, RepartitionError> {
        let TaskConfig {
            log, transactional_id, ..
        } = &self.tasks;
        // The initialisation ends a transaction that an earlier attempt left open, before anything is acquired.
        let producer = log.producer(transactional_id).await?;
        let partitions = self.partitions().await?;
        let consumer = self.join(partitions).await?;
        let sources = TopicPartition::all(self.topic.as_str(), partitions);
        let acquired = acquire::acquire(&self.tasks, &self.store, &sources).await?;
        acquire::fence(&self.tasks, &self.store, &acquired).await?;
        Ok(TakenLedgers {
            producer,
            consumer,
            acquired,
        })
    }

    /// Joins the group and waits until it has given every partition.
    async fn join(&self, partitions: i32) -> Result<Box<dyn Consumer>, RepartitionError> {
        let config = ConsumerConfig {
            group: self.tasks.group.clone(),
            topics: vec![self.topic.clone()],
            client_id: self.tasks.transactional_id.clone(),
            instance_id: None,
        };
        let mut consumer = self.tasks.log.consumer(&config).await?;
        let until = Instant::now() + self.wait;
        let mut given: BTreeSet<TopicPartition> = BTreeSet::new();
        let partitions = usize::try_from(partitions).unwrap_or(0);
        while given.len() < partitions {
            if Instant::now() >= until {
                consumer.close().await?;
                return Err(RepartitionError::NotAlone {
                    topic: self.topic.clone(),
                    group: self.tasks.group.clone(),
                    missing: partitions - given.len(),
                    partitions,
                });
            }
            match consumer.poll(1, POLL_WAIT).await? {
                Polled::Assigned(sources) => given.extend(sources),
                Polled::Revoked(sources) => {
                    given.retain(|source| !sources.contains(source));
                    consumer.complete_revocation().await?;
                }
                Polled::Lost(sources) => given.retain(|source| !sources.contains(source)),
                Polled::Records(_) | Polled::Nothing => {}
            }
        }
        Ok(consumer)
    }
}
