//! Arbitrary records, and the same records as apache-avro's values: a second, independent description of the contract,
//! by field names and symbols where the codec goes by order alone.

#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.

use apache_avro::types::Value;
use interlock_schemas::*;

/// Bytes that choose a value. Few or small bytes choose a small value, so that proptest's shrinking of the bytes
/// shrinks the record.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Source(bytes)
    }

    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    fn integer(&mut self) -> i64 {
        match self.byte() {
            0 => 0,
            1 => i64::MIN,
            2 => i64::MAX,
            3 => i64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            n => i64::from(n) - 128,
        }
    }
}

/// A value that bytes can choose, and that apache-avro can write.
pub trait Mirror: Sized {
    fn arbitrary(source: &mut Source<'_>) -> Self;
    fn value(&self) -> Value;
}

impl Mirror for i64 {
    fn arbitrary(source: &mut Source<'_>) -> Self {
        source.integer()
    }
    fn value(&self) -> Value {
        Value::Long(*self)
    }
}

impl Mirror for i32 {
    fn arbitrary(source: &mut Source<'_>) -> Self {
        source.integer().clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
    fn value(&self) -> Value {
        Value::Int(*self)
    }
}

impl Mirror for bool {
    fn arbitrary(source: &mut Source<'_>) -> Self {
        source.byte() % 2 == 1
    }
    fn value(&self) -> Value {
        Value::Boolean(*self)
    }
}

impl Mirror for Text {
    fn arbitrary(source: &mut Source<'_>) -> Self {
        const CHARACTERS: [char; 8] = ['a', 'Z', '7', '|', '\0', 'é', 'ह', '🚆'];
        let length = match source.byte() {
            255 => 200,
            n => n % 12,
        };
        (0..length)
            .map(|_| CHARACTERS[usize::from(source.byte()) % CHARACTERS.len()])
            .collect()
    }
    fn value(&self) -> Value {
        Value::String(self.to_string())
    }
}

impl<T: Mirror> Mirror for Vec<T> {
    fn arbitrary(source: &mut Source<'_>) -> Self {
        (0..source.byte() % 4).map(|_| T::arbitrary(source)).collect()
    }
    fn value(&self) -> Value {
        Value::Array(self.iter().map(Mirror::value).collect())
    }
}

macro_rules! mirror_symbols {
    ($type:ident { $($variant:ident = $symbol:literal),+ $(,)? }) => {
        impl Mirror for $type {
            fn arbitrary(source: &mut Source<'_>) -> Self {
                let all = [$($type::$variant),+];
                all[usize::from(source.byte()) % all.len()]
            }
            fn value(&self) -> Value {
                let symbol = match self { $($type::$variant => $symbol),+ };
                let index = [$($symbol),+].iter().position(|other| *other == symbol).expect("listed above");
                Value::Enum(index as u32, symbol.to_owned())
            }
        }
    };
}

impl<T: Mirror> Mirror for Box<T> {
    fn arbitrary(source: &mut Source<'_>) -> Self {
        Box::new(T::arbitrary(source))
    }
    fn value(&self) -> Value {
        T::value(self)
    }
}

macro_rules! mirror_record {
    ($type:ident $(: $header:ident)? { $($field:ident),+ $(,)? }) => {
        impl Mirror for $type {
            fn arbitrary(source: &mut Source<'_>) -> Self {
                $type { $($header: Mirror::arbitrary(source),)? $($field: Mirror::arbitrary(source)),+ }
            }
            fn value(&self) -> Value {
                let fields = vec![$((stringify!($field).to_owned(), self.$field.value())),+];
                $(let fields = with_header(self.$header.value(), fields);)?
                Value::Record(fields)
            }
        }
    };
}

fn with_header(header: Value, fields: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let Value::Record(mut all) = header else {
        unreachable!("a header is a record")
    };
    all.extend(fields);
    all
}

mirror_symbols!(BerthPreference {
    None = "NONE",
    Lower = "LOWER",
    Middle = "MIDDLE",
    Upper = "UPPER",
    SideLower = "SIDE_LOWER",
    SideUpper = "SIDE_UPPER",
    Window = "WINDOW",
    Aisle = "AISLE",
});
mirror_symbols!(Berth {
    Lower = "LOWER",
    Middle = "MIDDLE",
    Upper = "UPPER",
    SideLower = "SIDE_LOWER",
    SideUpper = "SIDE_UPPER",
    Window = "WINDOW",
    Aisle = "AISLE",
});
mirror_symbols!(EventKind { Answer = "ANSWER", Promotion = "PROMOTION", Position = "POSITION", Opened = "OPENED" });
mirror_symbols!(Tier { SameBay = "SAME_BAY", SameCoach = "SAME_COACH", Split = "SPLIT" });
mirror_symbols!(Allocation { BestFit = "BEST_FIT", FirstFit = "FIRST_FIT" });
mirror_symbols!(PromotionPolicy { FifoSkip = "FIFO_SKIP", LegStrict = "LEG_STRICT" });

mirror_record!(Passenger {
    name,
    age,
    berth_preference,
    preference_is_hard
});
mirror_record!(BookingRequest {
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
mirror_record!(CancellationRequest {
    request_id,
    train_id,
    travel_date,
    booking_request_id,
    passengers,
    user_id,
    requested_at,
});

mirror_record!(EventHeader {
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
mirror_record!(SeatedPassenger {
    index,
    name,
    age,
    coach,
    seat_number,
    berth,
    fare_minor
});
mirror_record!(BookingConfirmed: header { passengers, tier, distance_m, departure_time, arrival_time });
mirror_record!(WaitingPassenger {
    index,
    name,
    age,
    berth_preference,
    fare_minor,
    first_position,
    current_position
});
mirror_record!(PositionMove {
    pnr,
    request_id,
    index,
    first_position,
    current_position
});
mirror_record!(BookingWaitlisted: header { list, passengers, partial_confirmation, distance_m, moves });
mirror_record!(CancelledPassenger {
    index,
    coach,
    seat_number,
    was_confirmed,
    already_cancelled,
    refund_minor
});
mirror_record!(BookingCancelled: header { passengers, distance_m });
mirror_record!(BookingRejected: header { code, message, passenger_count });
mirror_record!(TrainDateOpened: header { plan });

mirror_record!(Stop {
    code,
    name,
    arrival_s,
    departure_s,
    distance_m
});
mirror_record!(Layout { name, seats, pattern });
mirror_record!(Coach {
    name,
    travel_class,
    layout
});
mirror_record!(Quota {
    quota,
    travel_class,
    seats
});
mirror_record!(FareSlab { up_to_m, fare_minor });
mirror_record!(Fare {
    travel_class,
    slabs,
    reservation_fee_minor,
    tatkal_bp,
    tatkal_min_minor,
    tatkal_max_minor,
    tax_bp,
    cancellation_flat_minor,
    clerkage_minor,
});
mirror_record!(RefundBand { more_than_s, keep_bp });
mirror_record!(WaitlistCap {
    travel_class,
    quota,
    passengers
});
mirror_record!(SaleWindow {
    quota,
    opens_days_before,
    opens_at_s
});
mirror_record!(Timetable { running_dates, route });
mirror_record!(TrainService {
    train_id,
    name,
    version,
    time_zone,
    running_dates,
    route,
    other_timetables,
    layouts,
    coaches,
    quotas,
    fares,
    refund_bands,
    waitlist_caps,
    sale,
    allocation,
    promotion,
    currency,
});
