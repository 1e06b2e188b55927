//! Ledger events → `revenue_minute`: sums the amounts collected and refunded.

use interlock_schemas::topics;
use interlock_streams::Topology;

use crate::events::revenue_queries;
use crate::{Context, TopologyError, windows};

/// Topics whose events move money.
const MONEY: [&str; 3] = [topics::CONFIRMED, topics::WAITLIST, topics::CANCELLED];

/// Builds the topology.
pub(crate) fn build(context: &Context) -> Result<Topology, TopologyError> {
    windows::build(context, "revenue", &MONEY, revenue_queries)
}
