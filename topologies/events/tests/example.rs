//! Builds short events for the tests.

use interlock_schemas::{
    Allocation, Berth, BerthPreference, BookingRejected, CancelledPassenger, Coach, Layout, PositionMove,
    PromotionPolicy, SeatedPassenger, Stop, Text, Tier, TrainDateOpened, WaitingPassenger,
};

use super::super::*;

pub(super) const DAY: Date = 20_788; // 2026-12-01
pub(super) const TRIP_M: i64 = 500_000;

/// An event without the details of its header: time (ms), kind, passengers and money.
#[derive(Clone, Debug)]
pub(super) struct Short {
    pub(super) at: TimestampMs,
    pub(super) what: What,
    pub(super) replay: bool,
    pub(super) quota: &'static str,
    pub(super) amount_minor: i64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The passengers with these indices got seats.
    Confirmed(i32, i32),
    Promoted(i32),
    /// The passengers with these indices wait.
    Waitlisted(i32, i32),
    MovedUp(i32),
    /// The numbers of passengers who had seats, who waited, and who were cancelled before.
    Cancelled(i32, i32, i32),
    Rejected(i32, &'static str),
}

fn header(short: &Short, kind: EventKind) -> EventHeader {
    EventHeader {
        ledger: 0,
        sequence: 0,
        source_offset: 0,
        kind,
        replay: short.replay,
        token: Text::default(),
        cause_request_id: Text::default(),
        request_id: Text::default(),
        request_digest: Text::default(),
        pnr: Text::default(),
        train_id: "12951".into(),
        travel_date: DAY,
        travel_class: "SL".into(),
        quota: short.quota.into(),
        user_id: Text::default(),
        from_station: Text::default(),
        to_station: Text::default(),
        plan_version: 1,
        event_time: short.at,
        amount_minor: short.amount_minor,
        currency: "INR".into(),
    }
}

fn seated(indices: std::ops::Range<i32>) -> Vec<SeatedPassenger> {
    let seated = |index| SeatedPassenger {
        index,
        name: Text::default(),
        age: 30,
        coach: "S1".into(),
        seat_number: 1 + index,
        berth: Berth::Lower,
        fare_minor: 60_000,
    };
    indices.map(seated).collect()
}

fn waiting(indices: std::ops::Range<i32>) -> Vec<WaitingPassenger> {
    let waiting = |index| WaitingPassenger {
        index,
        name: Text::default(),
        age: 30,
        berth_preference: BerthPreference::None,
        fare_minor: 60_000,
        first_position: 1,
        current_position: 1,
    };
    indices.map(waiting).collect()
}

pub(super) fn event(short: &Short) -> Event {
    let confirmed = |kind, passengers| {
        Event::Confirmed(BookingConfirmed {
            header: header(short, kind),
            passengers,
            tier: Tier::SameBay,
            distance_m: TRIP_M,
            departure_time: 0,
            arrival_time: 0,
        })
    };
    let waitlisted = |kind, passengers, moved: i32| {
        let place = |index| PositionMove {
            pnr: Text::default(),
            request_id: Text::default(),
            index,
            first_position: 2,
            current_position: 1,
        };
        Event::Waitlisted(BookingWaitlisted {
            header: header(short, kind),
            list: "GNWL".into(),
            passengers,
            partial_confirmation: false,
            distance_m: TRIP_M,
            moves: (0..moved).map(place).collect(),
        })
    };
    match short.what {
        What::Confirmed(from, to) => confirmed(EventKind::Answer, seated(from..to)),
        What::Promoted(count) => confirmed(EventKind::Promotion, seated(0..count)),
        What::Waitlisted(from, to) => waitlisted(EventKind::Answer, waiting(from..to), 0),
        What::MovedUp(count) => waitlisted(EventKind::Position, vec![], count),
        What::Cancelled(seated, waited, before) => {
            let given = |(was_confirmed, already_cancelled)| CancelledPassenger {
                index: 0,
                coach: Text::default(),
                seat_number: 0,
                was_confirmed,
                already_cancelled,
                refund_minor: 0,
            };
            let kinds = [
                (seated, (true, false)),
                (waited, (false, false)),
                (before, (true, true)),
            ];
            let each = kinds
                .into_iter()
                .flat_map(|(count, kind)| (0..count).map(move |_| kind));
            Event::Cancelled(BookingCancelled {
                header: header(short, EventKind::Answer),
                passengers: each.map(given).collect(),
                distance_m: TRIP_M,
            })
        }
        What::Rejected(passenger_count, code) => Event::Rejected(BookingRejected {
            header: EventHeader {
                currency: Text::default(),
                ..header(short, EventKind::Answer)
            },
            code: code.into(),
            message: Text::default(),
            passenger_count,
        }),
    }
}

pub(super) fn opened() -> Event {
    let stop = |code: &str, distance_m| Stop {
        code: code.into(),
        name: code.into(),
        arrival_s: 61_200,
        departure_s: 61_200, // 17:00 in India: 11:30 UTC
        distance_m,
    };
    let coach = |name: &str, class: &str, layout: &str| Coach {
        name: name.into(),
        travel_class: class.into(),
        layout: layout.into(),
    };
    let layout = |name: &str, seats| Layout {
        name: name.into(),
        seats,
        pattern: vec![Berth::Lower],
    };
    let short = Short {
        at: 5,
        what: What::MovedUp(0),
        replay: false,
        quota: "",
        amount_minor: 0,
    };
    Event::Opened(TrainDateOpened {
        header: EventHeader {
            travel_class: Text::default(),
            ..header(&short, EventKind::Opened)
        },
        plan: Box::new(TrainService {
            train_id: "12951".into(),
            name: Text::default(),
            version: 1,
            time_zone: "Asia/Kolkata".into(),
            running_dates: vec![],
            route: vec![stop("A", 0), stop("B", 400_000), stop("C", 1_384_000)],
            other_timetables: vec![],
            layouts: vec![layout("SL72", 72), layout("3A64", 64)],
            coaches: vec![
                coach("S1", "SL", "SL72"),
                coach("B1", "3A", "3A64"),
                coach("S2", "SL", "SL72"),
            ],
            quotas: vec![],
            fares: vec![],
            refund_bands: vec![],
            waitlist_caps: vec![],
            sale: vec![],
            allocation: Allocation::BestFit,
            promotion: PromotionPolicy::FifoSkip,
            currency: "INR".into(),
        }),
    })
}

pub(super) fn short(at: TimestampMs, quota: &'static str, what: What, amount_minor: i64) -> Short {
    Short {
        at,
        what,
        replay: false,
        quota,
        amount_minor,
    }
}
