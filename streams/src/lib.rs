//! A stream processor whose state lives in an external ledger, exactly once together with the log.

pub mod builder;
pub mod global_table;
pub mod ledger;
mod ledger_node;
pub mod log;
pub mod message;
pub mod metric_definitions;
mod node;
pub mod policy;
pub mod processor;
pub mod record;
pub mod runtime;
pub mod serde;
pub mod sink;
#[cfg(feature = "testing")]
pub mod testing;
pub mod topology;
pub mod window;
mod window_node;

pub use builder::{LedgerSpec, Stream, StreamsBuilder, Windowed};
pub use global_table::GlobalTable;
pub use message::Message;
pub use policy::OnError;
pub use processor::{Collector, Corrupt, LedgerEvent, LedgerProcessor, Processor, Provenance};
pub use topology::{BuildError, Topology};
