//! Commands: `booking_request.avsc`, `cancellation_request.avsc`.

use crate::avro::{record, symbols};
use crate::types::{BerthPreference, BookingRequest, CancellationRequest, Passenger};

record!(BookingRequest {
    request_id,
    train_id,
    travel_date,
    user_id,
    from_station,
    to_station,
    travel_class,
    quota,
    passengers,
    partial_confirmation,
    requested_at,
});

record!(Passenger {
    name,
    age,
    berth_preference,
    preference_is_hard
});

symbols!(BerthPreference {
    None,
    Lower,
    Middle,
    Upper,
    SideLower,
    SideUpper,
    Window,
    Aisle
});

record!(CancellationRequest {
    request_id,
    train_id,
    travel_date,
    booking_request_id,
    passengers,
    user_id,
    requested_at,
});
