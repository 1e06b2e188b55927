//! Reserves stock: never more than there is, each order once, whatever crashes.
//!
//! `cargo run -p interlock-streams --example stock_reservation`

use interlock_streams::serde::Json;
use interlock_streams::testing::TopologyTestDriver;
use interlock_streams::{BuildError, Decider, Event, Message, StreamsBuilder, Topology};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) enum Command {
    Receive(u64),
    Reserve(String, u64),
    Cancel(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Movement {
    Received(u64),
    Reserved(String, u64),
    Released(String),
    Refused(String),
}

/// An article: how many units of it are left, and which orders have the others.
#[derive(Default, Serialize, Deserialize)]
struct Stock {
    free: u64,
    reserved: std::collections::BTreeMap<String, u64>,
}

impl Decider for Stock {
    type Command = Command;
    type Event = Movement;

    fn decide(&self, command: &Message<Command>) -> Vec<Movement> {
        let has = |order| self.reserved.contains_key(order);
        vec![match &command.value {
            Command::Receive(units) => Movement::Received(*units),
            Command::Reserve(order, _) if has(order) => Movement::Refused("it has its units already".into()),
            Command::Reserve(_, units) if *units > self.free => Movement::Refused("not enough is left".into()),
            Command::Reserve(order, units) => Movement::Reserved(order.clone(), *units),
            Command::Cancel(order) if has(order) => Movement::Released(order.clone()),
            Command::Cancel(_) => Movement::Refused("it has no units".into()),
        }]
    }

    fn evolve(&mut self, movement: &Movement) {
        match movement {
            Movement::Received(units) => self.free += units,
            Movement::Reserved(order, units) => {
                self.free -= units;
                self.reserved.insert(order.clone(), *units);
            }
            Movement::Released(order) => self.free += self.reserved.remove(order).unwrap_or(0),
            Movement::Refused(_) => {}
        }
    }
}

pub(crate) fn topology() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("stock");
    builder
        .stream("commands", || Json)
        .decide::<Stock>("articles", "movements");
    builder.build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let driver = TopologyTestDriver::new(topology()?, 1)?;
    let reserve = |order: &str| ("lamp", Command::Reserve(order.into(), 2));
    let commands = [("lamp", Command::Receive(3)), reserve("anna"), reserve("ben")];
    driver.input::<Command, _>("commands", Json).pipe_all(commands)?;
    let movements = driver.output::<Event<Movement>, _>("movements", Json);
    for event in movements.read_values()? {
        println!("{}: {:?}", event.sequence, event.event);
    }
    Ok(())
}
