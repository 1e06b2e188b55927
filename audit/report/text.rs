//! The report of an audit for people: no line is longer than a terminal of 80 columns.

use std::fmt::{self, Write as _};

use textwrap::{Options, WordSplitter};

use crate::{AuditReport, Line, Totals, Verdict};

/// Columns of a terminal.
const COLUMNS: usize = 80;

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.invariants {
            writeln!(f, "{line}")?;
        }
        writeln!(f)?;
        totals(f, &self.totals)?;
        self.details(f)?;
        f.write_str(match self.holds() {
            true => "\nall invariants hold",
            false => "\nNOT all invariants hold",
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Broken => format!("BROKEN {}", self.violations),
            other => other.to_string(),
        };
        write!(
            f,
            "{:<5} {:<36} {:>10} {:<11} {verdict}",
            self.invariant, self.title, self.checked, self.unit
        )
    }
}

impl AuditReport {
    /// Writes the reasons for everything that does not hold.
    pub fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.inconclusive {
            writeln!(f)?;
            paragraph(
                f,
                ("", "    "),
                &format!("{} inconclusive: {}", reason.invariant, reason.reason),
            )?;
        }
        // Violations in one place follow each other.
        let places = self
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
        for line in &self.invariants {
            let shown = self
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
    let options = Options::new(COLUMNS)
        .initial_indent(first)
        .subsequent_indent(rest)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    writeln!(f, "{}", textwrap::fill(text, options))
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
