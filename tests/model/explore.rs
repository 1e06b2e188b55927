//! Tries everything that a model can do: breadth first, so that what breaks a property is shown by a shortest run.

use std::collections::{HashSet, VecDeque};
use std::fmt::{self, Debug};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A system that takes one step after the other.
pub trait Model {
    /// All there is at one moment.
    type State: Clone + Hash;
    /// What may happen next.
    type Step: Copy + Debug;

    /// Where it begins.
    fn beginning(&self) -> Self::State;

    /// What may happen in a state. The same for the same state.
    fn steps(&self, state: &Self::State) -> Vec<Self::Step>;

    /// The state after a step; none where it changes nothing or can't be taken yet.
    fn after(&self, state: &Self::State, step: Self::Step) -> Option<Self::State>;

    /// What must hold in every state.
    fn check(&self, state: &Self::State) -> Result<(), &'static str>;

    /// What must hold, too, in a state after which nothing can happen.
    fn check_at_rest(&self, state: &Self::State) -> Result<(), &'static str>;
}

/// What a search found.
#[derive(Debug)]
pub struct Explored<S> {
    /// Distinct states.
    pub states: usize,
    /// Steps of the longest run without a detour.
    pub depth: usize,
    /// The first thing that doesn't hold.
    pub violation: Option<Violation<S>>,
}

/// What doesn't hold, and a shortest run to it.
#[derive(Debug)]
pub struct Violation<S> {
    /// What doesn't hold.
    pub what: &'static str,
    /// From the beginning on.
    pub run: Vec<S>,
}

impl<S: Debug> fmt::Display for Violation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after", self.what)?;
        self.run
            .iter()
            .enumerate()
            .try_for_each(|(index, step)| writeln!(f, "{:>4} {step:?}", index + 1))
    }
}

/// A state that was seen: how it was reached. The state itself is kept until it was looked at only.
struct Seen<S> {
    from: usize,
    by: Option<S>,
    depth: usize,
}

/// Searches all states, until something doesn't hold.
///
/// States are told apart by a hash of 64 bits: among a million of them, two that are taken for one are as likely as one
/// in thirty million.
///
/// # Panics
///
/// Where there are more states than `states_max`: the bounds of the model must be such that it is searched completely.
pub fn explore<M: Model>(model: &M, states_max: usize) -> Explored<M::Step> {
    let beginning = model.beginning();
    let mut known: HashSet<u64> = HashSet::from([fingerprint(&beginning)]);
    let mut seen = vec![Seen {
        from: 0,
        by: None,
        depth: 0,
    }];
    let mut next = VecDeque::from([(0, beginning)]);
    let mut depth = 0;
    while let Some((index, state)) = next.pop_front() {
        depth = seen[index].depth;
        let mut is_at_rest = true;
        for step in model.steps(&state) {
            let Some(after) = model.after(&state, step) else {
                continue;
            };
            is_at_rest = false;
            if known.insert(fingerprint(&after)) {
                seen.push(Seen {
                    from: index,
                    by: Some(step),
                    depth: depth + 1,
                });
                next.push_back((seen.len() - 1, after));
            }
        }
        assert!(seen.len() <= states_max, "more than {states_max} states");
        let rest = || {
            if is_at_rest {
                model.check_at_rest(&state)
            } else {
                Ok(())
            }
        };
        if let Err(what) = model.check(&state).and_then(|()| rest()) {
            let violation = Some(Violation {
                what,
                run: run(&seen, index),
            });
            return Explored {
                states: seen.len(),
                depth,
                violation,
            };
        }
    }
    Explored {
        states: seen.len(),
        depth,
        violation: None,
    }
}

fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

fn run<S: Copy>(seen: &[Seen<S>], mut index: usize) -> Vec<S> {
    let mut steps = Vec::new();
    while let Some(step) = seen[index].by {
        steps.push(step);
        index = seen[index].from;
    }
    steps.reverse();
    steps
}
