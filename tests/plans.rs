//! A small train for tests, with five stops and two sleepers, one of them partly for Tatkal.

use interlock_schemas::{
    Allocation, Berth, Coach, Fare, FareSlab, Layout, PromotionPolicy, Quota, RefundBand, Stop, TrainService,
};

/// Seconds between stops.
const LEG_S: i32 = 3_600;

/// Returns a sleeper that runs on these dates (days since the epoch).
pub fn sleeper(train_id: &str, running_dates: Vec<i32>) -> TrainService {
    let stop = |(code, number): (&str, i32)| Stop {
        code: code.into(),
        name: format!("Station {code}").into(),
        arrival_s: 36_000 + number * LEG_S,
        departure_s: 36_000 + number * LEG_S + 300,
        distance_m: i64::from(number) * 100_000,
    };
    let coach = |name: &str| Coach {
        name: name.into(),
        travel_class: "SL".into(),
        layout: "SL72".into(),
    };
    use Berth::{Lower, Middle, SideLower, SideUpper, Upper};
    TrainService {
        train_id: train_id.into(),
        name: format!("Test sleeper {train_id}").into(),
        version: 1,
        time_zone: "Asia/Kolkata".into(),
        running_dates,
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
            reservation_fee_minor: 2_000,
            tatkal_bp: 3_000,
            tatkal_min_minor: 10_000,
            tatkal_max_minor: 20_000,
            tax_bp: 500,
            cancellation_flat_minor: 12_000,
            clerkage_minor: 6_000,
        }],
        refund_bands: vec![
            RefundBand {
                more_than_s: 259_200,
                keep_bp: 0,
            },
            RefundBand {
                more_than_s: 28_800,
                keep_bp: 5_000,
            },
        ],
        waitlist_caps: vec![],
        sale: vec![],
        allocation: Allocation::BestFit,
        promotion: PromotionPolicy::FifoSkip,
        currency: "INR".into(),
    }
}

/// Returns the dates on sale: today and the days after it, by the clock of this machine.
#[expect(
    clippy::disallowed_methods,
    reason = "a test that sells today must know what today is"
)]
pub fn coming_days(count: i32) -> Vec<i32> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let today = i32::try_from(since.as_secs() / 86_400).unwrap_or(i32::MAX - 400);
    (today + 2..today + 2 + count).collect()
}
