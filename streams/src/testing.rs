//! What topologies and implementations of the traits are tested with; behind the feature `testing`.
//!
//! [`TopologyTestDriver`] is for whoever writes topologies, [`conformance`] for whoever writes a log, a ledger store or a
//! sink.

pub mod conformance;
mod driver;
mod topics;

pub use driver::{DriverError, Failure, TopologyTestDriver};
pub use topics::{TestInput, TestOutput};
