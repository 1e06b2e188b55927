//! One suite for each trait: whatever implements it passes it.

pub mod ledger;
pub mod log;
pub mod sink;
