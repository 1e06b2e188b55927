//! Events: `booking_confirmed.avsc`, `booking_waitlisted.avsc`, `booking_cancelled.avsc`, `booking_rejected.avsc`,
//! `train_date_opened.avsc`. A record is encoded as its fields in order, with nothing between them. The header can
//! therefore be a struct here and flat fields in the schemas.

use crate::avro::{record, symbols};
use crate::types::{
    BookingCancelled, BookingConfirmed, BookingRejected, BookingWaitlisted, CancelledPassenger, EventHeader, EventKind,
    PositionMove, SeatedPassenger, Tier, TrainDateOpened, WaitingPassenger,
};

record!(EventHeader {
    ledger,
    sequence,
    source_offset,
    kind,
    replay,
    token,
    cause_request_id,
    request_id,
    request_digest,
    pnr,
    train_id,
    travel_date,
    travel_class,
    quota,
    user_id,
    from_station,
    to_station,
    plan_version,
    event_time,
    amount_minor,
    currency,
});

symbols!(EventKind {
    Answer,
    Promotion,
    Position,
    Opened
});

record!(BookingConfirmed {
    header,
    passengers,
    tier,
    distance_m,
    departure_time,
    arrival_time
});

record!(SeatedPassenger {
    index,
    name,
    age,
    coach,
    seat_number,
    berth,
    fare_minor
});

symbols!(Tier {
    SameBay,
    SameCoach,
    Split
});

record!(BookingWaitlisted {
    header,
    list,
    passengers,
    partial_confirmation,
    distance_m,
    moves
});

record!(WaitingPassenger {
    index,
    name,
    age,
    berth_preference,
    fare_minor,
    first_position,
    current_position
});

record!(PositionMove {
    pnr,
    request_id,
    index,
    first_position,
    current_position
});

record!(BookingCancelled {
    header,
    passengers,
    distance_m
});

record!(CancelledPassenger {
    index,
    coach,
    seat_number,
    was_confirmed,
    already_cancelled,
    refund_minor
});

record!(BookingRejected {
    header,
    code,
    message,
    passenger_count
});

record!(TrainDateOpened { header, plan });
