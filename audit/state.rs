//! I5: what the ledger store holds equals the fold of the events, document by document and field by field.

use std::collections::BTreeMap;

use bytes::Bytes;
use interlock_inventory::{Ledger, TrainDate, readable_field};
use interlock_streams::ledger::{Document, Fields, ForeignKey, KeyDifference, LedgerState, LogEntry};
use interlock_streams::runtime::log_damage;

use super::ledger::{Committed, LastEvent};
use crate::findings::{Findings, Place};
use interlock_inventory::invariants::Invariant;

/// Longest description of a value in a report, in characters.
const SHOWN_CHARS_MAX: usize = 160;

/// Compares the head of a ledger with its events and with what the log has committed.
///
/// `committed` was read before `state`, which was read after the events and has as many of them; `committed_since` is
/// the committed offset afterwards.
pub(crate) fn check_meta(
    ledger: i32,
    (state, log): (&LedgerState, &[LogEntry]),
    last: &LastEvent,
    (committed, committed_since): (i64, i64),
    findings: &mut Findings,
) {
    let mut violation = |field: &str, detail: String| {
        findings.violation(Invariant::I5, Place::head(ledger, field), detail);
    };
    if state.sequence != last.sequence {
        let (found, last) = (state.sequence, last.sequence);
        violation("meta sequence", format!("is {found}, the last event's is {last}"));
    }
    let applied = state.applied.unwrap_or(-1);
    // An offset may have been committed, unchanged, before anything was applied.
    if applied < committed - 1 && (state.applied.is_some() || last.sequence > 0) {
        violation(
            "meta applied",
            format!(
                "is {applied}: Redis lacks records that Kafka has committed (up to {committed}); start a worker to rebuild it"
            ),
        );
    }
    let in_force = state.lineage.0.iter().rev().find(|(from, _)| *from <= last.sequence);
    if state.sequence == last.sequence && last.sequence > 0 && in_force.is_none_or(|(_, token)| token.0 != last.token) {
        let (found, token) = (in_force.map(|(_, token)| token.0.as_str()), &last.token);
        violation(
            "meta lineage",
            format!(
                "says token {found:?} decided event {}, the event says {token}",
                last.sequence
            ),
        );
    }
    if let Some(damage) = log_damage(log, state, committed_since) {
        let consequence = "the next worker that takes the ledger rebuilds it";
        violation("log", format!("{damage}; {consequence}"));
    }
}

/// Compares the head of a document that the index names with the index.
pub(crate) fn check_head(ledger: i32, name: &Bytes, state: &LedgerState, document: &Document, findings: &mut Findings) {
    let named = state.index.get(name);
    if let Some(loss) = named.and_then(|named| named.difference(document.head)) {
        let place = Place::document(ledger, &String::from_utf8_lossy(name));
        let detail =
            format!("{loss}: its head is not the one that the ledger's index has; a worker that notices rebuilds it");
        findings.violation(Invariant::I5, place, detail);
    }
}

/// The metadata of the committed offset names the last event below it, and who decided it.
pub(crate) fn check_committed(ledger: i32, committed: &Committed, last: &LastEvent, findings: &mut Findings) {
    let place = Place::head(ledger, "committed offset");
    if let Some(foreign) = &committed.foreign {
        let detail = format!(
            "its metadata is {:?}, which no worker writes: who committed it?",
            foreign.0
        );
        return findings.violation(Invariant::I5, place, detail);
    }
    let Some(by) = &committed.metadata else { return };
    let token = committed.token_of(last);
    if (by.sequence, by.token.0.as_str()) != (last.sequence, token) && (by.sequence, last.sequence) != (0, 0) {
        let offset = committed.offset;
        let detail = format!(
            "its metadata says event {} by token {}; the last event below offset {offset} is {} by {}",
            by.sequence, by.token, last.sequence, token
        );
        findings.violation(Invariant::I5, place, detail);
    }
}

/// Reports the keys of a ledger that another program wrote or changed.
pub(crate) fn check_foreign(ledger: i32, foreign: &[ForeignKey], findings: &mut Findings) {
    for ForeignKey {
        key,
        document,
        difference,
    } in foreign
    {
        let place = match document {
            Some(document) => Place::document(ledger, &String::from_utf8_lossy(document)),
            None => Place::head(ledger, key),
        };
        let detail = match difference {
            KeyDifference::Expires(in_ms) => format!(
                "{key} has a time to live: Redis deletes it in {} s, and a part of the ledger is lost then; \
                 PERSIST it, and find out who set the time",
                in_ms / 1_000
            ),
            KeyDifference::Unnamed => format!(
                "the ledger's index does not name {key}: no worker wrote it, or the index was lost; workers never read it"
            ),
            KeyDifference::Unknown => format!("{key} is no key of a ledger, and lies among those of ledger {ledger}"),
            KeyDifference::OtherType(kind) => format!("{key} is a {kind}, and a document is a hash"),
        };
        findings.violation(Invariant::I5, place, detail);
    }
}

/// Compares a ledger's documents with the fold, in any portions: first all that are stored, then [`Documents::finish`].
pub(crate) struct Documents<'a> {
    ledger: i32,
    folded: &'a Ledger,
    /// Train-dates of the fold that no stored document was compared with yet.
    rest: Vec<&'a str>,
}

impl<'a> Documents<'a> {
    /// Before the first document.
    pub(crate) fn new(ledger: i32, folded: &'a Ledger) -> Documents<'a> {
        let mut rest: Vec<&str> = folded.keys().collect();
        rest.sort_unstable();
        Documents { ledger, folded, rest }
    }

    /// Compares a stored document.
    pub(crate) fn compare(&mut self, name: &[u8], fields: &Fields, findings: &mut Findings) {
        let ledger = self.ledger;
        let Ok(key) = std::str::from_utf8(name) else {
            let place = Place::document(ledger, &String::from_utf8_lossy(name));
            return findings.violation(Invariant::I5, place, "is stored, and its name is no text");
        };
        if key.is_empty() {
            return self.compare_own(fields, findings);
        }
        if let Ok(at) = self.rest.binary_search(&key) {
            self.rest.remove(at);
        }
        let nothing = TrainDate::default();
        let folded = self.folded.get(key).unwrap_or(&nothing);
        compare_train_date(ledger, key, folded, fields, findings);
    }

    /// The ledger's own document: the counter of bookings, from which PNRs are made.
    fn compare_own(&mut self, fields: &Fields, findings: &mut Findings) {
        findings.checked(Invariant::I5, 1);
        let restored = Ledger::restore(
            self.ledger,
            self.folded.ledgers,
            fields.iter().map(|(field, value)| (field, value)),
        );
        match restored {
            Err(error) => {
                let place = Place::field(self.ledger, "", &error.field);
                findings.violation(Invariant::I5, place, error.problem);
            }
            Ok(stored) if stored.bookings != self.folded.bookings => {
                let detail = format!("is {}, the events make it {}", stored.bookings, self.folded.bookings);
                findings.violation(Invariant::I5, Place::field(self.ledger, "", "bookings"), detail);
            }
            Ok(_) => {}
        }
    }

    /// Reports entries of the fold that the store lacks. `names` are those of all stored documents.
    pub(crate) fn finish(mut self, names: &[Bytes], findings: &mut Findings) {
        if self.folded.bookings != 0 && !names.iter().any(Bytes::is_empty) {
            self.compare_own(&Fields::new(), findings);
        }
        for key in std::mem::take(&mut self.rest) {
            if let Some(folded) = self.folded.get(key) {
                compare_train_date(self.ledger, key, folded, &Fields::new(), findings);
            }
        }
    }
}

fn compare_train_date(ledger: i32, key: &str, folded: &TrainDate, fields: &Fields, findings: &mut Findings) {
    let expected: BTreeMap<Bytes, Bytes> = folded.to_fields().into_iter().collect();
    let (stored, readable) = match TrainDate::from_fields(key, fields.iter().map(|(field, value)| (field, value))) {
        Ok(stored) => (stored.to_fields().into_iter().collect(), Some(stored)),
        Err(error) => {
            let place = Place::field(ledger, key, &error.field);
            findings.violation(Invariant::I5, place, format!("can't be read back: {}", error.problem));
            (raw(fields), None)
        }
    };
    findings.checked(Invariant::I5, expected.len().max(stored.len()) as u64);
    let mut differs = 0;
    for field in expected
        .keys()
        .chain(stored.keys().filter(|field| !expected.contains_key(*field)))
    {
        if expected.get(field) == stored.get(field) {
            continue;
        }
        differs += 1;
        let name = readable_field(field);
        let events = describe(Some(folded), &name, expected.get(field));
        let redis = describe(readable.as_ref(), &name, stored.get(field));
        let detail = format!("Redis has {redis}; the events give {events}");
        findings.violation(Invariant::I5, Place::field(ledger, key, &name), detail);
    }
    if differs == 0 && readable.is_some_and(|stored| stored != *folded) {
        findings.violation(
            Invariant::I5,
            Place::document(ledger, key),
            "its fields equal the fold's, but what is made of them doesn't",
        );
    }
}

/// The fields as they are stored, without those that only say that nothing is taken or issued: a fold has none of
/// these.
fn raw(fields: &Fields) -> BTreeMap<Bytes, Bytes> {
    let says_nothing = |field: &[u8], value: &[u8]| {
        (field.starts_with(b"s|") || field.starts_with(b"w|")) && value.iter().skip(1).all(|byte| *byte == 0)
    };
    let kept = fields.iter().filter(|(field, value)| !says_nothing(field, value));
    kept.cloned().collect()
}

/// A field's value for people: a request's outcome, a coach's taken seats, else its bytes.
fn describe(train_date: Option<&TrainDate>, field: &str, value: Option<&Bytes>) -> String {
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let request_id = field.strip_prefix("r|").or_else(|| field.strip_prefix("q|"));
    let outcome = request_id.and_then(|id| train_date?.outcome(id));
    let text = match (outcome, field.strip_prefix("s|").zip(train_date)) {
        (Some(outcome), _) => format!("{outcome:?}"),
        (None, Some((coach, train_date))) => {
            let taken = train_date
                .seat_map()
                .filter(|seat| seat.coach == coach && seat.taken != 0);
            let seats: Vec<String> = taken
                .map(|seat| format!("{} on legs {:b}", seat.number, seat.taken))
                .collect();
            format!("seats {}", seats.join(", "))
        }
        (None, None) => value.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
