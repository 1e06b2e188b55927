//! Shows a letter to people and programs: its headers, its key, and its value as JSON or byte by byte.

use std::fmt;

use interlock_gateway::json::{self, instant_text};
use interlock_gateway::json_log::JsonLog;
use interlock_streams::dead_letter::original_headers;
use serde::Serialize;

use interlock_operate::dead_letters::{Letter, Line, dump};

/// A dead letter as a line of the list.
#[derive(Serialize)]
pub(super) struct Listed {
    #[serde(flatten)]
    line: Line,
    /// Timestamp of the record, in RFC 3339.
    timestamp: String,
}

impl Listed {
    pub(super) fn of(line: Line) -> Self {
        let timestamp = instant_text(line.timestamp);
        Self { line, timestamp }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.line.partition, self.line.offset)
    }

    fn source(&self) -> String {
        let Line {
            source_topic,
            source_partition,
            source_offset,
            ..
        } = &self.line;
        format!("{source_topic}[{source_partition}]@{source_offset}")
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = &self.line;
        let again = if line.sent_again { "  sent again" } else { "" };
        write!(
            f,
            "{:<10}  {}  {:<15}  {:<28}  {:<24}  {}{again}",
            self.place(),
            self.timestamp,
            line.reason,
            self.source(),
            line.key.as_deref().unwrap_or("-"),
            on_one_line(&line.message)
        )
    }
}

/// A letter for display.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    listed: Listed,
    /// The program that wrote the letter.
    version: String,
    /// Length of a record that was too long to be copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_copied: Option<u64>,
    /// Headers of the record.
    headers: Vec<json::HeaderJson>,
    /// Full name of the record type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
    /// The record as JSON; null if it can't be decoded.
    value: Option<json::Shown>,
    /// The reason why it can't be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecodable: Option<String>,
    /// The value that can't be decoded, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip)]
    raw: Vec<u8>,
}

impl Shown {
    /// Decodes the value. If the registry can't be reached, shows the value's bytes, as for one that can't be decoded.
    pub(super) async fn new(letter: &Letter, topics: &JsonLog) -> Self {
        let record = &letter.record;
        let mut shown = Self {
            listed: Listed::of(letter.line()),
            version: letter.why.version.clone(),
            not_copied: letter.why.not_copied,
            headers: json::HeaderJson::list(&original_headers(record)),
            record_type: None,
            value: None,
            undecodable: None,
            bytes: None,
            raw: record.value.as_deref().unwrap_or_default().to_vec(),
        };
        let Some(value) = &record.value else {
            return shown;
        };
        match topics.decode(record).await {
            Ok((record_type, value)) => (shown.record_type, shown.value) = (Some(record_type), Some(value)),
            Err(error) => (shown.undecodable, shown.bytes) = (Some(error.to_string()), Some(json::hex(value))),
        }
        shown
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, source) = (&self.listed.line, self.listed.source());
        writeln!(f, "letter      {}", self.listed.place())?;
        writeln!(f, "reason      {}: {}", line.reason, on_one_line(&line.message))?;
        writeln!(f, "record      {source}, written {}", self.listed.timestamp)?;
        writeln!(f, "refused by  {}", self.version)?;
        writeln!(f, "sent again  {}", if line.sent_again { "yes" } else { "no" })?;
        for json::HeaderJson { name, value, bytes } in &self.headers {
            let value = value.as_deref().map(on_one_line).or_else(|| bytes.clone());
            let value = value.unwrap_or_else(|| "null".to_owned());
            writeln!(f, "header      {}: {value}", on_one_line(name))?;
        }
        writeln!(f, "key         {}", line.key.as_deref().unwrap_or("none"))?;
        match (&self.value, &self.undecodable, self.not_copied) {
            (Some(value), ..) => {
                let name = self.record_type.as_deref().unwrap_or_default();
                let pretty = serde_json::to_string_pretty(value).map_err(|_| fmt::Error)?;
                write!(f, "value       {name}\n{pretty}")
            }
            (None, Some(why), _) => {
                let length = self.raw.len();
                write!(
                    f,
                    "value       {length} bytes, {}\n{}",
                    on_one_line(why),
                    dump(&self.raw)
                )
            }
            (None, None, Some(bytes)) => write!(f, "value       not copied: {bytes} bytes; read {source}"),
            (None, None, None) => write!(f, "value       none"),
        }
    }
}

/// Text in which a control character can't begin another line or move the cursor; quotes stay as they are.
fn on_one_line(text: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_list_names_place_reason_record_and_key() {
        let line = Listed::of(Line {
            partition: 1,
            offset: 0,
            timestamp: 20,
            reason: "undecodable".to_owned(),
            message: "it can't be read".to_owned(),
            source_topic: "booking-requests".to_owned(),
            source_partition: 1,
            source_offset: 120,
            key: Some("12951|2026-12-01".to_owned()),
            sent_again: true,
        });
        let text = line.to_string();
        for word in [
            "1:0",
            "1970-01-01T00:00:00.020Z",
            "undecodable",
            "booking-requests[1]@120",
            "12951|2026-12-01",
            "it can't be read",
            "sent again",
        ] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn text_stays_on_its_line_and_keeps_its_quotes() {
        assert_eq!(
            on_one_line("can't be \"used\"\n\x1b[31m"),
            "can't be \"used\"\\n\\u{1b}[31m"
        );
    }
}
