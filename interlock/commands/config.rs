//! `interlock config`: prints the settings and their sources.

use std::fmt;

use serde::Serialize;

use super::print;
use crate::Status;
use crate::cli::Config as Arguments;
use crate::config::{Loaded, Origin, SETTINGS, Setting, example, reference};

/// A setting as programs read it.
#[derive(Serialize)]
struct Row {
    key: &'static str,
    value: String,
    source: Origin,
    variable: String,
    default: &'static str,
    unit: &'static str,
    about: &'static str,
}

/// All settings.
#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

/// Prints the configuration.
pub(crate) fn call(arguments: &Arguments, loaded: &Loaded) -> anyhow::Result<Status> {
    if arguments.example {
        print::text(example().as_bytes())?;
    } else if arguments.reference {
        print::text(reference().as_bytes())?;
    } else {
        print::report(&rows(loaded), arguments.json)?;
    }
    Ok(Status::Held)
}

fn rows(loaded: &Loaded) -> Rows {
    let row = |setting: &'static Setting| {
        let (value, source) = loaded.shown(setting);
        Row {
            key: setting.key,
            value,
            source,
            variable: setting.variable(),
            default: setting.default,
            unit: setting.unit,
            about: setting.about,
        }
    };
    Rows(SETTINGS.iter().map(row).collect())
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: fn(&Row) -> &str| self.0.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
        let (keys, values) = (width(|row| row.key), width(|row| &row.value));
        for row in &self.0 {
            writeln!(f, "{:keys$}  {:values$}  {}", row.key, row.value, row.source)?;
        }
        Ok(())
    }
}
