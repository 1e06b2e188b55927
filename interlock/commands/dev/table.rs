//! The summary as people like to read it. Colours, bars and the chart are for terminals only.

use std::fmt;

use console::style;

use super::summary::{Load, Pace, Summary};
use interlock_audit::Verdict;

/// Columns of a full bar.
const BAR: usize = 24;
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
        let per_second = style(format!("{}/s", grouped(self.decided_per_s as i64)))
            .green()
            .bold();
        write!(
            f,
            "  decided     {:>10} in {:.2} s: {per_second}",
            grouped(decided as i64),
            self.elapsed_s
        )?;
        if let Some(first) = self.first_decision_s {
            write!(f, ", the first {first:.2} s after the start")?;
        }
        writeln!(f)?;
        if self.sent_before > 0 {
            writeln!(
                f,
                "  before      {:>10} were sent by an earlier process",
                grouped(self.sent_before as i64)
            )?;
        }
        let latency = &self.latency;
        writeln!(
            f,
            "  latency     p50 {}, p99 {}, p99.9 {}, longest {} (from {})",
            millis(latency.p50_us),
            millis(latency.p99_us),
            millis(latency.p999_us),
            millis(latency.max_us),
            match self.opening.rate {
                Some(_) => "when each was meant to be sent",
                None => "when each was sent",
            }
        )?;
        for (label, count, about) in [
            ("confirmed", outcomes.confirmed, "bookings with seats at once"),
            ("waitlisted", outcomes.waitlisted, "bookings that began to wait"),
            ("promoted", outcomes.promoted, "waiters who got seats later"),
            ("cancelled", outcomes.cancelled, "cancellations carried out"),
            ("rejected", outcomes.rejected_total(), "requests refused"),
            (
                "replays",
                outcomes.replays,
                "repeated requests, answered as the first time",
            ),
        ] {
            let share = count as f64 / self.answered.max(1) as f64;
            writeln!(
                f,
                "  {label:<11} {:>10}  {}{about}",
                grouped(count as i64),
                bar(draws, share)
            )?;
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
            write_load(f, draws, load)?;
        }
        if draws {
            write_pace(f, &self.pace)?;
        }
        write_audit(f, self)
    }
}

fn write_load(f: &mut fmt::Formatter<'_>, draws: bool, load: &Load) -> fmt::Result {
    let Load {
        train_id,
        travel_date,
        travel_class,
        seats,
        seats_sold,
        load_percent,
    } = load;
    let bar = bar(draws, load_percent / 100.0);
    writeln!(
        f,
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

fn write_audit(f: &mut fmt::Formatter<'_>, summary: &Summary) -> fmt::Result {
    writeln!(f, "\n{}", style("audit").bold())?;
    for line in &summary.audit.invariants {
        let verdict = match line.verdict {
            Verdict::Holds => style("holds".to_owned()).green(),
            other => style(other.to_string()).red().bold(),
        };
        let checked = grouped(line.checked as i64);
        writeln!(
            f,
            "  {:<6} {:<46} {checked:>10} {:<24} {verdict}",
            line.invariant, line.title, line.unit
        )?;
    }
    for reason in &summary.audit.inconclusive {
        writeln!(f, "  {} inconclusive: {}", reason.invariant, reason.reason)?;
    }
    for violation in &summary.audit.violations {
        writeln!(
            f,
            "  {} broken: {}: {}",
            violation.invariant, violation.place, violation.detail
        )?;
    }
    match summary.audit.holds() {
        true => write!(f, "  {}", style("all invariants hold").green().bold()),
        false => write!(f, "  {}", style("NOT all invariants hold").red().bold()),
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
    fn a_bar_is_of_one_width_and_absent_in_a_pipe() {
        console::set_colors_enabled(false);
        for share in [-1.0, 0.0, 0.01, 0.5, 0.999, 1.0, 7.0] {
            assert_eq!(bar(true, share).chars().count(), BAR + 1, "{share}");
        }
        assert_eq!(bar(false, 0.5), "");
    }
}
