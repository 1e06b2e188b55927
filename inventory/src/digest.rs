//! The digest that shows whether a repeated request id comes with the same body (R3).
//!
//! It is BLAKE3, cut to 128 bits, over a canonical encoding of every field except `requested_at`, which differs when a
//! client sends the request again. Lengths precede texts and lists, and the command's kind precedes the encoding, so
//! two different commands never have the same encoding.

use std::fmt;

use interlock_schemas::{BookingRequest, CancellationRequest, Command, Text};
use serde::{Deserialize, Serialize};

const BOOKING: u8 = 1;
const CANCELLATION: u8 = 2;
/// Room for the encoding of most commands.
const BODY_BYTES: usize = 512;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A digest of a command's body, of 128 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 16]);

impl Digest {
    /// Computes the digest of a command.
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

    /// Parses 32 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Digest> {
        let hex: &[u8; 32] = hex.as_bytes().try_into().ok()?;
        let mut bits = [0; 16];
        for (byte, pair) in bits.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        Some(Digest(bits))
    }

    /// Formats the digest as 32 hexadecimal digits. Written by hand, because this runs for every answer.
    pub fn to_text(self) -> Text {
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        std::str::from_utf8(&hex).map(Text::new).unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

struct Body(Vec<u8>);

impl Body {
    fn booking(&mut self, request: &BookingRequest) {
        self.0
            .extend_from_slice(&[BOOKING, request.partial_confirmation.into()]);
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
                .extend_from_slice(&[passenger.berth_preference as u8, passenger.preference_is_hard.into()]);
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
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as i64);
        self.0.extend_from_slice(text.as_bytes());
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
