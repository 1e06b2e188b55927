//! Seats as sets of taken legs (R5, R6).
//!
//! A segment is half-open, `[from, to)`, over stops; leg `i` joins stop `i` and stop `i + 1`. There are two views of
//! one truth:
//!
//! ```text
//!             leg 0 1 2 3                     seat 0 1 2 ...
//!   seat 0:       x x . .      taken legs     leg 0: . x x     free seats
//!   seat 1:       . . x .      of a seat      leg 1: . x x     of a leg
//! ```
//!
//! *Free seats of a leg* answers "how many seats fit?" by AND over the segment's legs, 64 seats at a time: a full train
//! says so without a look at any seat. The words of the same 64 seats lie side by side, so that all that concerns one
//! seat is in one place. *Taken legs of a seat* answers "how large is the gap?" with two bit scans. Why they can't
//! disagree: [`SeatBlock::take`], [`SeatBlock::release`] and [`SeatBlock::set_mask`] are the only writers, and write
//! both.

mod fitting;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub(crate) use fitting::Fitting;

/// Bytes of the largest set of legs.
const MASK_BYTES: usize = 16;

/// Most legs of a route: 128 stops.
pub const LEGS_MAX: usize = 127;

/// A stretch of the route, from one stop to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Segment {
    from: u8,
    to: u8,
}

impl Segment {
    /// Creates the segment between two stops, counted from 0; `None` if the second is not after the first.
    pub fn new(from: u8, to: u8) -> Option<Segment> {
        (from < to && usize::from(to) <= LEGS_MAX).then_some(Segment { from, to })
    }

    /// Returns the first stop, counted from 0.
    pub fn from(self) -> usize {
        usize::from(self.from)
    }

    /// Returns the last stop, counted from 0.
    pub fn to(self) -> usize {
        usize::from(self.to)
    }

    /// Returns the legs.
    pub fn legs(self) -> Range<usize> {
        self.from()..self.to()
    }

    /// Returns the legs as a set: bit `i` is leg `i`.
    pub fn mask(self) -> u128 {
        (u128::MAX >> (128 - u32::from(self.to))) & (u128::MAX << self.from)
    }
}

/// A set of seats of one block, 64 to a word.
pub(crate) type SeatSet = SmallVec<[u64; 16]>;

/// The seats of one class and quota, by their index in the block (R11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeatBlock {
    seats: usize,
    legs: usize,
    /// Taken legs of each seat, `ceil(legs / 8)` bytes each, little-endian; then padding, so that 16 bytes can be read
    /// from any seat on.
    taken: Box<[u8]>,
    /// For each 64 seats, the free ones of each leg.
    free: Box<[u64]>,
}

impl SeatBlock {
    /// Creates a block in which all seats are free on all legs.
    pub(crate) fn new(seats: usize, legs: usize) -> Self {
        let mut free = vec![u64::MAX; seats.div_ceil(64) * legs].into_boxed_slice();
        if !seats.is_multiple_of(64) {
            free[seats / 64 * legs..].fill((1 << (seats % 64)) - 1);
        }
        SeatBlock {
            seats,
            legs,
            taken: vec![0; seats * legs.div_ceil(8) + MASK_BYTES].into(),
            free,
        }
    }

    /// Number of seats.
    pub(crate) fn seats(&self) -> usize {
        self.seats
    }

    /// Returns the taken legs of a seat.
    pub(crate) fn mask(&self, seat: usize) -> u128 {
        let width = self.width();
        let mut bytes = [0; MASK_BYTES];
        bytes.copy_from_slice(&self.taken[seat * width..][..MASK_BYTES]);
        u128::from_le_bytes(bytes) & (u128::MAX >> (8 * (MASK_BYTES - width)))
    }

    /// Returns the taken legs of neighbouring seats, as they are in memory.
    pub(crate) fn packed(&self, seats: Range<usize>) -> &[u8] {
        let width = self.width();
        &self.taken[seats.start * width..seats.end * width]
    }

    /// Replaces the taken legs of a seat.
    pub(crate) fn set_mask(&mut self, seat: usize, mask: u128) {
        self.set_taken(seat, mask);
        let bit = 1 << (seat % 64);
        for (leg, word) in self.free[seat / 64 * self.legs..][..self.legs].iter_mut().enumerate() {
            *word = if mask >> leg & 1 == 1 {
                *word & !bit
            } else {
                *word | bit
            };
        }
    }

    fn set_taken(&mut self, seat: usize, mask: u128) {
        let width = self.width();
        self.taken[seat * width..][..width].copy_from_slice(&mask.to_le_bytes()[..width]);
    }

    /// Returns the words that show whether a seat is free, one per leg of a segment.
    fn free_words(&mut self, seat: usize, segment: Segment) -> &mut [u64] {
        &mut self.free[seat / 64 * self.legs..][segment.legs()]
    }

    /// Takes a segment's legs on a seat. Returns false, and changes nothing, if one of them was taken; I1 is then in
    /// danger.
    pub(crate) fn take(&mut self, seat: usize, segment: Segment) -> bool {
        let mask = self.mask(seat);
        let free = mask & segment.mask() == 0;
        if free {
            self.set_taken(seat, mask | segment.mask());
            let words = self.free_words(seat, segment);
            words.iter_mut().for_each(|word| *word &= !(1 << (seat % 64)));
        }
        free
    }

    /// Releases a segment's legs on a seat.
    pub(crate) fn release(&mut self, seat: usize, segment: Segment) {
        self.set_taken(seat, self.mask(seat) & !segment.mask());
        let words = self.free_words(seat, segment);
        words.iter_mut().for_each(|word| *word |= 1 << (seat % 64));
    }

    /// Returns the number of seats that fit a segment (R6).
    pub(crate) fn available(&self, segment: Segment) -> usize {
        Fitting::new(self, segment).count()
    }

    /// Returns the number of seats that are free on one leg.
    pub(crate) fn free_on_leg(&self, leg: usize) -> usize {
        self.free
            .iter()
            .skip(leg)
            .step_by(self.legs)
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Iterates over the seats, 64 at a time: the free ones of each leg.
    fn words(&self) -> std::slice::ChunksExact<'_, u64> {
        self.free.chunks_exact(self.legs)
    }

    /// Number of legs.
    pub(crate) fn legs(&self) -> usize {
        self.legs
    }

    /// Returns the size in memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        size_of::<SeatBlock>() + self.taken.len() + size_of_val(&*self.free)
    }

    /// Returns the number of bytes of a seat's packed legs.
    pub(crate) fn width(&self) -> usize {
        self.legs.div_ceil(8)
    }
}

/// Returns the number of seats in a set.
pub(crate) fn count(set: &[u64]) -> usize {
    set.iter().map(|word| word.count_ones() as usize).sum()
}

/// Returns the number of seats of a set within a range.
pub(crate) fn count_in(set: &[u64], range: &Range<usize>) -> usize {
    let mut counted = 0;
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min((start / 64 + 1) * 64);
        let bits = (u64::MAX >> (64 - (end - start))) << (start % 64);
        counted += (set[start / 64] & bits).count_ones() as usize;
        start = end;
    }
    counted
}

/// Returns the number of seats in each byte of a word of a set.
pub(crate) fn count_in_bytes(word: u64) -> [u8; 8] {
    let in_pairs = word - (word >> 1 & 0x5555_5555_5555_5555);
    let in_fours = (in_pairs & 0x3333_3333_3333_3333) + (in_pairs >> 2 & 0x3333_3333_3333_3333);
    let in_bytes = (in_fours + (in_fours >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    in_bytes.to_le_bytes()
}

/// Returns whether a seat is in a set.
pub(crate) fn is_member(set: &[u64], seat: usize) -> bool {
    set[seat / 64] >> (seat % 64) & 1 == 1
}

/// Iterates over the seats of a set, ascending.
pub(crate) fn members(set: &[u64]) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(index, &word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(index * 64 + bit)
        })
    })
}

/// Returns the seats that are in both sets.
pub(crate) fn both(a: &[u64], b: &[u64]) -> SeatSet {
    let mut both = SeatSet::from_slice(a);
    both.iter_mut().zip(b).for_each(|(a, b)| *a &= b);
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: u8, to: u8) -> Segment {
        Segment::new(from, to).unwrap()
    }

    #[test]
    fn a_segment_is_half_open() {
        assert_eq!(segment(1, 3).mask(), 0b110);
        assert_eq!(segment(0, 127).mask(), u128::MAX >> 1);
        assert_eq!(segment(126, 127).mask(), 1 << 126);
        assert_eq!(Segment::new(2, 2), None);
        assert_eq!(Segment::new(0, 128), None);
    }

    #[test]
    fn taking_and_releasing_move_both_views() {
        let mut block = SeatBlock::new(130, 127);
        assert_eq!(block.available(segment(0, 127)), 130);
        assert!(block.take(129, segment(3, 126)));
        assert!(!block.take(129, segment(125, 127)));
        assert_eq!(
            (block.available(segment(0, 3)), block.available(segment(2, 4))),
            (130, 129)
        );
        assert_eq!(block.free_on_leg(126), 130);
        block.release(129, segment(3, 126));
        assert_eq!(block, SeatBlock::new(130, 127));
    }

    #[test]
    fn ranges_are_counted_across_words() {
        let set = [u64::MAX, 0, u64::MAX];
        assert_eq!(count_in(&set, &(60..130)), 6);
        assert_eq!(count_in(&set, &(0..64)), 64);
        assert_eq!(count_in(&set, &(64..64)), 0);
        for word in [0, u64::MAX, 0x8000_0000_0001_7f03] {
            let counts = count_in_bytes(word).map(usize::from);
            assert_eq!(counts, std::array::from_fn(|i| count_in(&[word], &(i * 8..i * 8 + 8))));
        }
        assert_eq!(members(&[0b101, 1]).collect::<Vec<_>>(), [0, 2, 64]);
    }
}
