//! Test data of the benchmarks in `benches/`: a train of ten sleeper coaches on a route of ten stops, sold as far as a
//! benchmark needs it.

use std::sync::Arc;

use interlock_inventory::{CommandContext, Ledger, Plan, decide, evolve};
use interlock_schemas::{
    Allocation, Berth, BerthPreference, BookingRequest, CancellationRequest, Coach, Command, Date, Event, Fare,
    FareSlab, Layout, Passenger, PromotionPolicy, Quota, RefundBand, Stop, TrainService,
};

/// Number of stops of the route; it has one leg less.
pub const STOPS: usize = 10;
/// 24 October 2026, when the train runs.
pub const TRAVEL_DATE: Date = 20_750;
/// The time of all commands, in milliseconds since the Unix epoch: ten days before departure.
pub const NOW: i64 = (TRAVEL_DATE as i64 - 10) * 86_400_000;

/// Returns a train with ten sleeper coaches of 72 berths and ten stops, 100 km and an hour apart.
pub fn train() -> TrainService {
    use Berth::{Lower, Middle, SideLower, SideUpper, Upper};
    TrainService {
        train_id: "12951".into(),
        name: "Benchmark".into(),
        version: 1,
        time_zone: "Asia/Kolkata".into(),
        running_dates: vec![TRAVEL_DATE],
        route: (0..STOPS as i32)
            .map(|number| Stop {
                code: format!("ST{number}").into(),
                name: format!("Stop {number}").into(),
                arrival_s: 36_000 + number * 3_600,
                departure_s: 36_000 + number * 3_600,
                distance_m: i64::from(number) * 100_000,
            })
            .collect(),
        other_timetables: vec![],
        layouts: vec![Layout {
            name: "sleeper".into(),
            seats: 72,
            pattern: vec![Lower, Middle, Upper, Lower, Middle, Upper, SideLower, SideUpper],
        }],
        coaches: (1..=10)
            .map(|number| Coach {
                name: format!("S{number}").into(),
                travel_class: "SL".into(),
                layout: "sleeper".into(),
            })
            .collect(),
        quotas: Vec::new(),
        fares: vec![Fare {
            travel_class: "SL".into(),
            slabs: vec![FareSlab {
                up_to_m: 1_000_000,
                fare_minor: 60_000,
            }],
            reservation_fee_minor: 2_000,
            tatkal_bp: 3_000,
            tatkal_min_minor: 1_000,
            tatkal_max_minor: 20_000,
            tax_bp: 500,
            cancellation_flat_minor: 12_000,
            clerkage_minor: 6_000,
        }],
        refund_bands: vec![RefundBand {
            more_than_s: 72 * 3_600,
            keep_bp: 0,
        }],
        waitlist_caps: Vec::new(),
        sale: Vec::new(),
        allocation: Allocation::BestFit,
        promotion: PromotionPolicy::FifoSkip,
        currency: "INR".into(),
    }
}

/// Returns a booking of `passengers` between two stops.
pub fn booking(number: usize, from: usize, to: usize, passengers: usize) -> BookingRequest {
    BookingRequest {
        request_id: format!("2f6b1c1e-request-{number}").into(),
        train_id: "12951".into(),
        travel_date: TRAVEL_DATE,
        user_id: format!("user-{number}").into(),
        from_station: format!("ST{from}").into(),
        to_station: format!("ST{to}").into(),
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: (0..passengers)
            .map(|passenger| Passenger {
                name: format!("Passenger {passenger}").into(),
                age: 30,
                berth_preference: BerthPreference::None,
                preference_is_hard: false,
            })
            .collect(),
        partial_confirmation: false,
        requested_at: NOW,
    }
}

/// Returns the timetable of `scripts/bench`: 500 trains on 30 dates, each with ten sleeper coaches, six others and
/// eleven stops.
pub fn timetable() -> Vec<TrainService> {
    let classes = [("SL", "S", 10, 72), ("3A", "B", 4, 64), ("2A", "A", 2, 46)];
    let quotas = [("TQ", "SL", 144), ("LD", "SL", 12), ("TQ", "3A", 48), ("TQ", "2A", 10)];
    let stop = |train: i32, number: i32| Stop {
        code: format!("S{}", train % 10 * 11 + number).into(),
        name: format!("Station {}", train % 10 * 11 + number).into(),
        arrival_s: 57_600 + number * 3_600,
        departure_s: 57_600 + number * 3_600,
        distance_m: i64::from(number) * 111_000,
    };
    let plan = |number: i32| {
        let model = train();
        let (layout, fare) = (&model.layouts[0], &model.fares[0]);
        TrainService {
            train_id: (10_000 + number).to_string().into(),
            running_dates: (TRAVEL_DATE..TRAVEL_DATE + 30).collect(),
            route: (0..11).map(|place| stop(number, place)).collect(),
            layouts: classes
                .map(|(class, _, _, seats)| Layout {
                    name: class.into(),
                    seats,
                    pattern: layout.pattern.clone(),
                })
                .into(),
            coaches: classes
                .iter()
                .flat_map(|(class, prefix, count, _)| {
                    (1..=*count).map(move |number| Coach {
                        name: format!("{prefix}{number}").into(),
                        travel_class: (*class).into(),
                        layout: (*class).into(),
                    })
                })
                .collect(),
            quotas: quotas
                .map(|(quota, class, seats)| Quota {
                    quota: quota.into(),
                    travel_class: class.into(),
                    seats,
                })
                .into(),
            fares: classes
                .map(|(class, ..)| Fare {
                    travel_class: class.into(),
                    ..fare.clone()
                })
                .into(),
            ..model
        }
    };
    (1..=500).map(plan).collect()
}

/// Returns a fixed sequence of bookings of one to four passengers over all parts of the route.
pub fn bookings() -> impl Iterator<Item = BookingRequest> {
    let mut state = 1_u64;
    let mut below = move |end: usize| {
        // Knuth's multiplier for a linear congruential generator of 64 bits.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % end
    };
    (0..).map(move |number| {
        let from = below(STOPS - 1);
        let to = from + 1 + below(STOPS - 1 - from);
        booking(number, from, to, [1, 1, 1, 1, 1, 2, 2, 2, 3, 4][below(10)])
    })
}

/// A train-date in the middle of its sale.
pub struct Sale {
    /// The plan of the train.
    pub plan: Arc<Plan>,
    /// The ledger that contains it.
    pub ledger: Ledger,
    /// All events so far.
    pub events: Vec<Event>,
}

impl Sale {
    /// Starts the sale of [`train`].
    pub fn new() -> Sale {
        Sale::of(train())
    }

    /// Starts the sale of a train.
    ///
    /// # Panics
    /// If the plan is invalid.
    #[expect(clippy::expect_used, reason = "the plan of a benchmark")]
    pub fn of(train: TrainService) -> Sale {
        Sale {
            plan: Arc::new(Plan::compile(train).expect("a valid plan")),
            ledger: Ledger::new(0, 1),
            events: Vec::new(),
        }
    }

    /// Returns the sale after `count` bookings. The train is about half full after 400, and full with hundreds of
    /// waiting passengers after 4,000.
    pub fn after(count: usize) -> Sale {
        let mut sale = Sale::new();
        for booking in bookings().take(count) {
            sale.apply(&Command::Book(booking));
        }
        sale
    }

    /// Returns the events that a command would cause.
    pub fn decide(&self, command: &Command) -> Vec<Event> {
        let token = "7b1f0c52-1f0e-4c57-9c3b-7d6f1f8f8a10".into();
        let at = CommandContext {
            ledger: 0,
            next_sequence: self.events.len() as i64 + 1,
            source_offset: self.events.len() as i64,
            time: NOW,
            token: &token,
        };
        decide(&self.ledger, command, Some(&self.plan), &at)
    }

    /// Decides and applies a command.
    pub fn apply(&mut self, command: &Command) {
        let events = self.decide(command);
        for event in &events {
            evolve(&mut self.ledger, event);
        }
        self.events.extend(events);
    }

    /// Returns the cancellation of a whole confirmed booking, if there is one.
    pub fn cancellation(&self) -> Option<Command> {
        let confirmed = self.events.iter().find_map(|event| match event {
            Event::Confirmed(confirmed) => Some(&confirmed.header),
            _ => None,
        })?;
        Some(Command::Cancel(CancellationRequest {
            request_id: "2f6b1c1e-cancellation".into(),
            booking_request_id: confirmed.request_id.clone(),
            train_id: "12951".into(),
            travel_date: TRAVEL_DATE,
            passengers: Vec::new(),
            user_id: confirmed.user_id.clone(),
            requested_at: NOW,
        }))
    }
}

impl Default for Sale {
    fn default() -> Self {
        Sale::new()
    }
}
