//! A stream processor in the spirit of Kafka Streams whose state lives in an external ledger, exactly once together
//! with the log.
//!
//! Records are commands, decisions about them are events, and the state is the fold of the events. This example counts
//! words, and still counts correctly after the worker is killed or the ledger store has lost everything:
//!
//! ```
//! use interlock_streams::serde::{Json, Utf8};
//! use interlock_streams::testing::{Failure, TopologyTestDriver};
//! use interlock_streams::{Decider, Event, Message, StreamsBuilder};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Count(u64);
//!
//! impl Decider for Count {
//!     type Command = String;
//!     type Event = u64;
//!
//!     fn decide(&self, _word: &Message<String>) -> Vec<u64> {
//!         vec![self.0 + 1]
//!     }
//!
//!     fn evolve(&mut self, count: &u64) {
//!         self.0 = *count;
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = StreamsBuilder::new("word-count");
//! builder
//!     .stream("lines", || Utf8)
//!     .flat_map_values(|line| line.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>())
//!     .select_key(|word| word.value.clone())
//!     .repartition("words", Utf8, || Utf8)
//!     .decide::<Count>("count", "counts");
//!
//! let driver = TopologyTestDriver::new(builder.build()?, 1)?;
//! let lines = driver.input("lines", Utf8);
//! let counts = driver.output::<Event<u64>, _>("counts", Json);
//! lines.pipe("1", "to be or not to be")?;
//! driver.inject(Failure::Crash)?;
//! driver.inject(Failure::FlushedLedgers)?;
//! lines.pipe("2", "be")?;
//! let (word, count) = counts.read_key_values()?.pop().ok_or("no count")?;
//! assert_eq!((word.as_str(), count.event), ("be", 3));
//! # Ok(())
//! # }
//! ```
//!
//! | subject | item |
//! | --- | --- |
//! | streams, operators, outputs | [`StreamsBuilder`], [`Stream`] |
//! | a value for each key | [`Decider`] |
//! | state of any shape | [`LedgerProcessor`], [`LedgerSpec`] |
//! | windows, as SQL over micro-batches | [`window`] |
//! | values as bytes | [`serde`] |
//! | records that can't be read or processed | [`OnError`], [`dead_letter`] |
//! | tests | `testing`, behind the feature of that name |
//! | running it | [`runtime::start`]; the crates `interlock-kafka` and `interlock-redis`, [`sink`] |
//!
//! `examples/` has two topologies to begin from. How log and ledger move together is described at [`runtime`] and,
//! clause by clause, in `docs/PROTOCOL.md` of the repository.

#![forbid(unsafe_code)]

pub mod address;
pub mod backoff;
#[cfg(doctest)]
mod book;
pub mod dsl;
pub mod ledger;
pub mod log;
pub mod metric_definitions;
#[doc(hidden)]
pub mod mutation;
pub mod record;
pub mod runtime;
#[cfg(feature = "windows")]
pub mod sink;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "windows")]
pub mod window;

#[cfg(feature = "windows")]
pub use dsl::builder::WindowPartials;
pub use dsl::builder::{LedgerSpec, Stream, StreamsBuilder};
pub use dsl::decider::{Decider, Event};
pub use dsl::global_table::GlobalTable;
pub use dsl::message::Message;
pub use dsl::policy::OnError;
pub use dsl::processor::{Collector, CommandContext, Corrupt, LedgerEvent, LedgerProcessor, Processor};
pub use dsl::topology::{BuildError, Topology};
pub use dsl::{builder, dead_letter, decider, global_table, message, policy, processor, serde, topology};
