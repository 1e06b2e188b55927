//! A model of window writes (docs/PROTOCOL.md, "Sinks"): two workers, and one partition of records, each of which adds
//! 1 to the row. The added value and the new position are one database transaction, which is refused unless the stored
//! position and token are those that the write states. A write may arrive long after its worker has died.

use super::Model;

const WORKERS: usize = 2;
/// Number of records of the partition.
const RECORDS: u8 = 3;
/// Largest number of acquisitions.
const ACQUISITIONS_MAX: u8 = 4;

/// A clause that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Omission {
    /// Position and token are compared in the transaction.
    Compare,
    /// The position is stored in the transaction that adds the rows.
    OneTransaction,
}

/// The model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sink {
    /// The clause that is left out.
    pub without: Option<Omission>,
}

/// A value to add to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Write {
    token: u8,
    from: u8,
    to: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Worker {
    /// The worker's token; 0 if it holds nothing.
    token: u8,
    stored: u8,
    reached: u8,
}

/// The complete state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// The row.
    sum: u8,
    position: u8,
    token: u8,
    workers: [Worker; WORKERS],
    /// A write whose worker considers it lost, or has died.
    late: Option<Write>,
    tokens: u8,
}

/// A step of the model.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A worker acquires the task, even from another worker, and reads the position.
    Acquire(usize),
    /// A worker aggregates the next record.
    Take(usize),
    /// A worker writes its rows.
    Write(usize),
    /// As `Write`, but the answer is lost, and the worker starts over.
    WriteUnanswered(usize),
    /// As `Write`, but the write is still in flight when the worker starts over or dies.
    WriteLate(usize),
    /// The late write arrives.
    LateArrives,
    /// The rows are added and the worker dies; possible only if the position is stored separately.
    WriteByHalf(usize),
}

impl Sink {
    /// Lets the database accept or refuse a write.
    fn write(self, world: &mut World, write: Write) -> bool {
        let agrees = write.from == world.position && write.token == world.token;
        if !agrees && self.without != Some(Omission::Compare) {
            return false;
        }
        world.sum += write.to - write.from;
        world.position = write.to;
        true
    }
}

impl Worker {
    fn write(self) -> Write {
        Write {
            token: self.token,
            from: self.stored,
            to: self.reached,
        }
    }
}

impl Model for Sink {
    type State = World;
    type Step = Step;

    fn beginning(&self) -> World {
        World::default()
    }

    fn steps(&self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        for (id, worker) in world.workers.iter().enumerate() {
            if world.tokens < ACQUISITIONS_MAX {
                steps.push(Step::Acquire(id));
            }
            if worker.token > 0 && worker.reached < RECORDS {
                steps.push(Step::Take(id));
            }
            if worker.reached > worker.stored {
                steps.extend([Step::Write(id), Step::WriteUnanswered(id)]);
                steps.extend(world.late.is_none().then_some(Step::WriteLate(id)));
                let halves = self.without == Some(Omission::OneTransaction);
                steps.extend(halves.then_some(Step::WriteByHalf(id)));
            }
        }
        steps.extend(world.late.map(|_| Step::LateArrives));
        steps
    }

    fn after(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Acquire(id) => {
                world.tokens += 1;
                world.token = world.tokens;
                world.workers[id] = Worker {
                    token: world.token,
                    stored: world.position,
                    reached: world.position,
                };
            }
            Step::Take(id) => world.workers[id].reached += 1,
            Step::Write(id) => match self.write(&mut world, before.workers[id].write()) {
                true => world.workers[id].stored = before.workers[id].reached,
                false => world.workers[id] = Worker::default(),
            },
            Step::WriteUnanswered(id) => {
                self.write(&mut world, before.workers[id].write());
                world.workers[id] = Worker::default();
            }
            Step::WriteLate(id) => {
                world.late = Some(before.workers[id].write());
                world.workers[id] = Worker::default();
            }
            Step::LateArrives => {
                let late = world.late.take()?;
                self.write(&mut world, late);
            }
            Step::WriteByHalf(id) => {
                let position = world.position;
                self.write(&mut world, before.workers[id].write());
                world.position = position;
                world.workers[id] = Worker::default();
            }
        }
        Some(world)
    }

    /// Checks I6: the row is the sum over the records below the position.
    fn check(&self, world: &World) -> Result<(), &'static str> {
        match world.sum == world.position {
            true => Ok(()),
            false => Err("the row is not the sum over the records below the position"),
        }
    }

    /// No worker starts over any more. The written rows must be right, though perhaps not complete.
    fn check_at_rest(&self, _: &World) -> Result<(), &'static str> {
        Ok(())
    }
}
