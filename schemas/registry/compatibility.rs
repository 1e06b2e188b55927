//! Explains why two versions of a schema are not fully compatible.

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

/// Lists the incompatibilities of two versions in both directions; empty if there are none.
pub(super) fn problems(older: &Schema, newer: &Schema) -> Vec<String> {
    let directions = [
        (older, newer, "the new version can't read what the old one wrote"),
        (newer, older, "the old version can't read what the new one wrote"),
    ];
    let problem = |(writer, reader, what)| match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => None,
        Ok(Compatibility::Partial) => Some(format!("{what}: a union's branch or an enum's symbol is missing")),
        Err(error) => Some(format!("{what}: {error}")),
    };
    directions.into_iter().filter_map(problem).collect()
}

/// Lists the [`problems`] of schemas given as text; empty if one does not parse.
#[cfg(feature = "registry")]
pub(super) fn problems_of_texts(older: &str, newer: &str) -> Vec<String> {
    match (Schema::parse_str(older), Schema::parse_str(newer)) {
        (Ok(older), Ok(newer)) => problems(&older, &newer),
        _ => Vec::new(),
    }
}

/// Returns a schema with referenced types written out.
#[cfg(feature = "registry")]
pub(super) fn inline(schema: &str, others: &[&str]) -> Option<String> {
    let (mut schema, others) = Schema::parse_str_with_list(schema, others).ok()?;
    schema.denormalize(&others).ok()?;
    serde_json::to_string(&schema).ok()
}
