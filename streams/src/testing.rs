//! Tools for testing topologies and implementations of the traits, behind the feature `testing`.
//!
//! [`TopologyTestDriver`] tests topologies; [`conformance`] tests a log, a ledger store or a sink.

pub mod conformance;
mod driver;
mod topics;

pub use driver::{DriverError, Failure, TopologyTestDriver};
pub use topics::{TestInput, TestOutput};
