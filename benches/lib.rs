//! Benchmarks of the hot parts; see `benches/`.
