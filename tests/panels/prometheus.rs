//! Checks the panels and variables that query Prometheus.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Report;
use super::dashboard::{Dashboard, Query, dashboards};
use super::expand::{Scope, expand};
use super::instant::TimeRange;

/// Length of the range that the check queries.
const RANGE_MS: i64 = 5 * 60 * 1_000;

/// Runs every PromQL panel and variable against a Prometheus that has scraped workers for some seconds.
///
/// # Errors
/// All problems, a line each: a query that fails, or one that finds nothing (only `NaN` counts as nothing) in a panel
/// whose description doesn't say "Empty is normal:".
pub async fn check_promql(prometheus_url: &str) -> Result<Report> {
    check(prometheus_url, true).await
}

/// Has a Prometheus parse and run every query; the results don't matter.
///
/// # Errors
/// The queries that can't be parsed, a line each.
pub async fn parse_promql(prometheus_url: &str) -> Result<Report> {
    check(prometheus_url, false).await
}

#[expect(clippy::disallowed_methods, reason = "Prometheus is asked for the range up to now")]
async fn check(prometheus_url: &str, must_find: bool) -> Result<Report> {
    let server = Server {
        client: reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?,
        url: prometheus_url.trim_end_matches('/').to_owned(),
    };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let range = TimeRange {
        from: now - RANGE_MS,
        to: now,
    };
    let mut report = Report::default();
    let mut problems = Vec::new();
    for dashboard in dashboards()? {
        let title = &dashboard.title;
        for (name, found) in server.variables(&dashboard).await? {
            report.queries += 1;
            if must_find && !found {
                problems.push(format!("{title}: variable {name} offers nothing"));
            }
        }
        let scope = Scope::new(&range, &dashboard.variables);
        for (panel, target, expr) in dashboard.promql() {
            report.queries += 1;
            report.panels += usize::from(std::ptr::eq(&raw const panel.targets[0], target));
            let place = format!("{title} / {}", panel.title);
            match server.figures(&expand(expr, &scope)?, target.instant, &range).await {
                Ok(0) if must_find && !panel.may_be_empty() => problems.push(format!("{place}: finds nothing: {expr}")),
                Ok(figures) => report.figures += figures,
                Err(e) => problems.push(format!("{place}: {e:#}: {expr}")),
            }
        }
    }
    if problems.is_empty() {
        return Ok(report);
    }
    bail!("{} problems ({report}):\n{}", problems.len(), problems.join("\n"))
}

struct Server {
    client: reqwest::Client,
    url: String,
}

impl Server {
    async fn ask(&self, path: &str, parameters: &[(&str, String)]) -> Result<Value> {
        let mut url = reqwest::Url::parse(&self.url).context("the address of Prometheus")?;
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(parameters);
        let answer = self.client.get(url).send().await.context("ask Prometheus")?;
        let answer: Value = serde_json::from_str(&answer.text().await?).context("an answer in JSON")?;
        ensure!(answer["status"] == "success", "{}", answer["error"]);
        Ok(answer["data"].clone())
    }

    /// Returns how many numeric values a query finds.
    async fn figures(&self, expr: &str, instant: bool, range: &TimeRange) -> Result<usize> {
        let seconds = |ms: i64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
        let query = ("query", expr.to_owned());
        let data = if instant {
            self.ask("/api/v1/query", &[query, ("time", seconds(range.to))]).await?
        } else {
            let (start, end) = (("start", seconds(range.from)), ("end", seconds(range.to)));
            self.ask("/api/v1/query_range", &[query, start, end, ("step", "2".into())])
                .await?
        };
        let result = data["result"].as_array().context("no result")?;
        let samples = result.iter().flat_map(|series| match series["values"].as_array() {
            Some(values) => values.iter().collect::<Vec<_>>(),
            None => vec![&series["value"]],
        });
        let is_number = |sample: &&Value| {
            let text = sample[1].as_str().unwrap_or("NaN");
            text.parse::<f64>().is_ok_and(|value| !value.is_nan())
        };
        Ok(samples.filter(is_number).count())
    }

    /// Returns whether each variable has values.
    async fn variables(&self, dashboard: &Dashboard) -> Result<Vec<(String, bool)>> {
        let mut found = Vec::new();
        for variable in &dashboard.variables {
            let Query::PromQl(query) = &variable.query else {
                continue;
            };
            let (selector, label) =
                label_values(query).with_context(|| format!("{query}: write label_values(…, …)"))?;
            let values = self
                .ask(
                    &format!("/api/v1/label/{label}/values"),
                    &[("match[]", selector.to_owned())],
                )
                .await;
            let values = values.with_context(|| format!("variable {}", variable.name))?;
            found.push((
                variable.name.clone(),
                values.as_array().is_some_and(|values| !values.is_empty()),
            ));
        }
        Ok(found)
    }
}

/// Returns the two arguments of `label_values(selector, label)`.
fn label_values(query: &str) -> Option<(&str, &str)> {
    let (selector, label) = query
        .strip_prefix("label_values(")?
        .strip_suffix(')')?
        .rsplit_once(',')?;
    Some((selector.trim(), label.trim()))
}
