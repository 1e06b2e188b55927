//! Measures the duration of a decision; prints, never asserts.
//! `cargo test --release -p interlock-inventory --test measure -- --ignored --nocapture`

mod support;

use std::hint::black_box;
use std::sync::Arc;

use interlock_inventory::invariants::EventAuditor;
use interlock_inventory::{CommandContext, Ledger, Plan, TrainDate, decide, evolve};
use interlock_random::Random;
use interlock_schemas::*;
use support::{DEPARTURE, ORIGIN_DATE};

const STOPS: usize = 10;

fn train() -> TrainService {
    use Berth::{Lower, Middle, SideLower, SideUpper, Upper};
    let mut plan = support::service();
    plan.route = (0..STOPS as i32)
        .map(|number| Stop {
            code: format!("ST{number}").into(),
            name: Text::default(),
            arrival_s: 36_000 + number * 3_600,
            departure_s: 36_000 + number * 3_600,
            distance_m: i64::from(number) * 100_000,
        })
        .collect();
    plan.layouts[0].seats = 72;
    plan.layouts[0].pattern = vec![Lower, Middle, Upper, Lower, Middle, Upper, SideLower, SideUpper];
    plan.coaches = (1..=10).map(|number| support::coach(&format!("S{number}"))).collect();
    plan
}

fn command(random: &mut Random, number: usize) -> Command {
    if number > 50 && random.below(5) == 0 {
        let booking = format!("2f6b1c1e-request-{}", random.below(number));
        return Command::Cancel(support::cancellation(&format!("c{number}"), &booking, &[]));
    }
    let from = random.below(STOPS - 1);
    let to = from + 1 + random.below(STOPS - 1 - from);
    let size = [1, 1, 1, 1, 1, 2, 2, 2, 3, 4][random.below(10)];
    let id = format!("2f6b1c1e-request-{number}");
    Command::Book(support::booking(&id, &format!("ST{from}"), &format!("ST{to}"), size))
}

#[test]
#[ignore = "a measurement"]
fn decisions() {
    let plan = Arc::new(Plan::compile(train()).unwrap());
    let mut ledger = Ledger::new(0, 1);
    let mut random = Random::new(1, 0);
    let commands: Vec<Command> = (0..6_000).map(|number| command(&mut random, number)).collect();
    let mut events: Vec<Event> = Vec::new();
    let (mut booking, mut cancelling, mut evolving) = (vec![], vec![], vec![]);
    for (offset, command) in commands.iter().enumerate() {
        let at = CommandContext {
            ledger: 0,
            next_sequence: events.len() as i64 + 1,
            source_offset: offset as i64,
            time: DEPARTURE - 1_000_000_000,
            token: &"token".into(),
        };
        let start = std::time::Instant::now();
        let caused = black_box(decide(&ledger, command, Some(&plan), &at));
        let decided = start.elapsed().as_nanos();
        caused.iter().for_each(|event| evolve(&mut ledger, event));
        evolving.push(start.elapsed().as_nanos() - decided);
        match command {
            Command::Book(_) => booking.push(decided),
            Command::Cancel(_) => cancelling.push(decided),
        }
        events.extend(caused);
    }
    let key = train_date_key("12951", ORIGIN_DATE);
    let train_date = ledger.get(&key).unwrap();
    let waiting = train_date.waitlist("SL", "GN").len();
    let per = |nanos: u128, count: usize| nanos as f64 / 1_000.0 / count as f64;
    println!(
        "{} commands, {} events, {waiting} waiting at the end",
        commands.len(),
        events.len()
    );
    for (what, mut nanos) in [
        ("decide booking", booking),
        ("decide cancellation", cancelling),
        ("evolve", evolving),
    ] {
        nanos.sort_unstable();
        let at = |share: usize| nanos[(nanos.len() - 1) * share / 100] as f64 / 1_000.0;
        println!(
            "{what}: median {:.2} µs, p90 {:.2} µs, p99 {:.2} µs",
            at(50),
            at(90),
            at(99)
        );
    }

    let fields = train_date.to_fields();
    let bookings = train_date
        .outcomes()
        .filter(|(id, _)| train_date.booking(id).is_some())
        .count();
    let of_bookings = fields.iter().filter(|(field, _)| {
        let id = field
            .strip_prefix(b"r|")
            .map(|id| String::from_utf8_lossy(id).into_owned());
        id.is_some_and(|id| train_date.booking(&id).is_some())
    });
    let bytes: usize = of_bookings.map(|(field, value)| field.len() + value.len()).sum();
    println!(
        "{bookings} bookings, {:.0} bytes each with their field names",
        bytes as f64 / bookings as f64
    );
    let start = std::time::Instant::now();
    black_box(TrainDate::from_fields(&key, fields).unwrap());
    println!("from_fields {:.2} ms", start.elapsed().as_secs_f64() * 1_000.0);

    let mut auditor = EventAuditor::new();
    let start = std::time::Instant::now();
    let violations: usize = events.iter().map(|event| auditor.observe(event).len()).sum();
    println!(
        "audit {:.2} µs an event, {violations} violations",
        per(start.elapsed().as_nanos(), events.len())
    );
}
