//! Checks that a stream thread makes before it joins its group.

use std::collections::BTreeMap;

use super::error::TaskError;
use crate::dsl::policy::dlq_topic;
use crate::dsl::topology::Topology;
use crate::log::Log;
use crate::metric_definitions::{ACQUISITIONS, REBUILDS, RECORDS_FORWARDED, RECORDS_REFUSED, RESTARTS};

/// Shows counters as 0 before they count: an increase from nothing is not seen as one.
pub(crate) fn show_counters(topology: &Topology) {
    for reason in [
        "log_unavailable",
        "transaction_aborted",
        "producer_fenced",
        "partitions_lost",
    ] {
        metrics::counter!(RESTARTS, "topology" => topology.name().to_owned(), "reason" => reason).increment(0);
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

/// Looks whether all topics exist and those that belong together have the same number of partitions; returns the
/// sources' numbers.
pub(crate) async fn check_topics(topology: &Topology, log: &dyn Log) -> Result<BTreeMap<String, i32>, TaskError> {
    let mut counts = BTreeMap::new();
    let mut topics = topology.source_topics();
    topics.extend(topology.output_topics());
    topics.extend(
        topology
            .source_topics()
            .iter()
            .map(|topic| dlq_topic(topic))
            .filter(|topic| topology.dlq_topics().contains(topic)),
    );
    for topic in topics {
        // A topic may be created a moment after the workers have started: this is waited for.
        let count = log.partitions(&topic).await?.ok_or_else(|| TaskError::Restart {
            reason: "topic_missing",
            detail: format!(
                "topic {topic}, which topology {} needs, does not exist; create it",
                topology.name()
            ),
            producer_lost: false,
        })?;
        counts.insert(topic, count);
    }
    for together in topology.copartitioned_topics() {
        let numbers: BTreeMap<&String, i32> = together.iter().filter_map(|t| Some((t, *counts.get(t)?))).collect();
        let mut distinct: Vec<i32> = numbers.values().copied().collect();
        distinct.dedup();
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
