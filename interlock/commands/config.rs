//! `interlock config`: what is set, and by what.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::Status;
use crate::cli::Config as Arguments;
use crate::config::{Loaded, Origin, SETTINGS, example, reference};

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

/// Prints the configuration.
pub(crate) fn call(arguments: &Arguments, loaded: &Loaded) -> anyhow::Result<Status> {
    let mut out = io::stdout().lock();
    if arguments.example {
        write!(out, "{}", example())?;
    } else if arguments.reference {
        write!(out, "{}", reference())?;
    } else if arguments.json {
        serde_json::to_writer_pretty(&mut out, &rows(loaded)).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        let rows = rows(loaded);
        let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
        let (keys, values) = (width(|row| row.key), width(|row| &row.value));
        for row in &rows {
            writeln!(out, "{:keys$}  {:values$}  {}", row.key, row.value, row.source)?;
        }
    }
    out.flush()?;
    Ok(Status::Held)
}

fn rows(loaded: &Loaded) -> Vec<Row> {
    let row = |setting: &'static crate::config::Setting| {
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
    SETTINGS.iter().map(row).collect()
}
