//! Takes ledgers: acquire, fence, read. The thread's tasks then sign the offset, compare, and send again or rebuild.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;

use super::error::TaskError;
use super::layout::Layouts;
use super::metadata::OffsetMetadata;
use super::task::TaskConfig;
use crate::ledger::{Holder, LedgerState, LedgerStore, Release, Token};
use crate::log::Consumer;
use crate::mutation::{Clause, left_out};
use crate::record::TopicPartition;

/// The way out when committed offsets are lost or another program's.
pub(crate) const RESTORE: &str =
    "stop all workers, and restore the offsets from the events with `interlock replay --offsets`";

/// A ledger's partition while it is being acquired.
pub(crate) struct Acquisition {
    pub(crate) source: TopicPartition,
    pub(crate) subtopology: usize,
    pub(crate) holder: Holder,
    pub(crate) state: LedgerState,
    pub(crate) committed: i64,
    pub(crate) metadata: OffsetMetadata,
}

/// Takes each ledger under a fresh token.
pub(crate) async fn acquire(
    config: &TaskConfig,
    store: &Arc<dyn LedgerStore>,
    partitions: &[TopicPartition],
) -> Result<Vec<Acquisition>, TaskError> {
    let acquisitions = partitions.iter().map(|source| async {
        let token = if left_out(Clause::FreshToken) {
            Token(config.transactional_id.clone())
        } else {
            (config.tokens)()
        };
        store.check_fitness(source.partition).await?;
        let state = store
            .acquire(source.partition, &config.transactional_id, &token)
            .await?;
        let documents: Vec<Bytes> = state.index.keys().cloned().collect();
        store.persist(source.partition, &documents).await?;
        Ok::<_, TaskError>(Acquisition {
            source: source.clone(),
            subtopology: config.task_id(source)?.0,
            holder: Holder {
                ledger: source.partition,
                epoch: state.epoch,
                token,
            },
            state,
            committed: 0,
            metadata: OffsetMetadata::default(),
        })
    });
    try_join_all(acquisitions).await
}

/// Fences every other `transactional.id` that may have a transaction open for these ledgers, and removes it from the
/// owners afterwards: if it were removed first, a crash in between would leave it unfenced and unknown.
pub(crate) async fn fence(
    config: &TaskConfig,
    store: &Arc<dyn LedgerStore>,
    ledgers: &[Acquisition],
) -> Result<(), TaskError> {
    let own = &config.transactional_id;
    let partitions: Vec<TopicPartition> = ledgers.iter().map(|ledger| ledger.source.clone()).collect();
    let last = config.log.committed_unstable(&config.group, &partitions).await?;
    let mut fence: BTreeSet<&str> = BTreeSet::new();
    let metadata: Vec<Option<OffsetMetadata>> = last
        .into_iter()
        .map(|committed| committed.and_then(|c| c.metadata.parse().ok()))
        .collect();
    for (ledger, metadata) in ledgers.iter().zip(&metadata) {
        fence.extend(ledger.state.owners.iter().map(String::as_str));
        if let Some(metadata) = metadata {
            let released = Release {
                transactional_id: metadata.transactional_id.clone(),
                token: metadata.token.clone(),
            };
            if ledger.state.release.as_ref() != Some(&released) {
                fence.insert(&metadata.transactional_id);
            }
        }
    }
    fence.remove(own.as_str());
    if left_out(Clause::FenceOwners) {
        fence.clear();
    }
    for id in &fence {
        tracing::info!(transactional_id = id, "fencing an earlier owner");
    }
    try_join_all(fence.iter().map(|id| config.log.producer(id))).await?;
    let forgotten = ledgers.iter().map(|ledger| async {
        let gone: Vec<String> = ledger.state.owners.iter().filter(|id| *id != own).cloned().collect();
        if gone.is_empty() {
            Ok(())
        } else {
            store.forget_owners(&ledger.holder, &gone).await
        }
    });
    try_join_all(forgotten).await?;
    Ok(())
}

/// Reads C with stable offsets, and its metadata.
pub(crate) async fn read_committed(
    config: &TaskConfig,
    consumer: &mut dyn Consumer,
    ledgers: &mut [Acquisition],
) -> Result<(), TaskError> {
    let partitions: Vec<TopicPartition> = ledgers.iter().map(|ledger| ledger.source.clone()).collect();
    let committed = if left_out(Clause::StableOffsets) {
        config.log.committed_unstable(&config.group, &partitions).await?
    } else {
        consumer.committed(&partitions).await?
    };
    for (ledger, committed) in ledgers.iter_mut().zip(committed) {
        let Some(committed) = committed else {
            if let Some(applied) = ledger.state.applied {
                return Err(TaskError::Fatal(format!(
                    "ledger {} has applied records up to {applied}, but group {} has no committed offset for {}: \
                     the log's offsets were lost or the group was renamed; {RESTORE}",
                    ledger.holder.ledger, config.group, ledger.source
                )));
            }
            ledger.committed = config.log.watermarks(&ledger.source).await?.0;
            continue;
        };
        ledger.committed = committed.offset;
        ledger.metadata = committed.metadata.parse().map_err(|foreign| {
            TaskError::Fatal(format!(
                "{} of group {}: {foreign}; another program committed this offset, and it does not tell whether the ledger agrees; \
                 {RESTORE}",
                ledger.source, config.group
            ))
        })?;
    }
    Ok(())
}

/// Refuses partitions that did not exist when the worker started: it would keep ledgers for them under a layout that is
/// not in the metadata.
pub(crate) fn check_partitions(config: &TaskConfig, partitions: &[TopicPartition]) -> Result<(), TaskError> {
    partitions.iter().try_for_each(|source| {
        let count = config.partitions_of(&source.topic)?;
        check_count(source, count, count.max(source.partition + 1))
    })
}

/// Refuses ledgers of another layout: keys would be decided in them that belong to others. A layout that is not written
/// down yet is the present one, unless another partition knows better.
pub(crate) async fn check_layouts(config: &TaskConfig, ledgers: &mut [Acquisition]) -> Result<(), TaskError> {
    for ledger in ledgers {
        let source = &ledger.source;
        let count = config.partitions_of(&source.topic)?;
        let laid_out = match &ledger.metadata.layouts {
            Some(layouts) => Some(layouts.clone()),
            None => OffsetMetadata::layouts_of(&*config.log, &config.group, &source.topic, count).await?,
        };
        let laid_out = laid_out.unwrap_or_else(|| Arc::new(Layouts::first(count)));
        check_count(source, laid_out.ledgers, count)?;
        if ledger.metadata.layouts.is_none() && !laid_out.past.is_empty() {
            return Err(TaskError::Fatal(format!(
                "{source}: a repartitioning committed an offset for every partition, and group {} has none for this \
                 one: it was lost; {RESTORE}",
                config.group
            )));
        }
        ledger.metadata.layouts = Some(laid_out);
    }
    Ok(())
}

fn check_count(source: &TopicPartition, laid_out: i32, partitions: i32) -> Result<(), TaskError> {
    if laid_out == partitions {
        return Ok(());
    }
    Err(TaskError::Fatal(format!(
        "{source}: the ledgers are laid out for {laid_out} partitions, and topic {} has {partitions}: it was grown since this \
         worker started, or it was grown by hand. Start the worker again; if this message comes again, run `interlock replay \
         --repartition`",
        source.topic
    )))
}
