//! Time ranges as Grafana writes them.

use interlock_schemas::TimestampMs;

/// The range that a dashboard shows, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Milliseconds since the Unix epoch.
    pub from: TimestampMs,
    /// Milliseconds since the Unix epoch.
    pub to: TimestampMs,
}

impl TimeRange {
    /// Its length, at least a second.
    pub fn seconds(&self) -> i64 {
        ((self.to - self.from) / 1_000).max(1)
    }

    /// Step of a graph of about a thousand points: a round number of seconds, not less than `least`.
    pub fn interval_s(&self, least: i64) -> i64 {
        const ROUND: [i64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 10_800, 43_200];
        let wanted = (self.seconds() / 1_000).max(least);
        let round = ROUND.into_iter().find(|round| *round >= wanted);
        round.unwrap_or_else(|| (wanted + 86_399) / 86_400 * 86_400)
    }
}

/// `2026-12-01T10:30:00Z`, with milliseconds where there are any.
pub fn rfc3339(instant: TimestampMs) -> String {
    let (days, ms) = (instant.div_euclid(86_400_000), instant.rem_euclid(86_400_000));
    // Days are counted in eras of 400 years that begin on 1 March, so that a leap day is the last of its year.
    let since = days + 719_468;
    let (era, day) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153; // from March
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (s, ms) = (ms / 1_000, ms % 1_000);
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    let (hour, minute, second) = (s / 3_600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_as_grafana_writes_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_796_124_600_001), "2026-12-01T11:30:00.001Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(951_868_800_000), "2000-03-01T00:00:00Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339(1_735_689_599_000), "2024-12-31T23:59:59Z");
    }

    #[test]
    fn a_step_is_round_and_not_too_small() {
        let of_hours = |hours: i64| TimeRange {
            from: 0,
            to: hours * 3_600_000,
        };
        assert_eq!(of_hours(6).interval_s(60), 60);
        assert_eq!(of_hours(6).interval_s(2), 30);
        assert_eq!(of_hours(24 * 7).interval_s(60), 1_800);
        assert_eq!(of_hours(24 * 365 * 10).interval_s(60), 345_600);
    }
}
