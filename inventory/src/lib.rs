//! The domain: what booking a seat means, without I/O, clock or randomness.
//!
//! ```text
//!                         Plan (what is sold)
//!                           │
//!   Command ──> decide(&Ledger, …) ──> events ──> evolve(&mut Ledger, …) ──> take_changes() ──> a store
//!                           ▲                          │
//!                           └────────── Ledger <───────┘
//! ```
//!
//! [`decide`] returns the events that a command causes, and changes nothing. [`evolve`] applies an event, and decides
//! nothing. The state is the fold of the events, and the same commands always give the same bytes (R1). A worker, which
//! has just decided, need not read its own events: [`apply`] makes the same changes from the [`Decision`]. The rules
//! (R…) and cases (G…) are those of `docs/DOMAIN.md`.
//!
//! | file | answers |
//! | --- | --- |
//! | `key` | which train-date does a record concern? |
//! | `plan`, `plan_check`, `code` | what is sold, and is that a valid plan? |
//! | `seats`, `choose` | which seats fit, and which of them are given? (R5–R7, R11) |
//! | `waitlist`, `promote` | who waits, and who is served when space comes free? (R14–R17) |
//! | `fare`, `times`, `pnr`, `digest` | one small calculation each (R21, R23, R3) |
//! | `text`, `well_formed` | is the command one? |
//! | `decide`, `book`, `cancel`, `step`, `rejection`, `answer` | what does a command cause? |
//! | `effect`, `apply`, `evolve` | what changes the state? |
//! | `ledger`, `slots`, `train_date`, `outcomes`, `outcome`, `party`, `fields` | what is the state, and how is it kept? |
//! | `invariants` | does everything hold? (I1–I5) |
//!
//! # Glossary
//!
//! - **train-date**: one run of a train, named by the train and the date at its origin.
//! - **leg**: the stretch between two neighbouring stops; a **segment** is a run of legs.
//! - **seat**: a place in a **coach**; **berth** is its kind, **bay** its group within the coach.
//! - **quota**: seats of a class that are set aside; an **allotment** is one class and quota: the extent of a waitlist.
//! - **waitlist**: passengers who paid and wait; an **entry** is served as a whole; **promotion** gives it seats.
//! - **outcome**: the stored result of a request, so that a repeated request changes nothing.
//! - **ledger**: the train-dates of one partition of the commands, and the counter from which PNRs are made.

mod answer;
mod apply;
mod book;
mod cancel;
mod choose;
mod code;
mod decide;
mod digest;
mod effect;
mod evolve;
#[cfg(test)]
mod example;
mod fare;
mod fields;
pub mod invariants;
mod key;
mod ledger;
mod outcome;
mod outcomes;
mod party;
mod plan;
mod plan_check;
mod pnr;
mod promote;
mod rejection;
mod seats;
mod slots;
mod step;
mod text;
mod times;
mod train_date;
mod waitlist;
mod well_formed;

pub use apply::apply;
pub use decide::{Decision, decide};
pub use digest::Digest;
pub use evolve::evolve;
pub use fare::{TATKAL, fare, refund_of_seat, refund_of_waiter};
pub use fields::{FIELD_FORMAT, FieldError, SETTLED, readable_field, settled_field};
pub use key::{KeyError, TRAIN_ID_CHARS_MAX, TRAVEL_DATE_MAX, TrainDateKey, command_key, is_key_of, is_train_id};
pub use ledger::{Change, Ledger};
pub use outcome::{Answer, Booking, Cancellation, GivenBack, Outcome, Place, Rejection, Traveller};
pub use plan::Plan;
pub use plan_check::{
    AMOUNT_MAX_MINOR, BASIS_POINTS_MAX, COACH_SEATS_MAX, COACHES_MAX, CODE_CHARS_MAX, DISTANCE_MAX_M, PlanError,
    TIME_OF_DAY_MAX_S, TIMETABLES_MAX,
};
pub use pnr::{Pnr, first_booking};
pub use rejection::RejectionCode;
pub use seats::{LEGS_MAX, Segment};
pub use step::CommandContext;
pub use text::text_problem;
pub use train_date::{SeatView, TrainDate, WaiterView};
pub use well_formed::is_answerable;

/// The quota that every class has (R11).
pub const GENERAL: &str = "GN";
/// Most passengers of a booking (R12).
pub const PASSENGERS_MAX: usize = 6;
/// Most passengers of a booking in the tatkal quota (R12).
pub const TATKAL_PASSENGERS_MAX: usize = 4;
/// Longest text of a command, in characters. A longer one is not a name, and would be stored without limit.
pub const TEXT_CHARS_MAX: usize = 256;
/// Highest age, in years.
pub const AGE_MAX: i32 = 150;
