//! How windows are written (docs/PROTOCOL.md, "Sinks"): two workers, one partition of records of which each adds 1 to the
//! row. What a write adds, and the position after it, are one transaction of the database, which refuses it where the
//! stored position, or the token, is not the one that the write states. A write may arrive when its worker is long gone.

use super::Model;

const WORKERS: usize = 2;
/// Records of the partition.
const RECORDS: u8 = 3;
/// How often the workers begin anew.
const ACQUISITIONS_MAX: u8 = 4;

/// What can be left out.
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
    /// What is left out.
    pub without: Option<Omission>,
}

/// What is to be added to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Write {
    token: u8,
    from: u8,
    to: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Worker {
    /// 0: it holds nothing.
    token: u8,
    stored: u8,
    reached: u8,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// The row.
    sum: u8,
    position: u8,
    token: u8,
    workers: [Worker; WORKERS],
    /// Sent by a worker that gave it up for lost, or died.
    late: Option<Write>,
    tokens: u8,
}

/// A step of the world.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A worker takes the task, whoever has it, and reads the position.
    Acquire(usize),
    /// A worker aggregates the next record.
    Take(usize),
    /// A worker writes what it has.
    Write(usize),
    /// The same, but the answer is lost: it begins anew.
    WriteUnanswered(usize),
    /// The same, but the write is under way when the worker begins anew, or dies.
    WriteLate(usize),
    /// That write arrives.
    LateArrives,
    /// The rows are added, and it dies: only where the position is stored afterwards.
    WriteByHalf(usize),
}

impl Sink {
    /// The database takes a write, or refuses it.
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

    /// I6: the row is the sum over the records below the position.
    fn check(&self, world: &World) -> Result<(), &'static str> {
        match world.sum == world.position {
            true => Ok(()),
            false => Err("the row is not the sum over the records below the position"),
        }
    }

    /// Nobody begins anew any more; what is written is right, if not all.
    fn check_at_rest(&self, _: &World) -> Result<(), &'static str> {
        Ok(())
    }
}
