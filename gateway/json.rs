//! Maps records to JSON: one mapping for all record types, derived from their Avro schemas.
//!
//! | Avro | JSON |
//! | --- | --- |
//! | record | object; a field with a default may be left out |
//! | string, boolean, int, long, float, double, null | the same |
//! | enum | its symbol, such as `"LOWER"` |
//! | array, map | array, object |
//! | union | a value of the first branch that fits; nullable: `null` or the value |
//! | date | `"2026-12-01"`; days since 1970-01-01 are accepted too |
//! | timestamp-millis | RFC 3339 in UTC: `"2026-12-01T08:00:00.000Z"`; milliseconds since 1970 are accepted too |
//! | bytes, fixed | hexadecimal digits (output only; no record of the contract has them) |

mod read;
mod write;

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, SecondsFormat};
use interlock_streams::record::Header;

pub use read::{FieldError, to_avro};
pub use write::Shown;

/// A record's header as JSON. Names may repeat, and a value may be null.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub struct HeaderJson {
    pub name: String,
    /// Its value as text; none if it is null or no text.
    pub value: Option<String>,
    /// A value that is no text, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

impl HeaderJson {
    /// Lists headers in order.
    pub fn list(headers: &[Header]) -> Vec<Self> {
        let header = |(name, value): &Header| {
            let text = value.as_deref().map(std::str::from_utf8);
            Self {
                name: name.to_string(),
                value: text.and_then(Result::ok).map(str::to_owned),
                bytes: value
                    .as_deref()
                    .filter(|_| text.is_some_and(|text| text.is_err()))
                    .map(hex),
            }
        };
        headers.iter().map(header).collect()
    }
}

/// Format of dates.
const DATE: &str = "%Y-%m-%d";

/// Formats a date as `2026-12-01`. Returns `None` for a year of more than four digits.
pub fn date_text(days: i32) -> Option<String> {
    let date = NaiveDate::from_epoch_days(days)?;
    Some(date.format(DATE).to_string())
}

/// Parses a date into days since 1970-01-01.
pub fn parse_date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, DATE).ok()?;
    (text.len() == "2026-12-01".len()).then(|| date.to_epoch_days())
}

/// Formats an instant as `2026-12-01T08:00:00.000Z`, or as a number if it is out of range.
pub fn instant_text(millis: i64) -> String {
    match DateTime::from_timestamp_millis(millis) {
        Some(instant) => instant.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => millis.to_string(),
    }
}

/// Parses an instant into milliseconds since 1970.
fn parse_instant(text: &str) -> Option<i64> {
    let instant = DateTime::parse_from_rfc3339(text).ok()?;
    Some(instant.timestamp_millis())
}

/// Formats bytes as hexadecimal, two digits per byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
