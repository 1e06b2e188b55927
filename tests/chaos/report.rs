//! The results of a campaign, as a table for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::scene::Times;

/// A fault that happened.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Happened {
    pub(super) fault: &'static str,
    /// Index in the catalogue.
    #[serde(skip)]
    pub(super) place: usize,
    pub(super) on: &'static str,
    pub(super) round: u32,
    /// Duration for which the harness kept the fault up.
    pub(super) lasted_s: f64,
    pub(super) from_fault_s: f64,
    pub(super) from_end_s: f64,
    pub(super) windows_s: f64,
}

/// The results of a campaign.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub(super) seed: u64,
    pub(super) faults: Vec<Happened>,
    /// Number of requests sent; each was answered.
    pub(super) requests: u64,
    /// Number of audits that passed, each with a comparison of the sums.
    pub(super) audits: u32,
    /// Violations, and failures to recover.
    pub(super) violations: Vec<String>,
}

impl Happened {
    pub(super) fn new(fault: &'static str, place: usize, on: &'static str, round: u32, times: Times) -> Self {
        let seconds = |time: Duration| (time.as_secs_f64() * 100.0).round() / 100.0;
        Self {
            fault,
            place,
            on,
            round,
            lasted_s: seconds(times.lasted),
            from_fault_s: seconds(times.from_fault),
            from_end_s: seconds(times.from_end),
            windows_s: seconds(times.windows),
        }
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fault,
            on,
            lasted_s,
            from_fault_s,
            from_end_s,
            windows_s,
            ..
        } = self;
        write!(
            f,
            "{on:<10} {fault:<58} lasted {lasted_s:>5.2} s, decisions {from_fault_s:>5.2} s after it, {from_end_s:>5.2} s after \
             its end, windows {windows_s:>5.2} s"
        )
    }
}

impl Report {
    /// Adds the results of another campaign.
    pub fn add(&mut self, other: Self) {
        self.faults.extend(other.faults);
        self.requests += other.requests;
        self.audits += other.audits;
        self.violations.extend(other.violations);
    }

    /// Violations, and failures to recover.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Returns the number of faults, without controls.
    pub fn count(&self) -> usize {
        self.faults.iter().filter(|happened| happened.place > 0).count()
    }

    /// Returns the results as JSON.
    ///
    /// # Errors
    /// Never, with these fields.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

/// Formats the median and the longest of some times.
fn spread(times: impl Iterator<Item = f64>) -> String {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    let at = |place: usize| times.get(place).copied().unwrap_or_default();
    let median = f64::midpoint(at((times.len().max(1) - 1) / 2), at(times.len() / 2));
    let longest = times.last().copied().unwrap_or_default();
    format!("{median:.1}, {longest:.1}")
}

/// Writes the table in Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | on | n | kept up | decisions after it | after its end | windows after its end |"
        )?;
        writeln!(f, "| --- | --- | --: | --: | --: | --: | --: |")?;
        let mut rows = BTreeMap::<_, Vec<&Happened>>::new();
        for happened in &self.faults {
            rows.entry((happened.place, happened.on)).or_default().push(happened);
        }
        for ((_, on), all) in rows {
            let Some(first) = all.first() else { continue };
            let of = |time: fn(&Happened) -> f64| spread(all.iter().map(|happened| time(happened)));
            writeln!(
                f,
                "| {} | {on} | {} | {} | {} | {} | {} |",
                first.fault,
                all.len(),
                of(|happened| happened.lasted_s),
                of(|happened| happened.from_fault_s),
                of(|happened| happened.from_end_s),
                of(|happened| happened.windows_s),
            )?;
        }
        writeln!(
            f,
            "\n{} faults under load, {} requests, each answered; {} audits passed; {} violations. Seed {}. Times in seconds: \
             median, longest.",
            self.count(),
            self.requests,
            self.audits,
            self.violations.len(),
            self.seed
        )?;
        self.violations
            .iter()
            .try_for_each(|violation| writeln!(f, "VIOLATION: {violation}"))
    }
}
