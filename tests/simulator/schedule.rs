//! The faults and commands of one run, drawn from the seed before it begins, so that parts can be left out again.
//!
//! Each seed switches on only some kinds of faults (swarm testing): if everything fails at once, nothing gets far
//! enough to fail in an interesting way.

use std::fmt;

use interlock_streams::mutation::Clause;

use crate::random::Random;

/// Virtual milliseconds during which there are faults and commands. After that everything is healed.
pub(super) const SPAN_MS: u64 = 30_000;

/// The complete description of a run.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The seed, also of the draws while running.
    pub seed: u64,
    /// Number of commands.
    pub commands: u64,
    /// Partitions of the booking topics, and so ledgers.
    pub partitions: i32,
    /// Number of workers at the beginning; workers that join later have higher numbers.
    pub workers: usize,
    /// Largest number of input records in a round.
    pub batch_records_max: usize,
    /// Largest number of input records in a transaction.
    pub commit_records_max: usize,
    /// True if the workers also keep windows; the run then takes several times as long.
    pub windows: bool,
    /// The rates of failing calls.
    pub rates: Rates,
    /// The events besides failing calls.
    pub actions: Vec<Action>,
    /// The clause that is left out of the runtime on purpose.
    pub left_out: Option<Clause>,
    /// If set, the run is followed by a repartitioning to this number of ledgers and a second half, with other events,
    /// other commands and some of the same ones.
    pub grows_to: Option<i32>,
}

/// Numbers of calls in ten thousand that fail, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Takes a few milliseconds.
    pub slow: u64,
    /// Takes long, up to longer than every time-out: the caller is a zombie when it continues.
    pub stall: u64,
    /// Fails without effect.
    pub refused: u64,
    /// Has its effect, but the answer is lost.
    pub answer_lost: u64,
    /// Fails, and has its effect later, when the caller no longer expects it. Ledger writes only.
    pub late: u64,
    /// Has its effect, and has it again later. Ledger writes only.
    pub repeated: u64,
    /// Records in the wrong partition, of all sent.
    pub misplaced: u64,
    /// Records that can't be decoded, of all sent.
    pub garbage: u64,
}

/// An event at a given time.
#[derive(Clone, Debug)]
pub struct Action {
    /// The time, in virtual milliseconds.
    pub at_ms: u64,
    /// The kind of action.
    pub what: What,
}

/// The kinds of events besides failing calls.
#[allow(missing_docs, reason = "the variants say what their fields are for")]
#[derive(Clone, Debug)]
pub enum What {
    /// A worker dies: its transaction stays open, its member stays in the group. After a while it is started again.
    Crash {
        worker: usize,
        down_ms: u64,
        new_identity: bool,
    },
    /// A worker is stopped gracefully, and started again.
    Stop {
        worker: usize,
        down_ms: u64,
        new_identity: bool,
    },
    /// Another worker starts.
    Join { worker: usize },
    /// A worker stops at its next call.
    Freeze { worker: usize, for_ms: u64 },
    /// A worker can't reach the ledger store.
    Unreachable { worker: usize, for_ms: u64 },
    /// A worker writes to a ledger store that is no longer master: its writes are lost.
    Forked { worker: usize, for_ms: u64 },
    /// Copies a ledger, for a later [`What::Restore`].
    Snapshot { ledger: i32, slot: usize },
    /// The store fails over to a replica that lacks the writes since the snapshot.
    Restore { ledger: i32, slot: usize },
    /// The ledger store loses everything.
    Flush,
    /// The ledger store loses one part of a ledger; the number chooses it.
    Lose { ledger: i32, part: u64 },
    /// One part of a ledger goes back to the state that it had in the snapshot.
    PutBack { ledger: i32, slot: usize, part: u64 },
    /// Transaction markers don't reach a partition of an event topic (0 to 4) or of the requests (5).
    HoldMarkers { topic: usize, partition: i32, for_ms: u64 },
    /// Transaction markers don't reach the group's offsets.
    HoldOffsets { for_ms: u64 },
    /// A worker is cut off from its group, but can still read records.
    Deaf { worker: usize, for_ms: u64 },
    /// The ends of a worker's transactions don't reach the coordinator.
    HoldCommits { worker: usize, for_ms: u64 },
    /// Trains are seeded with another plan.
    NewPlan { version: i32 },
}

impl Schedule {
    /// Returns the run of a seed.
    pub fn of(seed: u64, commands: u64) -> Self {
        let mut random = Random::new(seed, 1);
        let workers = random.between(1, 3) as usize;
        let partitions = random.between(1, 4) as i32;
        let rates = Rates::draw(&mut random);
        let batch_records_max = *random.pick(&[1, 3, 10, 50, 4_000]);
        let commit_records_max = *random.pick(&[1, 5, 30, 200, 20_000]);
        let mut actions = actions(&mut random, (seed, 5), workers, partitions);
        actions.extend(losses((seed, 9), partitions));
        actions.sort_by_key(|action| action.at_ms);
        Self {
            seed,
            commands,
            partitions,
            workers,
            batch_records_max,
            commit_records_max,
            windows: false,
            rates,
            actions,
            left_out: None,
            grows_to: None,
        }
    }

    /// Returns the run of a seed with a repartitioning.
    pub fn growing(seed: u64, commands: u64) -> Self {
        let schedule = Self::of(seed, commands);
        let more = Random::new(seed, 6).between(1, 5) as i32;
        Self {
            grows_to: Some(schedule.partitions + more),
            ..schedule
        }
    }

    /// Returns the events of the second half.
    pub(super) fn actions_after_growth(&self, partitions: i32) -> Vec<Action> {
        if self.actions.is_empty() {
            return Vec::new();
        }
        let mut actions = actions(&mut Random::new(self.seed, 7), (self.seed, 8), self.workers, partitions);
        actions.extend(losses((self.seed, 11), partitions));
        actions.sort_by_key(|action| action.at_ms);
        actions
    }
}

impl Rates {
    fn draw(random: &mut Random) -> Self {
        let mut rate = |often: u64| {
            if random.chance(5_000) {
                random.between(1, often)
            } else {
                0
            }
        };
        Self {
            slow: rate(4_000),
            stall: rate(60),
            refused: rate(150),
            answer_lost: rate(150),
            late: rate(200),
            repeated: rate(200),
            misplaced: rate(1_000),
            garbage: rate(600),
        }
    }
}

fn actions(random: &mut Random, deafness: (u64, u64), workers: usize, partitions: i32) -> Vec<Action> {
    let mut actions = faults(random, workers, partitions);
    actions.extend(deaf(deafness, workers));
    actions.sort_by_key(|action| action.at_ms);
    actions
}

fn faults(random: &mut Random, workers: usize, partitions: i32) -> Vec<Action> {
    const KINDS: usize = 12;
    let enabled: Vec<usize> = (0..KINDS).filter(|_| random.chance(4_000)).collect();
    let mut actions = Vec::new();
    let mut known = workers;
    if enabled.is_empty() {
        return actions;
    }
    for slot in 0..random.between(0, 14) as usize {
        let at_ms = random.below(SPAN_MS);
        let for_ms = random.between(1, 12_000) / random.between(1, 20);
        let worker = random.below(known as u64) as usize;
        let ledger = random.below(partitions as u64) as i32;
        let new_identity = random.chance(5_000);
        let what = match *random.pick(&enabled) {
            0 => What::Crash {
                worker,
                down_ms: for_ms,
                new_identity,
            },
            1 => What::Stop {
                worker,
                down_ms: for_ms,
                new_identity,
            },
            2 if known < 4 => {
                known += 1;
                What::Join { worker: known - 1 }
            }
            2 | 3 => What::Freeze { worker, for_ms },
            4 => What::Unreachable { worker, for_ms },
            5 => What::Forked { worker, for_ms },
            6 | 7 => {
                let behind = for_ms.min(at_ms);
                actions.push(Action {
                    at_ms: at_ms - behind,
                    what: What::Snapshot { ledger, slot },
                });
                What::Restore { ledger, slot }
            }
            8 => What::Flush,
            9 => What::HoldMarkers {
                topic: random.below(6) as usize,
                partition: ledger,
                for_ms,
            },
            10 if random.chance(5_000) => What::HoldOffsets { for_ms },
            10 => What::HoldCommits { worker, for_ms },
            _ => What::NewPlan {
                version: slot as i32 + 2,
            },
        };
        actions.push(Action { at_ms, what });
    }
    actions
}

/// Returns, for some schedules, events in which the group expels workers that go on reading.
fn deaf((seed, stream): (u64, u64), workers: usize) -> Vec<Action> {
    let mut random = Random::new(seed, stream);
    let often = if random.chance(2_500) { random.between(1, 4) } else { 0 };
    let action = |_| Action {
        at_ms: random.below(SPAN_MS),
        what: What::Deaf {
            worker: random.below(workers as u64) as usize,
            for_ms: random.between(500, 20_000),
        },
    };
    (0..often).map(action).collect()
}

/// Returns, for some schedules, losses of single parts of ledgers.
fn losses((seed, stream): (u64, u64), partitions: i32) -> Vec<Action> {
    /// Snapshots of whole ledgers have lower slots.
    const FIRST_SLOT: usize = 1_000;
    let mut random = Random::new(seed, stream);
    let often = if random.chance(4_000) { random.between(1, 5) } else { 0 };
    let mut actions = Vec::new();
    for slot in (FIRST_SLOT..).take(often as usize) {
        let at_ms = random.below(SPAN_MS);
        let ledger = random.below(partitions as u64) as i32;
        let part = random.below(1_000_000);
        let is_older = random.chance(5_000);
        let behind = random.below(12_000).min(at_ms);
        if is_older {
            let what = What::Snapshot { ledger, slot };
            let at_ms = at_ms - behind;
            actions.push(Action { at_ms, what });
        }
        let what = match is_older {
            true => What::PutBack { ledger, slot, part },
            false => What::Lose { ledger, part },
        };
        actions.push(Action { at_ms, what });
    }
    actions
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} commands, {} partitions, {} workers, batches of {}, transactions of {}",
            self.seed, self.commands, self.partitions, self.workers, self.batch_records_max, self.commit_records_max
        )?;
        if let Some(ledgers) = self.grows_to {
            writeln!(f, "then {ledgers} ledgers, and once more")?;
        }
        writeln!(f, "{:?}", self.rates)?;
        for action in &self.actions {
            writeln!(f, "{:>7} {:?}", action.at_ms, action.what)?;
        }
        Ok(())
    }
}
