//! Drives fuzz targets on the stable toolchain, as tests: every input of a committed corpus, then mutations of it.
//!
//! A target is a function of bytes that panics if it finds an error. It lies beside the other tests of the code that it
//! attacks; this crate contains the shared parts. The mutations are not guided by coverage, so the corpus
//! (`corpus/TARGET/`) must contain inputs worth mutating: well-formed ones, and each one that ever failed.
//!
//! The run is the same each time, unless these variables are set:
//!
//! | variable | is |
//! | --- | --- |
//! | `INTERLOCK_FUZZ_RUNS` | how many mutations, instead of the target's own number |
//! | `INTERLOCK_FUZZ_SEED` | another seed |
//!
//! An input that fails is written to the system's temporary folder, and its path is printed.

mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use interlock_random::Random;

/// Longest time for one input: one that takes longer could be used to stop a worker. The limit is generous, as machines
/// that build at the same time are slow.
const INPUT_MAX: Duration = Duration::from_secs(10);

/// Largest growth of the process's address space in a whole run, in KiB. Code that trusts a length in its input would
/// exceed it at once.
const GROWTH_MAX_KIB: u64 = 1 << 20;

/// A target, and how it is attacked.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The folder in the corpus.
    pub name: &'a str,
    /// Number of mutations to try.
    pub runs: u64,
    /// Longest mutated input, in bytes.
    pub bytes_max: usize,
    /// Byte strings that mean something to the target; mutations insert them at random.
    pub words: &'a [&'a [u8]],
}

impl Target<'_> {
    /// Tries the corpus, then mutations of it.
    ///
    /// # Panics
    /// If the check panics (the input's path is printed first), if an input takes too long, or if memory grows too
    /// much.
    pub fn run(&self, check: impl Fn(&[u8])) {
        let corpus = self.corpus();
        let before = address_space_kib();
        for (path, input) in &corpus {
            let place = || path.display().to_string();
            attempt(&check, input, place);
        }
        let (runs, seed) = (number("RUNS").unwrap_or(self.runs), number("SEED").unwrap_or(1));
        let mut chance = Random::new(seed, 0);
        for run in 0..runs {
            let mut pick = || chance.pick(&corpus).1.as_slice();
            let (first, second) = (pick(), pick());
            let input = mutate::mutate(first, second, self, &mut chance);
            let place = || format!("{} (seed {seed}, run {run})", self.keep(&input, seed, run).display());
            attempt(&check, &input, place);
        }
        let growth = address_space_kib().saturating_sub(before);
        assert!(
            growth < GROWTH_MAX_KIB,
            "{}: the process grew by {growth} KiB: the code trusts a length in its input",
            self.name
        );
        println!(
            "{}: {} of the corpus, {runs} mutations from seed {seed}",
            self.name,
            corpus.len()
        );
    }

    fn corpus(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
        files.sort();
        let read = |path: PathBuf| {
            let input = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, input)
        };
        let corpus: Vec<_> = files.into_iter().map(read).collect();
        assert!(!corpus.is_empty(), "{} holds no input", folder.display());
        corpus
    }

    /// Writes an input that failed to a file and returns its path.
    fn keep(&self, input: &[u8], seed: u64, run: u64) -> PathBuf {
        let name = format!("interlock-fuzz-{}-{seed}-{run}-{}", self.name, process::id());
        let path = env::temp_dir().join(name);
        // The failure is reported even if the file cannot be written.
        let _ = fs::write(&path, input);
        path
    }
}

fn attempt(check: impl Fn(&[u8]), input: &[u8], place: impl Fn() -> String) {
    let began = Instant::now();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        eprintln!("the input that failed: {}", place());
        resume_unwind(panic);
    }
    let took = began.elapsed();
    assert!(took < INPUT_MAX, "{took:?} for one input: {}", place());
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(format!("INTERLOCK_FUZZ_{name}")).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("INTERLOCK_FUZZ_{name} is not a number: {text}")),
    )
}

/// Returns the largest size that this process's address space ever had. Requested memory counts whether or not it is
/// used. Returns 0 on systems that do not report it.
fn address_space_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "found")]
    fn a_fault_that_a_mutation_shows_is_found() {
        let target = Target {
            name: "key",
            runs: 10_000,
            bytes_max: 100,
            words: &[b"fault"],
        };
        target.run(|input| assert!(!input.windows(5).any(|part| part == b"fault"), "found"));
    }
}
