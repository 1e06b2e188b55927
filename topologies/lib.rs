//! The topologies of Interlock: one file for each.

pub mod events;
