//! The outputs of one batch as one entry of the outbox.
//!
//! An entry names the applied offset that it follows. So the entries of a ledger form a chain, and a missing entry is
//! noticed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes as Slice;

use crate::ledger::OutboxEntry;
use crate::record::OutputRecord;

/// First byte of an entry.
const VERSION: u8 = 1;
/// No byte of LZ4 stands for more: an entry that claims to is damaged, and no memory is reserved for it.
const LZ4_RATIO_MAX: usize = 255;
const ENDS_EARLY: &str = "it ends early";
/// Length of the head: the version, and the length of the content as a big-endian `u32`.
const HEAD_BYTES: usize = 5;

/// One batch in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Applied offset before the batch; none before the first.
    pub(crate) previous: Option<i64>,
    /// Records that the batch writes to the log, in order.
    pub(crate) outputs: Vec<OutputRecord>,
}

/// The reason why an outbox can't be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error("outbox entry {0} can't be read: {1}")]
    Unreadable(i64, &'static str),
    #[error("the outbox has a gap: an entry follows offset {found:?}, expected {expected}")]
    Gap { found: Option<i64>, expected: i64 },
    #[error("the outbox ends at {found:?}, the applied offset is {applied}")]
    Short { found: Option<i64>, applied: i64 },
}

/// The content of an entry, as postcard writes it. A topic is named once, and a timestamp is the difference to the one
/// before: the store copies every byte of an entry several times.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    previous: Option<i64>,
    #[serde(borrow)]
    topics: Vec<&'a str>,
    #[serde(borrow)]
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Output<'a> {
    /// Index of the topic.
    topic: usize,
    partition: Option<i32>,
    timestamp_delta: Option<i64>,
    #[serde(borrow)]
    key: Option<&'a Slice>,
    #[serde(borrow)]
    value: Option<&'a Slice>,
    #[serde(borrow)]
    headers: Vec<(&'a str, Option<&'a Slice>)>,
}

/// Writes an entry.
pub(crate) fn encode(previous: Option<i64>, outputs: &[OutputRecord]) -> Bytes {
    let mut topics: Vec<&str> = Vec::new();
    let mut time: i64 = 0;
    let output = |output| {
        let OutputRecord {
            topic,
            partition,
            timestamp,
            key,
            value,
            headers,
        }: &OutputRecord = output;
        let known = topics.iter().position(|known| **known == **topic);
        let topic = known.unwrap_or_else(|| {
            topics.push(topic);
            topics.len() - 1
        });
        let timestamp_delta = timestamp.map(|timestamp| timestamp.wrapping_sub(time));
        time = timestamp.unwrap_or(time);
        Output {
            topic,
            partition: *partition,
            timestamp_delta,
            key: key.as_deref().map(Slice::new),
            value: value.as_deref().map(Slice::new),
            headers: headers
                .iter()
                .map(|(name, value)| (&**name, value.as_deref().map(Slice::new)))
                .collect(),
        }
    };
    let written = outputs.iter().map(output).collect();
    let content = Content {
        previous,
        topics,
        outputs: written,
    };
    let size = outputs.iter().map(|output| output.bytes() + 24).sum::<usize>() + 64;
    let content = postcard::to_extend(&content, Vec::with_capacity(size));
    compress(&content.expect("memory is all that it needs"))
}

/// Compresses the content. Events repeat much of one another: to halve them here costs less than the store's only
/// thread spends on the other half.
fn compress(content: &[u8]) -> Bytes {
    let room = lz4_flex::block::get_maximum_output_size(content.len());
    let mut out = BytesMut::zeroed(HEAD_BYTES + room);
    out[0] = VERSION;
    let length = u32::try_from(content.len()).expect("a batch is far smaller than 4 GiB");
    out[1..HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
    let written = lz4_flex::block::compress_into(content, &mut out[HEAD_BYTES..]);
    out.truncate(HEAD_BYTES + written.expect("there is room for the worst case"));
    out.freeze()
}

fn decompress(entry: &[u8]) -> Result<Bytes, &'static str> {
    let (head, block) = entry.split_first_chunk::<HEAD_BYTES>().ok_or(ENDS_EARLY)?;
    let [VERSION, length @ ..] = *head else {
        return Err("it was written by another version");
    };
    let length = u32::from_be_bytes(length) as usize;
    if length > block.len() * LZ4_RATIO_MAX {
        return Err(ENDS_EARLY);
    }
    match lz4_flex::block::decompress(block, length) {
        Ok(content) if content.len() == length => Ok(content.into()),
        _ => Err("it can't be decompressed"),
    }
}

/// Reads an entry.
pub(crate) fn decode(entry: &OutboxEntry) -> Result<Batch, OutboxError> {
    read(&entry.value).map_err(|what| OutboxError::Unreadable(entry.last_offset, what))
}

fn read(entry: &[u8]) -> Result<Batch, &'static str> {
    let bytes = decompress(entry)?;
    let (content, rest) = postcard::take_from_bytes::<Content<'_>>(&bytes).map_err(|_| "it is damaged")?;
    if !rest.is_empty() {
        return Err("bytes are left over");
    }
    let topics: Vec<Arc<str>> = content.topics.into_iter().map(Arc::from).collect();
    let shared = |slice: &Slice| bytes.slice_ref(slice);
    let mut time: i64 = 0;
    let mut outputs = Vec::with_capacity(content.outputs.len());
    for output in content.outputs {
        let timestamp = output.timestamp_delta.map(|delta| time.wrapping_add(delta));
        time = timestamp.unwrap_or(time);
        let header = |(name, value): (&str, Option<&Slice>)| (Arc::from(name), value.map(shared));
        outputs.push(OutputRecord {
            topic: topics.get(output.topic).ok_or("a topic is missing")?.clone(),
            partition: output.partition,
            timestamp,
            key: output.key.map(shared),
            value: output.value.map(shared),
            headers: output.headers.into_iter().map(header).collect(),
        });
    }
    Ok(Batch {
        previous: content.previous,
        outputs,
    })
}

/// Returns the batches of the records from `committed` (C) to `applied` (W), all of them, and the entries below C,
/// which are committed and can be trimmed.
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
        // Before the very first batch there is no applied offset; C was then committed unchanged at the start of the
        // log.
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
    fn no_damaged_byte_makes_it_panic() {
        let whole = entry(Some(1), 2).value;
        for at in 0..whole.len() {
            for damage in [0x01, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] ^= damage;
                // The result may be another batch: the chain and the store's own checks tell it from the right one.
                let _ = decode(&OutboxEntry {
                    last_offset: 2,
                    value: bytes.into(),
                });
            }
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
