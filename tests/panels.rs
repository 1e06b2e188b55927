//! Runs the dashboards in `grafana/` without Grafana: every panel's query, expanded the way Grafana does it, against a
//! real TimescaleDB ([`check_panels`]) and a real Prometheus ([`check_promql`]).
//!
//! ```text
//!  grafana/dashboards/*.json ─> Dashboard ─> Panel ─> Target { rawSql | expr }
//!                                  │                       │
//!                              variables ──> Scope ──> expand ──> what Grafana would send
//! ```
//!
//! The figures must add up to [`Totals`], which are counted from the ledgers' events, independently of the window
//! queries. A panel's columns are matched with the totals by their names, see `measures.rs`.

mod dashboard;
mod expand;
mod instant;
mod measures;
mod prometheus;
mod totals;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};

pub use dashboard::{Dashboard, Panel, Query, Target, Variable, dashboards, folder, problems_of};
pub use expand::{Choice, ExpandError, Scope, expand};
pub use instant::{TimeRange, rfc3339};
pub use prometheus::{check_promql, parse_promql};
pub use totals::{Money, Totals};

/// The variable that chooses the currency, of which there is no "All".
const CURRENCY: &str = "currency";

/// The extent of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Panels whose queries were run.
    pub panels: usize,
    /// Queries run, a panel's once for each choice of variables.
    pub queries: usize,
    /// Figures compared with the totals.
    pub figures: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            panels,
            queries,
            figures,
        } = self;
        write!(f, "{panels} panels, {queries} queries, {figures} figures compared")
    }
}

/// Runs every SQL panel of every dashboard for `range`, which must cover all that was loaded, and compares its figures
/// with `expected`.
///
/// Each runs with "All" and once for each currency, and then with the first value of every other variable, which proves
/// their quoting. The tables are found by the `search_path` of `database_url`.
///
/// # Errors
/// All problems, a line each: a query that fails, one without rows, a figure that differs.
pub async fn check_panels(database_url: &str, range: &TimeRange, expected: &Totals) -> Result<Report> {
    // The parser's own message may quote the address, and with it the password.
    let Ok(address) = database_url.parse::<PgConnectOptions>() else {
        bail!("the database's address can't be read: write postgres://role:password@host:5432/database");
    };
    let mut connection = address.connect().await.context("connect to the database")?;
    let units = minor_units(&mut connection, expected).await?;
    let mut report = Report::default();
    let mut problems = Vec::new();
    for dashboard in dashboards()? {
        check_dashboard(
            &mut connection,
            &dashboard,
            range,
            expected,
            &units,
            &mut report,
            &mut problems,
        )
        .await
        .with_context(|| format!("dashboard {}", dashboard.title))?;
    }
    if problems.is_empty() {
        return Ok(report);
    }
    bail!("{} problems ({report}):\n{}", problems.len(), problems.join("\n"))
}

async fn check_dashboard(
    connection: &mut PgConnection,
    dashboard: &Dashboard,
    range: &TimeRange,
    expected: &Totals,
    units: &BTreeMap<String, i64>,
    report: &mut Report,
    problems: &mut Vec<String>,
) -> Result<()> {
    let values = variable_values(connection, dashboard, problems).await?;
    let chooses_currency = dashboard.variables.iter().any(|variable| variable.name == CURRENCY);
    let currencies: Vec<&str> = expected.money.keys().map(String::as_str).collect();
    let currencies = if chooses_currency { currencies } else { vec![""] };
    for panel in &dashboard.panels {
        let place = format!("{} / {}", dashboard.title, panel.title);
        for target in &panel.targets {
            let Query::Sql(sql) = &target.query else { continue };
            report.panels += 1;
            let mut compared = 0;
            for &currency in &currencies {
                let place = [place.as_str(), currency].join(", ");
                let place = place.trim_end_matches(", ");
                let scope = Scope::new(range, &dashboard.variables).choose(CURRENCY, currency);
                report.queries += 1;
                match rows(connection, sql, &scope).await {
                    Ok(rows) => {
                        let (figures, wrong) = measures::compare(&rows, expected, currency, units);
                        compared += figures;
                        problems.extend(wrong.iter().map(|wrong| format!("{place}: {wrong}")));
                    }
                    Err(e) => problems.push(format!("{place}: {e:#}")),
                }
            }
            report.figures += compared;
            if compared == 0 && !measures::has_no_total(&panel.title) {
                problems.push(format!("{place}: none of its columns is compared with a total"));
            }
            // With one value of each variable the query may have no rows, but it must run.
            let narrow = Scope::new(range, &dashboard.variables);
            let narrow = values
                .iter()
                .fold(narrow, |scope, (name, value)| scope.choose(name, value));
            report.queries += 1;
            if let Err(e) = rows(connection, sql, &narrow).await {
                problems.push(format!("{place} for one of each variable: {e:#}"));
            }
        }
    }
    Ok(())
}

/// Returns the first value that each variable offers, except those of other data sources.
async fn variable_values(
    connection: &mut PgConnection,
    dashboard: &Dashboard,
    problems: &mut Vec<String>,
) -> Result<Vec<(String, String)>> {
    let mut values = Vec::new();
    for variable in &dashboard.variables {
        let Query::Sql(sql) = &variable.query else { continue };
        let query = sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(sql.clone()));
        let offered = query
            .fetch_all(&mut *connection)
            .await
            .with_context(|| format!("variable {}", variable.name))?;
        match offered.into_iter().flatten().next() {
            Some(first) => values.push((variable.name.clone(), first)),
            None => problems.push(format!(
                "{}: variable {} offers nothing",
                dashboard.title, variable.name
            )),
        }
    }
    Ok(values)
}

/// Returns the rows of a query in their order, columns by name.
async fn rows(connection: &mut PgConnection, sql: &str, scope: &Scope<'_>) -> Result<Vec<Map<String, Value>>> {
    let sql = expand(sql, scope)?;
    let wrapped = format!("SELECT to_jsonb(panel)::text FROM ({sql}) AS panel");
    let query = sqlx::query_scalar::<_, String>(AssertSqlSafe(wrapped));
    let rows = query.fetch_all(connection).await.with_context(|| sql.clone())?;
    let rows = rows.iter().map(|row| serde_json::from_str(row));
    rows.collect::<Result<_, _>>().context("rows as JSON")
}

/// Returns how many minor units make one unit, by the database's own list.
async fn minor_units(connection: &mut PgConnection, expected: &Totals) -> Result<BTreeMap<String, i64>> {
    let mut units = BTreeMap::new();
    for currency in expected.money.keys() {
        let query = sqlx::query_scalar("SELECT minor_units($1)::bigint").bind(currency);
        let of_one = query.fetch_one(&mut *connection).await.context("minor_units")?;
        units.insert(currency.clone(), of_one);
    }
    Ok(units)
}
