//! The topics that the topologies need, independent of the log that keeps them.

use interlock_schemas::topics::{BOOKING_REQUESTS, TOPICS, TRAIN_SERVICES, dlq};
use interlock_streams::log::TopicSpec;

/// Returns every topic of the contract and its dead-letter topic, all created with `partitions` partitions: a partition
/// of each belongs to one ledger.
pub fn topic_specs(partitions: i32, replication: i32) -> Vec<TopicSpec> {
    let names = TOPICS.iter().flat_map(|(topic, _)| [(*topic).to_owned(), dlq(topic)]);
    let specs = names.map(|name| {
        // The last plan of each train is read at start, however old; a ledger is rebuilt from its events.
        let policy = if name == TRAIN_SERVICES { "compact" } else { "delete" };
        let mut settings = vec![("cleanup.policy".to_owned(), policy.to_owned())];
        if name == BOOKING_REQUESTS {
            // The time of a command is its record's, never one that the client states.
            settings.push(("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()));
        }
        if name.ends_with(&dlq("")) {
            // A dead letter may be as long as a broker's longest record, plus the headers with its reason.
            settings.push(("max.message.bytes".to_owned(), "2097152".to_owned()));
        }
        TopicSpec {
            name,
            partitions,
            replication,
            settings,
        }
    });
    specs.collect()
}
