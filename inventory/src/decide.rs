//! `decide` returns the events that a command causes. It is pure: the same state, command, plan and context give the
//! same events.
//!
//! The events of one command come in this order: OPENED (if it opens the train-date), ANSWER (two if a party is split
//! between seats and waitlist), PROMOTIONs in the order of promotion, POSITION of the list that moved.

use std::sync::Arc;

use interlock_schemas::{Command, Event};

use crate::answer;
use crate::book::book;
use crate::cancel::cancel;
use crate::key::{command_key, date_text};
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::rejection::{Refusal, RejectionCode};
use crate::step::{CommandContext, Step};
use crate::text::clip;
use crate::train_date::{Open, TrainDate};
use crate::well_formed::well_formed;
use crate::{TEXT_CHARS_MAX, TRAIN_ID_CHARS_MAX};

/// Returns the events that a command causes: at least one answer, and all immediate consequences.
///
/// `plan` is the present plan in `train-services`. It counts only until the train-date is open: the first command (that
/// is not a repeat) with a plan that runs on the date opens it, and from then on the plan in the ledger applies.
pub fn decide(ledger: &Ledger, command: &Command, plan: Option<&Arc<Plan>>, at: &CommandContext<'_>) -> Vec<Event> {
    let train_date = ledger.get(&command_key(command));
    let mut step = Step::new(command, at);
    if let Some(outcome) = train_date.and_then(|train_date| train_date.outcome(step.request_id())) {
        step.plan = train_date.and_then(TrainDate::plan).map(|plan| &**plan);
        match outcome.digest() == step.digest {
            true => answer_again(&mut step, train_date, outcome),
            false => refuse_reused_key(&mut step),
        }
        return step.events;
    }
    let fresh;
    let (open, is_new) = match train_date.and_then(|train_date| train_date.open.as_ref()) {
        Some(open) => (Ok(open), false),
        None => {
            fresh = open_now(&step, plan);
            (fresh.as_ref(), true)
        }
    };
    if let Ok(open) = open {
        step.plan = Some(&open.plan);
        if is_new {
            step.opened(&open.plan);
        }
    }
    let answered = well_formed(command).and_then(|()| {
        let open = open.map_err(Refusal::clone)?;
        match command {
            Command::Book(request) => book(&mut step, ledger, open, request),
            Command::Cancel(request) => cancel(&mut step, train_date, open, request),
        }
    });
    if let Err(refusal) = answered {
        answer::rejection(&mut step, refusal.code.name(), refusal.message);
    }
    step.events
}

/// Refuses a request id that was used with another body (R3). The refusal is not stored: the id belongs to the first
/// body.
fn refuse_reused_key(step: &mut Step<'_>) {
    let message = format!(
        "request id `{}` was used before with another body; send a new request under a new request id",
        clip(step.request_id(), TEXT_CHARS_MAX)
    );
    answer::rejection(step, RejectionCode::IdempotencyKeyReused.name(), message.into());
}

/// Gives the stored outcome again (R3).
fn answer_again(step: &mut Step<'_>, train_date: Option<&TrainDate>, outcome: &Outcome) {
    step.replay = true;
    let open = train_date.and_then(|train_date| train_date.open.as_ref());
    match (outcome, step.command, open) {
        (Outcome::Booking(booking), _, Some(open)) => answer::booking(step, open, booking),
        (Outcome::Cancellation(cancellation), Command::Cancel(request), Some(open)) => {
            let booking = train_date.and_then(|train_date| train_date.booking(&request.booking_request_id));
            if let Some(booking) = booking {
                answer::cancellation(step, open, booking, cancellation);
            }
        }
        (Outcome::Rejection(rejection), ..) => {
            step.plan = step.plan.filter(|_| rejection.plan_version != 0);
            answer::rejection(step, rejection.code.clone(), rejection.message.clone());
        }
        _ => debug_assert!(
            false,
            "an accepted request without a plan, or an equal digest of another kind of command"
        ),
    }
}

fn open_now(step: &Step<'_>, plan: Option<&Arc<Plan>>) -> Result<Open, Refusal> {
    let (train_id, travel_date) = step.train_date();
    let known = plan
        .filter(|plan| plan.service().train_id == *train_id)
        .ok_or_else(|| {
            RejectionCode::UnknownTrain.because(format!(
                "there is no train `{}`; check its number",
                clip(train_id, TRAIN_ID_CHARS_MAX)
            ))
        })?;
    let sold = known.sold_on(travel_date).ok_or_else(|| {
        RejectionCode::NotRunningOnDate.because(format!(
            "train {train_id} does not run on {}; choose another date",
            date_text(travel_date)
        ))
    })?;
    Ok(Open::new(Arc::clone(sold), travel_date))
}
