//! The stored outcomes of requests (R3).
//!
//! An outcome is kept for every request id of a train-date, for two reasons: a repeated request must get the same
//! answer, and a booking must be found when it is cancelled or promoted. The outcome does not repeat the request's own
//! fields (stations, names) for the answer, because an equal digest means an equal body.

use interlock_schemas::{BerthPreference, Minor, Text, Tier};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::party::Party;
use crate::pnr::Pnr;
use crate::seats::Segment;

/// The outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The booking was accepted: its passengers have seats or wait.
    Booking(Box<Booking>),
    /// The cancellation was carried out.
    Cancellation(Box<Cancellation>),
    /// The request was refused.
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

    /// Returns the booking, if this is one.
    pub(crate) fn booking(&self) -> Option<&Booking> {
        match self {
            Outcome::Booking(booking) => Some(booking),
            Outcome::Cancellation(_) | Outcome::Rejection(_) => None,
        }
    }

    /// Returns whether this is a booking with a waiting passenger.
    pub(crate) fn is_waiting(&self) -> bool {
        self.booking().is_some_and(Booking::is_waiting)
    }
}

/// An accepted booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// Digest of the request's body.
    pub digest: Digest,
    /// The PNR.
    pub pnr: Pnr,
    /// The user who booked.
    pub user_id: Text,
    /// Index of its class and quota in the plan.
    pub(crate) allotment: u16,
    /// The booked segment.
    pub segment: Segment,
    /// The tier of the passengers who got seats at once.
    pub tier: Option<Tier>,
    /// True if the waiting passengers wait separately (R12).
    pub each_alone: bool,
    /// The travellers, by index.
    pub travellers: Vec<Traveller>,
}

impl Booking {
    /// Returns the traveller with this index in the request.
    pub fn traveller(&self, index: i32) -> Option<&Traveller> {
        self.travellers
            .iter()
            .find(|traveller| i32::from(traveller.index) == index)
    }

    /// Returns whether a traveller waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.travellers
            .iter()
            .any(|traveller| traveller.place == Place::Waiting)
    }

    /// Returns the travellers who wait.
    pub(crate) fn waiting(&self) -> Party {
        let waiting = |traveller: &&Traveller| traveller.place == Place::Waiting;
        let waiting = self.travellers.iter().filter(waiting);
        waiting.map(|traveller| traveller.index).collect()
    }

    /// Gives a traveller another place.
    pub(crate) fn set_place(&mut self, index: u8, place: Place) {
        if let Some(traveller) = self.travellers.iter_mut().find(|traveller| traveller.index == index) {
            traveller.place = place;
        }
    }

    /// Adds the second part of a booking whose passengers were answered by two events: those with seats, and those who
    /// wait.
    pub(crate) fn add(&mut self, second: Booking) {
        self.tier = self.tier.or(second.tier);
        self.each_alone |= second.each_alone;
        self.travellers.extend(second.travellers);
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
    /// The soft preference of a passenger who waited; that of a passenger seated at once is not kept.
    pub berth_preference: BerthPreference,
    /// Fare paid (R18, R23).
    pub fare_minor: Minor,
    /// The place in the first answer.
    pub answer: Answer,
    /// The present place.
    pub place: Place,
}

/// A passenger's place in the first answer; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A seat, by its index in the train.
    Seat(u16),
    /// A place on the waitlist.
    Waiting {
        /// First position (R15).
        first: u32,
        /// Place on the list at that moment.
        current: u32,
    },
}

/// The present place of a passenger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A seat, by its index in the train.
    Seat(u16),
    /// A place on the waitlist.
    Waiting,
    /// Cancelled; with the seat that was given back, if there was one.
    Cancelled(Option<u16>),
}

/// An answered cancellation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// Digest of the request's body.
    pub digest: Digest,
    /// The cancelled passengers.
    pub passengers: Vec<GivenBack>,
}

/// A passenger in the answer to a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Index into the booking's passengers.
    pub index: u8,
    /// The seat, if there was one.
    pub seat: Option<u16>,
    /// True if the passenger had been cancelled before.
    pub already_cancelled: bool,
    /// Amount refunded.
    pub refund_minor: Minor,
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Digest of the request's body.
    pub digest: Digest,
    /// The reason, such as `WAITLIST_FULL`.
    pub code: Text,
    /// The sentence of the answer, which may contain numbers that have changed since.
    pub message: Text,
    /// Version of the plan that the request was decided by; 0 if there was none.
    pub plan_version: i64,
}
