//! Converts names of fields between text and their stored form. A request id that is a UUID, as most are, is stored as
//! 16 bytes instead of 36 letters, because there is one such name for each request ever made.

use interlock_schemas::Text;

use super::{QUEUED, SETTLED};

/// Marks a packed id: no UTF-8 text contains this byte.
const PACKED: u8 = 0xff;
/// Positions of the hyphens of a UUID.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
/// Positions of the two digits of each byte.
const PAIRS: [usize; UUID_BYTES] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const UUID_CHARS: usize = 36;
const UUID_BYTES: usize = 16;
const HEX: &[u8; 16] = b"0123456789abcdef";
/// The value of each character that is a digit; all others have a larger one.
const DIGITS: [u8; 256] = {
    let (mut digits, mut value) = ([0xff; 256], 0);
    while value < HEX.len() {
        digits[HEX[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

/// Appends a request id in its stored form.
pub(super) fn append_id(request_id: &str, name: &mut Vec<u8>) {
    match packed(request_id) {
        Some(bytes) => {
            name.push(PACKED);
            name.extend_from_slice(&bytes);
        }
        None => name.extend_from_slice(request_id.as_bytes()),
    }
}

/// Returns the request id of a stored form.
pub(super) fn read_id(name: &[u8]) -> Option<Text> {
    match name.split_first() {
        Some((&PACKED, bytes)) => Some(unpacked(bytes.try_into().ok()?)),
        _ => std::str::from_utf8(name).ok().map(Text::new),
    }
}

/// Returns the readable name of a field.
pub fn readable_field(name: &[u8]) -> String {
    let of_outcome = [SETTLED, QUEUED].into_iter().find_map(|prefix| {
        let request_id = read_id(name.strip_prefix(prefix.as_bytes())?)?;
        Some([prefix, &request_id].concat())
    });
    of_outcome.unwrap_or_else(|| String::from_utf8_lossy(name).into_owned())
}

/// Returns the bytes of a lower-case UUID, from which the same text can be restored; `None` for any other text.
fn packed(text: &str) -> Option<[u8; UUID_BYTES]> {
    let text: &[u8; UUID_CHARS] = text.as_bytes().try_into().ok()?;
    if HYPHENS.iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let mut bytes = [0; UUID_BYTES];
    for (byte, at) in bytes.iter_mut().zip(PAIRS) {
        let (high, low) = (DIGITS[usize::from(text[at])], DIGITS[usize::from(text[at + 1])]);
        if high | low > 0xf {
            return None;
        }
        *byte = high << 4 | low;
    }
    Some(bytes)
}

fn unpacked(bytes: &[u8; UUID_BYTES]) -> Text {
    let mut text = [b'-'; UUID_CHARS];
    for (byte, at) in bytes.iter().zip(PAIRS) {
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 0xf)];
    }
    std::str::from_utf8(&text).map(Text::new).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(request_id: &str) -> Vec<u8> {
        let mut name = Vec::new();
        append_id(request_id, &mut name);
        name
    }

    #[test]
    fn a_uuid_takes_half() {
        let id = "f82be0c7-d07b-89c1-8000-000000017424";
        assert_eq!(stored(id).len(), 17);
        assert_eq!(read_id(&stored(id)).as_deref(), Some(id));
        assert_eq!(
            readable_field(&[b"r|".as_slice(), &stored(id)].concat()),
            format!("r|{id}")
        );
    }

    #[test]
    fn what_only_resembles_one_is_kept_as_it_is() {
        for id in [
            "F82be0c7-d07b-89c1-8000-000000017424",
            "f82be0c7xd07b-89c1-8000-000000017424",
            "f82be0c7-d07b-89c1-8000-00000001742g",
            "f82be0c7-d07b-89c1-8000-0000000-7424",
            "r1",
            "",
        ] {
            assert_eq!(stored(id), id.as_bytes());
        }
        assert_eq!(read_id(&[PACKED, 1]), None);
    }

    proptest! {
        #[test]
        fn any_id_is_read_back(id in any::<String>(), uuid in any::<[u8; 16]>()) {
            prop_assert_eq!(read_id(&stored(&id)), Some(Text::new(&id)));
            let text = unpacked(&uuid);
            prop_assert_eq!(packed(&text), Some(uuid));
        }
    }
}
