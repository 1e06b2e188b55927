//! One train-date with two seats, and commands about it.

use interlock_schemas::{
    Allocation, Berth, BerthPreference, BookingRequest, CancellationRequest, Coach, Command, Fare, FareSlab, Layout,
    Passenger, PromotionPolicy, RefundBand, Stop, TrainService, train_date_key,
};

/// The date of all segments.
pub(super) const TRAVEL_DATE: i32 = 20_000;

pub(super) fn key() -> String {
    train_date_key("12951", TRAVEL_DATE).to_string()
}

pub(super) fn book(request_id: &str, passengers: usize) -> Command {
    let passenger = |number: usize| Passenger {
        name: format!("Passenger {number}").into(),
        age: 30,
        berth_preference: BerthPreference::None,
        preference_is_hard: false,
    };
    Command::Book(BookingRequest {
        request_id: request_id.to_owned().into(),
        train_id: "12951".to_owned().into(),
        travel_date: TRAVEL_DATE,
        user_id: "ada".to_owned().into(),
        from_station: "A".to_owned().into(),
        to_station: "C".to_owned().into(),
        travel_class: "CC".to_owned().into(),
        quota: "GN".to_owned().into(),
        passengers: (0..passengers).map(passenger).collect(),
        partial_confirmation: true,
        requested_at: 0,
    })
}

pub(super) fn cancel(request_id: &str, booking: &str) -> Command {
    Command::Cancel(CancellationRequest {
        request_id: request_id.to_owned().into(),
        train_id: "12951".to_owned().into(),
        travel_date: TRAVEL_DATE,
        booking_request_id: booking.to_owned().into(),
        passengers: Vec::new(),
        user_id: "ada".to_owned().into(),
        requested_at: 0,
    })
}

/// Three stops, two seats.
pub(super) fn train() -> TrainService {
    let stop = |(code, number): (&str, i32)| Stop {
        code: code.to_owned().into(),
        name: code.to_owned().into(),
        arrival_s: 36_000 + number * 3_600,
        departure_s: 36_000 + number * 3_600,
        distance_m: i64::from(number) * 100_000,
    };
    let fare = Fare {
        travel_class: "CC".to_owned().into(),
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
    };
    TrainService {
        train_id: "12951".to_owned().into(),
        name: "Example".to_owned().into(),
        version: 1,
        time_zone: "Asia/Kolkata".to_owned().into(),
        running_dates: vec![TRAVEL_DATE],
        route: ["A", "B", "C"].into_iter().zip(0..).map(stop).collect(),
        other_timetables: vec![],
        layouts: vec![Layout {
            name: "CC2".to_owned().into(),
            seats: 2,
            pattern: vec![Berth::Window, Berth::Aisle],
        }],
        coaches: vec![Coach {
            name: "C1".to_owned().into(),
            travel_class: "CC".to_owned().into(),
            layout: "CC2".to_owned().into(),
        }],
        quotas: Vec::new(),
        fares: vec![fare],
        refund_bands: vec![RefundBand {
            more_than_s: 0,
            keep_bp: 0,
        }],
        waitlist_caps: vec![interlock_schemas::WaitlistCap {
            travel_class: "CC".to_owned().into(),
            quota: "GN".to_owned().into(),
            passengers: 100,
        }],
        sale: Vec::new(),
        allocation: Allocation::BestFit,
        promotion: PromotionPolicy::FifoSkip,
        currency: "INR".to_owned().into(),
    }
}
