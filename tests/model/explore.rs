//! Searches everything that a model can do, breadth first, so that a violation is shown by a shortest run.

use std::collections::{HashSet, VecDeque};
use std::fmt::{self, Debug};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A model of a system that takes one step after the other.
pub trait Model {
    /// The complete state at one moment.
    type State: Clone + Hash;
    /// A step that may happen next.
    type Step: Copy + Debug;

    /// Returns the initial state.
    fn beginning(&self) -> Self::State;

    /// Returns the steps that may happen in a state. Equal states have the same steps.
    fn steps(&self, state: &Self::State) -> Vec<Self::Step>;

    /// Returns the state after a step, or `None` if the step changes nothing or can't be taken yet.
    fn after(&self, state: &Self::State, step: Self::Step) -> Option<Self::State>;

    /// Checks the properties of every state.
    fn check(&self, state: &Self::State) -> Result<(), &'static str>;

    /// Checks the further properties of a state after which nothing can happen.
    fn check_at_rest(&self, state: &Self::State) -> Result<(), &'static str>;
}

/// The result of a search.
#[derive(Debug)]
pub struct Explored<S> {
    /// Number of distinct states.
    pub states: usize,
    /// Number of steps of the longest run without a detour.
    pub depth: usize,
    /// The first violation.
    pub violation: Option<Violation<S>>,
}

/// A violation, and a shortest run to it.
#[derive(Debug)]
pub struct Violation<S> {
    /// The violated property.
    pub what: &'static str,
    /// The steps from the initial state on.
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

/// How a state was reached. The state itself is kept only until its steps have been explored.
struct Seen<S> {
    from: usize,
    by: Option<S>,
    depth: usize,
}

/// Searches all states, until a property is violated.
///
/// States are distinguished by a hash of 64 bits. Among a million states, the probability that two are mistaken for one
/// is one in thirty million.
///
/// # Panics
///
/// If there are more states than `states_max`: the bounds of the model must permit a complete search.
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
