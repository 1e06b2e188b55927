//! What the whole-system tests share.

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
