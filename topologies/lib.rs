//! The topologies of Interlock, one file each, and the list of them.

mod avro;
mod booking;
pub mod events;
mod occupancy;
mod past;
mod revenue;
mod windows;

use std::sync::Arc;

use interlock_schemas::registry::{Ids, Registry};
use interlock_streams::window::WindowError;
use interlock_streams::{BuildError, Topology};

pub use windows::WINDOWS;

/// Name of the topology that decides requests.
pub const BOOKING: &str = "booking";

/// The dependencies with which topologies are built.
#[derive(Clone)]
pub struct Context {
    /// The registry in which writers' schemas are looked up.
    pub registry: Arc<dyn Registry>,
    /// The ids of the contract's schemas, registered at the start.
    pub ids: Ids,
}

/// The reason why a topology could not be built.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The graph is invalid.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A window query is invalid.
    #[error(transparent)]
    Window(#[from] WindowError),
}

/// A topology and its name.
#[derive(Clone, Copy)]
pub struct Definition {
    /// The name on the command line.
    pub name: &'static str,
    /// A description in one sentence.
    pub about: &'static str,
    /// The function that builds it.
    pub build: fn(&Context) -> Result<Topology, TopologyError>,
}

/// Lists every topology. A new topology is a file and a line here.
pub const fn all() -> &'static [Definition] {
    &[
        Definition {
            name: BOOKING,
            about: "sells seats: requests in, outcomes out",
            build: booking::build,
        },
        Definition {
            name: "occupancy",
            about: "how full trains are, by minute",
            build: occupancy::build,
        },
        Definition {
            name: "revenue",
            about: "what was collected and refunded, by minute",
            build: revenue::build,
        },
    ]
}
