//! Finds the seats that fit a segment, and the one that leaves the smallest gap (R5, R7).
//!
//! A seat's gap is the run of free legs directly before the segment plus that directly after it. Seats with equal runs
//! on one side form a set, made by AND with the free seats of one leg after another; the smallest gap is then found
//! between the sets of both sides, 64 seats at a time, instead of by a look at each seat.

use smallvec::SmallVec;

use super::{SeatBlock, SeatSet, Segment, both, count, members};

/// The seats of a block that are free on all legs of a segment.
pub(crate) struct Fitting<'a> {
    pub(crate) block: &'a SeatBlock,
    pub(crate) segment: Segment,
    pub(crate) seats: SeatSet,
}

/// Seats with the same number of free legs on one side of the segment.
type Runs = SmallVec<[(usize, SeatSet); 4]>;

impl<'a> Fitting<'a> {
    /// Returns the seats that fit a segment.
    pub(crate) fn new(block: &'a SeatBlock, segment: Segment) -> Fitting<'a> {
        let mut seats = SeatSet::from_slice(block.free_of(segment.from()));
        for leg in segment.from() + 1..segment.to() {
            retain(&mut seats, block.free_of(leg));
        }
        Fitting { block, segment, seats }
    }

    /// Returns their number (R6).
    pub(crate) fn count(&self) -> usize {
        count(&self.seats)
    }

    /// Returns the first seat with the smallest gap among some of them.
    pub(crate) fn tightest(&self, set: &[u64]) -> Option<usize> {
        let before = self.runs(set, (0..self.segment.from()).rev());
        let after = self.runs(set, self.segment.to()..self.block.legs());
        let mut best: Option<(usize, usize)> = None;
        for (left, seats_left) in &before {
            for (right, seats_right) in &after {
                let gap = left + right;
                if best.is_some_and(|(smallest, _)| gap > smallest) {
                    // Runs ascend, so the others on this side leave even larger gaps.
                    break;
                }
                let first = members(&both(seats_left, seats_right)).next();
                best = best.into_iter().chain(first.map(|seat| (gap, seat))).min();
            }
        }
        best.map(|(_, seat)| seat)
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

    /// Groups the seats of a set by the number of these legs that are free before the first taken one. Runs ascend;
    /// none is empty.
    fn runs(&self, set: &[u64], legs: impl ExactSizeIterator<Item = usize>) -> Runs {
        let (mut runs, mut rest, all) = (Runs::new(), SeatSet::from_slice(set), legs.len());
        for (length, leg) in legs.enumerate() {
            let free = self.block.free_of(leg);
            let ends: SeatSet = rest.iter().zip(free).map(|(seats, free)| seats & !free).collect();
            if ends.iter().any(|word| *word != 0) {
                runs.push((length, ends));
                retain(&mut rest, free);
            }
        }
        if rest.iter().any(|word| *word != 0) {
            runs.push((all, rest));
        }
        runs
    }
}

fn retain(seats: &mut [u64], others: &[u64]) {
    seats
        .iter_mut()
        .zip(others)
        .for_each(|(seats, others)| *seats &= others);
}

#[cfg(test)]
mod tests {
    use interlock_random::Random;

    use super::*;

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
