//! `decide` returns the events that a command causes, and what they change. It is pure: the same state, command, plan
//! and context give the same decision.
//!
//! The events of one command come in this order: OPENED (if it opens the train-date), ANSWER (two if a party is split
//! between seats and waitlist), PROMOTIONs in the order of promotion, POSITION of the list that moved.

use std::sync::Arc;

use interlock_schemas::{Command, Event, Text};

use crate::answer;
use crate::book::book;
use crate::cancel::cancel;
use crate::effect::{Effect, Effects};
use crate::key::{command_key, date_text};
use crate::ledger::Ledger;
use crate::outcome::{Outcome, Rejection};
use crate::plan::Plan;
use crate::rejection::{Refusal, RejectionCode};
use crate::slots::Slot;
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
    Decision::of(ledger, &command_key(command), command, || plan.cloned(), at).events
}

/// A decided command: its events, and what they change.
#[derive(Debug)]
pub struct Decision {
    /// Key of the train-date, and its slot in the ledger if it is loaded.
    pub(crate) train_date: Text,
    pub(crate) slot: Option<Slot>,
    pub(crate) events: Vec<Event>,
    pub(crate) effects: Effects,
}

impl Decision {
    /// Decides a command as [`decide`] does. [`apply`](crate::apply) then changes the state, and need not read the
    /// events. `key` is the [`command_key`], and the plan is asked for only if the train-date isn't open.
    pub fn of(
        ledger: &Ledger,
        key: &str,
        command: &Command,
        plan: impl FnOnce() -> Option<Arc<Plan>>,
        at: &CommandContext<'_>,
    ) -> Decision {
        debug_assert_eq!(key, command_key(command));
        let slot = ledger.find(key);
        let train_date = slot.and_then(|slot| ledger.at(slot));
        let mut opened = None;
        let mut step = Step::new(command, at);
        match train_date.and_then(|train_date| train_date.outcomes.get(&step.id)) {
            Some(outcome) => known(&mut step, train_date, outcome),
            None => {
                if let Err(refusal) = answer(&mut step, ledger, train_date, plan, &mut opened) {
                    refuse(&mut step, refusal);
                }
            }
        }
        let Step {
            events, mut effects, ..
        } = step;
        if let Some(opened) = opened {
            effects.insert(0, Effect::Opened(opened));
        }
        Decision {
            train_date: key.into(),
            slot,
            events,
            effects,
        }
    }

    /// Returns the events.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

/// Answers a command with a new request id, or returns the reason of its refusal. `opened` becomes the train-date that
/// it opens.
fn answer<'a>(
    step: &mut Step<'a>,
    ledger: &Ledger,
    train_date: Option<&'a TrainDate>,
    plan: impl FnOnce() -> Option<Arc<Plan>>,
    opened: &'a mut Option<Open>,
) -> Result<(), Refusal> {
    let open = match train_date.and_then(|train_date| train_date.open.as_ref()) {
        Some(open) => {
            step.plan = Some(&open.plan);
            open
        }
        None => {
            let refused = |refusal| well_formed(step.command).err().unwrap_or(refusal);
            let open = &*opened.insert(open_now(step, plan().as_ref()).map_err(refused)?);
            step.plan = Some(&open.plan);
            step.opened(&open.plan);
            open
        }
    };
    well_formed(step.command)?;
    match step.command {
        Command::Book(request) => book(step, ledger, open, request),
        Command::Cancel(request) => cancel(step, train_date, open, request),
    }
}

/// Refuses a command, and stores the refusal.
fn refuse(step: &mut Step<'_>, refusal: Refusal) {
    step.effects.push(Effect::Refused {
        request_id: step.id.clone(),
        rejection: Box::new(Rejection {
            digest: step.digest,
            code: refusal.code.name(),
            message: refusal.message.clone(),
            plan_version: step.plan.map_or(0, |plan| plan.service().version),
        }),
    });
    answer::rejection(step, refusal.code.name(), refusal.message);
}

/// Answers a command whose request id was used before.
fn known<'a>(step: &mut Step<'a>, train_date: Option<&'a TrainDate>, outcome: &Outcome) {
    step.plan = train_date.and_then(TrainDate::plan).map(|plan| &**plan);
    match outcome.digest() == step.digest {
        true => answer_again(step, train_date, outcome),
        false => refuse_reused_key(step),
    }
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
