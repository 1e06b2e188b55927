//! Records, what is decided about them, and documents.

/// Number of documents of the ledger.
pub(super) const DOCUMENTS: usize = 2;
/// The topic of outputs that are no events.
pub(super) const ASIDE: u8 = 2;

/// An input record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A request for a document. A second request with the same id is a repetition.
    Request {
        /// The document.
        document: u8,
        /// The request's id, a small number.
        id: u8,
        /// True if the request's answer has to be followed by a timer.
        holds: bool,
    },
    /// A timer of a document.
    Timer {
        /// The document.
        document: u8,
        /// True if the time was up by the record's timestamp.
        is_due: bool,
    },
    /// Closes the day.
    CloseDay,
}

/// The kind of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A request's answer.
    Booked,
    /// A request's answer, after which the document has a timer.
    Held,
    /// The timer's event.
    Ended,
    /// The day is closed.
    Closed,
    /// A request came after the closing.
    Refused,
    /// A repeated request's answer, which is no event.
    Replayed,
}

/// The output of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Output {
    /// Offset of the input record that caused it.
    pub record: u8,
    /// Its kind.
    pub kind: Kind,
    /// The document of the record.
    pub document: u8,
    /// The request's id.
    pub id: u8,
    /// Sequence; 0 if it is not an event.
    pub sequence: u8,
    /// Token of the acquisition that decided it.
    pub token: u8,
    /// The document that it was decided on, see [`Document::fold`].
    pub before: u32,
}

impl Output {
    /// Returns whether it changes a document.
    pub(super) fn touches(&self, document: usize) -> bool {
        usize::from(self.document) == document && matches!(self.kind, Kind::Booked | Kind::Held | Kind::Ended)
    }

    /// Returns whether it has a sequence.
    pub(super) fn is_event(&self) -> bool {
        self.kind != Kind::Replayed
    }

    /// Returns the topic that it is written to.
    pub(super) fn topic(&self) -> u8 {
        match self.kind {
            Kind::Booked | Kind::Held | Kind::Ended => self.document,
            Kind::Closed | Kind::Refused => 1,
            Kind::Replayed => ASIDE,
        }
    }
}

/// A document, which is also its head in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Document {
    /// Sequence of the last event; 0 if there is none.
    pub sequence: u8,
    /// True if a timer has to come.
    pub due: bool,
    /// Bits of the requests whose answers are stored.
    pub answers: u8,
    /// The events of which it is the fold, as digits.
    pub fold: u32,
}

impl Document {
    /// Returns the document after an event.
    pub(super) fn after(self, event: &Output) -> Document {
        let answer = match event.kind {
            Kind::Booked | Kind::Held => 1 << event.id,
            _ => 0,
        };
        Document {
            sequence: event.sequence,
            due: match event.kind {
                Kind::Held => true,
                Kind::Ended => false,
                _ => self.due,
            },
            answers: self.answers | answer,
            fold: self.fold << 8 | u32::from(event.record + 1) << 4 | u32::from(event.token),
        }
    }
}

/// Decides a request about a document of a day that isn't closed.
pub(super) fn decide_request(document: &Document, id: u8, holds: bool) -> Kind {
    match (document.answers & 1 << id != 0, holds) {
        (true, _) => Kind::Replayed,
        (false, true) => Kind::Held,
        (false, false) => Kind::Booked,
    }
}

/// The state of a ledger, as its events make it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Fold {
    /// The last sequence.
    pub sequence: u8,
    /// True if the day is closed.
    pub closed: bool,
    /// The documents.
    pub documents: [Document; DOCUMENTS],
}

impl Fold {
    /// Returns what a record has to be answered with. `day` has the bits of the documents of the day.
    pub(super) fn decide(&self, record: Record, day: u8) -> Option<Kind> {
        let is_closed = |document: u8| self.closed && day & 1 << document != 0;
        match record {
            Record::Request { document, .. } if is_closed(document) => Some(Kind::Refused),
            Record::Request { document, id, holds } => {
                Some(decide_request(&self.documents[usize::from(document)], id, holds))
            }
            Record::Timer { document, is_due } => {
                let is_obeyed = is_due && !is_closed(document) && self.documents[usize::from(document)].due;
                is_obeyed.then_some(Kind::Ended)
            }
            Record::CloseDay => {
                let is_due = (0..DOCUMENTS).any(|document| day & 1 << document != 0 && self.documents[document].due);
                (!self.closed && !is_due).then_some(Kind::Closed)
            }
        }
    }

    /// Adds an event.
    pub(super) fn add(&mut self, event: &Output, day: u8) {
        self.sequence = event.sequence;
        for (index, document) in self.documents.iter_mut().enumerate() {
            if event.touches(index) {
                *document = document.after(event);
            } else if event.kind == Kind::Closed && day & 1 << index != 0 {
                *document = Document::default();
            }
        }
        self.closed |= event.kind == Kind::Closed;
    }
}
