//! SQL that all databases share.

use interlock_streams::sink::{Merge, WindowTable};

/// Quotes an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `INSERT INTO "t" AS stored ("k", "total")`: the columns are those of the table, keys first.
pub(crate) fn insert_into(table: &WindowTable) -> String {
    let names = table.keys.iter().chain(table.measures.iter().map(|(name, _)| name));
    let columns: Vec<String> = names.map(|name| quoted(name)).collect();
    format!("INSERT INTO {} AS stored ({})", quoted(&table.name), columns.join(", "))
}

/// `ON CONFLICT ("k") DO UPDATE SET "total" = stored."total" + excluded."total"`: merges each measure. `extreme` writes
/// the database's expression for the smaller or larger of a stored and a new value; either may be null.
pub(crate) fn on_conflict(table: &WindowTable, extreme: fn(Merge, &str) -> String) -> String {
    let keys: Vec<String> = table.keys.iter().map(|key| quoted(key)).collect();
    let merged = table.measures.iter().map(|(name, merge)| {
        let name = quoted(name);
        let value = match merge {
            Merge::Sum => format!("stored.{name} + excluded.{name}"),
            Merge::Min | Merge::Max => extreme(*merge, &name),
        };
        format!("{name} = {value}")
    });
    let merged: Vec<String> = merged.collect();
    format!("ON CONFLICT ({}) DO UPDATE SET {}", keys.join(", "), merged.join(", "))
}

/// Returns a query that selects nothing, and fails if the table lacks a column.
pub(crate) fn select_nothing(table: &WindowTable) -> String {
    let names = table.keys.iter().chain(table.measures.iter().map(|(name, _)| name));
    let columns: Vec<String> = names.map(|name| quoted(name)).collect();
    format!("SELECT {} FROM {} LIMIT 0", columns.join(", "), quoted(&table.name))
}
