//! The protocols as models, each small enough that everything it can do is tried.
//!
//! They are written by hand beside the code that they stand for: a model shows that the protocol holds, the simulator
//! and the traces that the code follows it. Run by `tests/tests/model.rs`, which states the bounds.

mod explore;
pub mod forwarding;
pub mod protocol;
pub mod sink;

pub use explore::{Explored, Model, Violation, explore};
