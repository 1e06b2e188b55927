//! One batch's outputs as the single value that the outbox keeps for it.
//!
//! An entry states the applied offset that it follows, so that the entries of a ledger form a chain: whether all outputs of
//! the records from C to W are there can be checked, not only hoped.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ledger::OutboxEntry;
use crate::record::OutputRecord;

const VERSION: u8 = 2;
/// No byte of LZ4 stands for more: what claims to is damaged, and no room is made for it.
const LZ4_RATIO_MAX: u64 = 255;
const ENDS_EARLY: &str = "it ends early";

/// A batch as it is kept in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Applied offset before the batch; none before the first.
    pub(crate) previous: Option<i64>,
    /// What the batch writes to the log, in order.
    pub(crate) outputs: Vec<OutputRecord>,
}

/// Why an outbox can't be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error("outbox entry {0} can't be read: {1}")]
    Unreadable(i64, &'static str),
    #[error("the outbox has a gap: an entry follows offset {found:?}, expected {expected}")]
    Gap { found: Option<i64>, expected: i64 },
    #[error("the outbox ends at {found:?}, the applied offset is {applied}")]
    Short { found: Option<i64>, applied: i64 },
}

/// Numbers are varints, zero stands for none, a topic is named once, and a timestamp says how much later it is than the one before:
/// the store copies every byte of this several times, so that what a batch shares is told once.
pub(crate) fn encode(previous: Option<i64>, outputs: &[OutputRecord]) -> Bytes {
    let size: usize = outputs
        .iter()
        .map(|o| 24 + o.key.as_ref().map_or(0, Bytes::len) + o.value.as_ref().map_or(0, Bytes::len))
        .sum();
    let mut out = BytesMut::with_capacity(size + 64);
    out.put_i64(previous.unwrap_or(-1));
    put_number(&mut out, outputs.len() as u64);
    let mut topics: Vec<&Arc<str>> = Vec::new();
    let mut time = 0;
    for output in outputs {
        let known = topics.iter().position(|topic| *topic == &output.topic);
        put_number(&mut out, known.unwrap_or(topics.len()) as u64);
        if known.is_none() {
            put_bytes(&mut out, Some(output.topic.as_bytes()));
            topics.push(&output.topic);
        }
        put_number(&mut out, output.partition.map_or(0, |partition| partition as u64 + 1));
        // Neither is negative, so the difference is never so small that there is no room for one more.
        let timestamp = output.timestamp.filter(|timestamp| *timestamp >= 0);
        put_number(&mut out, timestamp.map_or(0, |timestamp| zigzag(timestamp - time) + 1));
        time = timestamp.unwrap_or(time);
        put_bytes(&mut out, output.key.as_deref());
        put_bytes(&mut out, output.value.as_deref());
        put_number(&mut out, output.headers.len() as u64);
        for (name, value) in &output.headers {
            put_bytes(&mut out, Some(name.as_bytes()));
            put_bytes(&mut out, value.as_deref());
        }
    }
    compressed(&out)
}

/// Events repeat much of one another. To halve them here costs less than the store's only thread spends on the other half.
fn compressed(content: &[u8]) -> Bytes {
    let block = lz4_flex::block::compress(content);
    let mut out = BytesMut::with_capacity(block.len() + 16);
    out.put_u8(VERSION);
    put_number(&mut out, content.len() as u64);
    out.put_slice(&block);
    out.freeze()
}

fn decompressed(mut bytes: Bytes) -> Result<Bytes, &'static str> {
    if bytes.try_get_u8().map_err(|_| "it is empty")? != VERSION {
        return Err("it was written by another version");
    }
    let length = get_number(&mut bytes)?;
    if length > bytes.len() as u64 * LZ4_RATIO_MAX {
        return Err(ENDS_EARLY);
    }
    match lz4_flex::block::decompress(&bytes, length as usize) {
        Ok(content) if content.len() as u64 == length => Ok(content.into()),
        _ => Err("it can't be decompressed"),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    put_number(out, bytes.map_or(0, |bytes| bytes.len() as u64 + 1));
    out.put_slice(bytes.unwrap_or_default());
}

/// Seven bits a byte, the lowest first; the highest bit says that there are more.
fn put_number(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Small numbers for what is close to zero.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

pub(crate) fn decode(entry: &OutboxEntry) -> Result<Batch, OutboxError> {
    read(entry.value.clone()).map_err(|what| OutboxError::Unreadable(entry.last_offset, what))
}

fn read(bytes: Bytes) -> Result<Batch, &'static str> {
    let mut bytes = decompressed(bytes)?;
    let previous = bytes.try_get_i64().map_err(|_| ENDS_EARLY)?;
    let mut topics: Vec<Arc<str>> = Vec::new();
    let mut time: i64 = 0;
    let mut outputs: Vec<OutputRecord> = Vec::new();
    for _ in 0..get_number(&mut bytes)? {
        let topic = usize::try_from(get_number(&mut bytes)?).map_err(|_| "a topic is missing")?;
        if topic == topics.len() {
            topics.push(get_text(&mut bytes)?.ok_or("a topic is missing")?);
        }
        let topic = topics.get(topic).ok_or("a topic is missing")?.clone();
        let partition = match get_number(&mut bytes)?.checked_sub(1) {
            Some(partition) => Some(i32::try_from(partition).map_err(|_| "there is no such partition")?),
            None => None,
        };
        let later = get_number(&mut bytes)?.checked_sub(1).map(unzigzag);
        let timestamp = later.map(|later| time.wrapping_add(later));
        time = timestamp.unwrap_or(time);
        let key = get_bytes(&mut bytes)?;
        let value = get_bytes(&mut bytes)?;
        let mut headers = Vec::new();
        for _ in 0..get_number(&mut bytes)? {
            let name = get_text(&mut bytes)?.ok_or("a header's name is missing")?;
            headers.push((name, get_bytes(&mut bytes)?));
        }
        outputs.push(OutputRecord {
            topic,
            partition,
            timestamp,
            key,
            value,
            headers,
        });
    }
    if bytes.has_remaining() {
        return Err("bytes are left over");
    }
    Ok(Batch {
        previous: (previous >= 0).then_some(previous),
        outputs,
    })
}

fn get_bytes(bytes: &mut Bytes) -> Result<Option<Bytes>, &'static str> {
    let Some(length) = get_number(bytes)?.checked_sub(1) else {
        return Ok(None);
    };
    match usize::try_from(length) {
        Ok(length) if length <= bytes.remaining() => Ok(Some(bytes.split_to(length))),
        _ => Err(ENDS_EARLY),
    }
}

fn get_number(bytes: &mut Bytes) -> Result<u64, &'static str> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = bytes.try_get_u8().map_err(|_| ENDS_EARLY)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number has no end")
}

fn get_text(bytes: &mut Bytes) -> Result<Option<Arc<str>>, &'static str> {
    let Some(bytes) = get_bytes(bytes)? else {
        return Ok(None);
    };
    std::str::from_utf8(&bytes)
        .map(|text| Some(Arc::from(text)))
        .map_err(|_| "a name is not UTF-8")
}

/// The batches of the records from `committed` (C) to `applied` (W): all of them, or an error. Entries below C were
/// committed already and are named for trimming.
pub(crate) fn unsent(
    entries: &[OutboxEntry],
    committed: i64,
    applied: i64,
) -> Result<(Vec<Batch>, Vec<i64>), OutboxError> {
    let mut trim = Vec::new();
    let mut batches = Vec::new();
    let mut reached = committed - 1;
    for entry in entries {
        if entry.last_offset < committed {
            trim.push(entry.last_offset);
            continue;
        }
        let batch = decode(entry)?;
        // Before the very first batch there is no applied offset; C was then committed unchanged at the start of the log.
        if batch.previous.unwrap_or(reached) != reached {
            return Err(OutboxError::Gap {
                found: batch.previous,
                expected: reached,
            });
        }
        reached = entry.last_offset;
        batches.push(batch);
    }
    if reached != applied {
        return Err(OutboxError::Short {
            found: (!batches.is_empty()).then_some(reached),
            applied,
        });
    }
    Ok((batches, trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(topic: &str, value: Option<&'static str>) -> OutputRecord {
        OutputRecord {
            topic: Arc::from(topic),
            partition: value.map(|_| 3),
            timestamp: Some(7),
            key: Some(Bytes::from_static(b"k\0")),
            value: value.map(Bytes::from),
            headers: vec![
                (Arc::from("why"), Some(Bytes::from_static(b"\xff"))),
                (Arc::from("why"), Some(Bytes::new())),
                (Arc::from("why"), None),
            ],
        }
    }

    fn entry(previous: Option<i64>, last_offset: i64) -> OutboxEntry {
        OutboxEntry {
            last_offset,
            value: encode(previous, &[output("a", Some("v"))]),
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let mut outputs = vec![output("a", Some("")), output("b", None), output("a", Some("x"))];
        outputs[1].timestamp = Some(i64::MAX);
        outputs[2].timestamp = None;
        outputs.push(OutputRecord {
            partition: Some(i32::MAX),
            timestamp: Some(0),
            value: Some(Bytes::from(vec![7; 20_000])),
            ..output("b", None)
        });
        let entry = OutboxEntry {
            last_offset: 9,
            value: encode(Some(4), &outputs),
        };
        assert_eq!(
            decode(&entry),
            Ok(Batch {
                previous: Some(4),
                outputs
            })
        );
    }

    #[test]
    fn a_cut_entry_is_an_error_at_every_length() {
        let whole = entry(Some(1), 2).value;
        for length in 0..whole.len() {
            assert!(
                decode(&OutboxEntry {
                    last_offset: 2,
                    value: whole.slice(..length)
                })
                .is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn all_batches_from_c_to_w_or_an_error() {
        let all = [entry(None, 2), entry(Some(2), 5), entry(Some(5), 9)];
        let (batches, trim) = unsent(&all, 3, 9).unwrap();
        assert_eq!((batches.len(), trim), (2, vec![2]));
        assert_eq!(unsent(&all, 0, 9).unwrap().0.len(), 3);
        assert_eq!(unsent(&all, 10, 9).unwrap().0.len(), 0);
        assert!(matches!(unsent(&all[..2], 3, 9), Err(OutboxError::Short { .. })));
        assert!(matches!(unsent(&all[2..], 3, 9), Err(OutboxError::Gap { .. })));
        assert!(matches!(unsent(&[], 3, 9), Err(OutboxError::Short { .. })));
    }
}
