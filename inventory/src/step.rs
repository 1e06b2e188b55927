//! One command being decided, and the events that it causes.

use interlock_schemas::{Command, Date, Event, EventHeader, EventKind, Text, TimestampMs, TrainDateOpened};

use crate::digest::Digest;
use crate::effect::Effects;
use crate::outcomes::RequestId;
use crate::plan::Plan;

/// The origin of a command, and the number of its first event.
#[derive(Clone, Copy, Debug)]
pub struct CommandContext<'a> {
    /// The ledger: the partition of `booking-requests`.
    pub ledger: i32,
    /// Sequence of the first event; the others follow without gap (I4).
    pub next_sequence: i64,
    /// Offset of the command.
    pub source_offset: i64,
    /// The command's time: its Kafka record's timestamp (R1).
    pub time: TimestampMs,
    /// Token of the acquisition that decides.
    pub token: &'a Text,
}

/// A command being decided, its events so far, and their effects.
pub(crate) struct Step<'a> {
    pub(crate) command: &'a Command,
    pub(crate) at: &'a CommandContext<'a>,
    /// The command's request id.
    pub(crate) id: RequestId,
    pub(crate) digest: Digest,
    /// The answer repeats an earlier one: no money moves.
    pub(crate) replay: bool,
    /// The plan of the train-date, once it is open.
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) events: Vec<Event>,
    pub(crate) effects: Effects,
}

/// The request, place and user that an event is about; empty where it is about a whole train-date or list.
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
    /// Begins with no event.
    pub(crate) fn new(command: &'a Command, at: &'a CommandContext<'a>) -> Self {
        Step {
            command,
            at,
            id: RequestId::new(request_id(command).clone()),
            digest: Digest::of(command),
            replay: false,
            plan: None,
            // Most commands cause one event.
            events: Vec::with_capacity(1),
            effects: Effects::new(),
        }
    }

    /// Returns the command's request id.
    pub(crate) fn request_id(&self) -> &'a Text {
        request_id(self.command)
    }

    /// Returns the train and the travel date that the command names.
    pub(crate) fn train_date(&self) -> (&'a Text, Date) {
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

    /// Returns the amount that this step moves: nothing if it repeats an answer.
    pub(crate) fn moved(&self, amount_minor: i64) -> i64 {
        if self.replay { 0 } else { amount_minor }
    }

    /// Emits the opening of the train-date.
    pub(crate) fn opened(&mut self, plan: &Plan) {
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

fn request_id(command: &Command) -> &Text {
    match command {
        Command::Book(request) => &request.request_id,
        Command::Cancel(request) => &request.request_id,
    }
}
