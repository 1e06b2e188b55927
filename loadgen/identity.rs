//! Names, users and idempotency keys of travellers who don't exist.

use interlock_random::{Random, scatter};

const GIVEN: [&str; 16] = [
    "Aarav",
    "Ananya",
    "Bhavna",
    "Dev",
    "Farida",
    "Ishaan",
    "Jaya",
    "Meera",
    "Jagna",
    "Katarzyna",
    "Łukasz",
    "Małgorzata",
    "Michał",
    "Stanisław",
    "Wojciech",
    "Żaneta",
];
const FAMILY: [&str; 16] = [
    "Banerjee",
    "Desai",
    "Iyer",
    "Khan",
    "Nair",
    "Patel",
    "Rao",
    "Singh",
    "Dąbrowski",
    "Jabłońska",
    "Kowalczyk",
    "Łuczak",
    "Nowak",
    "Pawłowska",
    "Wiśniewski",
    "Zając",
];
/// Ages are drawn up to here; most travellers are adults.
const AGE_MAX: usize = 85;

/// The kind of request that a key names. It is part of the key, so that a cancellation never has its booking's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Booking = 0,
    Cancellation = 1,
}

/// A key in the form of a UUID (version 8: "vendor specific"): 60 random bits that tell runs apart, then the booking's
/// number, so that keys never repeat within a run.
pub(crate) fn request_id(seed: u64, booking: u64, request: Request) -> String {
    let run = scatter(seed ^ 0x1D8E_4E27_C47D_124F);
    let high = (scatter(run ^ booking) & !0xF000) | 0x8000;
    let low = (0b10 << 62) | ((booking << 1 | request as u64) & (u64::MAX >> 2));
    let bits = u128::from(high) << 64 | u128::from(low);
    let mut text = String::with_capacity(36);
    for digit in 0..32 {
        if matches!(digit, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        let value = (bits >> (124 - 4 * digit)) & 0xF;
        text.push(char::from(b"0123456789abcdef"[value as usize]));
    }
    text
}

/// A user, such as `user-0001234`.
pub(crate) fn user_id(number: u64) -> String {
    let mut text = String::with_capacity(12);
    text.push_str("user-");
    let mut unit = 1_000_000;
    while number / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        text.push(char::from(b'0' + (number / unit % 10) as u8));
        unit /= 10;
    }
    text
}

/// Given and family name.
pub(crate) fn name(random: &mut Random) -> String {
    let (given, family) = (random.pick(&GIVEN), random.pick(&FAMILY));
    let mut text = String::with_capacity(given.len() + 1 + family.len());
    text.push_str(given);
    text.push(' ');
    text.push_str(family);
    text
}

/// Age in years.
pub(crate) fn age(random: &mut Random) -> i32 {
    let youngest = if random.chance(0.1) { 1 } else { 18 };
    (youngest + random.below(AGE_MAX - youngest)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_like_uuids_and_differ_between_runs_bookings_and_requests() {
        let key = request_id(1, 2, Request::Booking);
        assert_eq!(key.len(), 36);
        assert_eq!((&key[14..15], &key[19..20]), ("8", "8"), "version and variant of {key}");
        for other in [
            request_id(2, 2, Request::Booking),
            request_id(1, 3, Request::Booking),
            request_id(1, 2, Request::Cancellation),
        ] {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn users_have_at_least_seven_digits() {
        assert_eq!(user_id(0), "user-0000000");
        assert_eq!(user_id(1_234), "user-0001234");
        assert_eq!(user_id(123_456_789), "user-123456789");
    }
}
