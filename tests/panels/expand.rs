//! Expands Grafana's variables and macros, as far as the dashboards use them. Anything else is an error, so the checked
//! queries are those that Grafana sends.
//!
//! | written | becomes |
//! | --- | --- |
//! | `${name:sqlstring}` | the values, quoted, with commas; for All the variable's own text, as it is |
//! | `${name:regex}` | the values as alternatives; for All likewise |
//! | `$__interval` | step of the graph, such as `60s` |
//! | `$__range`, `$__rate_interval` | length of the range; four scrapes, or a step and one scrape |
//! | `$__timeFilter(column)` | `column BETWEEN 'from' AND 'to'` |
//! | `$__timeFrom()`, `$__timeTo()` | `'from'`, `'to'` |
//! | `$__timeGroup(column, step)` | `time_bucket('60.000s',column)` |
//! | `$__timeGroupAlias(column, step)` | the same `AS "time"` |
//!
//! As in Grafana, the arguments of a macro end at the first `)`: they can't contain a call. Grafana calls the column of
//! a `$__timeGroup` that is followed by a comma "time"; that is refused here in favour of `$__timeGroupAlias`.

use std::collections::BTreeMap;

use super::dashboard::Variable;
use super::instant::{TimeRange, rfc3339};

/// Seconds between scrapes: `timeInterval` of the provisioned data source.
const SCRAPE_S: i64 = 2;
/// Least step of SQL panels: their rows are minutes.
const MINUTE_S: i64 = 60;

/// The reason why a query can't be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandError(String);

impl std::fmt::Display for ExpandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ExpandError {}

/// The choice for a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All values, with the variable's text for that.
    All(String),
    /// These values.
    Values(Vec<String>),
}

/// The scope of a dashboard: a time range, and a choice for each variable.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    range: &'a TimeRange,
    choices: BTreeMap<String, Choice>,
}

impl<'a> Scope<'a> {
    /// Chooses "All" for every variable that offers it, nothing for the others.
    pub fn new(range: &'a TimeRange, variables: &[Variable]) -> Self {
        let all = |variable: &Variable| match &variable.all_value {
            Some(all) => Choice::All(all.clone()),
            None => Choice::Values(vec![String::new()]),
        };
        let choices = variables.iter().map(|variable| (variable.name.clone(), all(variable)));
        Self {
            range,
            choices: choices.collect(),
        }
    }

    /// Chooses one value, if there is such a variable.
    #[must_use]
    pub fn choose(self, name: &str, value: &str) -> Self {
        self.choose_all_of(name, &[value])
    }

    /// Chooses several values, if there is such a variable.
    #[must_use]
    pub fn choose_all_of(mut self, name: &str, values: &[&str]) -> Self {
        if let Some(choice) = self.choices.get_mut(name) {
            *choice = Choice::Values(values.iter().map(|value| (*value).to_owned()).collect());
        }
        self
    }

    fn variable(&self, name: &str, format: &str) -> Result<String, ExpandError> {
        let choice = self.choices.get(name);
        let values = match choice.ok_or_else(|| refused(&format!("${{{name}}} is not a variable of the dashboard")))? {
            Choice::All(text) => return Ok(text.clone()),
            Choice::Values(values) => values,
        };
        match format {
            "sqlstring" => {
                let quoted: Vec<_> = values
                    .iter()
                    .map(|value| format!("'{}'", value.replace('\'', "''")))
                    .collect();
                Ok(quoted.join(","))
            }
            "regex" => match values.as_slice() {
                [value] => Ok(escaped(value)),
                values => Ok(format!(
                    "({})",
                    values.iter().map(|value| escaped(value)).collect::<Vec<_>>().join("|")
                )),
            },
            _ => Err(refused(&format!("${{{name}:{format}}}: write :sqlstring or :regex"))),
        }
    }

    fn built_in(&self, name: &str) -> Result<String, ExpandError> {
        let step = self.range.interval_s(SCRAPE_S);
        match name {
            "__interval" => Ok(format!("{}s", self.range.interval_s(MINUTE_S))),
            "__range" => Ok(format!("{}s", self.range.seconds())),
            "__rate_interval" => Ok(format!("{}s", (step + SCRAPE_S).max(4 * SCRAPE_S))),
            _ => Err(refused(&format!("${name} is unknown here"))),
        }
    }

    fn macro_call(&self, name: &str, arguments: &[&str]) -> Result<String, ExpandError> {
        let from = || format!("'{}'", rfc3339(self.range.from));
        let to = || format!("'{}'", rfc3339(self.range.to));
        let group = |column: &str, step: &str| {
            let seconds = step.strip_suffix('s').and_then(|seconds| seconds.parse::<f64>().ok());
            let seconds = seconds.ok_or_else(|| refused(&format!("{step} is not a step: write $__interval")))?;
            Ok(format!("time_bucket('{seconds:.3}s',{column})"))
        };
        match (name, arguments) {
            ("__timeFilter", [column]) if !column.is_empty() => Ok(format!("{column} BETWEEN {} AND {}", from(), to())),
            ("__timeFrom", [""]) => Ok(from()),
            ("__timeTo", [""]) => Ok(to()),
            ("__timeGroup", [column, step]) => group(column, step),
            ("__timeGroupAlias", [column, step]) => Ok(format!("{} AS \"time\"", group(column, step)?)),
            _ => Err(refused(&format!("${name} with {arguments:?} is unknown here"))),
        }
    }
}

fn refused(reason: &str) -> ExpandError {
    ExpandError(reason.to_owned())
}

/// Escapes a text for a regular expression inside a PromQL string, where a backslash is written twice.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\\\\\"),
            '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' | '|' => {
                text.push_str("\\\\");
                text.push(c);
            }
            _ => text.push(c),
        }
    }
    text
}

/// Returns the query that Grafana sends.
///
/// # Errors
/// [`ExpandError`] for anything that the table above doesn't list.
pub fn expand(query: &str, scope: &Scope<'_>) -> Result<String, ExpandError> {
    let mut text = String::with_capacity(query.len() + 200);
    let mut rest = query;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(braced) = rest.strip_prefix('{') {
            let (inside, after) = braced.split_once('}').ok_or_else(|| refused("${ without }"))?;
            let (name, format) = inside.split_once(':').unwrap_or((inside, ""));
            text.push_str(&scope.variable(name, format)?);
            rest = after;
            continue;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if let Some(call) = after.strip_prefix('(').filter(|_| !name.is_empty()) {
            let (inside, after) = call.split_once(')').ok_or_else(|| refused("a macro without )"))?;
            if name == "__timeGroup" && after.starts_with(',') {
                return Err(refused(
                    "$__timeGroup before a comma is called \"time\": write $__timeGroupAlias",
                ));
            }
            if inside.contains('(') {
                return Err(refused(&format!("${name}({inside}): arguments end at the first )")));
            }
            let inside = expand(inside, scope)?;
            let arguments: Vec<_> = inside.split(',').map(str::trim).collect();
            text.push_str(&scope.macro_call(name, &arguments)?);
            rest = after;
        } else {
            text.push_str(&scope.built_in(name)?);
            rest = after;
        }
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panels::dashboard::Query;

    const RANGE: TimeRange = TimeRange {
        from: 1_796_124_600_000,
        to: 1_796_146_200_000,
    };

    fn scope() -> Scope<'static> {
        let variable = |name: &str, all_value: Option<&str>| Variable {
            name: name.into(),
            query: Query::Sql(String::new()),
            all_value: all_value.map(str::to_owned),
        };
        let variables = [
            variable("train", Some("train_id")),
            variable("currency", None),
            variable("topology", Some(".*")),
        ];
        Scope::new(&RANGE, &variables)
    }

    fn expanded(query: &str) -> String {
        expand(query, &scope()).unwrap()
    }

    #[test]
    fn macros_become_sql() {
        let (from, to) = ("'2026-12-01T11:30:00Z'", "'2026-12-01T17:30:00Z'");
        assert_eq!(
            expanded("WHERE $__timeFilter(minute)"),
            format!("WHERE minute BETWEEN {from} AND {to}")
        );
        assert_eq!(
            expanded("greatest(minute, $__timeFrom()) < $__timeTo()"),
            format!("greatest(minute, {from}) < {to}")
        );
        assert_eq!(
            expanded("$__timeGroup(minute, $__interval)"),
            "time_bucket('60.000s',minute)"
        );
        assert_eq!(
            expanded("SELECT $__timeGroupAlias(minute, $__interval), x"),
            "SELECT time_bucket('60.000s',minute) AS \"time\", x"
        );
        assert_eq!(
            expanded("rate(x[$__rate_interval]) + increase(y[$__range])"),
            "rate(x[32s]) + increase(y[21600s])"
        );
    }

    #[test]
    fn variables_are_quoted_and_all_is_written_as_it_is() {
        let text = "train_id IN (${train:sqlstring})";
        assert_eq!(expanded(text), "train_id IN (train_id)");
        let some = scope().choose_all_of("train", &["12951", "O'Hare"]);
        assert_eq!(expand(text, &some).unwrap(), "train_id IN ('12951','O''Hare')");
        assert_eq!(expanded("currency = ${currency:sqlstring}"), "currency = ''");
        let text = "x{topology=~\"${topology:regex}\"}";
        assert_eq!(expanded(text), "x{topology=~\".*\"}");
        assert_eq!(
            expand(text, &scope().choose("topology", "a.b")).unwrap(),
            "x{topology=~\"a\\\\.b\"}"
        );
        let two = scope().choose_all_of("topology", &["a", "b"]);
        assert_eq!(expand(text, &two).unwrap(), "x{topology=~\"(a|b)\"}");
    }

    #[test]
    fn what_is_unknown_is_an_error() {
        for query in [
            "$train",
            "${train}",
            "${class:sqlstring}",
            "${train:csv}x",
            "${currency:raw}",
            "${currency:sqlstring",
            "$__timeFilter()",
            "$__timeFilter(minute",
            "$__timeFilter(date_bin(minute))",
            "$__timeGroup(minute, $__interval), x",
            "$__timeGroup(minute, '1 minute')",
            "$__unixEpochFilter(minute)",
            "$__from",
            "$1",
            "a $ b",
        ] {
            let scope = scope().choose("currency", "INR").choose("train", "1");
            assert!(expand(query, &scope).is_err(), "{query}");
        }
    }
}
