//! The report: a table for people, or a document for programs.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::findings::{Findings, Inconclusive, Invariant, Violation};
use super::totals::Totals;

/// How an invariant fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It holds.
    Holds,
    /// It is broken.
    Broken,
    /// It could not be told.
    Inconclusive,
    /// It was not looked at, as asked.
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

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// The invariant.
    pub(crate) invariant: Invariant,
    /// What it says.
    pub(crate) title: &'static str,
    /// How many things were looked at.
    pub(crate) checked: u64,
    /// What was counted.
    pub(crate) unit: &'static str,
    /// How many were broken.
    pub(crate) violations: u64,
    /// The verdict.
    pub(crate) verdict: Verdict,
}

/// What an audit found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AuditReport {
    /// All invariants hold, and nothing was inconclusive.
    holds: bool,
    /// One line for each invariant.
    pub(crate) invariants: Vec<Line>,
    /// Sums over everything that was read.
    pub(crate) totals: Totals,
    /// The first violations of each invariant.
    pub(crate) violations: Vec<Violation>,
    /// What could not be told.
    pub(crate) inconclusive: Vec<Inconclusive>,
}

impl AuditReport {
    /// Draws up the report; `skipped` was not looked at, as asked.
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
                title: invariant.title(),
                checked,
                unit: invariant.unit(),
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

    /// Whether all invariants hold and nothing was inconclusive.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<6} {:<44} {:>12} {:<24} {:>10}  verdict",
            "", "", "checked", "", "violations"
        )?;
        for line in &self.invariants {
            let Line {
                invariant,
                title,
                checked,
                unit,
                violations,
                verdict,
            } = line;
            writeln!(
                f,
                "{invariant:<6} {title:<44} {checked:>12} {unit:<24} {violations:>10}  {verdict}"
            )?;
        }
        writeln!(f, "\n{}", self.totals)?;
        for reason in &self.inconclusive {
            writeln!(f, "{} inconclusive: {}", reason.invariant, reason.reason)?;
        }
        for violation in &self.violations {
            writeln!(
                f,
                "{} broken: {}: {}",
                violation.invariant, violation.place, violation.detail
            )?;
        }
        for line in &self.invariants {
            let shown = self
                .violations
                .iter()
                .filter(|violation| violation.invariant == line.invariant)
                .count() as u64;
            if shown < line.violations {
                let hidden = line.violations - shown;
                writeln!(
                    f,
                    "{} broken: {hidden} more are not shown (--max-violations)",
                    line.invariant
                )?;
            }
        }
        f.write_str(if self.holds {
            "all invariants hold"
        } else {
            "NOT all invariants hold"
        })
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rejected = String::new();
        for (code, count) in &self.rejected {
            write!(rejected, " {code} {count}")?;
        }
        let refused: u64 = self.rejected.values().sum();
        let Totals {
            ledgers,
            records,
            answered,
            dead_letters,
            forwarded,
            pending,
            ..
        } = self;
        writeln!(
            f,
            "requests    {records} in {ledgers} ledgers: {answered} answered ({} replays), {dead_letters} dead letters, \
             {forwarded} forwarded, {pending} pending",
            self.replays
        )?;
        let Totals {
            confirmed,
            waitlisted,
            promoted,
            cancelled,
            ..
        } = self;
        writeln!(
            f,
            "passengers  {confirmed} confirmed, {waitlisted} waitlisted, {promoted} promoted, {cancelled} cancelled"
        )?;
        writeln!(
            f,
            "rejected    {refused}{}{rejected}",
            if refused == 0 { "" } else { ":" }
        )?;
        writeln!(
            f,
            "events      {} of {} train-dates, {} bookings hold seats or wait",
            self.events, self.train_dates, self.bookings
        )?;
        for (currency, money) in &self.money {
            let [collected, refunded, net] = [money.collected_minor, money.refunded_minor, money.net_minor];
            writeln!(
                f,
                "money       {currency}: {collected} collected, {refunded} refunded, {net} net (minor units)"
            )?;
        }
        Ok(())
    }
}
