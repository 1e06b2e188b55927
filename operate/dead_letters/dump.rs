//! Writes bytes for people.

/// Most bytes of a value shown to people; programs get all of it.
const SHOWN_BYTES_MAX: usize = 4096;
/// Bytes per line.
const LINE_BYTES: usize = 16;

/// Formats bytes like `hexdump -C`.
pub fn dump(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let mut lines: Vec<String> = shown
        .chunks(LINE_BYTES)
        .enumerate()
        .map(|(number, chunk)| {
            let digits: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            let printable = |byte: &u8| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            };
            let text: String = chunk.iter().map(printable).collect();
            format!("{:08x}  {:<47}  |{text}|", number * LINE_BYTES, digits.join(" "))
        })
        .collect();
    if bytes.len() > shown.len() {
        lines.push(format!(
            "… and {} bytes more; --json has all",
            bytes.len() - shown.len()
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_everybody_shows_them() {
        assert_eq!(
            dump(b"\0\x01{\"a\": 1}\n123456"),
            "00000000  00 01 7b 22 61 22 3a 20 31 7d 0a 31 32 33 34 35  |..{\"a\": 1}.12345|\n\
             00000010  36                                               |6|"
        );
        assert_eq!(dump(b""), "");
        assert!(dump(&[0; SHOWN_BYTES_MAX + 3]).ends_with("… and 3 bytes more; --json has all"));
    }
}
