//! Reasons for a refusal: the closed list of codes, and the sentence for each.

use std::fmt;

use interlock_schemas::Text;

/// Reasons for a refusal; their names are part of the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionCode {
    /// A field is empty, too long or out of range.
    MalformedRequest,
    /// The request id was used with a different body (R3).
    IdempotencyKeyReused,
    /// No plan of this train is known.
    UnknownTrain,
    /// The train doesn't run on the date.
    NotRunningOnDate,
    /// A station isn't on the route.
    UnknownStation,
    /// The segment ends where it begins, or before (G9).
    StationsOutOfOrder,
    /// The train has no coach of the class.
    ClassNotOnTrain,
    /// The class has no such quota.
    QuotaNotOnTrain,
    /// The request has no passengers.
    NoPassengers,
    /// More passengers than a booking may have (R12).
    TooManyPassengers,
    /// The sale hasn't begun.
    SaleNotOpen,
    /// The train has left the boarding stop.
    TrainDeparted,
    /// A hard preference for a berth cannot be met (R7).
    NoMatchingBerth,
    /// The waitlist's cap is reached (R14).
    WaitlistFull,
    /// There is no booking under the request id (R20).
    BookingNotFound,
    /// Another user booked (R20).
    NotYourBooking,
    /// The booking has no passenger with this index.
    UnknownPassenger,
}

impl RejectionCode {
    /// Returns the name in events, such as `WAITLIST_FULL`.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectionCode::MalformedRequest => "MALFORMED_REQUEST",
            RejectionCode::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            RejectionCode::UnknownTrain => "UNKNOWN_TRAIN",
            RejectionCode::NotRunningOnDate => "NOT_RUNNING_ON_DATE",
            RejectionCode::UnknownStation => "UNKNOWN_STATION",
            RejectionCode::StationsOutOfOrder => "STATIONS_OUT_OF_ORDER",
            RejectionCode::ClassNotOnTrain => "CLASS_NOT_ON_TRAIN",
            RejectionCode::QuotaNotOnTrain => "QUOTA_NOT_ON_TRAIN",
            RejectionCode::NoPassengers => "NO_PASSENGERS",
            RejectionCode::TooManyPassengers => "TOO_MANY_PASSENGERS",
            RejectionCode::SaleNotOpen => "SALE_NOT_OPEN",
            RejectionCode::TrainDeparted => "TRAIN_DEPARTED",
            RejectionCode::NoMatchingBerth => "NO_MATCHING_BERTH",
            RejectionCode::WaitlistFull => "WAITLIST_FULL",
            RejectionCode::BookingNotFound => "BOOKING_NOT_FOUND",
            RejectionCode::NotYourBooking => "NOT_YOUR_BOOKING",
            RejectionCode::UnknownPassenger => "UNKNOWN_PASSENGER",
        }
    }

    /// Returns the name as a field of an event.
    pub(crate) fn name(self) -> Text {
        Text::new_static(self.as_str())
    }

    /// Creates a refusal with this code and a sentence that says what is wrong and what to do.
    pub(crate) fn because(self, message: impl Into<Text>) -> Refusal {
        Refusal {
            code: self,
            message: message.into(),
        }
    }
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refused command.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: RejectionCode,
    pub(crate) message: Text,
}
