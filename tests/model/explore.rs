//! Searches everything that a model can do, breadth first, so that a violation is shown by a shortest run.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Debug};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::Instant;

/// A model of a system that takes one step after the other.
pub trait Model {
    /// The complete state at one moment.
    type State: Clone + Hash;
    /// A step that may happen next.
    type Step: Copy + Debug;

    /// Returns the initial state.
    fn beginning(&self) -> Self::State;

    /// Returns the steps that may happen in a state, at most 256. Equal states have the same steps.
    fn steps(&self, state: &Self::State) -> Vec<Self::Step>;

    /// Returns the state after a step, or `None` if the step changes nothing or can't be taken yet.
    fn after(&self, state: &Self::State, step: Self::Step) -> Option<Self::State>;

    /// Checks the properties of every state.
    fn check(&self, state: &Self::State) -> Result<(), &'static str>;

    /// Checks the further properties of a state after which nothing can happen.
    fn check_at_rest(&self, state: &Self::State) -> Result<(), &'static str>;

    /// Returns whether nothing is left to do. From every state, steps that are no faults must lead to such a state.
    /// `None`: the model has no such states.
    fn is_complete(&self, _state: &Self::State) -> Option<bool> {
        None
    }

    /// Returns whether a step is a fault, which may never happen.
    fn is_fault(&self, _step: Self::Step) -> bool {
        false
    }
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

/// The step by which a state was reached. The state itself is kept only until its steps have been explored.
#[derive(Clone, Copy)]
struct Reached {
    /// Number of the state before.
    from: u32,
    /// Index of the step among the steps of that state.
    by: u8,
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
    let has_completion = model.is_complete(&beginning).is_some();
    let mut numbers: HashMap<u64, u32, BuildHasherDefault<Unhashed>> = HashMap::default();
    numbers.insert(fingerprint(&beginning), 0);
    let mut reached = vec![Reached { from: 0, by: 0 }];
    let mut next = VecDeque::from([beginning]);
    let mut completion = Completion::default();
    let mut violation = None;
    let mut index = 0;
    while let Some(state) = next.pop_front() {
        let mut is_at_rest = true;
        for (by, step) in model.steps(&state).into_iter().enumerate() {
            let Some(after) = model.after(&state, step) else {
                continue;
            };
            is_at_rest = false;
            let new = reached.len() as u32;
            let number = match numbers.entry(fingerprint(&after)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(entry) => {
                    entry.insert(new);
                    reached.push(Reached {
                        from: index,
                        by: by as u8,
                    });
                    next.push_back(after);
                    new
                }
            };
            if has_completion && !model.is_fault(step) {
                completion.lead_to(number);
            }
        }
        assert!(reached.len() <= states_max, "more than {states_max} states");
        completion.end_state(model.is_complete(&state) == Some(true));
        let rest = || {
            if is_at_rest {
                model.check_at_rest(&state)
            } else {
                Ok(())
            }
        };
        if let Err(what) = model.check(&state).and_then(|()| rest()) {
            violation = Some((index, what));
            break;
        }
        index += 1;
    }
    if has_completion && violation.is_none() {
        violation = completion
            .first_without()
            .map(|index| (index, "no way leads to a state in which all is done"));
    }
    let last = violation.map_or(reached.len() as u32 - 1, |(index, _)| index);
    Explored {
        states: reached.len(),
        depth: path(&reached, last).len(),
        violation: violation.map(|(index, what)| Violation {
            what,
            run: run(model, &path(&reached, index)),
        }),
    }
}

/// The steps between states, to find out from which states completion can be reached.
#[derive(Default)]
struct Completion {
    /// For each explored state: the end of its part of `successors`.
    ends: Vec<u64>,
    successors: Vec<u32>,
    /// For each explored state: true if it is complete, or can be completed.
    is_possible: Vec<bool>,
}

impl Completion {
    fn lead_to(&mut self, state: u32) {
        self.successors.push(state);
    }

    fn end_state(&mut self, is_complete: bool) {
        self.ends.push(self.successors.len() as u64);
        self.is_possible.push(is_complete);
    }

    /// Returns the first state from which no complete state can be reached.
    fn first_without(mut self) -> Option<u32> {
        // Most steps lead to later states, so few passes from the last state to the first are enough.
        let mut is_changed = true;
        while is_changed {
            is_changed = false;
            for state in (0..self.ends.len())
                .rev()
                .filter(|state| !self.is_possible[*state])
                .collect::<Vec<_>>()
            {
                let begin = state.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
                let mut successors = self.successors[begin..self.ends[state] as usize].iter();
                if successors.any(|successor| self.is_possible[*successor as usize]) {
                    self.is_possible[state] = true;
                    is_changed = true;
                }
            }
        }
        self.is_possible
            .iter()
            .position(|possible| !possible)
            .map(|state| state as u32)
    }
}

/// Returns the indices of the steps that lead to a state.
fn path(reached: &[Reached], mut state: u32) -> Vec<u8> {
    let mut path = Vec::new();
    while state != 0 {
        path.push(reached[state as usize].by);
        state = reached[state as usize].from;
    }
    path.reverse();
    path
}

fn run<M: Model>(model: &M, path: &[u8]) -> Vec<M::Step> {
    let mut state = model.beginning();
    let mut run = Vec::new();
    for index in path {
        let step = model.steps(&state)[usize::from(*index)];
        run.extend(Some(step));
        state = model.after(&state, step).unwrap_or(state);
    }
    run
}

/// Largest number of states in the searches of `holds` and `breaks`: they take less than 3 GB.
const STATES_MAX: usize = 16_000_000;

/// Searches a model that must hold.
///
/// # Panics
///
/// If a property is violated.
pub fn holds(name: &str, model: &impl Model) {
    let began = Instant::now();
    let explored = explore(model, STATES_MAX);
    println!(
        "{name}: {} states, {} steps, {:?}",
        explored.states,
        explored.depth,
        began.elapsed()
    );
    if let Some(violation) = explored.violation {
        panic!("{name}: {violation}");
    }
}

/// Searches a model that must not hold, and prints how it breaks.
///
/// # Panics
///
/// If no property is violated, or another one than expected.
pub fn breaks(name: &str, model: &impl Model, expected: &str) {
    let explored = explore(model, STATES_MAX);
    let violation = explored
        .violation
        .unwrap_or_else(|| panic!("{name}: holds in {} states", explored.states));
    println!("{name}, {} states: {violation}", explored.states);
    assert!(violation.what.contains(expected), "{name}: {}", violation.what);
}

/// Returns a hash of 64 bits that is the same in every run.
pub(super) fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = Mixed(0x9e37_79b9_7f4a_7c15);
    state.hash(&mut hasher);
    hasher.finish()
}

/// A hash by folded multiplication.
struct Mixed(u64);

impl Mixed {
    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ 0xa076_1d64_78bd_642f) * u128::from(word ^ 0xe703_7ed1_a0b4_28db);
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        let mut last = Mixed(self.0);
        last.mix(0x8ebc_6af0_9c88_c6e3);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value as u64);
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        unreachable!("keys are hashes, not {bytes:?}");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
