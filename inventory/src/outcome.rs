//! What became of each request: the stored outcomes of R3.
//!
//! An outcome is kept for every request id of a train-date, for two reasons: the same request must get the same answer
//! again, and a booking must be found when it is cancelled or promoted. What a repeated request says itself (stations,
//! names) isn't stored for the answer's sake, because an equal digest means an equal body.

use interlock_schemas::{BerthPreference, Minor, Text, Tier};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::pnr::Pnr;
use crate::seats::Segment;

/// The outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was accepted: some or all have seats or wait.
    Booking(Box<Booking>),
    /// It gave passengers' places back.
    Cancellation(Box<Cancellation>),
    /// It was refused.
    Rejection(Box<Rejection>),
}

impl Outcome {
    /// Digest of the request's body.
    pub fn digest(&self) -> Digest {
        match self {
            Outcome::Booking(booking) => booking.digest,
            Outcome::Cancellation(cancellation) => cancellation.digest,
            Outcome::Rejection(rejection) => rejection.digest,
        }
    }

    /// Whether it is a booking of which somebody waits.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Outcome::Booking(booking) if booking.is_waiting())
    }
}

/// An accepted booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Digest of the request's body.
    pub digest: Digest,
    /// Its number.
    pub pnr: Pnr,
    /// Who booked.
    pub user_id: Text,
    /// Index of its class and quota in the plan.
    pub(crate) allotment: u16,
    /// From where to where.
    pub segment: Segment,
    /// How close together those were seated who got seats at once.
    pub tier: Option<Tier>,
    /// Those who wait do so one by one (R12).
    pub each_alone: bool,
    /// Who travels, by index.
    pub travellers: Vec<Traveller>,
}

impl Booking {
    /// The traveller with this index in the request.
    pub fn traveller(&self, index: i32) -> Option<&Traveller> {
        self.travellers
            .iter()
            .find(|traveller| i32::from(traveller.index) == index)
    }

    /// Whether one of its travellers waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.travellers
            .iter()
            .any(|traveller| traveller.place == Place::Waiting)
    }

    pub(crate) fn traveller_mut(&mut self, index: i32) -> Option<&mut Traveller> {
        self.travellers
            .iter_mut()
            .find(|traveller| i32::from(traveller.index) == index)
    }
}

/// A passenger of an accepted booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traveller {
    /// Index into the request's passengers.
    pub index: u8,
    /// Name as on the ticket.
    pub name: Text,
    /// Age in years.
    pub age: i32,
    /// The soft wish of one who waited; what was wished by one seated at once is not kept.
    pub berth_preference: BerthPreference,
    /// What was paid (R18, R23).
    pub fare_minor: Minor,
    /// What the booking was answered.
    pub answer: Answer,
    /// What holds now.
    pub place: Place,
}

/// What a passenger was first told; never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Has a seat, counted in the train.
    Seat(u16),
    /// Waits.
    Waiting {
        /// Position ever issued (R15).
        first: u32,
        /// Place at that moment.
        current: u32,
    },
}

/// Where a passenger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On a seat, counted in the train.
    Seat(u16),
    /// On the waitlist.
    Waiting,
    /// Gone; with the seat that was given back, if there was one.
    Cancelled(Option<u16>),
}

/// An answered cancellation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// Digest of the request's body.
    pub digest: Digest,
    /// The passengers that it named.
    pub passengers: Vec<GivenBack>,
}

/// A passenger in the answer to a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Index into the booking's passengers.
    pub index: u8,
    /// The seat, if there was one.
    pub seat: Option<u16>,
    /// Was gone already.
    pub already_cancelled: bool,
    /// What was paid back.
    pub refund_minor: Minor,
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Digest of the request's body.
    pub digest: Digest,
    /// The reason, such as `WAITLIST_FULL`.
    pub code: Text,
    /// The sentence that went with it: it may name numbers that have changed since.
    pub message: Text,
    /// The plan that decided it; 0 where there was none.
    pub plan_version: i64,
}
