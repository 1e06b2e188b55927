//! The digest that tells whether a repeated request id comes with the same body (R3).
//!
//! BLAKE3 over a canonical encoding of every field but `requested_at` (a client that asks again asks at another time), cut
//! to 128 bits. Texts and lists are preceded by their length, and the encoding by the command's kind, so that two
//! different commands never have the same encoding.

use std::fmt;

use interlock_schemas::{BookingRequest, CancellationRequest, Command};
use serde::{Deserialize, Serialize};

const BOOKING: u8 = 1;
const CANCELLATION: u8 = 2;
/// Room for the encoding of most commands.
const BODY_BYTES: usize = 512;

/// 128 bits of a command's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 16]);

impl Digest {
    /// Of a command.
    pub fn of(command: &Command) -> Digest {
        let mut body = Body(Vec::with_capacity(BODY_BYTES));
        match command {
            Command::Book(request) => body.booking(request),
            Command::Cancel(request) => body.cancellation(request),
        }
        let mut bits = [0; 16];
        bits.copy_from_slice(&blake3::hash(&body.0).as_bytes()[..16]);
        Digest(bits)
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Digest> {
        if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(hex, 16)
            .ok()
            .map(|bits| Digest(bits.to_be_bytes()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

struct Body(Vec<u8>);

impl Body {
    fn booking(&mut self, request: &BookingRequest) {
        self.0.extend([BOOKING, request.partial_confirmation.into()]);
        self.number(request.travel_date.into());
        for text in [
            &request.request_id,
            &request.train_id,
            &request.user_id,
            &request.from_station,
            &request.to_station,
            &request.travel_class,
            &request.quota,
        ] {
            self.text(text);
        }
        self.number(request.passengers.len() as i64);
        for passenger in &request.passengers {
            self.text(&passenger.name);
            self.number(passenger.age.into());
            self.0
                .extend([passenger.berth_preference as u8, passenger.preference_is_hard.into()]);
        }
    }

    fn cancellation(&mut self, request: &CancellationRequest) {
        self.0.push(CANCELLATION);
        self.number(request.travel_date.into());
        for text in [
            &request.request_id,
            &request.train_id,
            &request.user_id,
            &request.booking_request_id,
        ] {
            self.text(text);
        }
        self.number(request.passengers.len() as i64);
        for index in &request.passengers {
            self.number((*index).into());
        }
    }

    fn number(&mut self, number: i64) {
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as i64);
        self.0.extend(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn only_the_body_counts() {
        let request = example::booking("r1", 1);
        let mut later = request.clone();
        later.requested_at += 5_000;
        let mut other = request.clone();
        other.passengers[0].age += 1;
        let of = |request: &BookingRequest| Digest::of(&Command::Book(request.clone()));
        assert_eq!(of(&request), of(&later));
        assert_ne!(of(&request), of(&other));
    }

    #[test]
    fn a_digest_reads_back() {
        let digest = Digest::of(&Command::Book(example::booking("r1", 2)));
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("+0000000000000000000000000000001"), None);
    }
}
