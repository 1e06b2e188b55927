//! The result of a run, as a table for people and as JSON for programs.

use std::fmt;

use serde::Serialize;

use crate::latency::Percentiles;
use crate::outcomes::Outcomes;
use crate::spread::Shape;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The planned load.
    pub shape: Shape,
    /// The seed, to run the same again.
    pub seed: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests not answered when the run ended.
    pub unanswered: u64,
    /// From the first request to the last answer, in seconds.
    pub elapsed_s: f64,
    /// Answers per second.
    pub throughput_per_s: f64,
    /// From the intended time to the answer.
    pub latency: Percentiles,
    /// The outcomes of the requests.
    pub outcomes: Outcomes,
}

impl Report {
    /// Derives the rest from what was counted. `elapsed_s` runs from the first request to the last answer.
    pub fn new(
        shape: Shape,
        seed: u64,
        requests: u64,
        elapsed_s: f64,
        latencies: &crate::Latencies,
        outcomes: Outcomes,
    ) -> Report {
        let answered = latencies.count();
        Report {
            shape,
            seed,
            requests,
            answered,
            unanswered: requests.saturating_sub(answered),
            elapsed_s,
            throughput_per_s: if elapsed_s > 0.0 {
                answered as f64 / elapsed_s
            } else {
                0.0
            },
            latency: latencies.percentiles(),
            outcomes,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (latency, outcomes) = (&self.latency, &self.outcomes);
        let ms = |us: u64| format!("{:.3} ms", us as f64 / 1_000.0);
        let mut rows: Vec<(&str, String)> = vec![
            ("throughput", format!("{:.0} answers/s", self.throughput_per_s)),
            ("latency p50", ms(latency.p50_us)),
            ("        p99", ms(latency.p99_us)),
            ("        p99.9", ms(latency.p999_us)),
            ("        max", ms(latency.max_us)),
            (
                "requests",
                format!("{} in {:.1} s, seed {}", self.requests, self.elapsed_s, self.seed),
            ),
            ("answered", self.answered.to_string()),
            ("unanswered", self.unanswered.to_string()),
            ("confirmed", outcomes.confirmed.to_string()),
            ("waitlisted", outcomes.waitlisted.to_string()),
            ("promoted", outcomes.promoted.to_string()),
            ("cancelled", outcomes.cancelled.to_string()),
            ("replays", outcomes.replays.to_string()),
            ("rejected", outcomes.rejected_total().to_string()),
        ];
        rows.extend(
            outcomes
                .rejected
                .iter()
                .map(|(code, count)| (code.as_str(), format!("  {count}"))),
        );
        for (currency, amount) in &outcomes.revenue_minor {
            rows.push(("revenue", format!("{amount} minor units {currency}")));
        }
        rows.push(("load", self.shape.to_string()));
        let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        for (label, value) in rows {
            writeln!(f, "{label:width$}  {value}")?;
        }
        Ok(())
    }
}
