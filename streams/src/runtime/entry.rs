//! The outputs of one batch as one entry of a ledger's log.
//!
//! An entry states the applied offset that it follows, and the digest of the entry before. So the entries of a ledger
//! form a chain, whose end is in the ledger's state: an entry that is missing, or that another acquisition wrote, is
//! noticed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes as Slice;

use crate::ledger::{Digest, LedgerState, LogEntry, index};
use crate::mutation::{Clause, left_out};
use crate::record::OutputRecord;

/// First byte of an entry.
const VERSION: u8 = 1;
/// No byte of LZ4 stands for more: an entry that claims to is damaged, and no memory is reserved for it.
const LZ4_RATIO_MAX: usize = 255;
const ENDS_EARLY: &str = "it ends early";
/// Length of the head: the version, the length of the content as a big-endian `u32`, the applied offset before the
/// batch as a big-endian `i64`, and the digest of the entry before.
const HEAD_BYTES: usize = 21;
/// Stands for an applied offset or a digest that there is not.
const NO_OFFSET: i64 = -1;
const NO_DIGEST: Digest = [0; 8];

/// An entry of the log, as the holder remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) last_offset: i64,
    pub(crate) digest: Digest,
}

/// The reason why the log of a ledger can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogDamage {
    #[error("log entry {0} can't be read: {1}")]
    Unreadable(i64, &'static str),
    #[error("the log has an entry {0} that is of another history")]
    Other(i64),
    #[error("the log has a gap: entry {at} follows offset {found:?}, not {expected:?}")]
    Gap {
        at: i64,
        found: Option<i64>,
        expected: Option<i64>,
    },
    #[error("the log ends at {found:?}, and the applied offset is {applied:?}")]
    End { found: Option<i64>, applied: Option<i64> },
    #[error("the log was trimmed up to {floor}, and Kafka committed only what is below {committed}")]
    Trimmed { floor: i64, committed: i64 },
}

/// The content of an entry, as postcard writes it. A topic is named once, and a timestamp is the difference to the one
/// before: the store copies every byte of an entry several times.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
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

/// Writes an entry. `from` is the applied offset before the batch, and `before` the digest of the entry before.
pub(crate) fn encode(from: Option<i64>, before: Option<Digest>, outputs: &[OutputRecord]) -> Bytes {
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
        topics,
        outputs: written,
    };
    let size = outputs.iter().map(|output| output.bytes() + 24).sum::<usize>() + 64;
    let content = postcard::to_extend(&content, Vec::with_capacity(size));
    let mut entry = compress(&content.expect("memory is all that it needs"));
    entry[5..13].copy_from_slice(&from.unwrap_or(NO_OFFSET).to_be_bytes());
    entry[13..HEAD_BYTES].copy_from_slice(&before.unwrap_or(NO_DIGEST));
    entry.freeze()
}

/// Writes the entry of a batch that ends at this offset, and returns it with its digest.
pub fn log_entry(
    from: Option<i64>,
    before: Option<Digest>,
    last_offset: i64,
    outputs: &[OutputRecord],
) -> (Bytes, Digest) {
    let entry = encode(from, before, outputs);
    let digest = digest(last_offset, &entry);
    (entry, digest)
}

/// Returns the digest of an entry.
pub(crate) fn digest(last_offset: i64, entry: &[u8]) -> Digest {
    index::digest([&last_offset.to_be_bytes(), entry])
}

/// Compresses the content. Events repeat much of one another: to halve them here costs less than the store's only
/// thread spends on the other half.
fn compress(content: &[u8]) -> BytesMut {
    let room = lz4_flex::block::get_maximum_output_size(content.len());
    let mut out = BytesMut::zeroed(HEAD_BYTES + room);
    out[0] = VERSION;
    let length = u32::try_from(content.len()).expect("a batch is far smaller than 4 GiB");
    out[1..5].copy_from_slice(&length.to_be_bytes());
    let written = lz4_flex::block::compress_into(content, &mut out[HEAD_BYTES..]);
    out.truncate(HEAD_BYTES + written.expect("there is room for the worst case"));
    out
}

/// The head of an entry.
struct EntryHead {
    from: Option<i64>,
    before: Option<Digest>,
    /// Length of the content.
    length: usize,
}

fn split(entry: &[u8]) -> Result<(EntryHead, &[u8]), &'static str> {
    let (head, block) = entry.split_first_chunk::<HEAD_BYTES>().ok_or(ENDS_EARLY)?;
    let [VERSION, l0, l1, l2, l3, rest @ ..] = *head else {
        return Err("it was written by another version");
    };
    let (from, before) = rest.split_first_chunk::<8>().ok_or(ENDS_EARLY)?;
    let from = i64::from_be_bytes(*from);
    let before: Digest = before.try_into().map_err(|_| ENDS_EARLY)?;
    let head = EntryHead {
        from: (from != NO_OFFSET).then_some(from),
        before: (before != NO_DIGEST).then_some(before),
        length: u32::from_be_bytes([l0, l1, l2, l3]) as usize,
    };
    Ok((head, block))
}

fn decompress(entry: &[u8]) -> Result<Bytes, &'static str> {
    let (EntryHead { length, .. }, block) = split(entry)?;
    if length > block.len() * LZ4_RATIO_MAX {
        return Err(ENDS_EARLY);
    }
    match lz4_flex::block::decompress(block, length) {
        Ok(content) if content.len() == length => Ok(content.into()),
        _ => Err("it can't be decompressed"),
    }
}

/// Reads the outputs of an entry.
pub(crate) fn decode(entry: &LogEntry) -> Result<Vec<OutputRecord>, LogDamage> {
    read(&entry.value).map_err(|what| LogDamage::Unreadable(entry.last_offset, what))
}

fn read(entry: &[u8]) -> Result<Vec<OutputRecord>, &'static str> {
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
    Ok(outputs)
}

/// Checks that a log is whole (L2 of docs/LEDGER.md), and that it was not trimmed beyond C. Returns its entries above
/// the floor, in order.
pub(crate) fn check(entries: &[LogEntry], state: &LedgerState, committed: i64) -> Result<Vec<Kept>, LogDamage> {
    if let Some(floor) = state.floor.filter(|floor| *floor > committed - 1) {
        return Err(LogDamage::Trimmed { floor, committed });
    }
    let needed = entries.iter().filter(|entry| state.floor < Some(entry.last_offset));
    let mut kept: Vec<Kept> = Vec::new();
    for entry in needed {
        let last_offset = entry.last_offset;
        let next = Kept {
            last_offset,
            digest: digest(last_offset, &entry.value),
        };
        let reached = kept.last().map_or(state.floor, |last| Some(last.last_offset));
        let (head, _) = split(&entry.value).map_err(|what| LogDamage::Unreadable(last_offset, what))?;
        if head.from != reached && !left_out(Clause::LogWhole) {
            return Err(LogDamage::Gap {
                at: last_offset,
                found: head.from,
                expected: reached,
            });
        }
        let is_other = kept.last().is_some_and(|last| head.before != Some(last.digest));
        if is_other && !left_out(Clause::LogDigest) && !left_out(Clause::LogWhole) {
            return Err(LogDamage::Other(last_offset));
        }
        kept.push(next);
    }
    let last = kept.last();
    let reached = last.map_or(state.floor, |last| Some(last.last_offset));
    if reached != state.applied && !left_out(Clause::LogWhole) {
        return Err(LogDamage::End {
            found: reached,
            applied: state.applied,
        });
    }
    if let Some(last) = last.filter(|last| Some(last.digest) != state.chain)
        && !left_out(Clause::LogDigest)
        && !left_out(Clause::LogWhole)
    {
        return Err(LogDamage::Other(last.last_offset));
    }
    Ok(kept)
}

/// Returns the damage of a ledger's log, if there is any, given C. For an audit.
pub fn log_damage(entries: &[LogEntry], state: &LedgerState, committed: i64) -> Option<String> {
    let damage = check(entries, state, committed).err();
    damage.map(|damage| damage.to_string())
}

/// Returns the outputs of the records from C on, batch by batch. The log is whole.
pub(crate) fn unsent(entries: &[LogEntry], committed: i64) -> Result<Vec<Vec<OutputRecord>>, LogDamage> {
    let mut unsent = Vec::new();
    for entry in entries.iter().filter(|entry| entry.last_offset >= committed) {
        let at = entry.last_offset;
        let (head, _) = split(&entry.value).map_err(|what| LogDamage::Unreadable(at, what))?;
        // Before the very first batch there is no applied offset; C was then committed unchanged at the start of the
        // topic.
        if unsent.is_empty() && head.from.is_some_and(|from| from != committed - 1) {
            return Err(LogDamage::Gap {
                at,
                found: head.from,
                expected: Some(committed - 1),
            });
        }
        unsent.push(decode(entry)?);
    }
    Ok(unsent)
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

    fn entry(from: Option<i64>, before: Option<Digest>, last_offset: i64) -> LogEntry {
        LogEntry {
            last_offset,
            value: encode(from, before, &[output("a", Some("v"))]),
        }
    }

    /// Returns the entries of batches that end at these offsets, and the state after them.
    fn log(offsets: &[i64]) -> (Vec<LogEntry>, LedgerState) {
        let mut state = LedgerState::default();
        let mut entries = Vec::new();
        for offset in offsets {
            let entry = entry(state.applied, state.chain, *offset);
            state.applied = Some(*offset);
            state.chain = Some(digest(*offset, &entry.value));
            entries.push(entry);
        }
        (entries, state)
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
        let entry = LogEntry {
            last_offset: 9,
            value: encode(Some(4), Some([3; 8]), &outputs),
        };
        assert_eq!(decode(&entry), Ok(outputs));
    }

    #[test]
    fn a_cut_entry_is_an_error_at_every_length() {
        let whole = entry(Some(1), Some([1; 8]), 2).value;
        for length in 0..whole.len() {
            assert!(
                decode(&LogEntry {
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
        let whole = entry(Some(1), Some([1; 8]), 2).value;
        for at in 0..whole.len() {
            for damage in [0x01, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] ^= damage;
                // The result may be another batch: the chain and the store's own checks tell it from the right one.
                let _ = decode(&LogEntry {
                    last_offset: 2,
                    value: bytes.into(),
                });
            }
        }
    }

    #[test]
    fn a_whole_log_leads_from_the_floor_to_the_end() {
        let (entries, state) = log(&[2, 5, 9]);
        let offsets = |kept: Vec<Kept>| kept.iter().map(|kept| kept.last_offset).collect::<Vec<_>>();
        assert_eq!(check(&entries, &state, 0).map(offsets), Ok(vec![2, 5, 9]));
        let trimmed = LedgerState {
            floor: Some(2),
            ..state.clone()
        };
        assert_eq!(check(&entries[1..], &trimmed, 3).map(offsets), Ok(vec![5, 9]));
        // An entry that was trimmed already came back.
        assert_eq!(check(&entries, &trimmed, 3).map(offsets), Ok(vec![5, 9]));
        assert_eq!(
            check(&entries[1..], &trimmed, 2),
            Err(LogDamage::Trimmed { floor: 2, committed: 2 })
        );
        let all_trimmed = LedgerState {
            floor: Some(9),
            ..state.clone()
        };
        assert_eq!(check(&[], &all_trimmed, 10), Ok(Vec::new()));
        assert_eq!(check(&[], &LedgerState::default(), 0), Ok(Vec::new()));
        assert!(matches!(
            check(&entries, &LedgerState::default(), 0),
            Err(LogDamage::End { .. })
        ));

        assert!(matches!(check(&[], &state, 0), Err(LogDamage::End { .. })));
        assert!(matches!(check(&entries[..2], &state, 0), Err(LogDamage::End { .. })));
        assert!(matches!(
            check(&entries[1..], &state, 0),
            Err(LogDamage::Gap { at: 5, .. })
        ));
        let hole = [entries[0].clone(), entries[2].clone()];
        assert!(matches!(check(&hole, &state, 0), Err(LogDamage::Gap { at: 9, .. })));
        let beyond = LedgerState {
            applied: Some(5),
            ..state
        };
        assert!(matches!(check(&entries, &beyond, 0), Err(LogDamage::End { .. })));
    }

    #[test]
    fn an_entry_of_another_history_is_noticed() {
        let (entries, state) = log(&[2, 5, 9]);
        for at in 0..3_usize {
            let mut others = entries.clone();
            let from = (at > 0).then(|| entries[at - 1].last_offset);
            let before = split(&entries[at].value).unwrap().0.before;
            others[at].value = encode(from, before, &[output("a", Some("other"))]);
            let noticed = entries[(at + 1).min(2)].last_offset;
            assert_eq!(check(&others, &state, 0), Err(LogDamage::Other(noticed)), "{at}");
        }
    }

    #[test]
    fn outputs_from_c_on() {
        let (entries, _) = log(&[2, 5, 9]);
        assert_eq!(unsent(&entries, 3).unwrap().len(), 2);
        assert_eq!(unsent(&entries, 0).unwrap().len(), 3);
        assert_eq!(unsent(&entries, 10).unwrap().len(), 0);
        assert!(matches!(unsent(&entries, 4), Err(LogDamage::Gap { .. })));
        // The topic began later.
        assert_eq!(unsent(&entries, 1).unwrap().len(), 3);
    }
}
