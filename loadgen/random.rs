//! Randomness that never changes: a seed must give the same bytes with every version of every dependency, so the
//! generator (SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014) is written out
//! here.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser: a bijection that scatters neighbouring numbers.
pub(crate) fn scatter(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Stream number `stream` of a seed. Streams are independent, so the n-th booking is drawn without its
    /// predecessors.
    pub(crate) fn new(seed: u64, stream: u64) -> Random {
        Random(scatter(
            scatter(seed.wrapping_add(GOLDEN)) ^ stream.wrapping_mul(GOLDEN),
        ))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        scatter(self.0)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform in 0..n; 0 if n is 0. (The bias of at most n/2⁶⁴ is far below what any test could see.)
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// One of several; the slice must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// An index, drawn by weights of which the running sums are given (the last is their total); 0 if there are none.
    pub(crate) fn weighted(&mut self, running_sums: &[f64]) -> usize {
        let total = running_sums.last().copied().unwrap_or(0.0);
        let point = self.unit() * total;
        let index = running_sums.partition_point(|sum| *sum <= point);
        index.min(running_sums.len().saturating_sub(1))
    }
}

/// Running sums of weights, for [`Random::weighted`].
pub(crate) fn running_sums(weights: impl IntoIterator<Item = f64>) -> Vec<f64> {
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
