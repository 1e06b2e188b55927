//! Over how many trains and dates a load is spread.
//!
//! The same 200,000 requests would sell out a small timetable at once and be lost in a large one. So the load is
//! measured by what there is: trains are taken in order of size (the largest is the most popular), then date after
//! date, until the profile's [`Spread`] holds. The estimate behind it is that of a fluid: a train-date's pool of seats
//! carries `seats × reuse` passengers and no more, where reuse says how many segments share a seat.

use interlock_random::running_sums;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::profile::{Profile, Segments, Spread};
use crate::timetable::Train;

/// The share of seat-legs that is sold before requests no longer fit; the rest are gaps that no request matches.
const PACKING: f64 = 0.9;
/// Cancellations for each booking, roughly; only to estimate how many of the requests are bookings.
const CANCELLATIONS_PER_BOOKING: f64 = 0.2;

/// The shape of a load, known before it starts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shape {
    /// Name of the profile.
    pub profile: String,
    /// Requests of all kinds.
    pub requests: u64,
    /// Mean requests per second; none: all at once.
    pub rate: Option<f64>,
    /// From the first to the last intended time, in seconds.
    pub duration_s: f64,
    /// Seconds of a sale's opening that pass in one second of this load.
    pub time_scale: Option<f64>,
    /// Trains that are asked for.
    pub trains: usize,
    /// Running dates of each that are asked for, at most.
    pub dates: usize,
    /// Trains times dates.
    pub train_dates: u64,
    /// Seats of these, on the first leg as on any other.
    pub seats: u64,
    /// Passengers who ask for each seat, on average.
    pub offered: f64,
    /// Share of passengers who are expected to be confirmed before anything is cancelled.
    pub confirmed: f64,
}

/// The trains and dates of a load.
#[derive(Clone, Debug)]
pub(crate) struct Spreading {
    pub(crate) dates: usize,
    /// Running sums of the popularity of the first trains.
    pub(crate) train_sums: Vec<f64>,
    estimate: Estimate,
}

#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    train_dates: u64,
    seats: f64,
    offered: f64,
    confirmed: f64,
}

/// The order in which trains are popular: by seats, then by name.
pub(crate) fn rank(trains: &mut Vec<Train>, tatkal: Option<f64>) {
    if tatkal.is_some_and(|share| share > 0.0) && trains.iter().any(Train::has_tatkal) {
        trains.retain(Train::has_tatkal);
    }
    trains.sort_by(|a, b| {
        b.wanted_seats()
            .total_cmp(&a.wanted_seats())
            .then_with(|| a.id.cmp(&b.id))
    });
}

impl Spreading {
    /// Chooses the fewest train-dates with which the profile's spread holds; all there are where it can't.
    pub(crate) fn choose(profile: &Profile, trains: &[Train], requests: u64) -> Spreading {
        let passengers = passengers(profile, requests);
        let trains_max = profile.trains.max.min(trains.len());
        let trains_min = profile.trains.min.clamp(1, trains_max);
        let dates_max = trains[..trains_max]
            .iter()
            .map(|train| train.dates.len())
            .max()
            .unwrap_or(1);
        let more_trains = (trains_min..=trains_max).map(|trains| (trains, 1));
        let more_dates = (2..=dates_max).map(|dates| (trains_max, dates));
        let mut chosen = None;
        for (count, dates) in more_trains.chain(more_dates) {
            let shares = popularity(profile, count);
            let estimate = estimate(profile, &trains[..count], &shares, dates, passengers);
            let holds = match profile.spread {
                Spread::Confirmed(share) => estimate.confirmed >= share,
                Spread::Offered(load) => estimate.offered <= load,
            };
            chosen = Some((shares, dates, estimate));
            if holds {
                break;
            }
        }
        let (shares, dates, estimate) = chosen.unwrap_or_default();
        Spreading {
            dates,
            train_sums: running_sums(shares),
            estimate,
        }
    }

    pub(crate) fn shape(&self, profile: &Profile, pacer: &crate::Pacer, requests: u64) -> Shape {
        Shape {
            profile: profile.name.clone(),
            requests,
            rate: pacer.rate(),
            duration_s: pacer.duration().as_secs_f64(),
            time_scale: pacer.time_scale(),
            trains: self.train_sums.len(),
            dates: self.dates,
            train_dates: self.estimate.train_dates,
            seats: self.estimate.seats as u64,
            offered: self.estimate.offered,
            confirmed: self.estimate.confirmed,
        }
    }
}

/// Zipf's law, or one hot train and the law for the others. The shares add up to 1.
fn popularity(profile: &Profile, trains: usize) -> Vec<f64> {
    let hot = if trains > 1 { profile.trains.hot_share } else { 0.0 };
    let law = |n: usize| (n as f64).powf(-profile.trains.zipf_exponent);
    let (first, rest) = if hot > 0.0 {
        (vec![hot], trains - 1)
    } else {
        (vec![], trains)
    };
    let total: f64 = (1..=rest).map(law).sum();
    first
        .into_iter()
        .chain((1..=rest).map(|n| (1.0 - hot) * law(n) / total))
        .collect()
}

fn passengers(profile: &Profile, requests: u64) -> f64 {
    let repeats = profile.clients.resend + profile.clients.altered;
    let bookings = requests as f64 / (1.0 + repeats) / (1.0 + CANCELLATIONS_PER_BOOKING);
    bookings * (1.0 - profile.clients.malformed) * profile.party_mean()
}

fn estimate(profile: &Profile, trains: &[Train], shares: &[f64], dates: usize, passengers: f64) -> Estimate {
    let reuse = (PACKING / mean_segment(profile.segments)).max(1.0);
    let mut sum = Estimate::default();
    let mut served = 0.0;
    for (train, share) in trains.iter().zip(shares) {
        let dates = dates.min(train.dates.len());
        let each = passengers * share / dates as f64;
        sum.train_dates += dates as u64;
        sum.seats += train.wanted_seats() * dates as f64;
        let carried = train
            .wanted_pools()
            .map(|(pool, part)| (each * part).min(pool.seats * reuse));
        served += carried.sum::<f64>() * dates as f64;
    }
    sum.offered = passengers / sum.seats;
    sum.confirmed = if passengers > 0.0 { served / passengers } else { 1.0 };
    sum
}

/// Mean length of a segment, as a share of the route: half of it with one end touched, a third with none.
fn mean_segment(segments: Segments) -> f64 {
    segments.full_run + segments.one_end / 2.0 + segments.inner / 3.0
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape {
            profile,
            requests,
            trains,
            train_dates,
            seats,
            ..
        } = self;
        write!(
            f,
            "{profile}: {requests} requests for {train_dates} train-dates of {trains} trains ({seats} seats), "
        )?;
        match self.rate {
            Some(rate) => write!(f, "{rate:.0}/s for {:.1?}", Duration::from_secs_f64(self.duration_s))?,
            None => write!(f, "all at once")?,
        }
        if let Some(scale) = self.time_scale {
            write!(f, " ({scale:.0} times as fast as the real opening)")?;
        }
        let percent = 100.0 * self.confirmed;
        write!(
            f,
            "; {:.2} passengers ask for each seat, {percent:.0} % can be confirmed",
            self.offered
        )
    }
}
