//! Simulates a few days of sales: three trains in three currencies, decided by the real rules.

use std::sync::Arc;

use interlock_inventory::{CommandContext, Ledger, Plan, decide, evolve};
use interlock_schemas::{
    BerthPreference, BookingRequest, CancellationRequest, Coach, Command, Event, Passenger, TrainService,
};
use interlock_sinks::timescale::TimescaleSink;
use interlock_streams::ledger::Token;
use interlock_streams::record::TopicPartition;
use interlock_streams::sink::{Advance, Partials, Sink};
use interlock_tests::panels::TimeRange;
use interlock_tests::plans::sleeper;
use interlock_topologies::events::{events_to_batch, occupancy_queries, revenue_queries};

/// 2026-12-01 and the day after.
const DATES: [i32; 2] = [20_788, 20_789];
const COMMANDS: i64 = 900;
/// Time between two commands; all of them take three days.
const STEP_MS: i64 = 288_000;

fn trains() -> Vec<TrainService> {
    let train = |(id, currency): (&str, &str)| {
        let mut plan = sleeper(id, DATES.to_vec());
        plan.layouts[0].seats = 16;
        plan.quotas[0].seats = 2;
        plan.coaches.push(Coach {
            name: "B1".into(),
            travel_class: "3A".into(),
            layout: "SL72".into(),
        });
        let mut fare = plan.fares[0].clone();
        fare.travel_class = "3A".into();
        fare.slabs[0].fare_minor = 111_111;
        plan.fares.push(fare);
        plan.currency = currency.into();
        plan
    };
    [("12951", "INR"), ("IC-5", "PLN"), ("JP-1", "JPY")]
        .into_iter()
        .map(train)
        .collect()
}

fn command(number: i64, trains: &[TrainService]) -> Command {
    let pick = |count: usize, salt: i64| (number * 7 + salt + number / 11) as usize % count;
    let train_id = trains[pick(trains.len(), 0)].train_id.clone();
    let travel_date = DATES[pick(DATES.len(), number / 3)];
    if number % 9 == 8 {
        // A command some time ago, if it was a booking of this train-date: else a refusal.
        return Command::Cancel(CancellationRequest {
            request_id: format!("r-{number}").into(),
            booking_request_id: format!("r-{}", number - 66).into(),
            train_id,
            travel_date,
            passengers: if number % 2 == 0 { vec![0] } else { vec![] },
            user_id: "ada".into(),
            requested_at: 0,
        });
    }
    let passenger = |number: i64| Passenger {
        name: format!("Passenger {number}").into(),
        age: 30,
        berth_preference: BerthPreference::None,
        preference_is_hard: false,
    };
    let from = pick(4, 3);
    let to = from + 1 + pick(4 - from, 5);
    let stations = ["A", "B", "C", "D", if number % 50 == 49 { "NOWHERE" } else { "E" }];
    Command::Book(BookingRequest {
        // Every 40th is asked twice.
        request_id: format!("r-{}", if number % 40 == 39 { number - 66 } else { number }).into(),
        train_id,
        travel_date,
        user_id: "ada".into(),
        from_station: stations[from].into(),
        to_station: stations[to].into(),
        travel_class: if pick(3, 1) == 0 { "3A" } else { "SL" }.into(),
        quota: "GN".into(),
        passengers: (0..1 + number % 3).map(passenger).collect(),
        partial_confirmation: number % 2 == 0,
        requested_at: 0,
    })
}

/// Returns the events of all commands, and a range that covers them.
pub(crate) fn history() -> (Vec<Event>, TimeRange) {
    let trains = trains();
    let plans: Vec<_> = trains
        .iter()
        .map(|train| Arc::new(Plan::compile(train.clone()).unwrap()))
        .collect();
    let begin = (i64::from(DATES[0]) - 10) * 86_400_000;
    let mut ledger = Ledger::new(0, 1);
    let mut events: Vec<Event> = Vec::new();
    for number in 0..COMMANDS {
        let command = command(number, &trains);
        let at = CommandContext {
            ledger: 0,
            next_sequence: 1 + events.len() as i64,
            source_offset: number,
            time: begin + number * STEP_MS,
            token: &"panels".into(),
        };
        let train_id = match &command {
            Command::Book(request) => &request.train_id,
            Command::Cancel(request) => &request.train_id,
        };
        let plan = plans.iter().find(|plan| plan.service().train_id == *train_id);
        for event in decide(&ledger, &command, plan, &at) {
            evolve(&mut ledger, &event);
            events.push(event);
        }
    }
    let range = TimeRange {
        from: begin,
        to: begin + COMMANDS * STEP_MS,
    };
    (events, range)
}

/// Runs events through the window queries into the tables, in several micro-batches.
pub(crate) async fn load(sink: &TimescaleSink, events: &[Event]) {
    let source = TopicPartition::new("confirmed", 0);
    let token = Token("panels".into());
    sink.acquire("panels", &token, &[(source.clone(), 0)]).await.unwrap();
    let mut queries = occupancy_queries().unwrap();
    queries.extend(revenue_queries().unwrap());
    for (batch, from) in events.chunks(170).zip(0..) {
        let mut partials = Vec::new();
        for query in &mut queries {
            let rows = query.run(events_to_batch(batch)).await.unwrap();
            let table = query.table().clone();
            partials.push(Partials { table, rows });
        }
        let advance = Advance {
            source: source.clone(),
            from,
            to: from + 1,
        };
        sink.write("panels", &token, &[advance], &partials).await.unwrap();
    }
}
