//! The report of an audit, as data; `text` writes it for people.

mod text;

use std::fmt;

use serde::Serialize;

use super::totals::Totals;
use crate::findings::{Findings, Inconclusive, Violation};
use interlock_inventory::invariants::Invariant;

/// The verdict on an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The invariant holds.
    Holds,
    /// The invariant is broken.
    Broken,
    /// The check was inconclusive.
    Inconclusive,
    /// The check was skipped on request.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Holds => "holds",
            Verdict::Broken => "BROKEN",
            Verdict::Inconclusive => "INCONCLUSIVE",
            Verdict::Skipped => "skipped",
        })
    }
}

/// Returns the invariant in one line.
const fn title(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::I1 => "no seat is sold twice on a leg",
        Invariant::I2 => "every request has exactly one answer",
        Invariant::I3 => "no earlier waiter is passed over",
        Invariant::I4 => "sequences have no gap and no repeat",
        Invariant::I5 => "the store equals the events' fold",
        Invariant::I6 => "window tables equal the topics' sums",
        Invariant::Rules => "time, positions and money agree",
    }
}

/// Returns the unit of the checked items.
const fn unit(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::I1 => "seats given",
        Invariant::I2 => "requests",
        Invariant::I3 => "decisions",
        Invariant::I4 | Invariant::Rules => "events",
        Invariant::I5 => "fields",
        Invariant::I6 => "rows",
    }
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Line {
    pub invariant: Invariant,
    /// The invariant in one line.
    pub title: &'static str,
    /// Number of checked items.
    pub checked: u64,
    /// Unit of the checked items.
    pub unit: &'static str,
    /// Number of violations.
    pub violations: u64,
    pub verdict: Verdict,
}

/// The report of an audit.
#[derive(Clone, Debug, Serialize)]
pub struct AuditReport {
    /// All invariants hold, and nothing was inconclusive.
    holds: bool,
    /// One line for each invariant.
    pub invariants: Vec<Line>,
    /// Sums over everything that was read.
    pub totals: Totals,
    /// The first violations of each invariant.
    pub violations: Vec<Violation>,
    /// The inconclusive checks.
    pub inconclusive: Vec<Inconclusive>,
}

impl AuditReport {
    /// Makes the report; `skipped` checks were left out on request.
    pub(crate) fn new(findings: Findings, totals: Totals, skipped: &[Invariant]) -> AuditReport {
        let line = |invariant: Invariant| {
            let (checked, violations) = findings.counts(invariant);
            let untold = findings.inconclusive.iter().any(|reason| reason.invariant == invariant);
            let verdict = match (violations, untold) {
                (1.., _) => Verdict::Broken,
                (0, true) => Verdict::Inconclusive,
                (0, false) if skipped.contains(&invariant) => Verdict::Skipped,
                (0, false) => Verdict::Holds,
            };
            Line {
                invariant,
                title: title(invariant),
                checked,
                unit: unit(invariant),
                violations,
                verdict,
            }
        };
        let invariants: Vec<Line> = Invariant::ALL.into_iter().map(line).collect();
        let kept = |line: &Line| matches!(line.verdict, Verdict::Holds | Verdict::Skipped);
        let mut violations = findings.violations;
        violations.sort_by_key(|violation| violation.invariant);
        AuditReport {
            holds: invariants.iter().all(kept),
            invariants,
            totals,
            violations,
            inconclusive: findings.inconclusive,
        }
    }

    /// Returns whether all invariants hold and nothing was inconclusive.
    pub fn holds(&self) -> bool {
        self.holds
    }
}
