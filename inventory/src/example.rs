//! A small train for the unit tests.

use interlock_schemas::{
    Allocation, Berth, BerthPreference, BookingRequest, Coach, Fare, FareSlab, Layout, Passenger, PromotionPolicy,
    Quota, RefundBand, Stop, TrainService,
};

/// Returns a train with five stops, two sleeper coaches of 72 seats, and 20 seats for TQ.
pub(crate) fn sleeper_train() -> TrainService {
    let stop = |(code, number): (&str, i32)| Stop {
        code: code.into(),
        name: code.into(),
        arrival_s: 36_000 + number * 3_600,
        departure_s: 36_000 + number * 3_600,
        distance_m: i64::from(number) * 100_000,
    };
    let coach = |name: &str| Coach {
        name: name.into(),
        travel_class: "SL".into(),
        layout: "SL72".into(),
    };
    use Berth::{Lower, Middle, SideLower, SideUpper, Upper};
    TrainService {
        train_id: "12951".into(),
        name: "Example".into(),
        version: 1,
        time_zone: "Asia/Kolkata".into(),
        running_dates: vec![20_000],
        route: ["A", "B", "C", "D", "E"].into_iter().zip(0..).map(stop).collect(),
        other_timetables: vec![],
        layouts: vec![Layout {
            name: "SL72".into(),
            seats: 72,
            pattern: vec![Lower, Middle, Upper, Lower, Middle, Upper, SideLower, SideUpper],
        }],
        coaches: vec![coach("S1"), coach("S2")],
        quotas: vec![Quota {
            quota: "TQ".into(),
            travel_class: "SL".into(),
            seats: 20,
        }],
        fares: vec![Fare {
            travel_class: "SL".into(),
            slabs: vec![FareSlab {
                up_to_m: 1_000_000,
                fare_minor: 60_000,
            }],
            reservation_fee_minor: 0,
            tatkal_bp: 0,
            tatkal_min_minor: 0,
            tatkal_max_minor: 0,
            tax_bp: 0,
            cancellation_flat_minor: 12_000,
            clerkage_minor: 6_000,
        }],
        refund_bands: vec![RefundBand {
            more_than_s: 0,
            keep_bp: 0,
        }],
        waitlist_caps: vec![],
        sale: vec![],
        allocation: Allocation::BestFit,
        promotion: PromotionPolicy::FifoSkip,
        currency: "INR".into(),
    }
}

/// Returns a booking from A to C.
pub(crate) fn booking(request_id: &str, passengers: usize) -> BookingRequest {
    let passenger = |number: usize| Passenger {
        name: format!("Passenger {number}").into(),
        age: 30,
        berth_preference: BerthPreference::None,
        preference_is_hard: false,
    };
    BookingRequest {
        request_id: request_id.into(),
        train_id: "12951".into(),
        travel_date: 20_000,
        user_id: "u1".into(),
        from_station: "A".into(),
        to_station: "C".into(),
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: (0..passengers).map(passenger).collect(),
        partial_confirmation: false,
        requested_at: 0,
    }
}
