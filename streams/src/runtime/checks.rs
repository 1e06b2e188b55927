//! Checks that a stream thread makes before it joins its group.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Reason, TaskError};
use crate::dsl::topology::Topology;
use crate::log::Log;
use crate::metric_definitions::{ACQUISITIONS, REBUILDS, RECORDS_FORWARDED, RECORDS_REFUSED, RESTARTS};

/// Shows counters as 0 before they count: Prometheus does not see an increase from nothing.
pub(crate) fn show_counters(topology: &Topology) {
    for reason in Reason::ALL {
        metrics::counter!(RESTARTS, "topology" => topology.name().to_owned(), "reason" => reason.name()).increment(0);
    }
    for topic in topology.source_topics() {
        for reason in ["undecodable", "wrong_partition", "processing", "production"] {
            metrics::counter!(RECORDS_REFUSED, "topic" => topic.clone(), "reason" => reason).increment(0);
        }
    }
    if topology.has_ledger() {
        metrics::counter!(REBUILDS).increment(0);
        for verdict in ["continue", "resend", "rebuild"] {
            metrics::counter!(ACQUISITIONS, "verdict" => verdict).increment(0);
        }
        for topic in topology.source_topics() {
            metrics::counter!(RECORDS_FORWARDED, "topic" => topic).increment(0);
        }
    }
}

/// Checks that all topics exist and that those which belong together have the same number of partitions. Returns the
/// numbers of partitions of the sources.
pub(crate) async fn check_topics(topology: &Topology, log: &dyn Log) -> Result<BTreeMap<String, i32>, TaskError> {
    let mut counts = BTreeMap::new();
    let topics = topology.source_topics().into_iter();
    for topic in topics.chain(topology.output_topics()).chain(topology.dlq_topics()) {
        // A topic may be created a moment after the workers have started: this is waited for.
        let count = log.partitions(&topic).await?.ok_or_else(|| {
            let name = topology.name();
            let detail = format!("topic {topic}, which topology {name} needs, does not exist; create it");
            TaskError::restart(Reason::TopicMissing, detail)
        })?;
        counts.insert(topic, count);
    }
    for together in topology.copartitioned_topics() {
        let numbers: BTreeMap<&String, i32> = together.iter().filter_map(|t| Some((t, *counts.get(t)?))).collect();
        let distinct: BTreeSet<i32> = numbers.values().copied().collect();
        if distinct.len() > 1 {
            return Err(TaskError::Fatal(format!(
                "topology {}: these topics must have the same number of partitions, but have {numbers:?}",
                topology.name()
            )));
        }
    }
    let sources = topology.source_topics();
    counts.retain(|topic, _| sources.contains(topic));
    Ok(counts)
}
