//! The topologies of Interlock, one file each, and the list of them.

mod avro;
mod booking;
pub mod events;
mod occupancy;
mod past;
mod revenue;
mod topics;
mod windows;

use std::sync::Arc;

use interlock_schemas::registry::{Ids, Registry};
use interlock_streams::window::WindowError;
use interlock_streams::{BuildError, Topology};

pub use topics::topic_specs;
pub use windows::WINDOWS;

/// Name of the topology that decides requests.
pub const BOOKING: &str = "booking";

/// What topologies are built with.
#[derive(Clone)]
pub struct Context {
    /// Where writers' schemas are looked up.
    pub registry: Arc<dyn Registry>,
    /// The ids under which the whole contract was registered at start.
    pub ids: Ids,
}

/// Why a topology could not be built.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The graph is wrong.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A window query is wrong.
    #[error(transparent)]
    Window(#[from] WindowError),
}

/// A topology by name.
#[derive(Clone, Copy)]
pub struct Definition {
    /// Its name, as on the command line.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// Builds it.
    pub build: fn(&Context) -> Result<Topology, TopologyError>,
}

/// Every topology. A new one is a file and a line here.
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
