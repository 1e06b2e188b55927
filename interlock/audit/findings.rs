//! What the checks found: how much was looked at, what is wrong and where, and what could not be told.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// What is checked, by its name in the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) enum Invariant {
    /// No seat is held twice on a leg.
    I1,
    /// Every request has exactly one answer.
    I2,
    /// Nobody was served before somebody who waited longer.
    I3,
    /// Sequences without gap or repeat.
    I4,
    /// The ledger store equals the fold of the events.
    I5,
    /// Window tables equal the sums over the topics.
    I6,
    /// What events say about time, positions and money (R1, R15, R18).
    Rules,
}

impl Invariant {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Invariant; 7] = [
        Invariant::I1,
        Invariant::I2,
        Invariant::I3,
        Invariant::I4,
        Invariant::I5,
        Invariant::I6,
        Invariant::Rules,
    ];

    /// The invariant in one line.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Invariant::I1 => "no seat is sold twice on a leg",
            Invariant::I2 => "every request has exactly one answer",
            Invariant::I3 => "nobody is served before an earlier waiter",
            Invariant::I4 => "sequences have no gap and no repeat",
            Invariant::I5 => "the store equals the fold of the events",
            Invariant::I6 => "window tables equal the sums over the topics",
            Invariant::Rules => "events agree on time, positions and money",
        }
    }

    /// What is counted as checked.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Invariant::I1 => "seats given",
            Invariant::I2 => "requests",
            Invariant::I3 => "seats and waits decided",
            Invariant::I4 | Invariant::Rules => "events",
            Invariant::I5 => "fields",
            Invariant::I6 => "rows",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invariant::Rules => f.pad("rules"),
            named => f.pad(&format!("{named:?}")),
        }
    }
}

/// Where something was found; only what applies is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// The ledger: a partition of the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ledger: Option<i32>,
    /// An event's sequence in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<i64>,
    /// A topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    /// A partition of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<i32>,
    /// An offset in the partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<i64>,
    /// A train-date's key, which is also its document's name in the ledger store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<String>,
    /// A field of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
    /// A window table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    /// The key of a row of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) row: Option<String>,
    /// A column of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<String>,
}

impl Place {
    /// A ledger as a whole.
    pub(crate) fn ledger(ledger: i32) -> Place {
        Place {
            ledger: Some(ledger),
            ..Place::default()
        }
    }

    /// A record.
    pub(crate) fn record(topic: &str, partition: i32, offset: i64) -> Place {
        Place {
            topic: Some(topic.to_owned()),
            partition: Some(partition),
            offset: Some(offset),
            ..Place::default()
        }
    }

    /// A field of a ledger's document.
    pub(crate) fn field(ledger: i32, document: &str, field: &str) -> Place {
        Place {
            document: Some(document.to_owned()),
            field: Some(field.to_owned()),
            ..Place::ledger(ledger)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.ledger.map(|ledger| format!("ledger {ledger}")));
        parts.extend(self.sequence.map(|sequence| format!("sequence {sequence}")));
        if let (Some(topic), Some(partition)) = (&self.topic, self.partition) {
            let offset = self.offset.map(|offset| format!("@{offset}")).unwrap_or_default();
            parts.push(format!("{topic}[{partition}]{offset}"));
        }
        parts.extend(self.document.as_ref().map(|document| match document.is_empty() {
            true => "the ledger's own document".to_owned(),
            false => document.clone(),
        }));
        parts.extend(self.field.as_ref().map(|field| format!("field `{field}`")));
        parts.extend(self.table.clone());
        parts.extend(self.row.clone());
        parts.extend(self.column.clone());
        f.write_str(&parts.join(", "))
    }
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Violation {
    /// Which.
    pub(crate) invariant: Invariant,
    /// Where.
    #[serde(flatten)]
    pub(crate) place: Place,
    /// What is wrong.
    pub(crate) detail: String,
}

/// Something that could not be told, so that the invariant can't be called kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Inconclusive {
    /// Which invariant.
    pub(crate) invariant: Invariant,
    /// Why not, and what to do.
    pub(crate) reason: String,
}

/// What some checks found. Violations are all counted; of each invariant only the first `limit` are kept.
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

    /// So many were looked at.
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
                one.violation(Invariant::I1, Place::ledger(ledger), "x");
            }
            one.violation(Invariant::I5, Place::ledger(ledger), "y");
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
