//! `interlock schemas`: lists, checks or registers the schemas of the contract.

use std::fmt;

use interlock_schemas::registry::{RegistryError, check_all, register_all_within};
use interlock_schemas::{RecordType, topics};
use serde::Serialize;

use super::print;
use crate::Status;
use crate::cli::{Schemas as Arguments, SchemasAction};
use crate::config::{Config, PATIENCE};
use crate::services;

/// A record type on its topic.
#[derive(Serialize)]
struct Row {
    topic: &'static str,
    record: &'static str,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compatible: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// All record types.
#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

/// Registers, checks or lists the schemas.
pub(crate) fn call(arguments: &Arguments, config: &Config) -> anyhow::Result<Status> {
    let mut rows: Vec<Row> = topics::contract()
        .into_iter()
        .map(|(topic, record)| row(topic, record))
        .collect();
    match arguments.action {
        SchemasAction::List => {}
        SchemasAction::Register => register(config, &mut rows)?,
        SchemasAction::Check => check(config, &mut rows)?,
    }
    let refused = rows.iter().any(|row| row.compatible == Some(false));
    print::report(&Rows(rows), arguments.json)?;
    Ok(if refused { Status::NotHeld } else { Status::Held })
}

fn row(topic: &'static str, record: RecordType) -> Row {
    let subject = topics::subject(topic, record);
    Row {
        topic,
        record: record.name(),
        subject,
        id: None,
        compatible: None,
        problems: Vec::new(),
    }
}

fn register(config: &Config, rows: &mut [Row]) -> anyhow::Result<()> {
    let registry = services::registry(config)?;
    let contract = topics::contract();
    let ids = services::block_on(register_all_within(PATIENCE, &registry, &contract))??;
    for (row, (_, record)) in rows.iter_mut().zip(contract) {
        row.id = ids.get(record);
    }
    Ok(())
}

fn check(config: &Config, rows: &mut [Row]) -> anyhow::Result<()> {
    let registry = services::registry(config)?;
    let refused = services::block_on(check_all(&registry, &topics::contract()))??;
    for row in rows {
        let of_row = |error: &RegistryError| match error {
            RegistryError::Incompatible { subject, problems } if *subject == row.subject => Some(problems.clone()),
            _ => None,
        };
        row.problems = refused.iter().find_map(of_row).unwrap_or_default();
        row.compatible = Some(row.problems.is_empty());
    }
    Ok(())
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&Row) -> &str| self.0.iter().map(|row| text(row).len()).max().unwrap_or(0);
        let (topics, records) = (width(|row| row.topic), width(|row| row.record));
        for row in &self.0 {
            write!(f, "{:topics$}  {:records$}  {}", row.topic, row.record, row.subject)?;
            match (row.id, row.compatible) {
                (Some(id), _) => writeln!(f, "  id {id}")?,
                (None, Some(true)) => writeln!(f, "  compatible")?,
                (None, Some(false)) => writeln!(f, "  NOT compatible: {}", row.problems.join("; "))?,
                (None, None) => writeln!(f)?,
            }
        }
        Ok(())
    }
}
