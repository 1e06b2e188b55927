//! Draws the simulator's and the chaos test's choices from seeded numbers: a seed that showed a fault keeps showing it.

use interlock_random::GOLDEN;

/// A stream of choices. Seeds that are on record mean these streams and these draws.
#[derive(Clone, Debug)]
pub(crate) struct Random(interlock_random::Random);

impl Random {
    /// Returns a stream of a seed; each stream of the same seed is a sequence of its own.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(interlock_random::Random::from_state(seed ^ stream.wrapping_mul(GOLDEN)));
        // Neighbouring seeds begin alike otherwise.
        random.next();
        random
    }

    /// Returns the next number.
    #[allow(clippy::should_implement_trait, reason = "the sequence has no end")]
    pub(crate) fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// Returns a number from 0 to `end` − 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Returns a number from `from` to `to`, both included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// Returns true this many times in ten thousand.
    pub(crate) fn chance(&mut self, in_ten_thousand: u64) -> bool {
        self.below(10_000) < in_ten_thousand
    }

    /// Returns one of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
