//! Ledger events → `occupancy_minute`, `rejections_minute`, `capacity`: shows how full trains are, and how fast they
//! fill.

use interlock_schemas::topics;
use interlock_streams::Topology;

use crate::events::occupancy_queries;
use crate::{Context, TopologyError, windows};

/// Builds the topology.
pub(crate) fn build(context: &Context) -> Result<Topology, TopologyError> {
    windows::build(context, "occupancy", &topics::EVENTS, occupancy_queries)
}
