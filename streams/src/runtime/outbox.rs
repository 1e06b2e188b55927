//! One batch's outputs as the single value that the outbox keeps for it.
//!
//! An entry states the watermark that it follows, so that the entries of a ledger form a chain: whether all outputs of
//! the records from C to W are there can be checked, not only hoped.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ledger::OutboxEntry;
use crate::record::OutputRecord;

const VERSION: u8 = 1;
const NONE: u32 = u32::MAX;

/// A batch as it is kept in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Watermark before the batch; none before the first.
    pub(crate) previous: Option<i64>,
    /// What the batch writes to the log, in order.
    pub(crate) outputs: Vec<OutputRecord>,
}

/// Why an outbox can't be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error("outbox entry {0} can't be read: {1}")]
    Unreadable(i64, &'static str),
    #[error("the outbox has a gap: an entry follows watermark {found:?}, expected {expected}")]
    Gap { found: Option<i64>, expected: i64 },
    #[error("the outbox ends at {found:?}, the watermark is {watermark}")]
    Short { found: Option<i64>, watermark: i64 },
}

pub(crate) fn encode(previous: Option<i64>, outputs: &[OutputRecord]) -> Bytes {
    let size: usize = outputs
        .iter()
        .map(|o| 64 + o.value.as_ref().map_or(0, Bytes::len))
        .sum();
    let mut out = BytesMut::with_capacity(size);
    out.put_u8(VERSION);
    out.put_i64(previous.unwrap_or(-1));
    out.put_u32(outputs.len() as u32);
    let mut last_topic: Option<&Arc<str>> = None;
    for output in outputs {
        // Most neighbours share a topic: an empty name stands for the one before.
        let same = last_topic.is_some_and(|topic| topic == &output.topic);
        put_bytes(&mut out, Some(if same { b"" } else { output.topic.as_bytes() }));
        last_topic = Some(&output.topic);
        out.put_i32(output.partition.unwrap_or(-1));
        out.put_i64(output.timestamp.unwrap_or(-1));
        put_bytes(&mut out, output.key.as_deref());
        put_bytes(&mut out, output.value.as_deref());
        out.put_u32(output.headers.len() as u32);
        for (name, value) in &output.headers {
            put_bytes(&mut out, Some(name.as_bytes()));
            put_bytes(&mut out, Some(value));
        }
    }
    out.freeze()
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => out.put_u32(NONE),
        Some(bytes) => {
            out.put_u32(bytes.len() as u32);
            out.put_slice(bytes);
        }
    }
}

pub(crate) fn decode(entry: &OutboxEntry) -> Result<Batch, OutboxError> {
    read(entry.value.clone()).map_err(|what| OutboxError::Unreadable(entry.last_offset, what))
}

fn read(mut bytes: Bytes) -> Result<Batch, &'static str> {
    if bytes.try_get_u8().map_err(|_| "it is empty")? != VERSION {
        return Err("it was written by another version");
    }
    let previous = bytes.try_get_i64().map_err(|_| "it ends early")?;
    let count = bytes.try_get_u32().map_err(|_| "it ends early")?;
    let mut outputs: Vec<OutputRecord> = Vec::new();
    for _ in 0..count {
        let topic = get_text(&mut bytes)?.ok_or("a topic is missing")?;
        let topic = match outputs.last() {
            Some(last) if topic.is_empty() => last.topic.clone(),
            _ => topic,
        };
        let partition = bytes.try_get_i32().map_err(|_| "it ends early")?;
        let timestamp = bytes.try_get_i64().map_err(|_| "it ends early")?;
        let key = get_bytes(&mut bytes)?;
        let value = get_bytes(&mut bytes)?;
        let mut headers = Vec::new();
        for _ in 0..bytes.try_get_u32().map_err(|_| "it ends early")? {
            let name = get_text(&mut bytes)?.ok_or("a header's name is missing")?;
            headers.push((name, get_bytes(&mut bytes)?.unwrap_or_default()));
        }
        outputs.push(OutputRecord {
            topic,
            partition: (partition >= 0).then_some(partition),
            timestamp: (timestamp >= 0).then_some(timestamp),
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
    let length = bytes.try_get_u32().map_err(|_| "it ends early")?;
    if length == NONE {
        return Ok(None);
    }
    let length = length as usize;
    if bytes.remaining() < length {
        return Err("it ends early");
    }
    Ok(Some(bytes.split_to(length)))
}

fn get_text(bytes: &mut Bytes) -> Result<Option<Arc<str>>, &'static str> {
    let Some(bytes) = get_bytes(bytes)? else {
        return Ok(None);
    };
    std::str::from_utf8(&bytes)
        .map(|text| Some(Arc::from(text)))
        .map_err(|_| "a name is not UTF-8")
}

/// The batches of the records from `committed` (C) to `watermark` (W): all of them, or an error. Entries below C were
/// committed already and are named for trimming.
pub(crate) fn unsent(
    entries: &[OutboxEntry],
    committed: i64,
    watermark: i64,
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
        // Before the very first batch there is no watermark; C was then committed unchanged at the start of the log.
        if batch.previous.unwrap_or(reached) != reached {
            return Err(OutboxError::Gap {
                found: batch.previous,
                expected: reached,
            });
        }
        reached = entry.last_offset;
        batches.push(batch);
    }
    if reached != watermark {
        return Err(OutboxError::Short {
            found: (!batches.is_empty()).then_some(reached),
            watermark,
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
            headers: vec![(Arc::from("why"), Bytes::from_static(b"\xff"))],
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
        let outputs = vec![output("a", Some("")), output("a", None), output("b", Some("x"))];
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
