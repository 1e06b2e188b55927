//! The topologies of Interlock, one file each, and the list of them.

mod avro;
mod booking;
pub mod events;
mod occupancy;
mod past;
mod revenue;
mod windows;

use std::sync::Arc;

use interlock_schemas::RecordType;
use interlock_schemas::registry::{Ids, MemoryRegistry, Registry};
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

/// Builds topologies without any service, to look at them: the shape of a topology does not depend on services.
pub fn shapes(definitions: &[Definition]) -> Result<Vec<Topology>, TopologyError> {
    let mut ids = Ids::default();
    RecordType::ALL.iter().for_each(|record| ids.set(*record, 0));
    let context = Context {
        registry: Arc::new(MemoryRegistry::default()),
        ids,
    };
    definitions
        .iter()
        .map(|definition| (definition.build)(&context))
        .collect()
}

/// No topology has the requested name.
#[derive(Debug, thiserror::Error)]
#[error("there is no topology `{name}`; there are {}", all().iter().map(|known| known.name).collect::<Vec<_>>().join(", "))]
pub struct UnknownTopology {
    name: String,
}

/// Returns the topologies with these names; all if no name is given.
pub fn choose(names: &[String]) -> Result<Vec<Definition>, UnknownTopology> {
    if let Some(name) = names.iter().find(|name| all().iter().all(|known| known.name != **name)) {
        return Err(UnknownTopology { name: name.clone() });
    }
    let is_wanted = |known: &&Definition| names.is_empty() || names.iter().any(|name| name == known.name);
    Ok(all().iter().filter(is_wanted).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_topologies_can_be_built_and_unknown_ones_are_named() {
        assert_eq!(shapes(&choose(&[]).unwrap()).unwrap().len(), all().len());
        assert_eq!(choose(&["revenue".into()]).unwrap().len(), 1);
        let Err(error) = choose(&["bookings".into()]) else {
            panic!("accepted")
        };
        assert!(error.to_string().contains("booking, "), "{error}");
    }
}
