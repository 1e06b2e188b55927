//! The requests of a load in their order: bookings, and what follows from them.
//!
//! Each intended time is a slot. A slot takes the follow-up that is due (a repetition first, then a cancellation), else
//! a new booking; towards the end follow-ups come early rather than not at all. So there are exactly as many requests
//! as asked for, at exactly the intended times.
//!
//! An open-loop load can't know what became of a booking. A *forecast* decides whether it is cancelled: a pool of
//! seats is filled in the order of the requests, and a booking is expected to be confirmed, to wait, or to be refused.
//! The shares of the profile hold for these, and so nearly for the real outcomes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use interlock_random::Random;
use interlock_schemas::{Command, TrainService};
use serde::{Deserialize, Serialize};

use crate::booking::{Booker, Draft};
use crate::pacing::Pacer;
use crate::profile::{Cancellations, Clients, Profile, ProfileError};
use crate::spread::{Shape, Spreading, rank};
use crate::timetable::Train;

/// Share of a pool's seat-legs that can be sold before requests no longer fit.
const PACKING: f64 = 0.95;
/// Stream of the decisions about a booking's follow-ups.
const FOLLOW_UP_STREAM: u64 = 1 << 62;

/// A request and when it is meant to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Time since the start of the load; latency counts from here.
    pub intended_at: Duration,
    /// Kind of the request.
    pub kind: Kind,
    /// The request. `requested_at` is 0: the sender sets it on sending.
    pub command: Command,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A booking.
    Booking,
    /// A booking that breaks a rule.
    Malformed,
    /// A booking again, with the same key and body.
    Resend,
    /// A booking's key again with another body.
    Altered,
    /// A cancellation.
    Cancellation,
    /// A cancellation again.
    CancellationResend,
}

/// The reason why there is no load.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorkloadError {
    /// A figure of the profile makes no sense.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Nothing can be asked for.
    #[error(
        "none of the {plans} trains has running dates, seats and two stops; seed a timetable first (`interlock seed`)"
    )]
    NothingOnSale {
        /// Number of given plans.
        plans: usize,
    },
    /// The rate isn't a rate.
    #[error("a rate of {rate} requests per second is impossible; give a number above 0")]
    Rate {
        /// The requested rate.
        rate: f64,
    },
}

/// The requests of a load, in order of their intended times.
#[derive(Clone, Debug)]
pub struct Workload {
    booker: Booker,
    pacer: Pacer,
    shape: Shape,
    clients: Clients,
    cancellations: Cancellations,
    seed: u64,
    sent: u64,
    bookings: u64,
    resends: BinaryHeap<Reverse<FollowUp>>,
    cancels: BinaryHeap<Reverse<FollowUp>>,
    forecast: Forecast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FollowUp {
    due_us: u64,
    booking: u64,
    kind: Kind,
}

impl Workload {
    /// A load of `requests` requests over these plans. `rate` (requests/s) overrides the profile's. The same arguments
    /// give the same requests, byte for byte; two runs against one system need two seeds, else the second only repeats
    /// the first.
    pub fn new(
        profile: &Profile,
        plans: &[TrainService],
        requests: u64,
        rate: Option<f64>,
        seed: u64,
    ) -> Result<Workload, WorkloadError> {
        profile.check()?;
        if let Some(rate) = rate.filter(|rate| !rate.is_finite() || *rate <= 0.0) {
            return Err(WorkloadError::Rate { rate });
        }
        let tatkal = profile.wishes.tatkal;
        let mut trains: Vec<Train> = plans.iter().flat_map(|plan| Train::of_plan(plan, tatkal)).collect();
        if trains.is_empty() {
            return Err(WorkloadError::NothingOnSale { plans: plans.len() });
        }
        rank(&mut trains, tatkal);
        let pacer = Pacer::new(&profile.arrivals, requests, rate, seed);
        let spreading = Spreading::choose(profile, &trains, requests);
        trains.truncate(spreading.train_sums.len());
        let shape = spreading.shape(profile, &pacer, requests);
        let booker = Booker::new(profile, trains, spreading, requests, seed);
        Ok(Workload {
            forecast: Forecast::new(booker.trains(), booker.dates()),
            booker,
            pacer,
            shape,
            clients: profile.clients,
            cancellations: profile.cancellations,
            seed,
            sent: 0,
            bookings: 0,
            resends: BinaryHeap::new(),
            cancels: BinaryHeap::new(),
        })
    }

    /// Returns the shape of the load.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    fn follow_up_due(&mut self, now_us: u64) -> Option<FollowUp> {
        let slots = self.shape.requests - self.sent;
        let late = (self.resends.len() + self.cancels.len()) as u64 >= slots;
        for heap in [&mut self.resends, &mut self.cancels] {
            if heap.peek().is_some_and(|Reverse(next)| late || next.due_us <= now_us) {
                return heap.pop().map(|Reverse(next)| next);
            }
        }
        None
    }

    fn new_booking(&mut self, now_s: f64) -> (Kind, Command) {
        let booking = self.bookings;
        self.bookings += 1;
        let draft = self.booker.draft(booking);
        let mut random = Random::new(self.seed, booking ^ FOLLOW_UP_STREAM);
        if random.chance(self.clients.resend) {
            self.resend(now_s, booking, Kind::Resend, &mut random);
        }
        if random.chance(self.clients.altered) {
            self.resend(now_s, booking, Kind::Altered, &mut random);
        }
        if draft.fault.is_none() && random.chance(self.chance_of_cancelling(&draft)) {
            let period_s = self.pacer.ordered_s() / f64::from(self.cancellations.bursts);
            let at_s = now_s + random.unit() * self.pacer.ordered_s() / 2.0;
            let due_us = micros((at_s / period_s).ceil() * period_s);
            self.cancels.push(Reverse(FollowUp {
                due_us,
                booking,
                kind: Kind::Cancellation,
            }));
        }
        let kind = if draft.fault.is_some() {
            Kind::Malformed
        } else {
            Kind::Booking
        };
        (kind, Command::Book(self.booker.request(booking, &draft)))
    }

    fn chance_of_cancelling(&mut self, draft: &Draft) -> f64 {
        match self.forecast.book(&self.booker, draft) {
            Expected::Confirmed => self.cancellations.confirmed,
            Expected::Waiting => self.cancellations.waiting,
            Expected::Refused => 0.0,
        }
    }

    fn resend(&mut self, now_s: f64, booking: u64, kind: Kind, random: &mut Random) {
        let due_us = micros(now_s + random.unit() * self.clients.resend_within_s);
        self.resends.push(Reverse(FollowUp { due_us, booking, kind }));
    }

    fn follow_up(&mut self, follow_up: FollowUp, now_s: f64) -> (Kind, Command) {
        let FollowUp { booking, kind, .. } = follow_up;
        let draft = self.booker.draft(booking);
        let command = match kind {
            Kind::Booking | Kind::Malformed | Kind::Resend => Command::Book(self.booker.request(booking, &draft)),
            Kind::Altered => Command::Book(self.booker.altered(booking, &draft)),
            Kind::Cancellation | Kind::CancellationResend => Command::Cancel(self.booker.cancellation(booking, &draft)),
        };
        if kind == Kind::Cancellation {
            let mut random = Random::new(self.seed, !(booking ^ FOLLOW_UP_STREAM));
            if random.chance(self.clients.resend) {
                self.resend(now_s, booking, Kind::CancellationResend, &mut random);
            }
        }
        (kind, command)
    }
}

impl Iterator for Workload {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.sent == self.shape.requests {
            return None;
        }
        let tick = self.pacer.tick();
        let now_s = tick.ordered_at_s;
        let (kind, command) = match self.follow_up_due(micros(now_s)) {
            Some(follow_up) => self.follow_up(follow_up, now_s),
            None => self.new_booking(now_s),
        };
        self.sent += 1;
        Some(Planned {
            intended_at: tick.intended_at,
            kind,
            command,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.shape.requests - self.sent).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

fn micros(s: f64) -> u64 {
    (s * 1e6) as u64
}

/// The estimated fill of the pools of seats.
#[derive(Clone, Debug)]
struct Forecast {
    /// For each train the index of its first pool's first date.
    starts: Vec<usize>,
    dates: usize,
    fill: Vec<Fill>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fill {
    seat_legs: f64,
    waiters: f64,
}

enum Expected {
    Confirmed,
    Waiting,
    Refused,
}

impl Forecast {
    fn new(trains: &[Train], dates: usize) -> Forecast {
        let mut total = 0;
        let starts = trains.iter().map(|train| {
            let start = total;
            total += train.pools.len() * dates;
            start
        });
        let starts = starts.collect();
        Forecast {
            starts,
            dates,
            fill: vec![Fill::default(); total],
        }
    }

    fn book(&mut self, booker: &Booker, draft: &Draft) -> Expected {
        let (pool, legs) = (booker.pool(draft), booker.train(draft).stops.len() - 1);
        let fill = &mut self.fill[self.starts[draft.train] + draft.pool * self.dates + draft.date];
        let party = draft.party as f64;
        let wanted = party * (draft.to - draft.from) as f64;
        if fill.seat_legs + wanted <= pool.seats * legs as f64 * PACKING {
            fill.seat_legs += wanted;
            Expected::Confirmed
        } else if fill.waiters + party <= pool.waiters {
            fill.waiters += party;
            Expected::Waiting
        } else {
            Expected::Refused
        }
    }
}
