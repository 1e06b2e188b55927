//! `MALFORMED_REQUEST`: what every command must satisfy whatever the plan says.

use interlock_schemas::{BookingRequest, CancellationRequest, Command, Passenger};

use crate::key::is_train_id;
use crate::rejection::{Refusal, RejectionCode};
use crate::text::{clip, is_longer, text_problem};
use crate::{AGE_MAX, CODE_CHARS_MAX, TEXT_CHARS_MAX, TRAIN_ID_CHARS_MAX};

/// Characters of a refused text that a sentence repeats.
const SHOWN_CHARS: usize = 64;

/// Refuses a command with a text or an age that is none.
pub(crate) fn well_formed(command: &Command) -> Result<(), Refusal> {
    match command {
        Command::Book(request) => booking(request),
        Command::Cancel(request) => cancellation(request),
    }
}

/// Returns whether a command can be answered. Events carry the request id: under one that is too long they would not
/// fit into a record, so such a command is a dead letter.
pub fn is_answerable(command: &Command) -> bool {
    let request_id = match command {
        Command::Book(request) => &request.request_id,
        Command::Cancel(request) => &request.request_id,
    };
    !is_longer(request_id, TEXT_CHARS_MAX)
}

fn booking(request: &BookingRequest) -> Result<(), Refusal> {
    text("request_id", &request.request_id, TEXT_CHARS_MAX)?;
    text("user_id", &request.user_id, TEXT_CHARS_MAX)?;
    train_id(&request.train_id)?;
    text("from_station", &request.from_station, CODE_CHARS_MAX)?;
    text("to_station", &request.to_station, CODE_CHARS_MAX)?;
    text("travel_class", &request.travel_class, CODE_CHARS_MAX)?;
    text("quota", &request.quota, CODE_CHARS_MAX)?;
    (0..)
        .zip(&request.passengers)
        .try_for_each(|(index, one)| passenger(index, one))
}

fn cancellation(request: &CancellationRequest) -> Result<(), Refusal> {
    text("request_id", &request.request_id, TEXT_CHARS_MAX)?;
    text("user_id", &request.user_id, TEXT_CHARS_MAX)?;
    train_id(&request.train_id)?;
    text("booking_request_id", &request.booking_request_id, TEXT_CHARS_MAX)
}

fn passenger(index: usize, passenger: &Passenger) -> Result<(), Refusal> {
    if let Some(problem) = text_problem(&passenger.name, TEXT_CHARS_MAX) {
        return malformed(format!(
            "the name of passenger {index} {problem}; send the name as on the passport"
        ));
    }
    if !(0..=AGE_MAX).contains(&passenger.age) {
        return malformed(format!(
            "passenger {index} has age {}; it must lie between 0 and {AGE_MAX}",
            passenger.age
        ));
    }
    Ok(())
}

fn text(field: &str, text: &str, chars_max: usize) -> Result<(), Refusal> {
    match text_problem(text, chars_max) {
        None => Ok(()),
        Some(problem) => malformed(format!("{field} {problem}; send 1 to {chars_max} visible characters")),
    }
}

fn train_id(train_id: &str) -> Result<(), Refusal> {
    if is_train_id(train_id) {
        return Ok(());
    }
    malformed(format!(
        "train_id `{}` must be 1 to {TRAIN_ID_CHARS_MAX} letters, digits, `.`, `_` or `-`",
        clip(train_id, SHOWN_CHARS).escape_default()
    ))
}

fn malformed(message: String) -> Result<(), Refusal> {
    Err(RejectionCode::MalformedRequest.because(message))
}
