//! The invariants I1 to I5: one definition for tests, simulator and `interlock audit`.
//!
//! [`EventAuditor`] reads the events of one ledger in the order of their sequence and keeps a view of its own: the held
//! legs of each seat, the waiters, and the answered requests. It shares no code with the decisions that it judges: it
//! checks its own rows for seats that fit, and searches for waiters that should have been promoted.
//!
//! | | checked |
//! | --- | --- |
//! | I1 | for every seat given: it exists, its quota sells it, and its legs are free; a train-date is opened once |
//! | I2 | for every answer: a request has one first answer, and later ones are marked as repeated |
//! | I3 | for every promotion: no earlier waiter could have used the space; after every command: no waiter can |
//! | I4 | for every event: its sequence is its predecessor's plus one |
//! | I5 | for two states of a train-date, by [`same_state`] |
//!
//! The auditor also compares the positions and amounts in events with its view (R15, R18), and checks that no PNR is
//! issued twice.
//!
//! I3 stays cheap because only a cancellation frees space. The auditor then searches once per segment for waiters that
//! fit, and checks only these again until the command ends.

mod list;
mod view;

use std::fmt;

use interlock_schemas::{Event, EventHeader, EventKind, Text, train_date_key};
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::evolve::is_reused_key;
use crate::train_date::TrainDate;
use view::View;

/// A property of every history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Invariant {
    /// No seat is held twice on a leg.
    I1,
    /// Every request has exactly one answer.
    I2,
    /// No one is served before an earlier waiter who would have fitted.
    I3,
    /// Sequences have no gap and no repeat.
    I4,
    /// The ledger store equals the fold of the events.
    I5,
    /// Window tables equal the sums over the topics.
    I6,
    /// Events agree on time, positions and money (R1, R15, R18).
    Rules,
}

impl Invariant {
    /// All of them, in the order of a report.
    pub const ALL: [Invariant; 7] = [
        Invariant::I1,
        Invariant::I2,
        Invariant::I3,
        Invariant::I4,
        Invariant::I5,
        Invariant::I6,
        Invariant::Rules,
    ];

    /// Returns the name, as documents cite it.
    pub const fn name(self) -> &'static str {
        match self {
            Invariant::I1 => "I1",
            Invariant::I2 => "I2",
            Invariant::I3 => "I3",
            Invariant::I4 => "I4",
            Invariant::I5 => "I5",
            Invariant::I6 => "I6",
            Invariant::Rules => "rules",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant; for a rule the detail begins with its number.
    pub invariant: Invariant,
    /// The ledger.
    pub ledger: i32,
    /// Sequence of the event that shows the violation.
    pub sequence: i64,
    /// Key of the train-date.
    pub train_date: Text,
    /// The contradiction, in words.
    pub detail: String,
}

/// Checks the events of one ledger, which the caller feeds in the order of their sequence.
///
/// If the number of ledgers has grown, train-dates have moved. Feed events of train-dates that came from another ledger
/// to [`EventAuditor::observe_elsewhere`] first, and events of train-dates that have left to
/// [`EventAuditor::pass_over`].
#[derive(Debug, Default)]
pub struct EventAuditor {
    numbered: Option<Numbered>,
    last: Option<Last>,
    views: FxHashMap<Text, View>,
    revenue: FxHashMap<Text, i64>,
    /// Each PNR to the train-date and the request of its booking.
    pnrs: FxHashMap<Text, (Text, Text)>,
    found: Vec<Found>,
}

/// The preceding event of this ledger.
#[derive(Clone, Copy, Debug)]
struct Numbered {
    ledger: i32,
    sequence: i64,
    source_offset: i64,
}

impl Numbered {
    fn of(header: &EventHeader) -> Self {
        Self {
            ledger: header.ledger,
            sequence: header.sequence,
            source_offset: header.source_offset,
        }
    }
}

/// The preceding event of any ledger; its command may continue.
#[derive(Debug)]
struct Last {
    event: Numbered,
    train_date: Text,
}

/// A violation, to which the auditor adds the coordinates.
#[derive(Debug)]
struct Found {
    invariant: Invariant,
    detail: String,
}

impl EventAuditor {
    /// Creates an auditor that has seen nothing; the first event must have sequence 1.
    pub fn new() -> EventAuditor {
        EventAuditor::default()
    }

    /// Reads the next event. Returns the invariants that it breaks, and those that the preceding command left broken.
    pub fn observe(&mut self, event: &Event) -> Vec<Violation> {
        let mut violations = self.begin(event);
        self.sequence_goes_on(event.header());
        self.view(event);
        self.report(&mut violations);
        violations
    }

    /// Reads an event that another ledger decided before the train-date came to this one.
    pub fn observe_elsewhere(&mut self, event: &Event) -> Vec<Violation> {
        let mut violations = self.begin(event);
        self.view(event);
        self.report(&mut violations);
        violations
    }

    /// Reads an event whose train-date has since moved to another ledger. That ledger judges it; here it only counts.
    pub fn pass_over(&mut self, event: &Event) -> Vec<Violation> {
        let mut violations = self.begin(event);
        self.sequence_goes_on(event.header());
        self.report(&mut violations);
        violations
    }

    /// Notes that a command may begin, so that the preceding one has ended.
    fn begin(&mut self, event: &Event) -> Vec<Violation> {
        let header = event.header();
        let began = Numbered::of(header);
        let same = |last: &Last| (last.event.ledger, last.event.source_offset) == (began.ledger, began.source_offset);
        let violations = match self.last.as_ref().is_some_and(same) {
            true => Vec::new(),
            false => self.finish(),
        };
        self.last = Some(Last {
            event: began,
            train_date: train_date_key(&header.train_id, header.travel_date),
        });
        violations
    }

    fn view(&mut self, event: &Event) {
        let header = event.header();
        let key = train_date_key(&header.train_id, header.travel_date);
        self.gives_a_new_pnr(event, &key);
        self.views.entry(key).or_default().observe(event, &mut self.found);
        if header.amount_minor != 0 {
            *self.revenue.entry(header.currency.clone()).or_default() += header.amount_minor;
        }
    }

    /// Checks that no two bookings have one PNR.
    fn gives_a_new_pnr(&mut self, event: &Event, key: &Text) {
        let header = event.header();
        let books = matches!(event, Event::Confirmed(_) | Event::Waitlisted(_)) && is_first_answer(header);
        if !books || header.pnr.is_empty() {
            return;
        }
        let own = (key.clone(), header.request_id.clone());
        let first = self.pnrs.entry(header.pnr.clone()).or_insert_with(|| own.clone());
        if *first != own {
            let (train_date, request) = first;
            let detail = format!(
                "PNR {} is given to {} and was given to {request} of {train_date}",
                header.pnr, header.request_id
            );
            self.found.push(Found {
                invariant: Invariant::Rules,
                detail,
            });
        }
    }

    /// Ends the last command, and returns the invariants that it left broken. Call it after the last event.
    pub fn finish(&mut self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Some(last) = &self.last
            && let Some(view) = self.views.get_mut(&last.train_date)
        {
            view.command_ended(&mut self.found);
        }
        self.report(&mut violations);
        violations
    }

    /// Returns the sum of the amounts, by currency.
    pub fn revenue(&self) -> impl Iterator<Item = (&str, i64)> {
        self.revenue
            .iter()
            .map(|(currency, amount)| (currency.as_str(), *amount))
    }

    /// Returns the sequence of the last event.
    pub fn last_sequence(&self) -> Option<i64> {
        self.numbered.map(|event| event.sequence)
    }

    fn sequence_goes_on(&mut self, header: &EventHeader) {
        let (sequence, ledger, offset) = match self.numbered.replace(Numbered::of(header)) {
            Some(last) => (last.sequence + 1, last.ledger, last.source_offset),
            None => (1, header.ledger, i64::MIN),
        };
        if header.sequence != sequence {
            self.found.push(Found {
                invariant: Invariant::I4,
                detail: format!("sequence {} where {sequence} follows", header.sequence),
            });
        }
        if header.ledger != ledger {
            self.found.push(Found {
                invariant: Invariant::I4,
                detail: format!("ledger {} among events of {ledger}", header.ledger),
            });
        }
        if header.source_offset < offset {
            let detail = format!("offset {} is decided after {offset}", header.source_offset);
            self.found.push(Found {
                invariant: Invariant::I4,
                detail,
            });
        }
    }

    fn report(&mut self, violations: &mut Vec<Violation>) {
        let Some(last) = &self.last else { return };
        violations.extend(self.found.drain(..).map(|found| Violation {
            invariant: found.invariant,
            ledger: last.event.ledger,
            sequence: last.event.sequence,
            train_date: last.train_date.clone(),
            detail: found.detail,
        }));
    }
}

/// Checks I5: the stored train-date equals the fold of its events. The error names the first difference.
pub fn same_state(folded: &TrainDate, stored: &TrainDate) -> Result<(), String> {
    if folded == stored {
        return Ok(());
    }
    let (folded, stored) = (folded.to_fields(), stored.to_fields());
    let differs = folded
        .iter()
        .find(|field| !stored.contains(field))
        .or_else(|| stored.iter().find(|field| !folded.contains(field)));
    let field = differs.map_or(
        "the fields are equal, but not what was made of them".into(),
        |(field, _)| format!("field `{}` differs", String::from_utf8_lossy(field)),
    );
    Err(format!("I5: {field}"))
}

/// Returns whether an event is part of the first answer to a command.
fn is_first_answer(header: &EventHeader) -> bool {
    header.kind == EventKind::Answer && !header.replay
}
