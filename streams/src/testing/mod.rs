//! What topologies and implementations of the traits are tested with.

pub mod conformance;
