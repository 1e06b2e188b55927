//! Computes the partition of a key by murmur2, as Java's default partitioner does.
//!
//! All clients that write keyed records must agree on this, or the records of one key end up in two partitions.
//! librdkafka agrees only with `partitioner=murmur2_random`; its default is CRC32.

/// Kafka's seed, in `org.apache.kafka.common.utils.Utils.murmur2`.
const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// Returns the partition of a record with this key, given the number of partitions.
///
/// # Panics
/// If `partitions` is not positive.
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    partition_for_hash(murmur2(key), partitions)
}

/// Returns the partition of a record whose key has this [`murmur2`] hash.
pub(crate) fn partition_for_hash(hash: u32, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has at least one partition, not {partitions}");
    (hash & 0x7fff_ffff).cast_signed() % partitions
}

/// Computes the 32-bit murmur2 hash with Kafka's seed.
pub fn murmur2(data: &[u8]) -> u32 {
    // Java's arithmetic is on 32-bit integers, lengths included.
    let mut hash = SEED ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_as_java_does() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn partitions_are_within_range_and_stable() {
        assert_eq!(partition_for_key(b"abc", 8), 479_470_107 % 8);
        for partitions in 1..20 {
            for number in 0..200 {
                let partition = partition_for_key(format!("{number}|2026-12-01").as_bytes(), partitions);
                assert!((0..partitions).contains(&partition));
            }
        }
    }

    #[test]
    fn the_sign_is_masked_as_java_does() {
        // -973932308 & 0x7fffffff = 1173551340
        assert_eq!(partition_for_key(b"21", 1000), 340);
    }
}
