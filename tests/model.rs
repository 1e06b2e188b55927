//! Models of the protocols, each small enough to be searched completely.
//!
//! They are written by hand beside the code. A model shows that the protocol is right; the simulator and the traces
//! show that the code follows it. `tests/tests/model.rs` and `tests/tests/checkpoints.rs` run the models and state the
//! bounds.

pub mod checkpoints;
mod explore;
pub mod forwarding;
pub mod protocol;
pub mod sink;

pub use explore::{Explored, Model, Violation, breaks, explore, holds};
