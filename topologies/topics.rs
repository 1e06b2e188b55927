//! The topics as the topologies need them, whatever log keeps them.

use interlock_schemas::topics::{BOOKING_REQUESTS, TOPICS, TRAIN_SERVICES, dlq};
use interlock_streams::log::TopicSpec;

/// Every topic of the contract, with its dead letters where it is somebody's input. All have the same number of
/// partitions: a partition of each belongs to one ledger.
pub fn topic_specs(partitions: i32, replication: i32) -> Vec<TopicSpec> {
    let names = TOPICS.iter().flat_map(|(topic, _)| [(*topic).to_owned(), dlq(topic)]);
    let specs = names.map(|name| {
        // The last plan of each train is read at start, however old; a ledger is rebuilt from its events.
        let policy = if name == TRAIN_SERVICES { "compact" } else { "delete" };
        let mut settings = vec![("cleanup.policy".to_owned(), policy.to_owned())];
        if name == BOOKING_REQUESTS {
            // The time of a command is its record's, never the client's claim.
            settings.push(("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()));
        }
        if name.ends_with(&dlq("")) {
            // As long as a broker's longest record, with why it is there.
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
