//! The common parts of the whole-system tests.

pub mod chaos;
pub mod gateway;
pub mod memory;
pub mod model;
pub mod panels;
pub mod plans;
mod random;
pub mod real;
pub mod simulator;
pub mod traces;
