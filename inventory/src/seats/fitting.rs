//! Finds the seats that fit a segment, and the one that leaves the smallest gap (R5, R7).
//!
//! A seat's gap is the run of free legs directly before the segment plus that directly after it. The gaps of 64 seats
//! are counted at once, leg by leg outwards, instead of by a look at each seat: a seat counts as long as every leg so
//! far was free.

use super::{SeatBlock, SeatSet, Segment, count};

/// The seats of a block that are free on all legs of a segment.
pub(crate) struct Fitting<'a> {
    pub(crate) block: &'a SeatBlock,
    pub(crate) segment: Segment,
    pub(crate) seats: SeatSet,
}

impl<'a> Fitting<'a> {
    /// Returns the seats that fit a segment.
    pub(crate) fn new(block: &'a SeatBlock, segment: Segment) -> Fitting<'a> {
        let mut seats = SeatSet::from_elem(u64::MAX, block.words().len());
        for (fit, legs) in seats.iter_mut().zip(block.words()) {
            legs[segment.legs()].iter().for_each(|free| *fit &= free);
        }
        Fitting { block, segment, seats }
    }

    /// Returns their number (R6).
    pub(crate) fn count(&self) -> usize {
        count(&self.seats)
    }

    /// Returns the first seat with the smallest gap among some of them.
    pub(crate) fn tightest(&self, set: &[u64]) -> Option<usize> {
        let mut best: Option<(u32, usize)> = None;
        for (word, (&seats, legs)) in set.iter().zip(self.block.words()).enumerate() {
            if seats == 0 {
                continue;
            }
            let (gap, tightest) = self.gaps(seats, legs).smallest(seats);
            if best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, word * 64 + tightest.trailing_zeros() as usize));
            }
            if gap == 0 {
                break;
            }
        }
        best.map(|(_, seat)| seat)
    }

    /// Counts the gaps of some of 64 seats.
    fn gaps(&self, seats: u64, legs: &[u64]) -> Gaps {
        let mut gaps = Gaps::default();
        let mut run = seats;
        for free in legs[..self.segment.from()].iter().rev() {
            run &= free;
            if run == 0 {
                break;
            }
            gaps.count(run);
        }
        run = seats;
        for free in &legs[self.segment.to()..] {
            run &= free;
            if run == 0 {
                break;
            }
            gaps.count(run);
        }
        gaps
    }

    /// Returns the free legs directly before and after the segment on a seat that fits.
    pub(crate) fn gap_around(&self, seat: usize) -> u32 {
        let (mask, segment) = (self.block.mask(seat), self.segment);
        let before = mask & !(u128::MAX << segment.from());
        let left = segment.from() as u32 - (u128::BITS - before.leading_zeros());
        let right = (mask >> segment.to())
            .trailing_zeros()
            .min((self.block.legs() - segment.to()) as u32);
        left + right
    }
}

/// A number for each of 64 seats, in binary: bit `i` of plane `p` is bit `p` of the number of seat `i`. No gap is
/// larger than a route, which has less than 2⁷ legs.
#[derive(Default)]
struct Gaps([u64; 7]);

impl Gaps {
    /// Adds one for some of the seats.
    #[inline]
    fn count(&mut self, seats: u64) {
        let mut carry = seats;
        for plane in &mut self.0 {
            (*plane, carry) = (*plane ^ carry, *plane & carry);
            if carry == 0 {
                return;
            }
        }
    }

    /// Returns the smallest number among some of the seats, and those that have it.
    fn smallest(&self, seats: u64) -> (u32, u64) {
        let planes = self.0.iter().enumerate().rev();
        planes.fold((0, seats), |(number, seats), (bit, plane)| match seats & !plane {
            0 => (number | 1 << bit, seats),
            fewer => (number, fewer),
        })
    }
}

#[cfg(test)]
mod tests {
    use interlock_random::Random;

    use super::*;
    use crate::seats::members;

    fn segment(from: u8, to: u8) -> Segment {
        Segment::new(from, to).unwrap()
    }

    #[test]
    fn the_gap_is_what_lies_free_beside_the_segment() {
        let mut block = SeatBlock::new(1, 10);
        assert_eq!(Fitting::new(&block, segment(4, 6)).gap_around(0), 8);
        block.take(0, segment(1, 2));
        block.take(0, segment(7, 8));
        assert_eq!(Fitting::new(&block, segment(4, 6)).gap_around(0), 3);
        assert_eq!(Fitting::new(&block, segment(2, 7)).gap_around(0), 0);
    }

    #[test]
    fn the_tightest_is_the_first_of_those_with_the_smallest_gap() {
        let mut random = Random::new(1, 0);
        for (seats, legs) in [(1, 1), (5, 3), (70, 9), (130, 20), (90, 127)] {
            let mut block = SeatBlock::new(seats, legs);
            for _ in 0..seats * 3 {
                let from = random.below(legs) as u8;
                let to = from + 1 + random.below((legs - usize::from(from)).min(4)) as u8;
                block.take(random.below(seats), segment(from, to));
                let wanted = random.below(legs) as u8;
                let fitting = Fitting::new(&block, segment(wanted, wanted + 1));
                let by_looking = members(&fitting.seats).min_by_key(|seat| (fitting.gap_around(*seat), *seat));
                assert_eq!(fitting.tightest(&fitting.seats), by_looking);
            }
        }
    }
}
