//! Measures the cost of the windows.

use super::super::*;
use super::example::{What, event, short};
use interlock_streams::window::merge_partials;

/// Run by hand: `cargo test --release -p interlock-topologies -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures, asserts nothing"]
fn speed() {
    use What::{Cancelled, Confirmed, Rejected, Waitlisted};
    const ROWS: usize = 5_000;
    const ROUNDS: u32 = 200;
    let kinds = [
        Confirmed(0, 2),
        Waitlisted(0, 1),
        Cancelled(1, 0, 0),
        Rejected(1, "WAITLIST_FULL"),
        Confirmed(0, 1),
    ];
    let events: Vec<Event> = (0..ROWS)
        .map(|i| {
            let mut event = event(&short((i as i64 % 3) * 60_000, "GN", kinds[i % kinds.len()], 60_000));
            let header = event.header_mut();
            header.train_id = format!("{}", 12_000 + i % 97).into();
            header.travel_date += (i % 7) as Date;
            header.travel_class = ["SL", "3A", "2A"][i % 3].into();
            event
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let per_event = |since: std::time::Instant| since.elapsed().as_nanos() / u128::from(ROUNDS) / ROWS as u128;
    let started = std::time::Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(events_to_batch(&events));
    }
    println!("events_to_batch: {} ns per event", per_event(started));
    for mut query in occupancy_queries()
        .unwrap()
        .into_iter()
        .chain(revenue_queries().unwrap())
    {
        let batch = events_to_batch(&events);
        let mut partials = Vec::new();
        let started = std::time::Instant::now();
        for _ in 0..ROUNDS {
            partials = vec![runtime.block_on(query.run(batch.clone())).unwrap()];
        }
        let (run, rows) = (per_event(started), partials[0].num_rows());
        let started = std::time::Instant::now();
        for _ in 0..ROUNDS {
            merge_partials(query.table(), &partials).unwrap();
        }
        println!(
            "{}: run {run} ns, merge {} ns per event, {rows} rows",
            query.table().name,
            per_event(started)
        );
    }
    let started = std::time::Instant::now();
    for _ in 0..20 {
        occupancy_queries().unwrap();
    }
    println!("planning three queries: {} µs", started.elapsed().as_micros() / 20);
}
