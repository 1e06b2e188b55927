//! Makes one input of two, with a few small changes of the kinds that break parsers.

use interlock_random::Random;

use super::Target;

/// Largest number of changes to one input.
const DAMAGES_MAX: usize = 8;

/// Bytes at the limits of numbers, lengths and texts.
const EDGES: &[u8] = &[
    0x00, 0x01, 0x02, 0x7f, 0x80, 0xff, 0xfe, b'0', b'9', b'-', b',', b'"', b'\n', b'|',
];

/// Avro's numbers at the limits: −1, and both ends of 64 bits and of 32.
const NUMBERS: &[&[u8]] = &[
    &[0x01],
    &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
];

pub(super) fn mutate(input: &[u8], other: &[u8], target: &Target<'_>, chance: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=chance.below(DAMAGES_MAX) {
        damage(&mut bytes, other, target.words, chance);
    }
    bytes.truncate(target.bytes_max);
    bytes
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]], chance: &mut Random) {
    let at = chance.below(bytes.len() + 1);
    let range = {
        let end = at + chance.below(bytes.len().min(at + 64) - at + 1);
        at..end
    };
    match chance.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 if at < bytes.len() => bytes[at] = *chance.pick(EDGES),
        2 => drop(bytes.splice(at..at, [chance.next() as u8])),
        3 => drop(bytes.drain(range)),
        4 => {
            let copy = bytes[range].to_vec();
            bytes.splice(at..at, copy);
        }
        5 => put(bytes, at, NUMBERS, chance),
        6 => put(bytes, at, words, chance),
        _ => {
            // The start of one input is joined to the end of the other.
            let from = chance.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, pieces: &[&[u8]], chance: &mut Random) {
    if !pieces.is_empty() {
        let piece = *chance.pick(pieces);
        let replaced = if chance.chance(0.5) { piece.len() } else { 0 };
        let end = bytes.len().min(at + replaced);
        bytes.splice(at..end, piece.iter().copied());
    }
}
