//! Lays ledgers out anew: more partitions, and so more ledgers, for the same keys.
//!
//! Nothing is moved. The topics grow, and one transaction then commits every input offset as it stands, with a metadata that
//! says where the layout so far ended in each partition and who ended it (see [`Layouts`]). Before it nothing has changed
//! but for empty partitions, which no worker reads; after it no ledger agrees with the log any more, so that whoever acquires
//! one rebuilds it from its keys' events, wherever these lie. It may be interrupted at any moment and begun again.
//!
//! Workers must have stopped and everything must be decided: a key's records would otherwise be left in two partitions and
//! decided out of order. So this joins the group, alone, and takes every ledger as a worker does (settle, acquire, fence, read):
//! what a worker left open is ended, and one that wakes up late can't write.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::acquire::{self, Acquisition};
use super::compare::{Verdict, compare};
use super::config::RuntimeConfig;
use super::error::TaskError;
use super::layout::{Layouts, PastLayout};
use super::metadata::OffsetMetadata;
use super::task::TaskConfig;
use super::task::stages::Stages;
use crate::dsl::topology::Topology;
use crate::ledger::{LedgerError, LedgerStore};
use crate::log::{CommittedOffset, Consumer, ConsumerConfig, Log, LogError, OffsetCommit, Polled, Producer};
use crate::record::TopicPartition;

/// How long one look at the group, or at a partition's end, takes.
const READ_WAIT: Duration = Duration::from_millis(100);

/// The reason why an operator's work on the ledgers failed. The ledgers are unchanged, and it can be repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepartitionError {
    /// Somebody else has partitions.
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
    /// There are commands that nobody has decided.
    #[error(
        "{source_partition} has records that are not decided, from offset {committed} on: stop what produces them, start workers, and \
         let them finish (`lag` 0) before they are stopped"
    )]
    Undecided {
        /// Partition of the commands.
        source_partition: TopicPartition,
        /// The committed offset.
        committed: i64,
    },
    /// The contents of a ledger are not those that the log has committed.
    #[error("ledger {ledger} {problem}; start workers, which settle this, and stop them again")]
    Unsettled {
        /// The ledger.
        ledger: i32,
        /// The difference.
        problem: &'static str,
    },
    /// A ledger beyond the last one.
    #[error(
        "there is a ledger {ledger} already, and only {ledgers} were laid out: it is another installation's, or one's before the \
         topics were made anew; remove it if nobody needs it"
    )]
    Foreign {
        /// The ledger.
        ledger: i32,
        /// Ledgers laid out.
        ledgers: i32,
    },
    /// There are more.
    #[error("there are {ledgers} ledgers: their number can only grow, and {wanted} was asked for")]
    Shrinks {
        /// Ledgers laid out.
        ledgers: i32,
        /// Ledgers asked for.
        wanted: i32,
    },
    /// As [`TaskError`].
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

/// A topology's ledgers.
pub struct Repartition {
    tasks: TaskConfig,
    store: Arc<dyn LedgerStore>,
    topic: String,
    /// Longest time until the group has given every partition.
    wait: Duration,
}

impl Repartition {
    /// Of the ledgers of a topology, which has some.
    pub fn new(
        config: &RuntimeConfig,
        topology: &Arc<Topology>,
        log: Arc<dyn Log>,
        store: Arc<dyn LedgerStore>,
        wait: Duration,
    ) -> Self {
        let part = topology.parts.iter().find(|part| part.ledger.is_some());
        let topic = part.and_then(|part| part.sources.keys().next().cloned());
        let tasks = TaskConfig {
            topology: topology.clone(),
            log,
            group: config.group(topology.name()),
            transactional_id: format!("{}-repartition", config.group(topology.name())),
            tokens: config.tokens.clone(),
            partitions: Arc::default(),
            stages: Stages::new(topology.name()),
            turns: Arc::default(),
        };
        Self {
            tasks,
            store,
            topic: topic.unwrap_or_default(),
            wait,
        }
    }

    /// Returns the number of ledgers: by the metadata of their offsets, or else by how many offsets were ever committed.
    /// It is 0 before the first worker.
    pub async fn ledgers(&self) -> Result<i32, RepartitionError> {
        let partitions = self.partitions().await?;
        let TaskConfig { log, group, .. } = &self.tasks;
        if let Some(layouts) = OffsetMetadata::layouts_of(&**log, group, &self.topic, partitions).await? {
            return Ok(layouts.ledgers);
        }
        let committed = log
            .committed_unstable(group, &TopicPartition::all(self.topic.as_str(), partitions))
            .await?;
        let last = committed.iter().rposition(Option::is_some);
        Ok(last.map_or(0, |last| last as i32 + 1))
    }

    /// Grows these topics, in this order, to so many partitions (the commands last: nothing is asked of a ledger before it has a
    /// partition in every topic), and takes all ledgers so that they can be laid out. None where they are laid out so already, or
    /// there never was one.
    pub async fn grow(&self, topics: &[String], partitions: i32) -> Result<Option<Taken<'_>>, RepartitionError> {
        let ledgers = self.ledgers().await?;
        if ledgers > partitions {
            return Err(RepartitionError::Shrinks {
                ledgers,
                wanted: partitions,
            });
        }
        let is_to_be_laid_out = (1..partitions).contains(&ledgers);
        if is_to_be_laid_out {
            // Before anything is changed; and once more when nobody can come in between.
            self.take().await?.give_back().await?;
        }
        for topic in topics {
            self.tasks.log.create_partitions(topic, partitions).await?;
        }
        match is_to_be_laid_out {
            true => Ok(Some(self.take().await?)),
            false => Ok(None),
        }
    }

    /// Takes all ledgers, and makes sure that nothing is left to be decided or sent.
    async fn take(&self) -> Result<Taken<'_>, RepartitionError> {
        let (ledgers, partitions) = (self.ledgers().await?, self.partitions().await?);
        // The initialisation ends a transaction that an earlier attempt left open, before anything is acquired.
        let producer = self.tasks.log.producer(&self.tasks.transactional_id).await?;
        let mut consumer = self.join(partitions).await?;
        let sources = TopicPartition::all(self.topic.as_str(), partitions);
        let mut taken = acquire::acquire(&self.tasks, &self.store, &sources).await?;
        acquire::fence(&self.tasks, &self.store, &taken).await?;
        acquire::read_committed(&self.tasks, consumer.as_mut(), &mut taken).await?;
        for ledger in &taken {
            self.check(ledger, ledgers).await?;
        }
        Ok(Taken {
            producer,
            consumer,
            taken,
            ledgers,
            transactional_id: &self.tasks.transactional_id,
        })
    }

    async fn partitions(&self) -> Result<i32, RepartitionError> {
        Ok(self.tasks.log.partitions(&self.topic).await?.unwrap_or(0))
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
            match consumer.poll(1, READ_WAIT).await? {
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

    /// Checks that everything of this ledger is decided, applied and sent.
    async fn check(&self, found: &Acquisition, ledgers: i32) -> Result<(), RepartitionError> {
        let ledger = found.holder.ledger;
        if ledger >= ledgers {
            return match found.state.applied.is_some() || found.state.sequence > 0 {
                true => Err(RepartitionError::Foreign { ledger, ledgers }),
                false => Ok(()),
            };
        }
        let unsettled = |problem| Err(RepartitionError::Unsettled { ledger, problem });
        match compare(&found.state, found.committed, &found.metadata) {
            Verdict::Continue => {}
            Verdict::Resend => return unsettled("has outcomes that were not sent"),
            Verdict::Rebuild { .. } => return unsettled("is not what the log committed, and must be rebuilt first"),
        }
        let (_, high) = self.tasks.log.watermarks(&found.source).await?;
        let mut reader = self.tasks.log.reader(&found.source, found.committed).await?;
        while reader.position() < high {
            if !reader.next(1, READ_WAIT).await?.is_empty() {
                return Err(RepartitionError::Undecided {
                    source_partition: found.source.clone(),
                    committed: found.committed,
                });
            }
        }
        Ok(())
    }
}

/// All ledgers, held by nobody else.
pub struct Taken<'a> {
    producer: Box<dyn Producer>,
    consumer: Box<dyn Consumer>,
    taken: Vec<Acquisition>,
    ledgers: i32,
    transactional_id: &'a str,
}

impl Taken<'_> {
    /// Returns the number of ledgers of the present layout.
    pub fn ledgers(&self) -> i32 {
        self.ledgers
    }

    /// Gives them back as they were.
    async fn give_back(self) -> Result<(), RepartitionError> {
        Ok(self.consumer.close().await?)
    }

    /// Lays out one ledger for each partition that there is now. What ledgers number together goes on from `first_number`
    /// (`LedgerProcessor::renumber`).
    pub async fn lay_out(mut self, first_number: i64) -> Result<(), RepartitionError> {
        let now = i32::try_from(self.taken.len()).unwrap_or(i32::MAX);
        let group = self.consumer.group_metadata().await?;
        let earlier = self.earlier();
        let offset = |found: &Acquisition| {
            let mut past = match &found.metadata.layouts {
                Some(layouts) => layouts.past.clone(),
                // Nothing was decided here under any of them.
                None => earlier.iter().map(|ledgers| ended(*ledgers, found, 0)).collect(),
            };
            past.push(ended(self.ledgers, found, found.metadata.sequence));
            let metadata = OffsetMetadata {
                sequence: found.metadata.sequence,
                // No ledger's lineage has it: none agrees before it is rebuilt.
                token: found.holder.token.clone(),
                transactional_id: self.transactional_id.to_owned(),
                layouts: Some(Arc::new(Layouts {
                    past,
                    ledgers: now,
                    first_number,
                })),
            };
            OffsetCommit {
                source: found.source.clone(),
                committed: CommittedOffset {
                    offset: found.committed,
                    metadata: metadata.to_string(),
                },
            }
        };
        let offsets = self.taken.iter().map(offset).collect();
        self.producer.commit(offsets, group).await?;
        Ok(self.consumer.close().await?)
    }

    /// Returns the numbers of ledgers of the layouts before the present one.
    fn earlier(&self) -> Vec<i32> {
        let layouts = self.taken.first().and_then(|found| found.metadata.layouts.as_ref());
        layouts.map_or_else(Vec::new, |layouts| {
            layouts.past.iter().map(|past| past.ledgers).collect()
        })
    }
}

fn ended(ledgers: i32, found: &Acquisition, end_sequence: i64) -> PastLayout {
    PastLayout {
        ledgers,
        end_offset: found.committed,
        end_sequence,
    }
}
