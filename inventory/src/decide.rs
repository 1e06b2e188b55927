//! `decide` returns the events that a command causes. It is pure: the same state, command, plan and context give the
//! same events.
//!
//! The events of one command come in this order: OPENED (if it opens the train-date), ANSWER (two if a party is split
//! between seats and waitlist), PROMOTIONs in the order of promotion, POSITION of the list that moved.

use std::sync::Arc;

use interlock_schemas::{Command, Date, Event, EventHeader, EventKind, Text, TimestampMs, TrainDateOpened};

use crate::answer;
use crate::book::book;
use crate::cancel::cancel;
use crate::digest::Digest;
use crate::key::{command_key, date_text, is_train_id};
use crate::ledger::Ledger;
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::rejection::{Refusal, RejectionCode, clip};
use crate::train_date::{Open, TrainDate};
use crate::{TEXT_CHARS_MAX, key};

/// The source of a command, and the numbering of its events.
#[derive(Clone, Copy, Debug)]
pub struct CommandContext<'a> {
    /// The ledger: the partition of `booking-requests`.
    pub ledger: i32,
    /// Sequence of the first event; further ones follow without gap (I4).
    pub next_sequence: i64,
    /// Offset of the command.
    pub source_offset: i64,
    /// The command's time: its Kafka record's timestamp (R1).
    pub time: TimestampMs,
    /// Token of the ledger acquisition that decides.
    pub token: &'a Text,
}

/// Returns the events that a command causes: at least one answer, and all immediate consequences.
///
/// `plan` is the present plan in `train-services`. It counts only until the train-date is open: the first command (that
/// is not a repeat) with a plan that runs on the date opens it, and from then on the plan in the ledger applies.
pub fn decide(ledger: &Ledger, command: &Command, plan: Option<&Arc<Plan>>, at: &CommandContext<'_>) -> Vec<Event> {
    let train_date = ledger.get(&command_key(command));
    let mut step = Step::new(command, at);
    if let Some(outcome) = train_date.and_then(|train_date| train_date.outcome(step.request_id())) {
        step.replay = true;
        step.plan = train_date.and_then(TrainDate::plan).map(|plan| &**plan);
        answer_again(&mut step, train_date, outcome);
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

/// Repeats the stored outcome for the same body (R3). A different body is refused, and that refusal is not stored.
fn answer_again(step: &mut Step<'_>, train_date: Option<&TrainDate>, outcome: &Outcome) {
    let open = train_date.and_then(|train_date| train_date.open.as_ref());
    if outcome.digest() != step.digest {
        let message = format!(
            "request id `{}` was used before with another body; send a new request under a new request id",
            clip(step.request_id(), TEXT_CHARS_MAX)
        );
        return answer::rejection(step, RejectionCode::IdempotencyKeyReused.name(), message.into());
    }
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
            RejectionCode::UnknownTrain.because(format!("there is no train `{}`; check its number", clip(train_id, 64)))
        })?;
    if !known.runs_on(travel_date) {
        let message = format!(
            "train {train_id} does not run on {}; choose another date",
            date_text(travel_date)
        );
        return Err(RejectionCode::NotRunningOnDate.because(message));
    }
    Ok(Open::new(Arc::clone(known.as_sold()), travel_date))
}

/// Checks the conditions that do not depend on the plan.
fn well_formed(command: &Command) -> Result<(), Refusal> {
    let malformed = |message: String| Err(RejectionCode::MalformedRequest.because(message));
    let (request_id, train_id, user_id, others): (_, _, _, &[&Text]) = match command {
        Command::Book(r) => (
            &r.request_id,
            &r.train_id,
            &r.user_id,
            &[&r.from_station, &r.to_station, &r.travel_class, &r.quota],
        ),
        Command::Cancel(r) => (&r.request_id, &r.train_id, &r.user_id, &[&r.booking_request_id]),
    };
    for (text, name) in [(request_id, "request_id"), (user_id, "user_id")] {
        if text.is_empty() {
            return malformed(format!("{name} is empty; send one"));
        }
    }
    if !is_train_id(train_id) {
        let max = key::TRAIN_ID_CHARS_MAX;
        return malformed(format!(
            "train_id `{}` must be 1 to {max} letters, digits, `.`, `_` or `-`",
            clip(train_id, 64)
        ));
    }
    for text in [request_id, user_id].into_iter().chain(others.iter().copied()) {
        if is_long(text) {
            return malformed(format!(
                "`{}…` is longer than {TEXT_CHARS_MAX} characters; shorten it",
                clip(text, 32)
            ));
        }
    }
    Ok(())
}

/// Returns whether the command can be answered. If its request id is too long, the outcome is not stored and no event
/// carries the id; the caller has to handle the record.
pub fn is_answerable(command: &Command) -> bool {
    !is_long(request_id(command))
}

fn request_id(command: &Command) -> &Text {
    match command {
        Command::Book(request) => &request.request_id,
        Command::Cancel(request) => &request.request_id,
    }
}

/// Returns whether a client's text is too long to be stored.
pub(crate) fn is_long(text: &str) -> bool {
    text.len() > TEXT_CHARS_MAX && text.chars().nth(TEXT_CHARS_MAX).is_some()
}

/// A command that is being decided, and its events up to this point.
pub(crate) struct Step<'a> {
    pub(crate) command: &'a Command,
    pub(crate) at: &'a CommandContext<'a>,
    pub(crate) digest: Digest,
    /// Whether the answer repeats an earlier one, so that no money moves.
    pub(crate) replay: bool,
    /// Plan of the train-date, once it is open.
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) events: Vec<Event>,
}

/// The subject of an event; texts are empty if it concerns a whole train-date or list.
#[derive(Clone, Default)]
pub(crate) struct Subject {
    pub(crate) request_id: Text,
    pub(crate) travel_class: Text,
    pub(crate) quota: Text,
    pub(crate) user_id: Text,
    pub(crate) from_station: Text,
    pub(crate) to_station: Text,
}

impl<'a> Step<'a> {
    fn new(command: &'a Command, at: &'a CommandContext<'a>) -> Self {
        Step {
            command,
            at,
            digest: Digest::of(command),
            replay: false,
            plan: None,
            // Most commands cause one event.
            events: Vec::with_capacity(1),
        }
    }

    /// The command's request id.
    pub(crate) fn request_id(&self) -> &'a Text {
        request_id(self.command)
    }

    fn train_date(&self) -> (&'a Text, Date) {
        match self.command {
            Command::Book(request) => (&request.train_id, request.travel_date),
            Command::Cancel(request) => (&request.train_id, request.travel_date),
        }
    }

    /// Returns the header of the next event, without PNR and money.
    pub(crate) fn header(&self, kind: EventKind, subject: Subject) -> EventHeader {
        let (train_id, travel_date) = self.train_date();
        let (plan_version, currency) = self
            .plan
            .map(Plan::service)
            .map_or((0, Text::default()), |plan| (plan.version, plan.currency.clone()));
        let request_digest = if kind == EventKind::Answer {
            self.digest.to_text()
        } else {
            Text::default()
        };
        EventHeader {
            ledger: self.at.ledger,
            sequence: self.at.next_sequence + self.events.len() as i64,
            source_offset: self.at.source_offset,
            kind,
            replay: self.replay,
            token: self.at.token.clone(),
            cause_request_id: self.request_id().clone(),
            request_id: subject.request_id,
            request_digest,
            pnr: Text::default(),
            train_id: train_id.clone(),
            travel_date,
            travel_class: subject.travel_class,
            quota: subject.quota,
            user_id: subject.user_id,
            from_station: subject.from_station,
            to_station: subject.to_station,
            plan_version,
            event_time: self.at.time,
            amount_minor: 0,
            currency,
        }
    }

    /// Returns the amount that this step moves: 0 if it only repeats an answer.
    pub(crate) fn moved(&self, amount_minor: i64) -> i64 {
        if self.replay { 0 } else { amount_minor }
    }

    fn opened(&mut self, plan: &Plan) {
        let header = self.header(
            EventKind::Opened,
            Subject {
                request_id: self.request_id().clone(),
                ..Subject::default()
            },
        );
        let mut plan = Box::new(plan.service().clone());
        plan.running_dates.clear();
        self.events.push(Event::Opened(TrainDateOpened { header, plan }));
    }
}
