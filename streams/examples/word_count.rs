//! Counts words: `lines` are split, `words` brought together by key, and each new count goes to `counts`.
//!
//! `cargo run -p interlock-streams --example word_count`, or with lines of your own on standard input:
//! `cargo run -p interlock-streams --example word_count -- - < README.md`

use interlock_streams::serde::{Json, Utf8};
use interlock_streams::testing::TopologyTestDriver;
use interlock_streams::{BuildError, Decider, Event, Message, StreamsBuilder, Topology};
use serde::{Deserialize, Serialize};

/// The number of times that a word came.
#[derive(Default, Serialize, Deserialize)]
struct Count(u64);

impl Decider for Count {
    type Command = String;
    type Event = u64;

    fn decide(&self, _word: &Message<String>) -> Vec<u64> {
        vec![self.0 + 1]
    }

    fn evolve(&mut self, count: &u64) {
        self.0 = *count;
    }
}

/// `lines` → `words` → `counts`.
pub(crate) fn topology() -> Result<Topology, BuildError> {
    let builder = StreamsBuilder::new("word-count");
    builder
        .stream("lines", || Utf8)
        .flat_map_values(|line| {
            let words = line
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty());
            words.map(str::to_lowercase).collect::<Vec<_>>()
        })
        .select_key(|word| word.value.clone())
        .repartition("words", Utf8, || Utf8)
        .decide::<Count>("count", "counts");
    builder.build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = if std::env::args().nth(1).is_some() {
        std::io::read_to_string(std::io::stdin())?
    } else {
        "All streams lead to Kafka\nHello Kafka streams\nJoin Kafka Summit".to_owned()
    };
    let topology = topology()?;
    println!("{}", topology.describe());
    let driver = TopologyTestDriver::new(topology, 1)?;
    let lines = text
        .lines()
        .enumerate()
        .map(|(number, line)| (number.to_string(), line));
    driver.input("lines", Utf8).pipe_all(lines)?;
    for (word, count) in driver.output::<Event<u64>, _>("counts", Json).read_key_values()? {
        println!("{word}: {}", count.event);
    }
    Ok(())
}
