//! The report of an audit for people: no line is longer than a terminal of 80 columns.

use std::fmt::{self, Write as _};

use interlock_audit::{AuditReport, Line, Totals, Verdict};
use serde::Serialize;

/// Columns of a terminal.
const COLUMNS: usize = 80;

/// A report that is printed as a table, or as JSON.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Printed<'a>(pub(super) &'a AuditReport);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        for line in &report.invariants {
            writeln!(f, "{}", row(line))?;
        }
        writeln!(f)?;
        totals(f, &report.totals)?;
        details(f, report)?;
        f.write_str(match report.holds() {
            true => "\nall invariants hold",
            false => "\nNOT all invariants hold",
        })
    }
}

/// Writes the reasons for all that does not hold.
pub(in crate::commands) fn details(f: &mut fmt::Formatter<'_>, report: &AuditReport) -> fmt::Result {
    for reason in &report.inconclusive {
        writeln!(f)?;
        paragraph(
            f,
            ("", "    "),
            &format!("{} inconclusive: {}", reason.invariant, reason.reason),
        )?;
    }
    // What is wrong in one place stands together.
    let places = report
        .violations
        .chunk_by(|one, next| (one.invariant, &one.place) == (next.invariant, &next.place));
    for violations in places {
        let [first, ..] = violations else { continue };
        writeln!(f)?;
        paragraph(f, ("", "    "), &format!("{} broken: {}", first.invariant, first.place))?;
        for violation in violations {
            paragraph(f, ("  ", "    "), &violation.detail)?;
        }
    }
    for line in &report.invariants {
        let shown = report
            .violations
            .iter()
            .filter(|violation| violation.invariant == line.invariant);
        let hidden = line.violations.saturating_sub(shown.count() as u64);
        if hidden > 0 {
            writeln!(
                f,
                "\n{} broken: {hidden} more are not shown (--max-violations)",
                line.invariant
            )?;
        }
    }
    Ok(())
}

/// Returns the line of an invariant.
pub(in crate::commands) fn row(line: &Line) -> String {
    let verdict = match line.verdict {
        Verdict::Broken => format!("BROKEN {}", line.violations),
        other => other.to_string(),
    };
    format!(
        "{:<5} {:<36} {:>10} {:<11} {verdict}",
        line.invariant, line.title, line.checked, line.unit
    )
}

fn totals(f: &mut fmt::Formatter<'_>, totals: &Totals) -> fmt::Result {
    let mut named = |name: &str, text: &str| paragraph(f, ("", "            "), &format!("{name:<12}{text}"));
    named(
        "requests",
        &format!(
            "{} in {} ledgers: {} answered ({} replays), {} dead letters, {} forwarded, {} pending",
            totals.records,
            totals.ledgers,
            totals.answered,
            totals.replays,
            totals.dead_letters,
            totals.forwarded,
            totals.pending
        ),
    )?;
    named(
        "passengers",
        &format!(
            "{} confirmed, {} waitlisted, {} promoted, {} cancelled",
            totals.confirmed, totals.waitlisted, totals.promoted, totals.cancelled
        ),
    )?;
    let refused: u64 = totals.rejected.values().sum();
    let mut rejected = refused.to_string();
    for (at, (code, count)) in totals.rejected.iter().enumerate() {
        write!(rejected, "{} {code} {count}", if at == 0 { ":" } else { "," })?;
    }
    named("rejected", &rejected)?;
    named(
        "events",
        &format!(
            "{} of {} train-dates, {} bookings hold seats or wait",
            totals.events, totals.train_dates, totals.bookings
        ),
    )?;
    for (currency, money) in &totals.money {
        let [collected, refunded, net] = [money.collected_minor, money.refunded_minor, money.net_minor];
        let text = format!("{currency}: {collected} collected, {refunded} refunded, {net} net (minor units)");
        named("money", &text)?;
    }
    Ok(())
}

/// Writes a text in lines of [`COLUMNS`] that begin with `first` and then with `rest`. Breaks at spaces; a longer word
/// keeps its line.
fn paragraph(f: &mut fmt::Formatter<'_>, (first, rest): (&str, &str), text: &str) -> fmt::Result {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split(' ') {
        let length = line.chars().count() + usize::from(!is_empty) + word.chars().count();
        if !is_empty && length > COLUMNS {
            writeln!(f, "{line}")?;
            line.clear();
            line.push_str(rest);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(f, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Paragraph<'a>(&'a str);

    impl fmt::Display for Paragraph<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            paragraph(f, ("  ", "    "), self.0)
        }
    }

    #[test]
    fn no_line_is_longer_than_a_terminal_is_wide() {
        let long = "x".repeat(100);
        let text = format!("{}{long} end", "word ".repeat(100));
        let told = Paragraph(&text).to_string();
        assert!(told.starts_with("  word word") && told.contains("\n    word"), "{told}");
        assert!(
            told.lines().all(|line| line.len() <= COLUMNS || line.trim() == long),
            "{told}"
        );
        assert!(told.split_whitespace().eq(text.split_whitespace()), "{told}");
    }
}
