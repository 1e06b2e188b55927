//! A model of records in the wrong partition (docs/PROTOCOL.md, "Forwarding"): they are forwarded to the right one, in
//! the transaction that also moves the offset, and never decided in the wrong ledger.
//!
//! There are two ledgers, whose partitions are in the same transaction of one worker. The worker dies or its
//! transaction is aborted, and either ledger may be lost. Three records lie in partition 0: one that belongs there, one
//! that belongs in partition 1, and one about which two programs disagree, as with another number of partitions.

use super::Model;

const LEDGERS: usize = 2;
/// More records than a correct run can have.
const RECORDS_MAX: usize = 8;

/// A clause that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Omission {
    /// The outbox contains forwarded records.
    KeepInOutbox,
    /// A record is forwarded in the transaction that moves the offset.
    OneTransaction,
    /// A rebuilt ledger's applied offset is C − 1, not the last event's record.
    AppliedBelowCommitted,
    /// A record that was forwarded and is still in the wrong partition becomes a dead letter.
    CountHops,
}

/// The model and its bounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forwarding {
    /// The clause that is left out.
    pub without: Option<Omission>,
    /// Number of crashes and aborted transactions together.
    pub interruptions: u8,
    /// Number of lost ledgers.
    pub losses: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Home {
    Here,
    Other,
    /// Always another partition than the record's.
    Elsewhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    id: u8,
    home: Home,
    has_hopped: bool,
}

/// The output of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Output {
    Answer { ledger: usize, id: u8 },
    Dead { id: u8 },
    SentOn { to: usize, record: Record },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Ledger {
    /// W + 1.
    next: usize,
    /// Each output with the offset of the record that caused it.
    outbox: Vec<(usize, Output)>,
}

/// The complete state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    input: [Vec<Record>; LEDGERS],
    ledgers: [Ledger; LEDGERS],
    /// C.
    committed: [usize; LEDGERS],
    /// Committed answers and dead letters.
    outputs: Vec<Output>,
    /// The open transaction.
    open: Vec<Output>,
    /// The worker's positions; none if it must acquire first.
    positions: Option<[usize; LEDGERS]>,
    interruptions: u8,
    losses: u8,
}

/// A step of the model.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The worker compares both ledgers with the log, and sends the outbox again or rebuilds.
    Acquire,
    /// The worker takes a record of a ledger, writes to the ledger and sends.
    Take(usize),
    /// The worker writes to the ledger, and dies.
    TakeAndDie(usize),
    /// The worker commits.
    Commit,
    /// The transaction is aborted, or the worker dies.
    Interrupt,
    /// A ledger is lost; the worker notices.
    Lose(usize),
}

impl Forwarding {
    fn output(self, ledger: usize, record: Record) -> Output {
        let counts = self.without != Some(Omission::CountHops);
        match record.home {
            Home::Here => Output::Answer { ledger, id: record.id },
            _ if record.has_hopped && counts => Output::Dead { id: record.id },
            Home::Other => Output::SentOn {
                to: 1 - ledger,
                record: Record {
                    home: Home::Here,
                    has_hopped: true,
                    ..record
                },
            },
            Home::Elsewhere => Output::SentOn {
                to: 1 - ledger,
                record: Record {
                    has_hopped: true,
                    ..record
                },
            },
        }
    }

    fn show(world: &mut World, output: Output) {
        match output {
            Output::SentOn { to, record } => world.input[to].push(record),
            other => world.outputs.push(other),
        }
    }

    /// Sends within the open transaction, unless that clause is left out.
    fn send(self, world: &mut World, output: Output) {
        if self.without == Some(Omission::OneTransaction) && matches!(output, Output::SentOn { .. }) {
            Self::show(world, output);
        } else {
            world.open.push(output);
        }
    }

    fn commit(world: &mut World, positions: [usize; LEDGERS]) {
        for output in std::mem::take(&mut world.open) {
            Self::show(world, output);
        }
        world.committed = positions;
        for (ledger, committed) in world.ledgers.iter_mut().zip(positions) {
            ledger.outbox.retain(|(offset, _)| *offset >= committed);
        }
    }

    fn acquire(self, world: &mut World) {
        let mut positions = world.committed;
        for (ledger, position) in positions.iter_mut().enumerate() {
            let committed = world.committed[ledger];
            if world.ledgers[ledger].next < committed {
                let rebuilt = match self.without {
                    Some(Omission::AppliedBelowCommitted) => Self::after_last_answer(world, ledger),
                    _ => committed,
                };
                world.ledgers[ledger] = Ledger {
                    next: rebuilt,
                    outbox: Vec::new(),
                };
            }
            *position = world.ledgers[ledger].next;
            for (offset, output) in world.ledgers[ledger].outbox.clone() {
                if offset >= committed {
                    self.send(world, output);
                }
            }
        }
        Self::commit(world, positions);
        world.positions = Some(positions);
    }

    fn after_last_answer(world: &World, ledger: usize) -> usize {
        let is_answered = |record: &Record| world.outputs.contains(&Output::Answer { ledger, id: record.id });
        world.input[ledger]
            .iter()
            .rposition(is_answered)
            .map_or(0, |last| last + 1)
    }

    fn apply(self, world: &mut World, ledger: usize) -> Option<Output> {
        let offset = world.positions?[ledger];
        let output = self.output(ledger, *world.input[ledger].get(offset)?);
        let is_kept = self.without != Some(Omission::KeepInOutbox) || !matches!(output, Output::SentOn { .. });
        let state = &mut world.ledgers[ledger];
        state.next = offset + 1;
        state.outbox.extend(is_kept.then_some((offset, output)));
        Some(output)
    }

    fn interrupt(world: &mut World) {
        world.open.clear();
        world.positions = None;
    }
}

impl Model for Forwarding {
    type State = World;
    type Step = Step;

    fn beginning(&self) -> World {
        let record = |id, home| Record {
            id,
            home,
            has_hopped: false,
        };
        World {
            input: [
                vec![
                    record(0, Home::Here),
                    record(1, Home::Other),
                    record(2, Home::Elsewhere),
                ],
                Vec::new(),
            ],
            interruptions: self.interruptions,
            losses: self.losses,
            ..World::default()
        }
    }

    fn steps(&self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        let Some(positions) = world.positions else {
            return vec![Step::Acquire];
        };
        for (ledger, position) in positions.into_iter().enumerate() {
            if position < world.input[ledger].len() {
                steps.push(Step::Take(ledger));
                steps.extend((world.interruptions > 0).then_some(Step::TakeAndDie(ledger)));
            }
            steps.extend((world.losses > 0).then_some(Step::Lose(ledger)));
        }
        if positions != world.committed {
            steps.push(Step::Commit);
            steps.extend((world.interruptions > 0).then_some(Step::Interrupt));
        }
        steps
    }

    fn after(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Acquire => self.acquire(&mut world),
            Step::Take(ledger) => {
                let output = self.apply(&mut world, ledger)?;
                self.send(&mut world, output);
                world.positions.as_mut()?[ledger] += 1;
            }
            Step::TakeAndDie(ledger) => {
                world.interruptions -= 1;
                self.apply(&mut world, ledger)?;
                Self::interrupt(&mut world);
            }
            Step::Commit => {
                let positions = world.positions?;
                Self::commit(&mut world, positions);
            }
            Step::Interrupt => {
                world.interruptions -= 1;
                Self::interrupt(&mut world);
            }
            Step::Lose(ledger) => {
                world.losses -= 1;
                world.ledgers[ledger] = Ledger::default();
                Self::interrupt(&mut world);
            }
        }
        Some(world)
    }

    fn check(&self, world: &World) -> Result<(), &'static str> {
        let of = |id: u8| {
            world.outputs.iter().filter(move |output| match output {
                Output::Answer { id: answered, .. } | Output::Dead { id: answered } => *answered == id,
                Output::SentOn { .. } => false,
            })
        };
        if (0..3).any(|id| of(id).count() > 1) {
            return Err("a record is answered twice");
        }
        if world.outputs.contains(&Output::Answer { ledger: 0, id: 1 }) {
            return Err("a record is decided in the wrong ledger");
        }
        if world.input.iter().any(|records| records.len() > RECORDS_MAX) {
            return Err("a record is forwarded without end");
        }
        Ok(())
    }

    fn check_at_rest(&self, world: &World) -> Result<(), &'static str> {
        let all = [
            Output::Answer { ledger: 0, id: 0 },
            Output::Answer { ledger: 1, id: 1 },
            Output::Dead { id: 2 },
        ];
        match all.iter().all(|output| world.outputs.contains(output)) {
            true => Ok(()),
            false => Err("a record is lost"),
        }
    }
}
