//! The topics, and the record types that each carries.

use crate::record_type::RecordType;

/// Commands, keyed by train-date.
pub const BOOKING_REQUESTS: &str = "booking-requests";
/// Plans, compacted, keyed by train.
pub const TRAIN_SERVICES: &str = "train-services";
/// Events: seats.
pub const CONFIRMED: &str = "confirmed";
/// Events: waiting passengers and their moves.
pub const WAITLIST: &str = "waitlist";
/// Events: places given back.
pub const CANCELLED: &str = "cancelled";
/// Events: refused commands.
pub const REJECTED: &str = "rejected";
/// Events: train-dates opened.
pub const TRAIN_DATES: &str = "train-dates";

/// The topics of a ledger's events; a partition of each belongs to one ledger.
pub const EVENTS: [&str; 5] = [CONFIRMED, WAITLIST, CANCELLED, REJECTED, TRAIN_DATES];

/// Every topic with the record types that it carries.
pub const TOPICS: [(&str, &[RecordType]); 7] = [
    (
        BOOKING_REQUESTS,
        &[RecordType::BookingRequest, RecordType::CancellationRequest],
    ),
    (TRAIN_SERVICES, &[RecordType::TrainService]),
    (CONFIRMED, &[RecordType::BookingConfirmed]),
    (WAITLIST, &[RecordType::BookingWaitlisted]),
    (CANCELLED, &[RecordType::BookingCancelled]),
    (REJECTED, &[RecordType::BookingRejected]),
    (TRAIN_DATES, &[RecordType::TrainDateOpened]),
];

/// Returns every record type with its topic, as registered at the start.
pub fn contract() -> Vec<(&'static str, RecordType)> {
    TOPICS
        .iter()
        .flat_map(|(topic, records)| records.iter().map(|record| (*topic, *record)))
        .collect()
}

/// The topics that clients may write to. Only topologies write to the others, because ledgers are rebuilt from them.
pub const INPUTS: [&str; 2] = [BOOKING_REQUESTS, TRAIN_SERVICES];

/// Returns the record types that a topic carries, or `None` if the contract does not have the topic.
pub fn records_of(topic: &str) -> Option<&'static [RecordType]> {
    let found = TOPICS.iter().find(|(name, _)| *name == topic);
    found.map(|(_, records)| *records)
}

/// Returns the fields whose values, joined by `|`, form the key of a topic's records.
pub fn key_fields(topic: &str) -> &'static [&'static str] {
    match topic {
        TRAIN_SERVICES => &["train_id"],
        _ => &["train_id", "travel_date"],
    }
}

/// Returns the dead-letter topic of `topic`, which takes undecodable and malformed records byte for byte.
pub fn dlq(topic: &str) -> String {
    format!("{topic}.dlq")
}

/// Returns the topic that carries records of this type.
pub const fn topic_of(record: RecordType) -> &'static str {
    match record {
        RecordType::BookingRequest | RecordType::CancellationRequest => BOOKING_REQUESTS,
        RecordType::BookingConfirmed => CONFIRMED,
        RecordType::BookingWaitlisted => WAITLIST,
        RecordType::BookingCancelled => CANCELLED,
        RecordType::BookingRejected => REJECTED,
        RecordType::TrainDateOpened => TRAIN_DATES,
        RecordType::TrainService => TRAIN_SERVICES,
    }
}

/// Returns the subject of a record type on a topic (`TopicRecordNameStrategy`).
pub fn subject(topic: &str, record: RecordType) -> String {
    format!("{topic}-{record}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_topic_of_agree() {
        for (topic, records) in TOPICS {
            for record in records {
                assert_eq!(topic_of(*record), topic);
            }
        }
        assert_eq!(
            TOPICS.iter().map(|(_, records)| records.len()).sum::<usize>(),
            RecordType::ALL.len()
        );
    }

    #[test]
    fn a_subject_is_topic_and_full_name() {
        assert_eq!(
            subject(BOOKING_REQUESTS, RecordType::BookingRequest),
            "booking-requests-interlock.BookingRequest"
        );
        assert_eq!(dlq(BOOKING_REQUESTS), "booking-requests.dlq");
    }
}
