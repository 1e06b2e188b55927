//! The changes of the state that a decision makes or an event tells. `decide` and `evolve` both give effects, and only
//! `apply` carries them out, so that a worker and a rebuild can't come to different states.

use smallvec::SmallVec;

use crate::PASSENGERS_MAX;
use crate::outcome::{Booking, Cancellation, Rejection};
use crate::outcomes::RequestId;
use crate::train_date::Open;

/// A change of one train-date, in the domain's own types. Everything that it names is in the plan.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The train-date is open.
    Opened(Open),
    /// A booking was accepted. Where its event says it in two parts, the second one adds its passengers to the first.
    Booked {
        request_id: RequestId,
        booking: Box<Booking>,
    },
    /// Waiting passengers of a booking got seats.
    Promoted { request_id: RequestId, seats: Seats },
    /// Passengers of a booking were cancelled by the request `cause`.
    Cancelled {
        cause: RequestId,
        request_id: RequestId,
        cancellation: Box<Cancellation>,
    },
    /// A request was refused.
    Refused {
        request_id: RequestId,
        rejection: Box<Rejection>,
    },
}

/// The changes that one command makes, in their order.
pub(crate) type Effects = SmallVec<[Effect; 1]>;

/// Passengers by their index in the booking, and their seats by the index in the train.
pub(crate) type Seats = SmallVec<[(u8, u16); PASSENGERS_MAX]>;
