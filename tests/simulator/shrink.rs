//! Shrinks a failing schedule: leaves out one part after the other as long as it still fails. The search is greedy. A
//! smaller schedule draws other faults while it runs, so it need not fail with the same violation.

use super::run;
use super::schedule::{Rates, Schedule};

/// Largest number of runs.
const RUNS_MAX: usize = 120;

/// Returns the smallest failing schedule found.
pub fn shrink(schedule: &Schedule) -> Schedule {
    let mut smallest = schedule.clone();
    let mut runs = 0;
    let mut again = true;
    while again {
        again = false;
        for candidate in candidates(&smallest) {
            if runs == RUNS_MAX {
                return smallest;
            }
            runs += 1;
            if run(&candidate).is_err() {
                smallest = candidate;
                again = true;
                break;
            }
        }
    }
    smallest
}

/// Returns smaller schedules, the much smaller ones first.
fn candidates(from: &Schedule) -> Vec<Schedule> {
    let mut candidates = Vec::new();
    let mut with = |change: &dyn Fn(&mut Schedule)| {
        let mut smaller = from.clone();
        change(&mut smaller);
        candidates.push(smaller);
    };
    if from.commands > 10 {
        with(&|smaller| smaller.commands /= 2);
    }
    let rates: [fn(&mut Rates) -> &mut u64; 8] = [
        |rates| &mut rates.slow,
        |rates| &mut rates.stall,
        |rates| &mut rates.refused,
        |rates| &mut rates.answer_lost,
        |rates| &mut rates.late,
        |rates| &mut rates.repeated,
        |rates| &mut rates.misplaced,
        |rates| &mut rates.garbage,
    ];
    for rate in rates {
        let mut rates = from.rates;
        if *rate(&mut rates) > 0 {
            with(&|smaller| *rate(&mut smaller.rates) = 0);
        }
    }
    for index in 0..from.actions.len() {
        with(&|smaller| {
            smaller.actions.remove(index);
        });
    }
    if from.grows_to.is_some() {
        with(&|smaller| smaller.grows_to = None);
    }
    if from.partitions > 1 {
        with(&|smaller| smaller.partitions = 1);
    }
    if from.workers > 1 {
        with(&|smaller| smaller.workers -= 1);
    }
    candidates
}
