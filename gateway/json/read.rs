//! Converts JSON to Avro, and names every error, not only the first.

use std::fmt;

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, RecordSchema, ResolvedSchema, UnionSchema};
use apache_avro::types::Value;
use serde_json::{Map, Value as Json};

use super::{parse_date, parse_instant};

/// Most errors reported per record; a record with more is probably of another type.
const ERRORS_MAX: usize = 20;

/// An error in a record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// Path of the field, such as `passengers[0].age`; empty if the error concerns the record as a whole.
    pub field: String,
    /// The problem with the field.
    pub problem: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.problem),
            field => write!(f, "{field}: {}", self.problem),
        }
    }
}

/// Converts JSON into a value of this schema, or returns all errors.
pub fn to_avro(schema: &Schema, json: &Json) -> Result<Value, Vec<FieldError>> {
    let resolved = ResolvedSchema::new(schema).map_err(|error| {
        let field = String::new();
        let problem = format!("the schema can't be used: {error}");
        vec![FieldError { field, problem }]
    })?;
    let mut reader = Reader {
        names: resolved.get_names(),
        errors: Vec::new(),
    };
    match reader.value(schema, json, "") {
        Some(value) if reader.errors.is_empty() => Ok(value),
        _ => {
            reader.errors.truncate(ERRORS_MAX);
            Err(reader.errors)
        }
    }
}

struct Reader<'a> {
    names: &'a NamesRef<'a>,
    errors: Vec<FieldError>,
}

impl Reader<'_> {
    fn refuse(&mut self, field: &str, problem: impl Into<String>) -> Option<Value> {
        self.errors.push(FieldError {
            field: field.to_owned(),
            problem: problem.into(),
        });
        None
    }

    fn expected(&mut self, field: &str, expected: &str, json: &Json) -> Option<Value> {
        self.refuse(field, format!("expected {expected}, found {}", shown(json)))
    }

    /// Converts a value. On an error, records it and returns `None`.
    fn value(&mut self, schema: &Schema, json: &Json, at: &str) -> Option<Value> {
        let (value, expected) = match schema {
            Schema::Record(record) => return self.record(record, json, at),
            Schema::Array(array) => return self.array(&array.items, json, at),
            Schema::Map(map) => return self.map(&map.types, json, at),
            Schema::Union(union) => return self.union(union, json, at),
            Schema::Ref { name } => {
                let Some(schema) = self.names.get(name).copied() else {
                    return self.refuse(at, format!("the schema names {name}, which it doesn't define"));
                };
                return self.value(schema, json, at);
            }
            Schema::Enum(symbols) => {
                let index = symbols
                    .symbols
                    .iter()
                    .position(|symbol| Some(symbol.as_str()) == json.as_str());
                let value = index.and_then(|index| {
                    let symbol = symbols.symbols[index].clone();
                    Some(Value::Enum(u32::try_from(index).ok()?, symbol))
                });
                let Some(value) = value else {
                    return self.expected(at, &format!("one of {}", symbols.symbols.join(", ")), json);
                };
                return Some(value);
            }
            Schema::Null => (json.is_null().then_some(Value::Null), "null"),
            Schema::Boolean => (json.as_bool().map(Value::Boolean), "true or false"),
            Schema::Int => (int(json).map(Value::Int), "a whole number of 32 bits"),
            Schema::Long => (json.as_i64().map(Value::Long), "a whole number of 64 bits"),
            Schema::Float => (json.as_f64().map(|number| Value::Float(number as f32)), "a number"),
            Schema::Double => (json.as_f64().map(Value::Double), "a number"),
            Schema::String => (json.as_str().map(|text| Value::String(text.to_owned())), "a string"),
            Schema::Date => (
                json.as_str().map_or_else(|| int(json), parse_date).map(Value::Date),
                "a date such as \"2026-12-01\", or days since 1970-01-01",
            ),
            Schema::TimestampMillis => (
                json.as_str()
                    .map_or_else(|| json.as_i64(), parse_instant)
                    .map(Value::TimestampMillis),
                "an instant such as \"2026-12-01T08:00:00Z\", or milliseconds since 1970",
            ),
            other => return self.refuse(at, format!("values of type {other:?} can't be written as JSON")),
        };
        match value {
            Some(value) => Some(value),
            None => self.expected(at, expected, json),
        }
    }

    fn record(&mut self, record: &RecordSchema, json: &Json, at: &str) -> Option<Value> {
        let Json::Object(given) = json else {
            return self.expected(at, &format!("an object ({})", record.name.name()), json);
        };
        self.refuse_unknown(record, given, at);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let at = member(at, &field.name);
            let value = match (given.get(&field.name), &field.default) {
                (Some(json), _) | (None, Some(json)) => self.value(&field.schema, json, &at),
                (None, None) => self.refuse(&at, "is missing"),
            };
            // Continues with the next field, to find all errors.
            fields.extend(value.map(|value| (field.name.clone(), value)));
        }
        (fields.len() == record.fields.len()).then_some(Value::Record(fields))
    }

    fn refuse_unknown(&mut self, record: &RecordSchema, given: &Map<String, Json>, at: &str) {
        for name in given.keys() {
            if record.fields.iter().all(|field| field.name != *name) {
                let names: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
                let (record, names) = (record.name.name(), names.join(", "));
                self.refuse(&member(at, name), format!("{record} has no such field; it has {names}"));
            }
        }
    }

    fn array(&mut self, items: &Schema, json: &Json, at: &str) -> Option<Value> {
        let Json::Array(given) = json else {
            return self.expected(at, "an array", json);
        };
        let mut values = Vec::with_capacity(given.len());
        for (index, item) in given.iter().enumerate() {
            values.extend(self.value(items, item, &format!("{at}[{index}]")));
        }
        (values.len() == given.len()).then_some(Value::Array(values))
    }

    fn map(&mut self, types: &Schema, json: &Json, at: &str) -> Option<Value> {
        let Json::Object(given) = json else {
            return self.expected(at, "an object", json);
        };
        let mut values = std::collections::HashMap::with_capacity(given.len());
        for (name, item) in given {
            if let Some(value) = self.value(types, item, &member(at, name)) {
                values.insert(name.clone(), value);
            }
        }
        (values.len() == given.len()).then_some(Value::Map(values))
    }

    fn union(&mut self, union: &UnionSchema, json: &Json, at: &str) -> Option<Value> {
        let before = self.errors.len();
        for (branch, schema) in (0..).zip(union.variants()) {
            if let Some(value) = self.value(schema, json, at) {
                self.errors.truncate(before);
                return Some(Value::Union(branch, Box::new(value)));
            }
        }
        // Reports the errors of the last branch only, because the first one is usually null.
        let last = self.errors.pop();
        self.errors.truncate(before);
        self.errors.extend(last);
        None
    }
}

fn int(json: &Json) -> Option<i32> {
    i32::try_from(json.as_i64()?).ok()
}

fn member(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

/// Formats a value for an error message, not longer than a line.
fn shown(json: &Json) -> String {
    const CHARS_MAX: usize = 60;
    match json {
        Json::Array(_) => "an array".to_owned(),
        Json::Object(_) => "an object".to_owned(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(CHARS_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}
