//! The catalogue of record types: their names and schemas.

use std::fmt;
use std::sync::LazyLock;

use apache_avro::Schema;

/// A record type of the contract. To add one: the `.avsc` file, the struct in `types.rs`, its fields in `codec/`, a
/// line in each list here, and its topic in `topics.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// A command.
    BookingRequest,
    /// A command.
    CancellationRequest,
    /// An event.
    BookingConfirmed,
    /// An event.
    BookingWaitlisted,
    /// An event.
    BookingCancelled,
    /// An event.
    BookingRejected,
    /// An event.
    TrainDateOpened,
    /// A plan.
    TrainService,
}

impl RecordType {
    /// All record types, in the order of their declaration.
    pub const ALL: [RecordType; 8] = [
        RecordType::BookingRequest,
        RecordType::CancellationRequest,
        RecordType::BookingConfirmed,
        RecordType::BookingWaitlisted,
        RecordType::BookingCancelled,
        RecordType::BookingRejected,
        RecordType::TrainDateOpened,
        RecordType::TrainService,
    ];

    /// Returns the full name in Avro. A reader recognises a record by it, independent of the subject.
    pub const fn name(self) -> &'static str {
        match self {
            RecordType::BookingRequest => "interlock.BookingRequest",
            RecordType::CancellationRequest => "interlock.CancellationRequest",
            RecordType::BookingConfirmed => "interlock.BookingConfirmed",
            RecordType::BookingWaitlisted => "interlock.BookingWaitlisted",
            RecordType::BookingCancelled => "interlock.BookingCancelled",
            RecordType::BookingRejected => "interlock.BookingRejected",
            RecordType::TrainDateOpened => "interlock.TrainDateOpened",
            RecordType::TrainService => "interlock.TrainService",
        }
    }

    /// Returns the schema, as in the `.avsc` file.
    pub const fn schema(self) -> &'static str {
        match self {
            RecordType::BookingRequest => include_str!("booking_request.avsc"),
            RecordType::CancellationRequest => include_str!("cancellation_request.avsc"),
            RecordType::BookingConfirmed => include_str!("booking_confirmed.avsc"),
            RecordType::BookingWaitlisted => include_str!("booking_waitlisted.avsc"),
            RecordType::BookingCancelled => include_str!("booking_cancelled.avsc"),
            RecordType::BookingRejected => include_str!("booking_rejected.avsc"),
            RecordType::TrainDateOpened => include_str!("train_date_opened.avsc"),
            RecordType::TrainService => include_str!("train_service.avsc"),
        }
    }

    /// Returns the parsed schema.
    pub fn parsed(self) -> &'static Schema {
        static PARSED: LazyLock<[Schema; RecordType::ALL.len()]> = LazyLock::new(|| {
            RecordType::ALL.map(|record| {
                Schema::parse_str(record.schema())
                    .unwrap_or_else(|error| unreachable!("{record}, compiled in and tested, does not parse: {error}"))
            })
        });
        &PARSED[self as usize]
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
