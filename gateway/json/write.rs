//! Converts Avro to JSON, in the order of the schema's fields.

use apache_avro::types::Value;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{date_text, hex, instant_text};

/// A value that serialises as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown(pub Value);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Borrowed(&self.0).serialize(serializer)
    }
}

struct Borrowed<'a>(&'a Value);

impl Serialize for Borrowed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Int(value) | Value::TimeMillis(value) => serializer.serialize_i32(*value),
            Value::Long(value)
            | Value::TimeMicros(value)
            | Value::TimestampMicros(value)
            | Value::TimestampNanos(value)
            | Value::LocalTimestampMillis(value)
            | Value::LocalTimestampMicros(value)
            | Value::LocalTimestampNanos(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f32(*value),
            Value::Double(value) => serializer.serialize_f64(*value),
            Value::String(value) | Value::Enum(_, value) => serializer.serialize_str(value),
            Value::Date(days) => match date_text(*days) {
                Some(text) => serializer.serialize_str(&text),
                None => serializer.serialize_i32(*days),
            },
            Value::TimestampMillis(millis) => serializer.serialize_str(&instant_text(*millis)),
            Value::Bytes(bytes) | Value::Fixed(_, bytes) => serializer.serialize_str(&hex(bytes)),
            Value::Union(_, value) => Borrowed(value).serialize(serializer),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Borrowed)),
            Value::Map(items) => serializer.collect_map(items.iter().map(|(name, item)| (name, Borrowed(item)))),
            Value::Record(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, &Borrowed(value))?;
                }
                map.end()
            }
            // No record of the contract has such a value; one of a foreign schema is shown as text.
            Value::Decimal(_) | Value::BigDecimal(_) | Value::Duration(_) | Value::Uuid(_) => {
                serializer.collect_str(&format_args!("{:?}", self.0))
            }
        }
    }
}
