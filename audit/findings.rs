//! The findings of the checks: the number of checked items, the violations with their places, and inconclusive checks.

use std::collections::BTreeMap;
use std::fmt;

use interlock_inventory::invariants::Invariant;
use serde::Serialize;

/// The place of a finding. In JSON its fields appear beside those of the violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// A ledger; with a sequence one of its events, with a document a train-date.
    Ledger {
        /// The ledger: a partition of the requests.
        ledger: i32,
        /// The event's sequence in the ledger.
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence: Option<i64>,
        /// The train-date's key, which is also its document's name in the ledger store.
        #[serde(skip_serializing_if = "Option::is_none")]
        document: Option<String>,
    },
    /// A record of a topic; with ledger and sequence the event that it is, or that names it.
    Record {
        /// The ledger.
        #[serde(skip_serializing_if = "Option::is_none")]
        ledger: Option<i32>,
        /// The event's sequence in the ledger.
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence: Option<i64>,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// A field of a ledger's head or of one of its documents.
    Field {
        /// The ledger.
        ledger: i32,
        /// The document's name; empty for the ledger's own document, none for its head.
        #[serde(skip_serializing_if = "Option::is_none")]
        document: Option<String>,
        /// The field.
        field: String,
    },
    /// A row of a window table.
    Row {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
        /// The column.
        column: &'static str,
    },
}

impl Place {
    /// Returns the place of an event about a train-date.
    pub(crate) fn event(ledger: i32, sequence: i64, document: &str) -> Place {
        Place::Ledger {
            ledger,
            sequence: Some(sequence),
            document: Some(document.to_owned()),
        }
    }

    /// Returns the place of a document.
    pub(crate) fn document(ledger: i32, document: &str) -> Place {
        Place::Ledger {
            ledger,
            sequence: None,
            document: Some(document.to_owned()),
        }
    }

    /// Returns the place of a record.
    pub(crate) fn record(topic: &str, partition: i32, offset: i64) -> Place {
        Place::Record {
            ledger: None,
            sequence: None,
            topic: topic.to_owned(),
            partition,
            offset,
        }
    }

    /// Returns the place of a record that is an event of a ledger, or that an event of it names.
    pub(crate) fn record_of(ledger: i32, sequence: Option<i64>, (topic, partition, offset): (&str, i32, i64)) -> Place {
        Place::Record {
            ledger: Some(ledger),
            sequence,
            topic: topic.to_owned(),
            partition,
            offset,
        }
    }

    /// Returns the place of a field of a ledger's document.
    pub(crate) fn field(ledger: i32, document: &str, field: &str) -> Place {
        Place::Field {
            ledger,
            document: Some(document.to_owned()),
            field: field.to_owned(),
        }
    }

    /// Returns the place of a row of the positions that the window tables are computed up to.
    pub(crate) fn positions(row: &str) -> Place {
        Place::Row {
            table: "sink_offsets",
            row: row.to_owned(),
            column: "next_offset",
        }
    }

    /// Returns the place of a field of a ledger's head.
    pub(crate) fn head(ledger: i32, field: &str) -> Place {
        Place::Field {
            ledger,
            document: None,
            field: field.to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = |f: &mut fmt::Formatter<'_>, ledger: &i32, sequence: &Option<i64>| {
            write!(f, "ledger {ledger}")?;
            sequence
                .iter()
                .try_for_each(|sequence| write!(f, ", sequence {sequence}"))
        };
        let named = |f: &mut fmt::Formatter<'_>, document: &Option<String>| match document.as_deref() {
            None => Ok(()),
            Some("") => f.write_str(", the ledger's own document"),
            Some(document) => write!(f, ", {document}"),
        };
        match self {
            Place::Ledger {
                ledger,
                sequence,
                document,
            } => {
                event(f, ledger, sequence)?;
                named(f, document)
            }
            Place::Record {
                ledger,
                sequence,
                topic,
                partition,
                offset,
            } => {
                if let Some(ledger) = ledger {
                    event(f, ledger, sequence)?;
                    f.write_str(", ")?;
                }
                write!(f, "{topic}[{partition}]@{offset}")
            }
            Place::Field {
                ledger,
                document,
                field,
            } => {
                event(f, ledger, &None)?;
                named(f, document)?;
                write!(f, ", field `{field}`")
            }
            Place::Row { table, row, column } => write!(f, "{table}, {row}, {column}"),
        }
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// The violation.
    pub detail: String,
}

/// Something that could not be told, so that the invariant can't be called kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inconclusive {
    /// Which invariant.
    pub invariant: Invariant,
    /// The reason, and a remedy.
    pub reason: String,
}

/// The findings of some checks. All violations are counted; of each invariant only the first `limit` are kept.
#[derive(Debug)]
pub(crate) struct Findings {
    limit: usize,
    counts: BTreeMap<Invariant, (u64, u64)>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) inconclusive: Vec<Inconclusive>,
}

impl Findings {
    /// Nothing found yet.
    pub(crate) fn new(limit: usize) -> Findings {
        Findings {
            limit,
            counts: BTreeMap::new(),
            violations: Vec::new(),
            inconclusive: Vec::new(),
        }
    }

    /// Adds to the number of checked items.
    pub(crate) fn checked(&mut self, invariant: Invariant, count: u64) {
        self.counts.entry(invariant).or_default().0 += count;
    }

    /// One is broken.
    pub(crate) fn violation(&mut self, invariant: Invariant, place: Place, detail: impl Into<String>) {
        let violations = &mut self.counts.entry(invariant).or_default().1;
        *violations += 1;
        if *violations <= self.limit as u64 {
            self.violations.push(Violation {
                invariant,
                place,
                detail: detail.into(),
            });
        }
    }

    /// It can't be told.
    pub(crate) fn inconclusive(&mut self, invariant: Invariant, reason: impl Into<String>) {
        self.inconclusive.push(Inconclusive {
            invariant,
            reason: reason.into(),
        });
    }

    /// Adds what other checks found.
    pub(crate) fn merge(&mut self, other: Findings) {
        for (invariant, (checked, violations)) in other.counts {
            let counts = self.counts.entry(invariant).or_default();
            let room = (self.limit as u64).saturating_sub(counts.1) as usize;
            let kept = other.violations.iter().filter(|kept| kept.invariant == invariant);
            self.violations.extend(kept.take(room).cloned());
            *counts = (counts.0 + checked, counts.1 + violations);
        }
        self.inconclusive.extend(other.inconclusive);
    }

    /// Looked at, and broken.
    pub(crate) fn counts(&self, invariant: Invariant) -> (u64, u64) {
        self.counts.get(&invariant).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_of_each_kept() {
        let mut all = Findings::new(2);
        for ledger in 0..3 {
            let mut one = Findings::new(2);
            one.checked(Invariant::I1, 10);
            for _ in 0..3 {
                one.violation(Invariant::I1, Place::head(ledger, "f"), "x");
            }
            one.violation(Invariant::I5, Place::head(ledger, "f"), "y");
            all.merge(one);
        }
        assert_eq!(all.counts(Invariant::I1), (30, 9));
        assert_eq!(all.counts(Invariant::I5), (0, 3));
        let kept = |invariant| all.violations.iter().filter(|v| v.invariant == invariant).count();
        assert_eq!((kept(Invariant::I1), kept(Invariant::I5)), (2, 2));
    }

    #[test]
    fn a_place_says_only_what_it_knows() {
        let record = Place::record("confirmed", 3, 17);
        assert_eq!(record.to_string(), "confirmed[3]@17");
        let field = Place::field(3, "12951|2026-12-01", "s|S1");
        assert_eq!(field.to_string(), "ledger 3, 12951|2026-12-01, field `s|S1`");
        let json = serde_json::to_value(Violation {
            invariant: Invariant::I5,
            place: field,
            detail: "differs".to_owned(),
        });
        let expected = serde_json::json!({
            "invariant": "I5", "ledger": 3, "document": "12951|2026-12-01", "field": "s|S1", "detail": "differs"
        });
        assert_eq!(json.unwrap(), expected);
    }
}
