//! Kafka's own protocol over a plain connection, for the few questions that librdkafka has no call for. Flexible versions
//! only (KIP-482): lengths are varints one too large, and every structure ends with tagged fields, of which we send none.
//! <https://kafka.apache.org/protocol>

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::errors::{fatal, retriable};
use crate::log::LogError;

/// Longest answer that is taken: far beyond what any cluster has to say of its transactions.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Which request, and in which version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Api {
    pub(super) name: &'static str,
    pub(super) key: i16,
    pub(super) version: i16,
}

/// A request's body, written field by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    pub(super) fn bool(&mut self, value: bool) {
        self.0.push(value.into());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn string(&mut self, value: &str) {
        self.length(value.len());
        self.0.extend(value.as_bytes());
    }

    pub(super) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        each: impl Fn(&mut Self, T),
    ) {
        let items = items.into_iter();
        self.length(items.len());
        items.for_each(|item| each(self, item));
    }

    #[cfg(test)]
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Ends a structure.
    pub(super) fn tags(&mut self) {
        self.0.push(0);
    }

    fn length(&mut self, length: usize) {
        let mut rest = length + 1;
        while rest >= 0x80 {
            self.0.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }
}

/// An answer is not what its version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer can't be read")]
pub(super) struct Malformed;

/// An answer's body, read field by field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a>(pub(super) &'a [u8]);

impl<'a> Answer<'a> {
    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.bytes()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.bytes()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.bytes()?))
    }

    /// A text; none where it is null.
    pub(super) fn string(&mut self) -> Result<Option<String>, Malformed> {
        let Some(length) = self.length()? else { return Ok(None) };
        let text = self.take(length)?;
        Ok(Some(String::from_utf8_lossy(text).into_owned()))
    }

    pub(super) fn array<T>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = self.length()?.unwrap_or(0);
        (0..length).map(|_| each(self)).collect()
    }

    /// Ends a structure: what newer brokers add is skipped.
    pub(super) fn tags(&mut self) -> Result<(), Malformed> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.take(size)?;
        }
        Ok(())
    }

    fn length(&mut self) -> Result<Option<usize>, Malformed> {
        Ok(self.varint()?.checked_sub(1))
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.bytes()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Asks one broker one question, on a connection of its own.
pub(super) async fn ask<T>(
    broker: &(String, u16),
    api: Api,
    body: &Body,
    within: Duration,
    read: impl FnOnce(&mut Answer<'_>) -> Result<T, Malformed>,
) -> Result<T, LogError> {
    let action = || format!("{} at {}:{}", api.name, broker.0, broker.1);
    let asked = tokio::time::timeout(within, exchange(broker, &request(api, &body.0))).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            let reason =
                "the broker closed the connection: it is older than Kafka 3.0, or its listener expects TLS or SASL";
            return Err(fatal(action(), reason));
        }
        Ok(Err(error)) => return Err(retriable(action(), error)),
        Err(_) => return Err(retriable(action(), format!("no answer within {within:?}"))),
    };
    // The correlation id, of which there is only one, and the header's tags.
    let mut answer = Answer(&answer);
    let read = answer
        .i32()
        .and_then(|_| answer.tags())
        .and_then(|()| read(&mut answer));
    read.map_err(|malformed| fatal(action(), malformed))
}

fn request(api: Api, body: &[u8]) -> Vec<u8> {
    let mut header = Body::default();
    header.i16(api.key);
    header.i16(api.version);
    header.i32(1);
    // The client's name has kept its old form in all versions.
    let client = "interlock";
    header.i16(client.len() as i16);
    header.0.extend(client.as_bytes());
    header.tags();
    let length = (header.0.len() + body.len()) as u32;
    [&length.to_be_bytes(), &header.0[..], body].concat()
}

async fn exchange((host, port): &(String, u16), request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
    stream.write_all(request).await?;
    let length = stream.read_u32().await? as usize;
    if length > ANSWER_BYTES_MAX {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut body = Body::default();
        body.i16(-2);
        body.i32(7);
        body.i64(i64::MIN);
        let long = "x".repeat(300);
        body.array([long.as_str(), ""], |body, text| body.string(text));
        body.tags();
        let mut answer = Answer(&body.0);
        assert_eq!(
            (answer.i16(), answer.i32(), answer.i64()),
            (Ok(-2), Ok(7), Ok(i64::MIN))
        );
        assert_eq!(answer.array(Answer::string), Ok(vec![Some(long), Some(String::new())]));
        assert_eq!(answer.tags(), Ok(()));
        assert!(answer.0.is_empty());
    }

    #[test]
    fn unknown_tags_are_skipped_and_short_answers_noticed() {
        assert_eq!(Answer(&[2, 0, 1, 9, 5, 2, 8, 8]).tags(), Ok(()));
        assert_eq!(Answer(&[1, 0, 9, 1]).tags(), Err(Malformed));
        assert_eq!(Answer(&[0]).string(), Ok(None));
        assert_eq!(Answer(&[9, b'a']).string(), Err(Malformed));
        assert_eq!(Answer(&[0xff; 9]).string(), Err(Malformed));
    }

    #[test]
    fn a_request_begins_as_the_protocol_says() {
        let api = Api {
            name: "ListTransactions",
            key: 66,
            version: 0,
        };
        let request = request(api, &[1, 1, 0]);
        let expected = b"\0\0\0\x17\0\x42\0\0\0\0\0\x01\0\x09interlock\0\x01\x01\0";
        assert_eq!(request, expected);
    }
}
