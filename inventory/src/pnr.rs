//! PNRs: ten digits that are unique without coordination, and do not reveal the number of earlier bookings.
//!
//! `x = (counter · ledgers + ledger) mod 10⁹` differs for all bookings of all ledgers until 10⁹ bookings were made (the
//! ledger is the remainder by `ledgers`, the counter the quotient). `x` is then scrambled by a permutation of `0..10⁹`,
//! and a Luhn digit is appended, so that a mistyped digit is noticed.
//!
//! It is a permutation because a Feistel round `(l, r) → (r, l ⊕ f(r))` can be undone for any `f`, so the network
//! permutes the 2³⁰ numbers of 30 bits. Repeating it until the result is below 10⁹ follows the cycle of a number below
//! 10⁹, which must return to such a number, and no two starts meet at the same one, because each number has one
//! predecessor. This takes 1.07 steps on average.

use std::fmt;

use interlock_schemas::Text;
use serde::{Deserialize, Serialize};

const NUMBERS: i64 = 1_000_000_000;
const HALF_BITS: u32 = 15;
const HALF_MASK: u32 = (1 << HALF_BITS) - 1;
/// This key must never change: another key would repeat PNRs that were already issued.
const ROUND_KEYS: [u32; 6] = [
    0x9e37_79b9,
    0x7f4a_7c15,
    0xf39c_c060,
    0x5ced_c834,
    0x1082_276b,
    0xf3a2_7251,
];

/// Returns the counter from which all ledgers must continue when their number grows to `ledgers`, so that no PNR is
/// issued twice. `counters` are the counters of the present ledgers, in order.
pub fn first_booking(counters: &[i64], ledgers: i32) -> i64 {
    let before = counters.len() as i64;
    let used = counters.iter().zip(0..).filter(|(counter, _)| **counter > 0);
    let used = used.map(|(counter, ledger)| (counter - 1) * before + ledger + 1).max();
    let ledgers = i64::from(ledgers.max(1));
    (used.unwrap_or(0) + ledgers - 1) / ledgers
}

/// The number of a booking, as printed on the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pnr(u64);

impl Pnr {
    /// Returns the PNR of booking number `counter` (from 0) of a ledger, of `ledgers` ledgers in total.
    pub fn new(counter: i64, ledger: i32, ledgers: i32) -> Pnr {
        // The remainder first, so that nothing overflows.
        let x = counter.rem_euclid(NUMBERS) * i64::from(ledgers.max(1)) + i64::from(ledger);
        let number = u64::from(scramble(x.rem_euclid(NUMBERS) as u32));
        Pnr(number * 10 + luhn_digit(number))
    }

    /// Parses ten digits; `None` if there are more or fewer, or if the check digit is wrong.
    pub fn parse(text: &str) -> Option<Pnr> {
        if text.len() != 10 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits: u64 = text.parse().ok()?;
        (luhn_digit(digits / 10) == digits % 10).then_some(Pnr(digits))
    }

    /// Formats the PNR as ten digits. Written by hand, because this runs for every answer.
    pub fn to_text(self) -> Text {
        let (mut digits, mut rest) = ([0; 10], self.0);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        std::str::from_utf8(&digits).map(Text::new).unwrap_or_default()
    }
}

impl fmt::Display for Pnr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

fn scramble(x: u32) -> u32 {
    let mut x = feistel(x);
    while i64::from(x) >= NUMBERS {
        x = feistel(x);
    }
    x
}

fn feistel(x: u32) -> u32 {
    let (mut left, mut right) = (x >> HALF_BITS, x & HALF_MASK);
    for key in ROUND_KEYS {
        (left, right) = (right, left ^ (mix(right, key) & HALF_MASK));
    }
    left << HALF_BITS | right
}

fn mix(half: u32, key: u32) -> u32 {
    let mut x = half.wrapping_add(key).wrapping_mul(0x85eb_ca6b);
    x ^= x >> 13;
    x = x.wrapping_mul(0xc2b2_ae35);
    x ^ x >> 16
}

fn luhn_digit(mut number: u64) -> u64 {
    let (mut sum, mut doubled) = (0, true);
    while number > 0 {
        let digit = number % 10 * if doubled { 2 } else { 1 };
        sum += digit / 10 + digit % 10;
        doubled = !doubled;
        number /= 10;
    }
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn luhn_is_the_known_one() {
        assert_eq!(luhn_digit(7_992_739_871), 3);
    }

    #[test]
    fn scrambling_loses_nothing() {
        for start in [0, 499_000_000, 999_900_000] {
            let seen: HashSet<u32> = (start..start + 100_000).map(scramble).collect();
            assert_eq!(seen.len(), 100_000);
            assert!(seen.iter().all(|&x| i64::from(x) < NUMBERS));
        }
    }

    #[test]
    fn ledgers_never_share_a_number() {
        let seen: HashSet<Pnr> = (0..12)
            .flat_map(|ledger| (0..5_000).map(move |n| Pnr::new(n, ledger, 12)))
            .collect();
        assert_eq!(seen.len(), 60_000);
    }

    #[test]
    fn more_ledgers_go_on_where_no_number_was_given() {
        let counters = [5, 0, 917, 40];
        let mut seen: HashSet<Pnr> = counters
            .iter()
            .zip(0..)
            .flat_map(|(&counter, ledger)| (0..counter).map(move |n| Pnr::new(n, ledger, 4)))
            .collect();
        let (mut before, mut ledgers) = (counters.to_vec(), 4);
        for more in [6, 7, 16] {
            let first = first_booking(&before, more);
            let given: i64 = before.iter().max().unwrap() * i64::from(ledgers);
            assert!(
                first * i64::from(more) <= given + i64::from(more),
                "{first} wastes numbers"
            );
            before = (0..more).map(|ledger| first + i64::from(ledger % 5) * 20).collect();
            for (counter, ledger) in before.iter().zip(0..) {
                assert!(
                    (first..*counter).all(|n| seen.insert(Pnr::new(n, ledger, more))),
                    "{more}"
                );
            }
            ledgers = more;
        }
        assert_eq!(first_booking(&[0, 0], 4), 0);
    }

    #[test]
    fn consecutive_bookings_are_not_in_order() {
        let pnrs: Vec<Pnr> = (0..1_000).map(|n| Pnr::new(n, 0, 1)).collect();
        let rising = pnrs.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((400..600).contains(&rising), "{rising} of 999 rise");
    }

    #[test]
    fn a_pnr_reads_back_and_a_typing_error_does_not() {
        let text = Pnr::new(7, 3, 8).to_string();
        assert_eq!(text.len(), 10);
        assert_eq!(Pnr::parse(&text), Some(Pnr::new(7, 3, 8)));
        for place in 0..10 {
            let mut wrong = text.clone().into_bytes();
            wrong[place] = b'0' + (wrong[place] - b'0' + 1) % 10;
            assert_eq!(Pnr::parse(std::str::from_utf8(&wrong).unwrap()), None);
        }
    }

    #[test]
    fn absurd_counters_do_not_panic() {
        for counter in [i64::MIN, -1, i64::MAX] {
            assert_eq!(Pnr::new(counter, i32::MIN, i32::MAX).to_string().len(), 10);
        }
    }
}
