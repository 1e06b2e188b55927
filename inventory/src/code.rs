//! Short names as numbers. Stations, classes and quotas have names of a few letters, which each request gives again: as
//! numbers, many of them are compared with few reads.

/// Bytes of the longest name that is a number.
const BYTES: usize = size_of::<u64>();

/// A name of at most eight bytes. Two names that are not [`Code::LONG`] are equal if their codes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(u64);

impl Code {
    /// The code of all names that have none of their own: long ones, and those that end like a shorter one.
    pub(crate) const LONG: Code = Code(0);

    /// Returns the code of a name.
    pub(crate) fn of(name: &str) -> Code {
        if name.len() > BYTES || name.ends_with('\0') {
            return Code::LONG;
        }
        let mut bytes = [0; BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Code(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_have_codes_of_their_own() {
        let names = ["A", "AB", "BA", "NDLS", "ABCDEFGH", "सा", "A\0B"];
        for name in names {
            assert_ne!(Code::of(name), Code::LONG, "{name}");
            let same = names.iter().filter(|other| Code::of(other) == Code::of(name)).count();
            assert_eq!(same, 1, "{name}");
        }
        for name in ["", "ABCDEFGHI", "A\0", "\0"] {
            assert_eq!(Code::of(name), Code::LONG, "{name:?}");
        }
    }
}
