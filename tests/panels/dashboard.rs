//! Reads the dashboards in `grafana/dashboards/`, as far as the checks need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A dashboard.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Dashboard {
    /// File name.
    pub file: String,
    /// Unique among the dashboards.
    pub uid: String,
    pub title: String,
    /// Template variables, in their order.
    pub variables: Vec<Variable>,
    /// All panels with a query; rows, which only divide the page, are left out.
    pub panels: Vec<Panel>,
    /// The file's content.
    pub json: Value,
}

/// A template variable.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Variable {
    pub name: String,
    /// The source of its values.
    pub query: Query,
    /// The text for "All"; none if there is no "All".
    pub all_value: Option<String>,
}

/// A panel.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Panel {
    pub title: String,
    /// The question it answers.
    pub description: String,
    /// Its queries.
    pub targets: Vec<Target>,
}

impl Panel {
    /// Returns whether its description says that a healthy system may have nothing to show here.
    pub fn may_be_empty(&self) -> bool {
        self.description.contains("Empty is normal:")
    }
}

/// One query of a panel.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct Target {
    pub query: Query,
    /// True for a query of a single instant instead of a range (PromQL).
    pub instant: bool,
}

/// A query before expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// For the data source `timescaledb`.
    Sql(String),
    /// For the data source `prometheus`.
    PromQl(String),
}

/// `grafana/` of this repository.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana")
}

/// All dashboards, by file name.
///
/// # Errors
/// A file that can't be read, or a target without a query.
pub fn dashboards() -> Result<Vec<Dashboard>> {
    let folder = folder().join("dashboards");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).with_context(|| file.clone())?;
        let json = serde_json::from_str(&text).with_context(|| file.clone())?;
        Dashboard::read(file.clone(), json).context(file)
    };
    let dashboards: Vec<_> = files.iter().map(read).collect::<Result<_>>()?;
    if dashboards.is_empty() {
        bail!("no dashboard in {}", folder.display());
    }
    Ok(dashboards)
}

impl Dashboard {
    /// Reads a dashboard.
    ///
    /// # Errors
    /// If a part that the checks need is missing.
    pub fn read(file: String, json: Value) -> Result<Self> {
        let panels = panels_of(&json)?.iter().filter(|panel| panel["type"] != "row");
        let variables = json["templating"]["list"].as_array().context("no templating.list")?;
        Ok(Self {
            file,
            uid: text(&json, "uid")?,
            title: text(&json, "title")?,
            variables: variables.iter().map(variable).collect::<Result<_>>()?,
            panels: panels.map(panel).collect::<Result<_>>()?,
            json,
        })
    }

    /// Returns the panels and variables whose queries go to Prometheus.
    pub fn promql(&self) -> impl Iterator<Item = (&Panel, &Target, &str)> {
        let targets = self
            .panels
            .iter()
            .flat_map(|panel| panel.targets.iter().map(move |target| (panel, target)));
        targets.filter_map(|(panel, target)| match &target.query {
            Query::PromQl(expr) => Some((panel, target, expr.as_str())),
            Query::Sql(_) => None,
        })
    }
}

fn panels_of(json: &Value) -> Result<&Vec<Value>> {
    json["panels"].as_array().context("no panels")
}

fn text(json: &Value, key: &str) -> Result<String> {
    let text = json[key].as_str().with_context(|| format!("no {key}"))?;
    Ok(text.to_owned())
}

fn variable(json: &Value) -> Result<Variable> {
    let name = text(json, "name")?;
    let query = match json["datasource"]["uid"].as_str() {
        Some("timescaledb") => Query::Sql(text(json, "query").context(name.clone())?),
        Some("prometheus") => Query::PromQl(text(&json["query"], "query").context(name.clone())?),
        other => bail!("variable {name}: data source {other:?}"),
    };
    let all_value = match (json["includeAll"].as_bool(), json["allValue"].as_str()) {
        (Some(true), Some(all)) => Some(all.to_owned()),
        (Some(false), None) => None,
        _ => bail!("variable {name}: allValue belongs to includeAll, so that All works where there are no values yet"),
    };
    Ok(Variable { name, query, all_value })
}

fn panel(json: &Value) -> Result<Panel> {
    let title = text(json, "title")?;
    let targets = json["targets"]
        .as_array()
        .with_context(|| format!("{title}: no targets"))?;
    Ok(Panel {
        description: text(json, "description").with_context(|| title.clone())?,
        targets: targets
            .iter()
            .map(target)
            .collect::<Result<_>>()
            .with_context(|| title.clone())?,
        title,
    })
}

fn target(json: &Value) -> Result<Target> {
    let query = match json["datasource"]["uid"].as_str() {
        Some("timescaledb") => Query::Sql(text(json, "rawSql")?),
        Some("prometheus") => Query::PromQl(text(json, "expr")?),
        other => bail!("data source {other:?}"),
    };
    let instant = json["instant"].as_bool().unwrap_or(false);
    Ok(Target { query, instant })
}

/// Returns problems that Grafana would have with the dashboard, a line each: ids that occur twice, panels that overlap
/// or leave the page, panels without a question, a query that ends in a semicolon.
pub fn problems_of(dashboard: &Dashboard) -> Vec<String> {
    let mut problems = Vec::new();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    let panels = panels_of(&dashboard.json).map(Vec::as_slice).unwrap_or_default();
    for panel in panels {
        let title = panel["title"].as_str().unwrap_or("(no title)");
        let mut complain = |what: &str| problems.push(format!("{} / {title}: {what}", dashboard.file));
        if panel["id"].as_i64().is_none_or(|id| !ids.insert(id)) {
            complain("no id of its own");
        }
        let grid = |key: &str| panel["gridPos"][key].as_i64();
        if let (Some(x), Some(y), Some(w), Some(h)) = (grid("x"), grid("y"), grid("w"), grid("h")) {
            if x < 0 || y < 0 || w < 1 || h < 1 || x + w > 24 {
                complain("outside of the 24 columns");
            }
            let new = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
            if new.filter(|cell| !cells.insert(*cell)).count() > 0 {
                complain("overlaps another panel");
            }
        } else {
            complain("gridPos is incomplete");
        }
        if panel["type"] == "row" {
            continue;
        }
        if !panel["description"].as_str().is_some_and(|text| text.contains('?')) {
            complain("its description asks no question");
        }
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        if targets.is_empty() {
            complain("it asks nothing");
        }
        let mut names = BTreeSet::new();
        for target in targets {
            if !names.insert(target["refId"].as_str()) || target["refId"].is_null() {
                complain("a target without a refId of its own");
            }
            if target["datasource"] != panel["datasource"] || target["datasource"]["type"].is_null() {
                complain("a target's data source isn't the panel's");
            }
            if target["rawSql"].as_str().is_some_and(|sql| sql.contains(';')) {
                complain("a semicolon");
            }
            let is_series = panel["type"] == "timeseries" && !target["rawSql"].is_null();
            if is_series && target["format"] != "time_series" {
                complain("a graph over time needs the format time_series");
            }
        }
    }
    problems
}
