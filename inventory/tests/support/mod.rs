//! A ledger under test: it is driven as a worker drives it, and every promise that holds for all commands is checked
//! after each one.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a module of several test binaries, each of which uses its own part"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use interlock_inventory::invariants::EventAuditor;
use interlock_inventory::{
    CommandContext, Decision, Ledger, Plan, SETTLED, TrainDate, apply, command_key, decide, evolve, settled_field,
};
use interlock_schemas::*;

/// 24 October 2026.
pub const ORIGIN_DATE: Date = 20_750;
/// Ledger 2 of 5: neither number is one that hides a mistake.
pub const LEDGER: i32 = 2;
pub const LEDGERS: i32 = 5;

/// Documents by key, each a hash of fields: what Redis would hold.
pub type Store = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

pub struct World {
    pub ledger: Ledger,
    /// The same, but that settled outcomes are left in the store: it must decide everything alike.
    pub lean: Ledger,
    pub plan: Option<Arc<Plan>>,
    pub events: Vec<Event>,
    pub store: Store,
    pub time: TimestampMs,
    pub offset: i64,
    pub auditor: EventAuditor,
}

impl World {
    pub fn new(plan: Option<TrainService>) -> World {
        World {
            ledger: Ledger::new(LEDGER, LEDGERS),
            lean: Ledger::new(LEDGER, LEDGERS),
            plan: plan.map(|plan| Arc::new(Plan::compile(plan).unwrap())),
            events: Vec::new(),
            store: Store::new(),
            time: 0,
            offset: 0,
            auditor: EventAuditor::new(),
        }
    }

    /// Decides and applies a command, and checks what must hold of every step; gives its events.
    pub fn send(&mut self, command: &Command) -> Vec<Event> {
        let events = self.send_unaudited(command);
        for event in &events {
            assert_eq!(self.auditor.observe(event), [], "the audit finds nothing");
        }
        assert_eq!(self.auditor.finish(), [], "the audit finds nothing");
        events
    }

    /// The same where the state may be one that no events lead to.
    pub fn send_unaudited(&mut self, command: &Command) -> Vec<Event> {
        let at = CommandContext {
            ledger: LEDGER,
            next_sequence: self.events.len() as i64 + 1,
            source_offset: self.offset,
            time: self.time,
            token: &"token".into(),
        };
        let decision = Decision::of(&self.ledger, &command_key(command), command, || self.plan.clone(), &at);
        let events = decision.events().to_vec();
        assert_eq!(
            events,
            decide(&self.ledger, command, self.plan.as_ref(), &at),
            "the same input, the same events"
        );
        assert!(
            events.iter().any(|event| event.header().kind == EventKind::Answer),
            "every command is answered"
        );
        for (event, sequence) in events.iter().zip(at.next_sequence..) {
            assert_eq!(event.header().sequence, sequence, "I4");
        }
        assert_eq!(apply(&mut self.ledger, decision), events);
        self.load_needed(command);
        assert_eq!(
            events,
            decide(&self.lean, command, self.plan.as_ref(), &at),
            "without the outcomes that it does not need, the same events"
        );
        // One is changed by the decision and the other by its events: both must come to the same.
        events.iter().for_each(|event| evolve(&mut self.lean, event));
        self.offset += 1;
        self.events.extend(events.iter().cloned());
        let changes = self.ledger.take_changes();
        assert_eq!(changes, self.lean.take_changes(), "apply(decision) is evolve(events)");
        self.lean.leave_in_store();
        for change in changes {
            let document = self.store.entry(change.document.to_string()).or_default();
            match change.value {
                Some(value) => document.insert(change.field.to_vec(), value.to_vec()),
                None => document.remove(&*change.field),
            };
        }
        events
    }

    /// As a worker does before it decides.
    fn load_needed(&mut self, command: &Command) {
        let key = command_key(command);
        let needed: Vec<Vec<u8>> = self
            .lean
            .outcomes_of_command(&key, command)
            .map(settled_field)
            .collect();
        for field in needed {
            if let Some(value) = self.store.get(key.as_str()).and_then(|stored| stored.get(&field)) {
                self.lean.load_outcome(&key, &field, value).unwrap();
            }
        }
    }

    /// State = fold of the events, and the store holds that state.
    pub fn check_fold(&self) {
        let mut folded = Ledger::new(LEDGER, LEDGERS);
        self.events.iter().for_each(|event| evolve(&mut folded, event));
        assert_eq!(folded.bookings, self.ledger.bookings);
        let read = Ledger::restore(LEDGER, LEDGERS, self.store.get("").into_iter().flatten()).unwrap();
        assert_eq!(read.bookings, self.ledger.bookings);
        for key in self.ledger.keys() {
            let train_date = self.ledger.get(key).unwrap();
            assert_eq!(folded.get(key), Some(train_date), "state is the fold of the events");
            let stored = self.store.get(key).into_iter().flatten();
            assert_eq!(
                TrainDate::from_fields(key, stored).as_ref(),
                Ok(train_date),
                "what is stored reads back"
            );
            let fields = train_date.to_fields();
            assert_eq!(
                TrainDate::from_fields(key, fields).as_ref(),
                Ok(train_date),
                "all fields read back"
            );
        }
    }

    /// Loses the process: what comes back is what was stored.
    pub fn restart(&mut self) {
        let mut ledger = Ledger::restore(LEDGER, LEDGERS, self.store.get("").into_iter().flatten()).unwrap();
        for (key, fields) in self.store.iter().filter(|(key, _)| !key.is_empty()) {
            ledger.insert(key.clone(), TrainDate::from_fields(key, fields).unwrap());
        }
        self.lean = Ledger::restore(LEDGER, LEDGERS, self.store.get("").into_iter().flatten()).unwrap();
        for (key, fields) in self.store.iter().filter(|(key, _)| !key.is_empty()) {
            let without_settled = fields.iter().map(|(field, value)| {
                let is_left = field.starts_with(SETTLED.as_bytes());
                (field, if is_left { &[] } else { value.as_slice() })
            });
            self.lean.load(key, without_settled).unwrap();
        }
        self.ledger = ledger;
    }

    pub fn train_date(&self) -> Option<&TrainDate> {
        self.ledger.get(&train_date_key("12951", ORIGIN_DATE))
    }

    pub fn revenue(&self) -> Minor {
        self.events.iter().map(|event| event.header().amount_minor).sum()
    }
}

/// A train of one class with five stops A to E, 100 km and an hour apart, from 10:00 in India.
pub fn service() -> TrainService {
    let stop = |(code, number): (&str, i32)| Stop {
        code: code.into(),
        name: code.into(),
        arrival_s: 36_000 + number * 3_600,
        departure_s: 36_000 + number * 3_600,
        distance_m: i64::from(number) * 100_000,
    };
    TrainService {
        train_id: "12951".into(),
        name: "Example".into(),
        version: 3,
        time_zone: "Asia/Kolkata".into(),
        running_dates: vec![ORIGIN_DATE],
        route: ["A", "B", "C", "D", "E"].into_iter().zip(0..).map(stop).collect(),
        other_timetables: vec![],
        layouts: vec![Layout {
            name: "layout".into(),
            seats: 1,
            pattern: vec![Berth::Lower],
        }],
        coaches: vec![coach("S1")],
        quotas: vec![],
        fares: vec![Fare {
            travel_class: "SL".into(),
            slabs: vec![FareSlab {
                up_to_m: 1_000_000,
                fare_minor: 60_000,
            }],
            reservation_fee_minor: 0,
            tatkal_bp: 3_000,
            tatkal_min_minor: 1_000,
            tatkal_max_minor: 20_000,
            tax_bp: 0,
            cancellation_flat_minor: 12_000,
            clerkage_minor: 6_000,
        }],
        refund_bands: [(72, 0), (24, 2_500), (8, 5_000)]
            .map(|(hours, keep_bp)| RefundBand {
                more_than_s: hours * 3_600,
                keep_bp,
            })
            .into(),
        waitlist_caps: vec![],
        sale: vec![],
        allocation: Allocation::BestFit,
        promotion: PromotionPolicy::FifoSkip,
        currency: "INR".into(),
    }
}

pub fn coach(name: &str) -> Coach {
    Coach {
        name: name.into(),
        travel_class: "SL".into(),
        layout: "layout".into(),
    }
}

/// 10:00 in India on the origin date: departure from A.
pub const DEPARTURE: TimestampMs = ORIGIN_DATE as i64 * 86_400_000 + (10 * 60 - 330) * 60_000;

pub fn booking(request_id: &str, from: &str, to: &str, passengers: usize) -> BookingRequest {
    let passenger = |number: usize| Passenger {
        name: format!("Passenger {number} of {request_id}").into(),
        age: 30,
        berth_preference: BerthPreference::None,
        preference_is_hard: false,
    };
    BookingRequest {
        request_id: request_id.into(),
        train_id: "12951".into(),
        travel_date: ORIGIN_DATE,
        user_id: "u1".into(),
        from_station: from.into(),
        to_station: to.into(),
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: (0..passengers).map(passenger).collect(),
        partial_confirmation: false,
        requested_at: 0,
    }
}

pub fn cancellation(request_id: &str, booking: &str, passengers: &[i32]) -> CancellationRequest {
    CancellationRequest {
        request_id: request_id.into(),
        train_id: "12951".into(),
        travel_date: ORIGIN_DATE,
        booking_request_id: booking.into(),
        passengers: passengers.to_vec(),
        user_id: "u1".into(),
        requested_at: 0,
    }
}
