//! Seats as sets of taken legs (R5, R6).
//!
//! A trip is half-open, `[from, to)`, over stops; leg `i` joins stop `i` and stop `i + 1`. Two views of one truth are kept:
//!
//! ```text
//!             leg 0 1 2 3                     seat 0 1 2 ...
//!   seat 0:       x x . .      taken legs     leg 0: . x x     free seats
//!   seat 1:       . . x .      of a seat      leg 1: . x x     of a leg
//! ```
//!
//! *Free seats of a leg* answers "how many seats fit?" by AND over the trip's legs, 64 seats at a time: a full train says
//! so without a look at any seat. *Taken legs of a seat* answers "how large is the gap?" with two bit scans. Why they can't
//! disagree: [`SeatBlock::take`], [`SeatBlock::release`] and [`SeatBlock::set_mask`] are the only writers, and write both.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Most legs of a route: 128 stops.
pub const LEGS_MAX: usize = 127;

/// A stretch of the route, from one stop to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Trip {
    from: u8,
    to: u8,
}

impl Trip {
    /// The trip between two stops of the route, counted from 0; none if the second isn't after the first.
    pub fn new(from: u8, to: u8) -> Option<Trip> {
        (from < to && usize::from(to) <= LEGS_MAX).then_some(Trip { from, to })
    }

    /// Stop where it begins, counted from 0.
    pub fn from(self) -> usize {
        usize::from(self.from)
    }

    /// Stop where it ends, counted from 0.
    pub fn to(self) -> usize {
        usize::from(self.to)
    }

    /// Its legs.
    pub fn legs(self) -> Range<usize> {
        self.from()..self.to()
    }

    /// Its legs as a set: bit `i` is leg `i`.
    pub fn mask(self) -> u128 {
        (u128::MAX >> (128 - u32::from(self.to))) & (u128::MAX << self.from)
    }
}

/// A set of seats of one block, 64 to a word.
pub(crate) type SeatSet = SmallVec<[u64; 16]>;

/// The seats that one class and quota sells, by their place in the block (R11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeatBlock {
    seats: usize,
    legs: usize,
    /// Taken legs of each seat, `ceil(legs / 8)` bytes each, little end first.
    taken: Box<[u8]>,
    /// Free seats of each leg, `ceil(seats / 64)` words each.
    free: Box<[u64]>,
}

impl SeatBlock {
    /// All seats free on all legs.
    pub(crate) fn new(seats: usize, legs: usize) -> Self {
        let words = seats.div_ceil(64);
        let mut free = vec![u64::MAX; words * legs].into_boxed_slice();
        if !seats.is_multiple_of(64) {
            for leg in 0..legs {
                free[leg * words + words - 1] = (1 << (seats % 64)) - 1;
            }
        }
        SeatBlock {
            seats,
            legs,
            taken: vec![0; seats * legs.div_ceil(8)].into(),
            free,
        }
    }

    /// Number of seats.
    pub(crate) fn seats(&self) -> usize {
        self.seats
    }

    /// The taken legs of a seat.
    pub(crate) fn mask(&self, seat: usize) -> u128 {
        let width = self.width();
        let mut bytes = [0; 16];
        bytes[..width].copy_from_slice(&self.taken[seat * width..][..width]);
        u128::from_le_bytes(bytes)
    }

    /// Replaces the taken legs of a seat.
    pub(crate) fn set_mask(&mut self, seat: usize, mask: u128) {
        let width = self.width();
        self.taken[seat * width..][..width].copy_from_slice(&mask.to_le_bytes()[..width]);
        let (words, bit) = (self.words(), 1 << (seat % 64));
        for leg in 0..self.legs {
            let word = &mut self.free[leg * words + seat / 64];
            *word = if mask >> leg & 1 == 1 {
                *word & !bit
            } else {
                *word | bit
            };
        }
    }

    /// Takes a trip's legs on a seat. False if one of them was taken: nothing changes then, and I1 is in danger.
    pub(crate) fn take(&mut self, seat: usize, trip: Trip) -> bool {
        let mask = self.mask(seat);
        let free = mask & trip.mask() == 0;
        if free {
            self.set_mask(seat, mask | trip.mask());
        }
        free
    }

    /// Gives a trip's legs on a seat back.
    pub(crate) fn release(&mut self, seat: usize, trip: Trip) {
        self.set_mask(seat, self.mask(seat) & !trip.mask());
    }

    /// The seats that fit a trip: none of its legs is taken (R5).
    pub(crate) fn fitting(&self, trip: Trip) -> SeatSet {
        let words = self.words();
        let mut fit = SeatSet::from_slice(&self.free[trip.from() * words..][..words]);
        for leg in trip.from() + 1..trip.to() {
            for (word, free) in fit.iter_mut().zip(&self.free[leg * words..][..words]) {
                *word &= free;
            }
        }
        fit
    }

    /// How many seats fit a trip (R6).
    pub(crate) fn available(&self, trip: Trip) -> usize {
        count(&self.fitting(trip))
    }

    /// How many seats are free on one leg.
    pub(crate) fn free_on_leg(&self, leg: usize) -> usize {
        let words = self.words();
        count(&self.free[leg * words..][..words])
    }

    /// The free legs directly before and after a trip that fits: what best fit keeps small (R7).
    pub(crate) fn gap_around(&self, seat: usize, trip: Trip) -> u32 {
        let mask = self.mask(seat);
        let before = mask & !(u128::MAX << trip.from());
        let left = trip.from() as u32 - (u128::BITS - before.leading_zeros());
        let right = (mask >> trip.to()).trailing_zeros().min((self.legs - trip.to()) as u32);
        left + right
    }

    /// Bytes it takes in memory.
    pub(crate) fn memory(&self) -> usize {
        size_of::<SeatBlock>() + self.taken.len() + size_of_val(&*self.free)
    }

    /// Bytes of a seat's packed legs.
    pub(crate) fn width(&self) -> usize {
        self.legs.div_ceil(8)
    }

    fn words(&self) -> usize {
        self.seats.div_ceil(64)
    }
}

/// Number of seats in a set.
pub(crate) fn count(set: &[u64]) -> usize {
    set.iter().map(|word| word.count_ones() as usize).sum()
}

/// Number of seats of a set that lie in a range.
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

/// Whether a seat is in a set.
pub(crate) fn is_member(set: &[u64], seat: usize) -> bool {
    set[seat / 64] >> (seat % 64) & 1 == 1
}

/// The seats of a set, ascending.
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

/// The seats that are in both sets.
pub(crate) fn both(a: &[u64], b: &[u64]) -> SeatSet {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trip(from: u8, to: u8) -> Trip {
        Trip::new(from, to).unwrap()
    }

    #[test]
    fn a_trip_is_half_open() {
        assert_eq!(trip(1, 3).mask(), 0b110);
        assert_eq!(trip(0, 127).mask(), u128::MAX >> 1);
        assert_eq!(trip(126, 127).mask(), 1 << 126);
        assert_eq!(Trip::new(2, 2), None);
        assert_eq!(Trip::new(0, 128), None);
    }

    #[test]
    fn taking_and_releasing_move_both_views() {
        let mut block = SeatBlock::new(130, 127);
        assert_eq!(block.available(trip(0, 127)), 130);
        assert!(block.take(129, trip(3, 126)));
        assert!(!block.take(129, trip(125, 127)));
        assert_eq!((block.available(trip(0, 3)), block.available(trip(2, 4))), (130, 129));
        assert_eq!(block.free_on_leg(126), 130);
        block.release(129, trip(3, 126));
        assert_eq!(block, SeatBlock::new(130, 127));
    }

    #[test]
    fn the_gap_is_what_lies_free_beside_the_trip() {
        let mut block = SeatBlock::new(1, 10);
        assert_eq!(block.gap_around(0, trip(4, 6)), 8);
        block.take(0, trip(1, 2));
        block.take(0, trip(7, 8));
        assert_eq!(block.gap_around(0, trip(4, 6)), 3);
        assert_eq!(block.gap_around(0, trip(2, 7)), 0);
    }

    #[test]
    fn ranges_are_counted_across_words() {
        let set = [u64::MAX, 0, u64::MAX];
        assert_eq!(count_in(&set, &(60..130)), 6);
        assert_eq!(count_in(&set, &(0..64)), 64);
        assert_eq!(count_in(&set, &(64..64)), 0);
        assert_eq!(members(&[0b101, 1]).collect::<Vec<_>>(), [0, 2, 64]);
    }
}
