//! Checks one ledger: reads its events in order of sequence and passes each to all checks and sums.

use std::sync::Arc;

use interlock_inventory::invariants::EventAuditor;
use interlock_inventory::{Ledger, Plan, evolve};
use interlock_schemas::{Event, EventHeader, RecordType, topics, train_date_key};
use interlock_streams::runtime::{ForeignMetadata, Layouts, OffsetMetadata};

use super::reading::Found;
use super::requests::Requests;
use super::totals::Totals;
use super::windows::{WindowSums, Writer};
use crate::findings::{Findings, Place};
use interlock_inventory::invariants::Invariant;

/// The group's committed position in a partition of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Offset of the next record to apply; 0 if nothing was ever committed.
    pub(crate) offset: i64,
    /// The metadata; none if nothing was ever committed, or by another program.
    pub(crate) metadata: Option<OffsetMetadata>,
    /// The reason why the metadata could not be read.
    pub(crate) foreign: Option<ForeignMetadata>,
}

impl Committed {
    /// Returns a committed offset with its metadata.
    pub(crate) fn new(offset: i64, metadata: &str) -> Committed {
        let (metadata, foreign) = match metadata.parse() {
            Ok(metadata) => (Some(metadata), None),
            Err(foreign) => (None, Some(foreign)),
        };
        Committed {
            offset,
            metadata,
            foreign,
        }
    }

    /// Returns the layouts, if the ledgers were ever repartitioned.
    pub(crate) fn layouts(&self) -> Option<&Arc<Layouts>> {
        let layouts = self.metadata.as_ref()?.layouts.as_ref();
        layouts.filter(|layouts| !layouts.past.is_empty())
    }

    /// Returns the layouts for this number of ledgers.
    pub(crate) fn layouts_of(&self, ledgers: i32) -> Arc<Layouts> {
        let layouts = self.layouts().cloned();
        layouts.unwrap_or_else(|| Arc::new(Layouts::first(ledgers)))
    }

    /// Returns the token that decided the last event, or, if there was no event since a repartitioning, the token of
    /// the repartitioning.
    pub(crate) fn token_of<'a>(&'a self, last: &'a LastEvent) -> &'a str {
        match (&self.metadata, self.layouts()) {
            (Some(metadata), Some(layouts)) if layouts.began_after() == last.sequence => &metadata.token.0,
            _ => &last.token,
        }
    }
}

/// The last event of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastEvent {
    /// The sequence; 0 before the first event.
    pub(crate) sequence: i64,
    /// Token of the acquisition that decided it.
    pub(crate) token: String,
}

/// Judges one ledger's events.
pub(crate) struct LedgerCheck {
    ledger: i32,
    layouts: Arc<Layouts>,
    committed: i64,
    auditor: EventAuditor,
    /// The fold of the events.
    pub(crate) state: Ledger,
    /// The reason why the fold is meaningless.
    pub(crate) unfoldable: Option<String>,
    /// The requests that the events answer.
    pub(crate) requests: Requests,
    /// The rows of the window tables.
    pub(crate) windows: WindowSums,
    /// Counts.
    pub(crate) totals: Totals,
    pub(crate) findings: Findings,
    /// The last event.
    pub(crate) last: LastEvent,
    /// The last event that follows from a record below the committed offset.
    pub(crate) last_committed: LastEvent,
    /// Greatest offset of a record that an event follows from.
    pub(crate) source_offset_max: Option<i64>,
}

impl LedgerCheck {
    /// Begins before the first event.
    pub(crate) fn new(ledgers: i32, requests: Requests, committed: &Committed, violations_max: usize) -> LedgerCheck {
        let ledger = requests.partition;
        LedgerCheck {
            ledger,
            layouts: committed.layouts_of(ledgers),
            committed: committed.offset,
            auditor: EventAuditor::new(),
            state: Ledger::new(ledger, ledgers),
            unfoldable: None,
            requests,
            windows: WindowSums::default(),
            totals: Totals {
                ledgers: 1,
                ..Totals::default()
            },
            findings: Findings::new(violations_max),
            last: LastEvent::default(),
            last_committed: LastEvent::default(),
            source_offset_max: None,
        }
    }

    /// Takes the next event, which may be undecodable.
    pub(crate) fn read(&mut self, found: &Found) {
        match &found.event {
            Ok(event) => self.observe(found.topic, found.offset, event),
            Err(reason) => self.unreadable(found.topic, found.offset, &reason.0),
        }
    }

    /// Takes the next event, found at this offset of its topic.
    fn observe(&mut self, topic: &str, offset: i64, event: &Event) {
        let header = event.header();
        self.count(event);
        self.belongs_here(topic, offset, event);
        let is_here = self.is_here(event);
        let violations = match is_here {
            true => self.auditor.observe(event),
            false => self.auditor.pass_over(event),
        };
        violations.into_iter().for_each(|violation| self.report(violation));
        self.requests.caused(event, &mut self.findings);
        self.windows.add(event, &Writer::ALL);
        self.totals.count(event);
        if is_here {
            self.fold(event);
        }
        self.last = LastEvent {
            sequence: header.sequence,
            token: header.token.to_string(),
        };
        if header.source_offset < self.committed {
            self.last_committed.clone_from(&self.last);
        }
        self.source_offset_max = self.source_offset_max.max(Some(header.source_offset));
    }

    /// Takes an event that another ledger decided before a repartitioning; ignores events of train-dates that did not
    /// move here.
    pub(crate) fn observe_elsewhere(&mut self, event: &Event) {
        if self.is_here(event) {
            let violations = self.auditor.observe_elsewhere(event);
            violations.into_iter().for_each(|violation| self.report(violation));
            self.fold(event);
        }
    }

    /// Begins the present layout, after all events of earlier ones were taken.
    pub(crate) fn begin_layout(&mut self) {
        self.state.renumber(self.layouts.first_number);
    }

    /// Returns whether the event's train-date belongs to this ledger now.
    fn is_here(&self, event: &Event) -> bool {
        let header = event.header();
        let key = train_date_key(&header.train_id, header.travel_date);
        self.layouts.past.is_empty() || self.layouts.ledger_of(key.as_bytes()) == self.ledger
    }

    /// Reports an event that can't be decoded.
    fn unreadable(&mut self, topic: &str, offset: i64, reason: &str) {
        let place = Place::record_of(self.ledger, None, (topic, self.ledger, offset));
        self.unfoldable
            .get_or_insert_with(|| format!("{place} can't be decoded"));
        self.findings
            .violation(Invariant::I4, place, format!("the event can't be decoded: {reason}"));
    }

    /// Records that an event of another ledger can't be decoded.
    pub(crate) fn cannot_be_folded(&mut self, holder: i32, reason: &str) {
        self.unfoldable
            .get_or_insert_with(|| format!("an event of ledger {holder} can't be decoded: {reason}"));
    }

    /// Ends the events, and reports violations after the last command.
    pub(crate) fn finish(&mut self) {
        for violation in self.auditor.finish() {
            self.report(violation);
        }
    }

    /// Frees the fold and the auditor's view, which are large.
    pub(crate) fn release(&mut self) {
        self.totals.count_bookings(&self.state);
        self.state.clear();
        self.auditor = EventAuditor::new();
    }

    fn count(&mut self, event: &Event) {
        let header = event.header();
        self.findings.checked(Invariant::I4, 1);
        self.findings.checked(Invariant::Rules, 1);
        if header.replay {
            return;
        }
        match event {
            Event::Confirmed(confirmed) => {
                self.findings.checked(Invariant::I1, confirmed.passengers.len() as u64);
                self.findings.checked(Invariant::I3, confirmed.passengers.len() as u64);
            }
            Event::Waitlisted(waitlisted) => {
                self.findings.checked(Invariant::I3, waitlisted.passengers.len() as u64);
            }
            _ => {}
        }
    }

    /// Checks that an event lies in its ledger's partition of the topic for its kind, and that its train-date belongs
    /// to that ledger: in two ledgers, its seats would be sold twice.
    fn belongs_here(&mut self, topic: &str, offset: i64, event: &Event) {
        let header = event.header();
        let place = Place::record_of(self.ledger, Some(header.sequence), (topic, self.ledger, offset));
        if header.ledger != self.ledger {
            let detail = format!("is an event of ledger {}, in another's partition", header.ledger);
            self.findings.violation(Invariant::I4, place.clone(), detail);
        }
        if topic_of(event) != topic {
            let detail = format!("is an event of topic {}", topic_of(event));
            self.findings.violation(Invariant::I4, place.clone(), detail);
        }
        let key = train_date_key(&header.train_id, header.travel_date);
        let home = self.layouts.ledger_at(header.source_offset, key.as_bytes());
        if home != self.ledger {
            let detail = format!("{key} is sold here and belongs to ledger {home}");
            self.findings.violation(Invariant::I1, place, detail);
        }
    }

    fn report(&mut self, violation: interlock_inventory::invariants::Violation) {
        let (invariant, detail) = (violation.invariant, violation.detail);
        let place = Place::event(violation.ledger, violation.sequence, &violation.train_date);
        if matches!(invariant, Invariant::I1 | Invariant::I4) {
            // Folding further would take a seat twice, or miss a taken one.
            self.unfoldable.get_or_insert_with(|| format!("{place}: {detail}"));
        }
        self.findings.violation(invariant, place, detail);
    }

    fn fold(&mut self, event: &Event) {
        if let Event::Opened(opened) = event
            && let Err(error) = Plan::compile((*opened.plan).clone())
        {
            let place = self.place_of(event.header());
            let detail = format!("the train-date is opened with a plan by which nothing can be sold: {error}");
            self.unfoldable.get_or_insert_with(|| format!("{place}: {detail}"));
            self.findings.violation(Invariant::I5, place, detail);
        }
        if self.unfoldable.is_none() {
            evolve(&mut self.state, event);
        }
    }

    fn place_of(&self, header: &EventHeader) -> Place {
        let key = train_date_key(&header.train_id, header.travel_date);
        Place::event(self.ledger, header.sequence, &key)
    }
}

fn topic_of(event: &Event) -> &'static str {
    topics::topic_of(match event {
        Event::Confirmed(_) => RecordType::BookingConfirmed,
        Event::Waitlisted(_) => RecordType::BookingWaitlisted,
        Event::Cancelled(_) => RecordType::BookingCancelled,
        Event::Rejected(_) => RecordType::BookingRejected,
        Event::Opened(_) => RecordType::TrainDateOpened,
    })
}
