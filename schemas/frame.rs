//! The Confluent wire format: a zero byte, the schema's id in four bytes, big-endian, then the Avro datum.

use std::fmt;

/// First byte of every framed record.
pub const MAGIC: u8 = 0;

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
    /// The value is too short for magic byte and id.
    #[error("expected the Confluent wire format, {FRAME_BYTES} bytes and a datum, but the value is {found}")]
    TooShort {
        /// The whole value.
        found: FirstBytes,
    },
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

#[cfg(test)]
mod tests {
    use super::*;

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
