//! Sends letters again, each once: their records go back to the topic that they came from.
//!
//! A record and the mark of its letter are one transaction, under a `transactional.id` that all callers share. A second
//! caller therefore fences the first, and reads complete marks. No letter is sent twice unless requested, even if a
//! caller is interrupted or an answer is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use interlock_schemas::topics::INPUTS;
use interlock_schemas::{KEY_SCHEMA_HEADER, VALUE_SCHEMA_HEADER};
use interlock_streams::dead_letter::{DeadLetter, mark, marked, original_headers, resent};
use interlock_streams::log::murmur2::partition_for_key;
use interlock_streams::log::{GroupMetadata, LogError, Producer};
use interlock_streams::record::{OutputRecord, Record};

use super::{DeadLetters, Place, partitions_of};
use crate::{OperateError, Result, ensure, refused};

/// Most records and approximate bytes of one transaction, which is thus open only briefly.
const TRANSACTION_RECORDS_MAX: usize = 200;
const TRANSACTION_BYTES_MAX: usize = 4_000_000;

/// The chosen letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The letters at these places.
    These(Vec<Place>),
    /// All letters that were not sent again yet and hold their record; with a reason, only those of that reason.
    All(Option<String>),
}

/// A corrected record, which replaces the letter's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// The key, which decides the partition.
    pub key: String,
    /// The encoded value.
    pub value: Vec<u8>,
}

/// An order to send letters again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The letters.
    pub choice: Choice,
    /// Replaces the record of the single chosen letter.
    pub mended: Option<Mended>,
    /// True to include letters that were sent again before.
    pub again: bool,
}

/// A letter whose record was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resent {
    /// The letter.
    pub place: Place,
    /// Partition that the record was sent to: the one of its key.
    pub to: i32,
}

/// Letters of a partition.
#[derive(Default)]
struct Found {
    /// Offsets of the letters, and lengths of records that they do not hold.
    letters: BTreeMap<i64, Option<u64>>,
    sent_again: BTreeSet<i64>,
}

/// Sends letters of this topic again, and reports each after its commit. Sends none if one of them cannot be sent.
pub async fn resend(
    letters: &DeadLetters,
    transactional_id: &str,
    order: &Order,
    mut tell: impl FnMut(Resent) -> io::Result<()>,
) -> Result<()> {
    let target = letters.source_topic();
    ensure!(
        INPUTS.contains(&target),
        "records of {target} are not sent again: topologies alone write to it, and ledgers are rebuilt from what it holds, so \
         that each must be there once; letters of {} can be sent again",
        INPUTS.join(" and ")
    );
    let partitions = partitions_of(&*letters.log, target).await?;
    // Fences first, so that no other caller can write marks after they are read.
    let mut producer = letters.log.producer(transactional_id).await?;
    let chosen = choose(letters, order).await?;
    let target = Target {
        topic: Arc::from(target),
        partitions,
        mended: order.mended.as_ref(),
    };
    for (partition, offsets) in chosen {
        send_partition(letters, &mut *producer, &target, (partition, &offsets), &mut tell).await?;
    }
    Ok(())
}

/// Returns the chosen letters by partition. Fails if a named one cannot be sent again.
async fn choose(letters: &DeadLetters, order: &Order) -> Result<BTreeMap<i32, BTreeSet<i64>>> {
    match &order.choice {
        Choice::These(places) => choose_these(letters, places, order).await,
        Choice::All(reason) => choose_all(letters, reason.as_deref(), order.again).await,
    }
}

async fn choose_these(letters: &DeadLetters, places: &[Place], order: &Order) -> Result<BTreeMap<i32, BTreeSet<i64>>> {
    let mut chosen: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    for place in places {
        chosen.entry(place.partition).or_default().insert(place.offset);
    }
    for (partition, offsets) in &chosen {
        let first = offsets.first().copied().unwrap_or_default();
        let found = look(
            letters,
            Place {
                partition: *partition,
                offset: first,
            },
            None,
        )
        .await?;
        for offset in offsets {
            let place = Place {
                partition: *partition,
                offset: *offset,
            };
            let Some(not_copied) = found.letters.get(offset) else {
                return Err(refused(format!("{}; nothing was sent", letters.none_at(place))));
            };
            ensure!(
                order.again || !found.sent_again.contains(offset),
                "the letter at {place} was sent again before; nothing was sent. If it is to be sent once more: --again"
            );
            if let (Some(bytes), None) = (not_copied, &order.mended) {
                return Err(refused(format!(
                    "the letter at {place} doesn't hold its record, whose {bytes} bytes are too many; nothing was sent. Send a \
                     corrected record in its place: --value"
                )));
            }
        }
    }
    Ok(chosen)
}

async fn choose_all(letters: &DeadLetters, reason: Option<&str>, again: bool) -> Result<BTreeMap<i32, BTreeSet<i64>>> {
    let mut chosen = BTreeMap::new();
    for partition in 0..letters.partitions {
        let (low, high) = letters.log.watermarks(&letters.source(partition)).await?;
        if low == high {
            continue;
        }
        let found = look(letters, Place { partition, offset: low }, reason).await?;
        let is_meant = |(offset, not_copied): (i64, Option<u64>)| {
            let sent_again = found.sent_again.contains(&offset);
            (not_copied.is_none() && (again || !sent_again)).then_some(offset)
        };
        let offsets: BTreeSet<i64> = found
            .letters
            .iter()
            .map(|(o, n)| (*o, *n))
            .filter_map(is_meant)
            .collect();
        chosen.insert(partition, offsets);
    }
    Ok(chosen)
}

/// Reads the letters (of a reason) from a place to the end of its partition, and the marks of letters that were sent
/// again.
async fn look(letters: &DeadLetters, from: Place, reason: Option<&str>) -> Result<Found> {
    let mut found = Found::default();
    let mut reader = letters.read_from(from).await?;
    while let Some(records) = reader.next().await? {
        for record in records {
            found.sent_again.extend(marked(&record));
            let letter = DeadLetter::of(&record).filter(|letter| reason.is_none_or(|reason| letter.reason == reason));
            found
                .letters
                .extend(letter.map(|letter| (record.offset, letter.not_copied)));
        }
    }
    Ok(found)
}

/// The target of the records.
struct Target<'a> {
    topic: Arc<str>,
    partitions: i32,
    mended: Option<&'a Mended>,
}

async fn send_partition(
    letters: &DeadLetters,
    producer: &mut dyn Producer,
    target: &Target<'_>,
    (partition, offsets): (i32, &BTreeSet<i64>),
    tell: &mut impl FnMut(Resent) -> io::Result<()>,
) -> Result<()> {
    let (Some(first), Some(last)) = (offsets.first().copied(), offsets.last().copied()) else {
        return Ok(());
    };
    let mut reader = letters
        .read_from(Place {
            partition,
            offset: first,
        })
        .await?;
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(records) = reader.next().await? {
        for record in records.into_iter().filter(|record| offsets.contains(&record.offset)) {
            let place = Place {
                partition,
                offset: record.offset,
            };
            let output = target.output(letters, place, &record)?;
            bytes += output.bytes();
            batch.push((place, output));
            let is_full = batch.len() == TRANSACTION_RECORDS_MAX || bytes >= TRANSACTION_BYTES_MAX;
            if is_full || place.offset == last {
                bytes = 0;
                commit(letters, producer, std::mem::take(&mut batch), tell).await?;
            }
            if place.offset == last {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Target<'_> {
    fn output(&self, letters: &DeadLetters, place: Place, letter: &Record) -> Result<OutputRecord> {
        let (key, value) = match self.mended {
            Some(mended) => (
                Some(Bytes::from(mended.key.clone())),
                Some(Bytes::from(mended.value.clone())),
            ),
            None => (letter.key.clone(), letter.value.clone()),
        };
        let to = match &key {
            Some(key) => partition_for_key(key, self.partitions),
            // A record without a key goes back to its partition.
            None => {
                DeadLetter::of(letter)
                    .ok_or_else(|| refused(letters.none_at(place)))?
                    .source
                    .partition
            }
        };
        let mut headers = original_headers(letter);
        if self.mended.is_some() {
            // A corrected record names its schema in its value.
            headers.retain(|(name, _)| ![KEY_SCHEMA_HEADER, VALUE_SCHEMA_HEADER].contains(&&**name));
        }
        let record = OutputRecord {
            topic: Arc::clone(&self.topic),
            partition: Some(to),
            timestamp: None,
            key,
            value,
            headers,
        };
        Ok(resent(&letters.source(place.partition), place.offset, record))
    }
}

/// Sends records and the marks of their letters in one transaction.
async fn commit(
    letters: &DeadLetters,
    producer: &mut dyn Producer,
    batch: Vec<(Place, OutputRecord)>,
    tell: &mut impl FnMut(Resent) -> io::Result<()>,
) -> Result<()> {
    let sent: Vec<Resent> = batch
        .iter()
        .map(|(place, record)| Resent {
            place: *place,
            to: record.partition.unwrap_or_default(),
        })
        .collect();
    let records = batch
        .into_iter()
        .flat_map(|(place, record)| [record, mark(&letters.source(place.partition), place.offset)]);
    producer.send(records.collect());
    // No positions are committed, so the group metadata is irrelevant.
    let committed = producer.commit(Vec::new(), GroupMetadata(Arc::new(()))).await;
    if let Err(error) = committed {
        if let LogError::Abortable { .. } = error {
            // If this fails too, the broker aborts the transaction after its time-out.
            let _ = producer.abort().await;
        }
        return Err(OperateError::Unsent(error));
    }
    sent.into_iter().try_for_each(tell).map_err(OperateError::Told)
}
