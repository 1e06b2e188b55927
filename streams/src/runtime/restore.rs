//! Restores the committed offsets of ledgers, with their metadata, from the events.
//!
//! An offset is lost when Kafka forgets it, or when another program commits it without the metadata. The events tell
//! what was decided: in each partition, the offset after the command of the last event. A dead letter behind it moves
//! the offset further. A record that left neither, because it was forwarded to another partition, is forwarded once
//! more, and its request is answered as a repeated one.
//!
//! The ledgers of restored offsets are marked first, as on demand ([`demand_rebuild`]). So each of them is rebuilt from
//! its events before it decides, and it does not matter what the store holds.
//!
//! **Earlier layouts** ([`Layouts`]) are in the metadata too. A partition whose offset is not lost still names them.
//! Otherwise they follow from the events: an event lies where its key belonged when it was decided. In each partition
//! the present layout begins after the last event whose key belongs elsewhere now; events before it are explained by an
//! earlier number of ledgers. That layout may have begun a little later in truth; a fold over the layouts gives the
//! same state, since the events between them stay in their order.

use std::sync::Arc;
use std::time::Duration;

use super::config::RuntimeConfig;
use super::error::TaskError;
use super::history::History;
use super::layout::{Layouts, PastLayout};
use super::metadata::OffsetMetadata;
use super::operator::{Operator, RepartitionError, TakenLedgers};
use crate::dsl::dead_letter::DeadLetter;
use crate::dsl::policy::dlq_topic;
use crate::dsl::topology::Topology;
use crate::ledger::{LedgerStore, Token, demand_rebuild};
use crate::log::murmur2::{murmur2, partition_for_hash};
use crate::log::{CommittedOffset, Log, OffsetCommit};
use crate::record::TopicPartition;

/// Longest wait for records of a partition that has some.
const READ_WAIT: Duration = Duration::from_secs(5);
/// Dead letters read at once.
const READ_RECORDS_MAX: usize = 1_000;
/// Repartitionings that are found in the events.
const PAST_LAYOUTS_MAX: usize = 2;

/// An offset that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "plain fields")]
pub struct RestoredOffset {
    pub source: TopicPartition,
    pub offset: i64,
    /// Sequence of the last event of the records below the offset.
    pub sequence: i64,
}

/// Restores the offsets of a topology's ledgers that are lost or another program's, in one transaction. Offsets with
/// metadata stay as they are.
///
/// All workers must have stopped: this joins their group alone, within `wait`. It can be interrupted and repeated.
pub async fn restore_offsets(
    config: &RuntimeConfig,
    topology: &Arc<Topology>,
    log: Arc<dyn Log>,
    store: Arc<dyn LedgerStore>,
    wait: Duration,
) -> Result<Vec<RestoredOffset>, RepartitionError> {
    let operator = Operator::new("restore-offsets", config, topology, log, Arc::clone(&store), wait);
    let TakenLedgers {
        mut producer,
        mut consumer,
        acquired,
    } = operator.take().await?;
    let sources: Vec<TopicPartition> = acquired.iter().map(|ledger| ledger.source.clone()).collect();
    let partitions = i32::try_from(sources.len()).unwrap_or(i32::MAX);

    let committed = consumer.committed(&sources).await?;
    let read = |committed: Option<CommittedOffset>| committed?.metadata.parse().ok();
    let intact: Vec<Option<OffsetMetadata>> = committed.into_iter().map(read).collect();
    let mut events = Vec::with_capacity(sources.len());
    for source in &sources {
        events.push(PartitionEvents::read(&operator, source).await?);
    }
    let eras = eras(&intact, &events, partitions)?;
    let mut restored = Vec::new();
    let mut offsets = Vec::new();
    for (index, ledger) in acquired.iter().enumerate() {
        if intact[index].is_some() {
            continue;
        }
        let (source, events) = (&ledger.source, &events[index]);
        let offset = next_offset(&operator, source, events).await?;
        demand_rebuild(&*store, ledger.holder.ledger, &operator.tasks.transactional_id, || {
            (operator.tasks.tokens)()
        })
        .await
        .map_err(TaskError::from)?;
        let metadata = OffsetMetadata {
            sequence: events.end_of(events.commands.len()).1,
            token: events.token.clone(),
            transactional_id: operator.tasks.transactional_id.clone(),
            layouts: Some(Arc::new(eras.layouts(index, events, partitions))),
        };
        restored.push(RestoredOffset {
            source: source.clone(),
            offset,
            sequence: metadata.sequence,
        });
        offsets.push(OffsetCommit {
            source: source.clone(),
            committed: CommittedOffset {
                offset,
                metadata: metadata.to_string(),
            },
        });
    }
    if !offsets.is_empty() {
        let group = consumer.group_metadata().await?;
        producer.commit(offsets, group).await?;
    }
    consumer.close().await?;
    Ok(restored)
}

/// The events of one partition.
#[derive(Default)]
struct PartitionEvents {
    /// The commands that caused them, in order.
    commands: Vec<Command>,
    /// The token that decided the last one.
    token: Token,
}

/// A command that caused events.
struct Command {
    offset: i64,
    /// Sequence of its last event.
    sequence: i64,
    /// Hash of its key.
    hash: u32,
}

impl PartitionEvents {
    async fn read(operator: &Operator, source: &TopicPartition) -> Result<Self, TaskError> {
        let topology = &operator.tasks.topology;
        let (subtopology, _) = operator.tasks.task_id(source)?;
        let no_ledger = || TaskError::Fatal(format!("{source} is read by a subtopology without a ledger"));
        let (_, mut node) = topology.instantiate(subtopology).ledger.ok_or_else(no_ledger)?;
        let topics = topology.event_topics(subtopology);
        let mut history = History::open(&*operator.tasks.log, topics, source.partition, 0).await?;
        let (mut commands, mut token): (Vec<Command>, Token) = Default::default();
        while let Some(event) = history.next(i64::MAX, &mut *node).await? {
            let command = Command {
                offset: event.source_offset,
                sequence: event.sequence,
                hash: murmur2(event.key().unwrap_or_default()),
            };
            token = event.token;
            match commands.last_mut() {
                Some(last) if last.offset == command.offset => *last = command,
                _ => commands.push(command),
            }
        }
        Ok(Self { commands, token })
    }

    /// Returns the offset after the first `count` commands, and the sequence of their last event.
    fn end_of(&self, count: usize) -> (i64, i64) {
        let last = count.checked_sub(1).and_then(|last| self.commands.get(last));
        last.map_or((0, 0), |last| (last.offset + 1, last.sequence))
    }
}

/// Returns the offset of the first record that left no trace.
async fn next_offset(
    operator: &Operator,
    source: &TopicPartition,
    events: &PartitionEvents,
) -> Result<i64, RepartitionError> {
    let log = &operator.tasks.log;
    let (low, _) = log.watermarks(source).await?;
    let mut next = low.max(events.end_of(events.commands.len()).0);
    let letters = TopicPartition::new(dlq_topic(&source.topic), source.partition);
    if log
        .partitions(&letters.topic)
        .await?
        .is_none_or(|count| count <= letters.partition)
    {
        return Ok(next);
    }
    let (low, high) = log.watermarks(&letters).await?;
    let mut reader = log.reader(&letters, low).await?;
    while reader.position() < high {
        for letter in reader.next(READ_RECORDS_MAX, READ_WAIT).await? {
            if let Some(letter) = DeadLetter::of(&letter).filter(|letter| letter.source == *source) {
                next = next.max(letter.offset + 1);
            }
        }
    }
    Ok(next)
}

/// Layouts that ended, oldest first, and the count from which ledgers go on with what they number together.
struct Eras {
    past: Vec<Era>,
    first_number: i64,
}

/// A layout that ended.
struct Era {
    ledgers: i32,
    /// For each partition, how many of its commands were decided by the end of the layout.
    ends: Vec<usize>,
}

impl Eras {
    fn layouts(&self, partition: usize, events: &PartitionEvents, ledgers: i32) -> Layouts {
        let past = self.past.iter().map(|era| {
            let (end_offset, end_sequence) = events.end_of(era.ends[partition]);
            PastLayout {
                ledgers: era.ledgers,
                end_offset,
                end_sequence,
            }
        });
        Layouts {
            past: past.collect(),
            ledgers,
            first_number: self.first_number,
        }
    }
}

/// Finds the layouts: by the metadata of an offset that is not lost, or else by the events.
fn eras(
    intact: &[Option<OffsetMetadata>],
    events: &[PartitionEvents],
    partitions: i32,
) -> Result<Eras, RepartitionError> {
    let unexplained = || {
        RepartitionError::Task(TaskError::Fatal(format!(
            "the layouts of the ledgers can't be told from their events with {partitions} partitions: events are missing, \
             the topics were grown by hand, or there were more than {PAST_LAYOUTS_MAX} repartitionings; restore the \
             metadata of one offset from a backup"
        )))
    };
    let all: Vec<usize> = events.iter().map(|events| events.commands.len()).collect();
    if let Some(layouts) = intact.iter().flatten().find_map(|metadata| metadata.layouts.clone()) {
        let chain: Vec<i32> = layouts.past.iter().map(|past| past.ledgers).collect();
        let past = by_chain(events, &all, layouts.ledgers, &chain).ok_or_else(unexplained)?;
        return Ok(Eras {
            past,
            first_number: layouts.first_number,
        });
    }
    let by_depth = |depth| by_events(events, &all, partitions, depth);
    let past = (0..=PAST_LAYOUTS_MAX).find_map(by_depth).ok_or_else(unexplained)?;
    // A command takes one number at most. So no ledger can have counted further under any of the layouts.
    let most = all.iter().max().copied().unwrap_or(0);
    let first_number = past.len() as i64 * (most as i64 + 1);
    Ok(Eras { past, first_number })
}

/// Returns where the layout begins that ends at `ends`: in each partition after the last command whose key belongs
/// elsewhere under it.
fn begin(events: &[PartitionEvents], ends: &[usize], ledgers: i32) -> Vec<usize> {
    let begin = |(partition, (events, end)): (usize, (&PartitionEvents, &usize))| {
        let belongs = |command: &Command| partition_for_hash(command.hash, ledgers) == partition as i32;
        let commands = &events.commands[..*end];
        commands
            .iter()
            .rposition(|command| !belongs(command))
            .map_or(0, |last| last + 1)
    };
    events.iter().zip(ends).enumerate().map(begin).collect()
}

/// Finds where layouts ended whose numbers of ledgers are known, oldest first.
fn by_chain(events: &[PartitionEvents], ends: &[usize], now: i32, past: &[i32]) -> Option<Vec<Era>> {
    let ends = begin(events, ends, now);
    match past.split_last() {
        None => ends.iter().all(|end| *end == 0).then(Vec::new),
        Some((&ledgers, earlier)) => {
            let mut eras = by_chain(events, &ends, ledgers, earlier)?;
            eras.push(Era { ledgers, ends });
            Some(eras)
        }
    }
}

/// Finds `depth` past layouts that explain where the events lie. Where there are several, each number of ledgers must
/// divide the next: then a key that left a partition never comes back to it.
fn by_events(events: &[PartitionEvents], ends: &[usize], now: i32, depth: usize) -> Option<Vec<Era>> {
    let ends = begin(events, ends, now);
    if depth == 0 {
        return ends.iter().all(|end| *end == 0).then(Vec::new);
    }
    (1..now).rev().find_map(|ledgers| {
        let mut eras = by_events(events, &ends, ledgers, depth - 1)?;
        let divides = eras
            .last()
            .is_none_or(|era| ledgers % era.ledgers == 0 && now % ledgers == 0);
        eras.push(Era {
            ledgers,
            ends: ends.clone(),
        });
        divides.then_some(eras)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::murmur2::partition_for_key;

    /// The events of keys that ask once each under each of these numbers of ledgers.
    fn decided_under(chain: &[i32]) -> Vec<PartitionEvents> {
        let partitions = chain.last().copied().unwrap_or(1);
        let mut events: Vec<PartitionEvents> = (0..partitions).map(|_| PartitionEvents::default()).collect();
        for ledgers in chain {
            for key in (0..200).map(|key| format!("key {key}")) {
                let commands = &mut events[partition_for_key(key.as_bytes(), *ledgers) as usize].commands;
                let offset = commands.len() as i64;
                commands.push(Command {
                    offset,
                    sequence: offset + 1,
                    hash: murmur2(key.as_bytes()),
                });
            }
        }
        events
    }

    #[test]
    fn layouts_follow_from_the_places_of_the_events() {
        for chain in [vec![3], vec![4, 6], vec![4, 8, 16], vec![5, 7]] {
            let events = decided_under(&chain);
            let found = eras(&[None], &events, *chain.last().unwrap()).unwrap();
            let ledgers: Vec<i32> = found.past.iter().map(|era| era.ledgers).collect();
            assert_eq!(ledgers, chain[..chain.len() - 1]);
            assert_eq!(found.first_number == 0, chain.len() == 1);
        }
    }

    #[test]
    fn layouts_that_contradict_the_events_are_refused() {
        let events = decided_under(&[4, 6, 7, 14]);
        assert!(eras(&[None], &events, 14).is_err());
        let layouts = |text| {
            let layouts = Layouts::parse(text).map(Arc::new);
            Some(OffsetMetadata {
                layouts,
                ..OffsetMetadata::default()
            })
        };
        assert!(eras(&[layouts("6:1:1,14@0")], &events, 14).is_err());
        let found = eras(&[layouts("4:1:1,6:1:1,7:1:1,14@9")], &events, 14).unwrap();
        assert_eq!((found.past.len(), found.first_number), (3, 9));
    }
}
