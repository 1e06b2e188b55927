//! The summary as people like to read it. Colours, bars and the chart are for terminals only.

use std::fmt;

use console::style;

use super::summary::{Load, Pace, Summary};
use interlock_audit::{AuditReport, Verdict};

/// Columns of a full bar.
const BAR: usize = 12;
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let draws = console::user_attended();
        let outcomes = &self.outcomes;
        let decided = self.answered - self.sent_before;
        let heading = |text: &str| style(text.to_owned()).bold();
        writeln!(
            f,
            "{}  {} requests, profile {}, seed {}\n",
            heading("opening"),
            grouped(self.answered as i64),
            self.opening.profile,
            self.opening.seed
        )?;
        // Where an earlier process decided everything there is no pace to tell.
        if decided > 0 {
            write_pace_of_decisions(f, self, decided)?;
        }
        if self.sent_before > 0 {
            writeln!(
                f,
                "  before      {:>10} were decided by an earlier process",
                grouped(self.sent_before as i64)
            )?;
        }
        for (label, count, about) in [
            ("confirmed", outcomes.confirmed, "bookings with seats at once"),
            ("waitlisted", outcomes.waitlisted, "bookings that began to wait"),
            ("promoted", outcomes.promoted, "waiters who got seats later"),
            ("cancelled", outcomes.cancelled, "cancellations carried out"),
            ("rejected", outcomes.rejected_total(), "requests refused"),
            ("replays", outcomes.replays, "repeated requests, answered as before"),
        ] {
            let bar = bar(draws, count as f64 / self.answered.max(1) as f64);
            writeln!(f, "{}", outcome(label, count, &bar, about))?;
        }
        for (currency, minor) in &outcomes.revenue_minor {
            // The demonstration's currencies have two decimals.
            let amount = format!("{}.{:02}", grouped(minor / 100), minor.unsigned_abs() % 100);
            writeln!(f, "  revenue     {amount:>16} {currency} net")?;
        }
        writeln!(
            f,
            "\n{}  seat-kilometres sold of those offered",
            heading("fullest trains")
        )?;
        for load in &self.fullest {
            writeln!(f, "{}", load_line(draws, load))?;
        }
        if draws {
            write_pace(f, &self.pace)?;
        }
        write_audit(f, &self.audit)
    }
}

/// Writes how fast this process decided, and how long requests waited for it.
fn write_pace_of_decisions(f: &mut fmt::Formatter<'_>, summary: &Summary, decided: u64) -> fmt::Result {
    let per_second = grouped(summary.decided_per_s as i64);
    let per_second = style(format!("{per_second}/s")).green().bold();
    let (count, seconds) = (grouped(decided as i64), summary.elapsed_s);
    write!(f, "  decided     {count:>10} in {seconds:.2} s: {per_second}")?;
    if let Some(first) = summary.first_decision_s {
        write!(f, ", the first {first:.2} s after the start")?;
    }
    let latency = &summary.latency;
    writeln!(
        f,
        "\n  latency     p50 {}, p99 {}, p99.9 {}, longest {}",
        millis(latency.p50_us),
        millis(latency.p99_us),
        millis(latency.p999_us),
        millis(latency.max_us),
    )?;
    let from = match summary.opening.rate {
        Some(_) => "when each was meant to be sent",
        None => "when each was sent",
    };
    writeln!(f, "              counted from {from}")
}

fn outcome(label: &str, count: u64, bar: &str, about: &str) -> String {
    let count = grouped(count as i64);
    format!("  {label:<11} {count:>10}  {bar}{about}")
}

fn load_line(draws: bool, load: &Load) -> String {
    let Load {
        train_id,
        travel_date,
        travel_class,
        seats,
        seats_sold,
        load_percent,
    } = load;
    let bar = bar(draws, load_percent / 100.0);
    format!(
        "  {train_id:<8} {travel_date}  {travel_class:<3} {bar}{load_percent:>6.1} %  {seats_sold:>5} passengers, {seats} seats"
    )
}

fn write_pace(f: &mut fmt::Formatter<'_>, pace: &Pace) -> fmt::Result {
    let most = pace.seated.iter().copied().max().unwrap_or(0).max(1);
    let height = |seated: &u64| HEIGHTS[(seated * (HEIGHTS.len() as u64 - 1)).div_ceil(most) as usize];
    let chart: String = pace.seated.iter().map(height).collect();
    let (interval_ms, heading) = (pace.interval_s * 1_000.0, style("selling pace").bold());
    writeln!(
        f,
        "\n{heading}  passengers seated in each {interval_ms:.0} ms; at most {}",
        grouped(most as i64)
    )?;
    writeln!(f, "  {}", style(chart).cyan())
}

fn write_audit(f: &mut fmt::Formatter<'_>, audit: &AuditReport) -> fmt::Result {
    writeln!(f, "\n{}", style("audit").bold())?;
    for line in &audit.invariants {
        let row = style(line);
        let row = match line.verdict {
            Verdict::Holds | Verdict::Skipped => row,
            Verdict::Broken | Verdict::Inconclusive => row.red().bold(),
        };
        writeln!(f, "{row}")?;
    }
    audit.details(f)?;
    match audit.holds() {
        true => write!(f, "{}", style("all invariants hold").green().bold()),
        false => write!(f, "{}", style("NOT all invariants hold").red().bold()),
    }
}

/// A bar of eighths of a column; on a terminal only.
fn bar(draws: bool, share: f64) -> String {
    if !draws {
        return String::new();
    }
    let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let full = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    let blank = " ".repeat(BAR - full.chars().count());
    format!("{}{blank} ", style(full).blue())
}

/// 1234567 as 1,234,567.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn millis(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_threes() {
        let texts = [0, 999, 1_000, 100_000, -1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "100,000", "-1,234,567"]);
    }

    #[test]
    fn lines_with_bars_fit_eighty_columns() {
        console::set_colors_enabled(false);
        let load = Load {
            train_id: "12345678".into(),
            travel_date: "2026-12-24".into(),
            travel_class: "3AC".into(),
            seats: 1_234,
            seats_sold: 12_345,
            load_percent: 100.0,
        };
        let replays = outcome(
            "replays",
            12_345_678,
            &bar(true, 1.0),
            "repeated requests, answered as before",
        );
        for line in [load_line(true, &load), replays] {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn a_bar_is_of_one_width_and_absent_in_a_pipe() {
        console::set_colors_enabled(false);
        for share in [-1.0, 0.0, 0.01, 0.5, 0.999, 1.0, 7.0] {
            assert_eq!(bar(true, share).chars().count(), BAR + 1, "{share}");
        }
        assert_eq!(bar(false, 0.5), "");
    }
}
