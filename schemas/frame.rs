//! The Confluent wire format: a zero byte, the schema's id in four bytes, big-endian, then the Avro datum.
//!
//! Confluent's `HeaderSchemaIdSerializer` writes the datum alone as the value and names the schema in a record header:
//! a byte 1 and the 16 bytes of the schema's GUID. Its readers also accept a zero byte and a schema id there.

use std::fmt;

/// First byte before a schema id.
pub const MAGIC: u8 = 0;

/// First byte before a schema's GUID.
const MAGIC_GUID: u8 = 1;

/// Name of the record header that names the schema of a value which is a bare datum.
pub const VALUE_SCHEMA_HEADER: &str = "__value_schema_id";

/// Name of the record header that names the schema of a key which is a bare datum.
pub const KEY_SCHEMA_HEADER: &str = "__key_schema_id";

/// Bytes before the datum.
pub const FRAME_BYTES: usize = 5;

/// The reason why bytes are not a framed record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The first byte is not the magic byte.
    #[error("expected the Confluent wire format, which begins with byte 00, but the value begins with {found}")]
    Magic {
        /// Beginning of the value.
        found: FirstBytes,
    },
    /// The header that names the schema holds neither an id nor a GUID.
    #[error(
        "expected {VALUE_SCHEMA_HEADER} to hold byte 01 and a GUID, or byte 00 and a schema id, but it holds {found}"
    )]
    Header {
        /// The content of the header.
        found: FirstBytes,
    },
    /// The value is too short for magic byte and id.
    #[error("expected the Confluent wire format, {FRAME_BYTES} bytes and a datum, but the value is {found}")]
    TooShort {
        /// The whole value.
        found: FirstBytes,
    },
}

/// Names the schema that a value was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaRef {
    /// The id that the registry gave it.
    Id(u32),
    /// The GUID that the registry gave it, the same in every registry.
    Guid([u8; 16]),
}

impl From<u32> for SchemaRef {
    fn from(id: u32) -> Self {
        SchemaRef::Id(id)
    }
}

impl fmt::Display for SchemaRef {
    /// Writes an id as a number and a GUID with hyphens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaRef::Id(id) => write!(f, "{id}"),
            SchemaRef::Guid(guid) => {
                for (at, byte) in guid.iter().enumerate() {
                    let hyphen = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{hyphen}{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

/// The beginning of a value for error messages: in hex, and as text if it is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBytes {
    bytes: [u8; FirstBytes::SHOWN],
    total: usize,
}

impl FirstBytes {
    /// Bytes shown: enough to tell JSON from a foreign framing.
    const SHOWN: usize = 8;

    /// Takes the beginning of `value`.
    pub fn of(value: &[u8]) -> Self {
        let mut bytes = [0; Self::SHOWN];
        for (shown, byte) in bytes.iter_mut().zip(value) {
            *shown = *byte;
        }
        FirstBytes {
            bytes,
            total: value.len(),
        }
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.bytes[..self.total.min(Self::SHOWN)];
        if shown.is_empty() {
            return f.write_str("empty");
        }
        for (i, byte) in shown.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { " " })?;
        }
        if self.total > Self::SHOWN {
            f.write_str(" …")?;
        }
        if shown.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            write!(f, " (text: {})", String::from_utf8_lossy(shown))?;
        }
        write!(f, " of {} bytes", self.total)
    }
}

/// Appends the frame of schema `id`; the caller appends the datum.
pub fn frame(id: u32, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.extend_from_slice(&id.to_be_bytes());
}

/// Splits a framed record into schema id and datum.
pub fn parse_frame(value: &[u8]) -> Result<(u32, &[u8]), WireError> {
    match value {
        [MAGIC, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [] | [MAGIC, ..] => Err(WireError::TooShort {
            found: FirstBytes::of(value),
        }),
        _ => Err(WireError::Magic {
            found: FirstBytes::of(value),
        }),
    }
}

/// Returns the schema and the datum of a value. `header` is the value of the record's last header of the name
/// [`VALUE_SCHEMA_HEADER`]; where there is one, the whole value is the datum.
pub fn parse_value<'a>(value: &'a [u8], header: Option<&[u8]>) -> Result<(SchemaRef, &'a [u8]), WireError> {
    match header {
        None => parse_frame(value).map(|(id, datum)| (SchemaRef::Id(id), datum)),
        Some([MAGIC, id @ ..]) if id.len() == 4 => Ok((SchemaRef::Id(id.iter().fold(0, be)), value)),
        Some([MAGIC_GUID, guid @ ..]) if guid.len() == 16 => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(guid);
            Ok((SchemaRef::Guid(bytes), value))
        }
        Some(other) => Err(WireError::Header {
            found: FirstBytes::of(other),
        }),
    }
}

/// Returns the text of a key: plain text, or text that a client wrote with the Avro schema `"string"`. Such a key
/// begins with a frame, or its record has a header of the name [`KEY_SCHEMA_HEADER`]. Returns any other key as it is.
pub fn parse_key(key: &[u8], has_header: bool) -> &[u8] {
    let datum = match key {
        datum if has_header => datum,
        [MAGIC, _, _, _, _, datum @ ..] => datum,
        _ => return key,
    };
    string_datum(datum).unwrap_or(key)
}

/// Returns the text of an Avro string: its length as a zigzag varint, then its bytes. A key has at most 63 bytes or
/// 8,191.
fn string_datum(datum: &[u8]) -> Option<&[u8]> {
    let (length, text) = match datum {
        [low, text @ ..] if low & 0x80 == 0 => (usize::from(*low), text),
        [low, high, text @ ..] if high & 0x80 == 0 => (usize::from(low & 0x7f) | usize::from(*high) << 7, text),
        _ => return None,
    };
    (length == 2 * text.len()).then_some(text)
}

fn be(number: u32, byte: &u8) -> u32 {
    number << 8 | u32::from(*byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_the_schema_of_a_bare_datum() {
        let guid = [
            0x89, 0x79, 0x17, 0x62, 0x23, 0x36, 0x41, 0x86, 0x96, 0x74, 0x29, 0x9b, 0x90, 0xa8, 0x02, 0xe2,
        ];
        let header = [&[1][..], &guid].concat();
        assert_eq!(
            parse_value(b"datum", Some(&header)),
            Ok((SchemaRef::Guid(guid), &b"datum"[..]))
        );
        assert_eq!(
            SchemaRef::Guid(guid).to_string(),
            "89791762-2336-4186-9674-299b90a802e2"
        );
        assert_eq!(
            parse_value(b"datum", Some(b"\0\x01\x02\x03\x04")),
            Ok((SchemaRef::Id(0x0102_0304), &b"datum"[..]))
        );
        assert_eq!(parse_value(b"\0\0\0\0\x07d", None), Ok((SchemaRef::Id(7), &b"d"[..])));
        for header in [&b""[..], b"7", b"\0\0\0\x07", b"\x01\0\0\0\x07", b"\0\0\0\0\x07\0"] {
            let error = parse_value(b"\0\0\0\0\x07d", Some(header)).unwrap_err();
            assert!(error.to_string().contains(VALUE_SCHEMA_HEADER), "{error}");
        }
    }

    #[test]
    fn a_key_is_text_or_an_avro_string() {
        let text = &b"12951|2026-12-01"[..];
        let datum = [&[32][..], text].concat();
        let framed = [&[0, 0, 0, 0, 7][..], &datum].concat();
        assert_eq!(parse_key(text, false), text);
        assert_eq!(parse_key(&framed, false), text);
        assert_eq!(parse_key(&datum, true), text);
        assert_eq!(parse_key(text, true), text, "a header alone makes no datum");
        let long = [b'x'; 100];
        assert_eq!(parse_key(&[&[0xc8, 1][..], &long].concat(), true), long);
        for other in [&b""[..], b"\0", b"\0\0\0\0\x07", &datum, &framed[..20], &[0x80; 12]] {
            assert_eq!(parse_key(other, false), other);
        }
        assert_eq!(parse_key(b"", true), b"");
    }

    #[test]
    fn a_frame_is_parsed_back() {
        let mut value = Vec::new();
        frame(0x0102_0304, &mut value);
        value.extend_from_slice(b"datum");
        assert_eq!(value, b"\x00\x01\x02\x03\x04datum");
        assert_eq!(parse_frame(&value), Ok((0x0102_0304, &b"datum"[..])));
        assert_eq!(parse_frame(&value[..5]), Ok((0x0102_0304, &b""[..])));
    }

    #[test]
    fn an_error_shows_how_the_value_begins() {
        let check = |value: &[u8], message: &str| {
            let error = parse_frame(value).unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        };
        check(
            br#"{"request_id":1}"#,
            "begins with 7b 22 72 65 71 75 65 73 … (text: {\"reques) of 16 bytes",
        );
        check(b"\x01\xff", "begins with 01 ff of 2 bytes");
        check(b"\x00\x00\x00\x07", "the value is 00 00 00 07 of 4 bytes");
        check(b"", "the value is empty");
    }
}
