//! Repartitions ledgers: more partitions, and so more ledgers, for the same keys.
//!
//! No event moves. The topics grow. Then one transaction commits every input offset unchanged, with metadata that names
//! the end of the old layout in each partition and the token that ended it (see [`Layouts`]). Before the transaction
//! only empty partitions were added, which no worker reads. After it no ledger agrees with the log: its next owner
//! rebuilds it from the events of its keys, in whichever partitions they are. The procedure can be interrupted and
//! repeated.
//!
//! All workers must have stopped, and every record must be decided. Otherwise a key's records would be in two
//! partitions and be decided out of order. So the operator joins the group, alone, and takes every ledger as a worker
//! does (settle, acquire, fence, read). This ends a worker's open transaction, and a worker that wakes up late can't
//! write.

use std::sync::Arc;
use std::time::Duration;

use super::acquire::{self, Acquisition};
use super::compare::{Verdict, compare};
use super::config::RuntimeConfig;
use super::layout::{Layouts, PastLayout};
use super::metadata::OffsetMetadata;
use super::operator::{Operator, RepartitionError, TakenLedgers};
use super::task::TaskConfig;
use crate::dsl::topology::Topology;
use crate::ledger::LedgerStore;
use crate::log::{CommittedOffset, Log, OffsetCommit};
use crate::record::TopicPartition;

/// Longest wait of one read at a partition's end.
const READ_WAIT: Duration = Duration::from_millis(100);

/// Changes the number of a topology's ledgers.
pub struct Repartition {
    operator: Operator,
}

impl Repartition {
    /// Prepares for the ledgers of a topology. `wait` is the longest time until the group has given every partition.
    pub fn new(
        config: &RuntimeConfig,
        topology: &Arc<Topology>,
        log: Arc<dyn Log>,
        store: Arc<dyn LedgerStore>,
        wait: Duration,
    ) -> Self {
        Self {
            operator: Operator::new("repartition", config, topology, log, store, wait),
        }
    }

    /// Returns the number of ledgers: by the metadata of their offsets, or else by how many offsets were ever
    /// committed. It is 0 before the first worker.
    pub async fn ledgers(&self) -> Result<i32, RepartitionError> {
        let partitions = self.operator.partitions().await?;
        let TaskConfig { log, group, .. } = &self.operator.tasks;
        if let Some(layouts) = OffsetMetadata::layouts_of(&**log, group, &self.operator.topic, partitions).await? {
            return Ok(layouts.ledgers);
        }
        let committed = log
            .committed_unstable(group, &TopicPartition::all(self.operator.topic.as_str(), partitions))
            .await?;
        let last = committed.iter().rposition(Option::is_some);
        Ok(last.map_or(0, |last| last as i32 + 1))
    }

    /// Grows these topics, in this order, to this number of partitions, and takes all ledgers so that they can be laid
    /// out. The commands come last, so that a ledger has a partition in every topic before it gets commands. Returns
    /// none if the ledgers are laid out so already, or if there never was one.
    pub async fn grow(&self, topics: &[String], partitions: i32) -> Result<Option<HeldLedgers<'_>>, RepartitionError> {
        let ledgers = self.ledgers().await?;
        if ledgers > partitions {
            return Err(RepartitionError::Shrinks {
                ledgers,
                wanted: partitions,
            });
        }
        let is_to_be_laid_out = (1..partitions).contains(&ledgers);
        if is_to_be_laid_out {
            // Checks before anything is changed. The check is repeated below, when no worker can interfere.
            self.take().await?.give_back().await?;
        }
        for topic in topics {
            self.operator.tasks.log.create_partitions(topic, partitions).await?;
        }
        match is_to_be_laid_out {
            true => Ok(Some(self.take().await?)),
            false => Ok(None),
        }
    }

    /// Takes all ledgers, and checks that all records are decided and all outputs sent.
    async fn take(&self) -> Result<HeldLedgers<'_>, RepartitionError> {
        let ledgers = self.ledgers().await?;
        let mut taken = self.operator.take().await?;
        acquire::read_committed(&self.operator.tasks, taken.consumer.as_mut(), &mut taken.acquired).await?;
        for ledger in &taken.acquired {
            self.check(ledger, ledgers).await?;
        }
        Ok(HeldLedgers {
            taken,
            ledgers,
            transactional_id: &self.operator.tasks.transactional_id,
        })
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
        let (_, high) = self.operator.tasks.log.watermarks(&found.source).await?;
        let mut reader = self.operator.tasks.log.reader(&found.source, found.committed).await?;
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

/// All ledgers, acquired by this operator.
pub struct HeldLedgers<'a> {
    taken: TakenLedgers,
    ledgers: i32,
    transactional_id: &'a str,
}

impl HeldLedgers<'_> {
    /// Returns the number of ledgers of the present layout.
    pub fn ledgers(&self) -> i32 {
        self.ledgers
    }

    /// Gives them back as they were.
    async fn give_back(self) -> Result<(), RepartitionError> {
        Ok(self.taken.consumer.close().await?)
    }

    /// Lays out one ledger for each partition. The numbers that all ledgers give together continue from `first_number`
    /// (`LedgerProcessor::renumber`).
    pub async fn lay_out(mut self, first_number: i64) -> Result<(), RepartitionError> {
        let now = i32::try_from(self.taken.acquired.len()).unwrap_or(i32::MAX);
        let group = self.taken.consumer.group_metadata().await?;
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
        let offsets = self.taken.acquired.iter().map(offset).collect();
        self.taken.producer.commit(offsets, group).await?;
        Ok(self.taken.consumer.close().await?)
    }

    /// Returns the numbers of ledgers of the layouts before the present one.
    fn earlier(&self) -> Vec<i32> {
        let layouts = self
            .taken
            .acquired
            .first()
            .and_then(|found| found.metadata.layouts.as_ref());
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
