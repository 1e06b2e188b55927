//! Which columns a window table may have, and which a batch of partials has.
//!
//! | | types |
//! | --- | --- |
//! | key | `Int64`, `Utf8`, `Date32`, `Timestamp(_, UTC)`; never null |
//! | sum | `Int64`: integers merge exactly in any order, floating-point numbers don't |
//! | min, max | `Int64`, `Date32`, `Timestamp(_, UTC)`; null where no row had a value |

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::WindowError;
use crate::sink::{Merge, WindowTable};

/// Checks that a table has keys and measures, each named once.
pub(super) fn check_table(table: &WindowTable) -> Result<(), WindowError> {
    let problem = |reason: String| WindowError::Table {
        table: table.name.clone(),
        reason,
    };
    if table.keys.is_empty() {
        return Err(problem("it has no key columns".into()));
    }
    if table.measures.is_empty() {
        return Err(problem("it has no measures".into()));
    }
    let mut seen = HashSet::new();
    match names(table).find(|name| !seen.insert(*name)) {
        Some(twice) => Err(problem(format!("column {twice} is named twice"))),
        None => Ok(()),
    }
}

/// The table's columns in the order of partials: keys, then measures.
pub(super) fn names(table: &WindowTable) -> impl Iterator<Item = &str> {
    let measures = table.measures.iter().map(|(name, _)| name.as_str());
    table.keys.iter().map(String::as_str).chain(measures)
}

/// The schema of the table's partials, with the types that `yielded` has; refused unless `yielded` has exactly the
/// table's columns (in any order) with types that can be merged. `query` is named in errors.
pub(super) fn partials_schema(query: &str, table: &WindowTable, yielded: &Schema) -> Result<SchemaRef, WindowError> {
    let problem = |column: &str, expected: &str, got: String| WindowError::Column {
        query: query.to_owned(),
        column: column.to_owned(),
        expected: expected.to_owned(),
        got,
    };
    for field in yielded.fields() {
        if !names(table).any(|name| name == field.name()) {
            let known: Vec<_> = names(table).collect();
            let expected = format!("only the columns of {}: {}", table.name, known.join(", "));
            return Err(problem(field.name(), &expected, format!("{} too", field.data_type())));
        }
    }
    let merges = table.measures.iter().map(|(_, merge)| Some(*merge));
    let fields: Result<Vec<Field>, WindowError> = names(table)
        .zip(table.keys.iter().map(|_| None).chain(merges))
        .map(|(name, merge)| {
            let mut found = yielded.fields().iter().filter(|field| field.name() == name);
            let field = match (found.next(), found.next()) {
                (Some(field), None) => field,
                (None, _) => return Err(problem(name, expected_type(merge), "no such column".into())),
                (Some(_), Some(_)) => return Err(problem(name, "one column", "several of that name".into())),
            };
            match canonical(field.data_type()).filter(|data_type| fits(data_type, merge)) {
                Some(data_type) => Ok(Field::new(
                    name,
                    data_type,
                    matches!(merge, Some(Merge::Min | Merge::Max)),
                )),
                None => Err(problem(name, expected_type(merge), field.data_type().to_string())),
            }
        })
        .collect();
    Ok(Arc::new(Schema::new(fields?)))
}

/// The type that a column is converted to in partials.
fn canonical(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Int64 | DataType::Date32 => Some(data_type.clone()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Dictionary(_, value) if canonical(value) == Some(DataType::Utf8) => Some(DataType::Utf8),
        DataType::Timestamp(unit, Some(zone)) if matches!(&**zone, "UTC" | "+00:00" | "Z") => {
            Some(DataType::Timestamp(*unit, Some("UTC".into())))
        }
        _ => None,
    }
}

fn fits(data_type: &DataType, merge: Option<Merge>) -> bool {
    match merge {
        None => true,
        Some(Merge::Sum) => *data_type == DataType::Int64,
        Some(Merge::Min | Merge::Max) => *data_type != DataType::Utf8,
    }
}

fn expected_type(merge: Option<Merge>) -> &'static str {
    match merge {
        None => "a key of type Int64, Utf8, Date32 or Timestamp in UTC",
        Some(Merge::Sum) => "a sum of type Int64 (CAST AS BIGINT)",
        Some(Merge::Min | Merge::Max) => "a least or largest value of type Int64, Date32 or Timestamp in UTC",
    }
}
