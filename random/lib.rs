//! Provides seeded random numbers that never change. A seed has to give the same load, schedule or fuzz input with
//! every version of every dependency. The generator, SplitMix64, is therefore written out here (Steele, Lea and Flood,
//! "Fast Splittable Pseudorandom Number Generators", 2014).

/// The step between two states: 2⁶⁴ divided by the golden ratio.
pub const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Scatters neighbouring numbers; this is SplitMix64's finaliser, a bijection.
pub fn scatter(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns the stream with this number of a seed. Streams are independent, so the n-th booking is drawn without its
    /// predecessors.
    pub fn new(seed: u64, stream: u64) -> Random {
        Random(scatter(
            scatter(seed.wrapping_add(GOLDEN)) ^ stream.wrapping_mul(GOLDEN),
        ))
    }

    /// Continues from a state of the generator.
    pub fn from_state(state: u64) -> Random {
        Random(state)
    }

    /// Returns the next number.
    #[allow(clippy::should_implement_trait, reason = "the sequence has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        scatter(self.0)
    }

    /// Returns a number between 0, included, and 1, excluded.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns true with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns a number below `n`; 0 if `n` is 0. (No test could see the bias of at most n/2⁶⁴.)
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Returns one of several items.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Returns an index, drawn by weights. `running_sums` are the sums of the weights, so the last is their total;
    /// without any, the index is 0.
    pub fn weighted(&mut self, running_sums: &[f64]) -> usize {
        let total = running_sums.last().copied().unwrap_or(0.0);
        let point = self.unit() * total;
        let index = running_sums.partition_point(|sum| *sum <= point);
        index.min(running_sums.len().saturating_sub(1))
    }
}

/// Returns the running sums of weights, for [`Random::weighted`].
pub fn running_sums(weights: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let add = |sum: &mut f64, weight: f64| {
        *sum += weight;
        Some(*sum)
    };
    weights.into_iter().scan(0.0, add).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_never_changes() {
        assert_eq!(
            scatter(GOLDEN),
            0xE220_A839_7B1D_CDAF,
            "the reference's first number for seed 0"
        );
        let mut random = Random::new(42, 7);
        let first = [random.next(), random.next()];
        assert_eq!(
            first,
            [483_231_565_967_908_813, 16_482_985_722_323_447_685],
            "else old seeds mean other loads"
        );
    }

    #[test]
    fn draws_stay_in_range() {
        let mut random = Random::new(1, 1);
        for _ in 0..10_000 {
            assert!(random.below(3) < 3);
            assert!((0.0..1.0).contains(&random.unit()));
        }
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn weights_are_followed_and_zero_is_never_drawn() {
        let sums = running_sums([1.0, 0.0, 3.0]);
        let mut random = Random::new(5, 0);
        let mut drawn = [0; 3];
        for _ in 0..10_000 {
            drawn[random.weighted(&sums)] += 1;
        }
        assert_eq!(drawn[1], 0);
        assert!((2_300..2_700).contains(&drawn[0]), "{drawn:?}");
    }
}
