//! The language in which topologies are written.

pub mod builder;
pub mod dead_letter;
pub mod decider;
pub mod global_table;
pub mod message;
pub mod policy;
pub mod processor;
pub mod serde;
pub mod topology;
