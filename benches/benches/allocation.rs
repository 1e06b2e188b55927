//! Measures how full a train gets under each rule that chooses seats, on the same demand. `cargo bench --bench
//! allocation` prints a table.
//!
//! The best possible result is known. If seats are numbered only after the sale, segments are intervals, and all of
//! them can be seated as long as no leg has more of them than there are seats (an interval graph needs as many colours
//! as its largest clique). The table has two such references: bookings taken in the same order as long as they can be
//! seated late, and a bound that no rule can exceed, which on each leg is the demand or all seats.
#![allow(clippy::expect_used, reason = "a benchmark stops at the first error")]

use interlock_benches::{STOPS, Sale, TRAVEL_DATE, booking, train};
use interlock_schemas::{Allocation, Command, TrainService, WaitlistCap, train_date_key};

const LEGS: usize = STOPS - 1;
/// Seats in a coach.
const SEATS: usize = 72;
const SEEDS: u64 = 20;
/// Demand in seat-legs, as a multiple of the seat-legs on sale.
const DEMANDS: [f64; 4] = [0.8, 1.0, 1.5, 2.0];

/// A party and its segment, from one stop to another.
#[derive(Clone, Copy)]
struct Party {
    passengers: usize,
    from: usize,
    to: usize,
}

/// The distribution of the segments.
#[derive(Clone, Copy)]
enum Segments {
    /// Any two stops.
    Any,
    /// Half of all segments cover the whole route, three in ten begin at its first or end at its last stop, the rest
    /// lie between.
    Long,
}

/// A fixed pseudo-random sequence of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        // Knuth's multiplier for a linear congruential generator of 64 bits.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }

    fn segment(&mut self, segments: Segments) -> (usize, usize) {
        let kind = match segments {
            Segments::Any => 9,
            Segments::Long => self.below(10),
        };
        match kind {
            0..=4 => (0, LEGS),
            5 | 6 if self.below(2) == 0 => (0, 1 + self.below(LEGS)),
            5..=7 => (self.below(LEGS), LEGS),
            _ => {
                let (one, other) = (self.below(STOPS), self.below(LEGS));
                let other = other + usize::from(other >= one);
                (one.min(other), one.max(other))
            }
        }
    }
}

/// Returns parties until their demand in seat-legs reaches `factor` times the supply.
fn demand(seed: u64, coaches: usize, segments: Segments, alone: bool, factor: f64) -> Vec<Party> {
    let mut numbers = Numbers(seed);
    let mut wanted = (factor * (coaches * SEATS * LEGS) as f64) as usize;
    let mut parties = Vec::new();
    while wanted > 0 {
        let (from, to) = numbers.segment(segments);
        let passengers = match (alone, numbers.below(100)) {
            (true, _) | (_, ..50) => 1,
            (_, ..80) => 2,
            (_, ..92) => 3,
            _ => 4,
        };
        wanted = wanted.saturating_sub(passengers * (to - from));
        parties.push(Party { passengers, from, to });
    }
    parties
}

/// Returns the load factor of a sale by Interlock's own rules. No one waits, as no seat is ever given back.
fn sold(coaches: usize, parties: &[Party], allocation: Allocation) -> f64 {
    let nobody = WaitlistCap {
        travel_class: "SL".into(),
        quota: "GN".into(),
        passengers: 0,
    };
    let mut train = TrainService {
        allocation,
        waitlist_caps: vec![nobody],
        ..train()
    };
    train.coaches.truncate(coaches);
    let mut sale = Sale::of(train);
    for (number, party) in parties.iter().enumerate() {
        sale.apply(&Command::Book(booking(number, party.from, party.to, party.passengers)));
    }
    let train_date = sale.ledger.get(&train_date_key("12951", TRAVEL_DATE));
    let train_date = train_date.expect("it was on sale");
    assert_eq!(
        train_date.seat_metres_offered("SL"),
        (coaches * SEATS * LEGS) as i64 * 100_000
    );
    train_date.seat_metres_sold("SL") as f64 / train_date.seat_metres_offered("SL") as f64
}

/// Returns the load factor if seats are numbered after the sale.
fn numbered_late(coaches: usize, parties: &[Party]) -> f64 {
    let mut load = [0; LEGS];
    for party in parties {
        let legs = &mut load[party.from..party.to];
        if legs.iter().all(|load| load + party.passengers <= coaches * SEATS) {
            legs.iter_mut().for_each(|load| *load += party.passengers);
        }
    }
    load.iter().sum::<usize>() as f64 / (coaches * SEATS * LEGS) as f64
}

/// Returns the load factor that no rule can exceed.
fn bound(coaches: usize, parties: &[Party]) -> f64 {
    let mut wanted = [0; LEGS];
    for party in parties {
        wanted[party.from..party.to]
            .iter_mut()
            .for_each(|leg| *leg += party.passengers);
    }
    let seated = wanted.iter().map(|wanted| (*wanted).min(coaches * SEATS));
    seated.sum::<usize>() as f64 / (coaches * SEATS * LEGS) as f64
}

fn main() {
    println!("{LEGS} legs, means of {SEEDS} seeds: share of the seat-legs that is sold\n");
    println!("| seats | segments | parties | demand | first fit | best fit | numbered late | bound |");
    println!("| --: | --- | --- | --: | --: | --: | --: | --: |");
    for coaches in [1, 10] {
        for (segments, says) in [
            (Segments::Any, "any two stops"),
            (Segments::Long, "half the whole route"),
        ] {
            for (alone, who) in [(true, "one"), (false, "one to four")] {
                for factor in DEMANDS {
                    let mean = |share: &dyn Fn(&[Party]) -> f64| {
                        let shares = (1..=SEEDS).map(|seed| share(&demand(seed, coaches, segments, alone, factor)));
                        100.0 * shares.sum::<f64>() / SEEDS as f64
                    };
                    println!(
                        "| {} | {says} | {who} | {factor:.1} | {:.1} % | {:.1} % | {:.1} % | {:.1} % |",
                        coaches * SEATS,
                        mean(&|parties| sold(coaches, parties, Allocation::FirstFit)),
                        mean(&|parties| sold(coaches, parties, Allocation::BestFit)),
                        mean(&|parties| numbered_late(coaches, parties)),
                        mean(&|parties| bound(coaches, parties)),
                    );
                }
            }
        }
    }
}
