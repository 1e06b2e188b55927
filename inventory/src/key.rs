//! Keys of train-dates: `"{train_id}|{travel_date}"`, such as `12951|2026-12-01`.
//!
//! Every record about a train-date carries this key, so that Kafka's order within a partition is the train-date's order
//! (R1). The train id's alphabet has no `|`, so the two parts can't be confused.

use std::fmt;

use interlock_schemas::{BookingRequest, CancellationRequest, Command, Date, Text, civil_from_days, train_date_key};

/// Longest train id, in characters.
pub const TRAIN_ID_CHARS_MAX: usize = 32;
/// Last accepted travel date: 9999-12-31. Later ones have no four-digit year.
pub const TRAVEL_DATE_MAX: Date = 2_932_896;
/// First date of a key: 0000-01-01.
const TRAVEL_DATE_MIN: Date = -719_528;

/// One run of a train: the train and the date at its origin, also for passengers who board after midnight (G51).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrainDateKey {
    /// The train, `[A-Za-z0-9._-]{1,32}`.
    pub train_id: Text,
    /// The date at the train's origin.
    pub travel_date: Date,
}

/// The reason why a text is not the key of a train-date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is no train-date key: {problem}; expected `train|YYYY-MM-DD`, such as `12951|2026-12-01`")]
pub struct KeyError {
    /// The text.
    pub key: String,
    /// The error.
    pub problem: &'static str,
}

impl TrainDateKey {
    /// Parses a record's key.
    pub fn parse(key: &str) -> Result<Self, KeyError> {
        let fail = |problem| KeyError {
            key: key.chars().take(100).collect(),
            problem,
        };
        let (train_id, date) = key.split_once('|').ok_or_else(|| fail("there is no `|`"))?;
        if !is_train_id(train_id) {
            return Err(fail("the train id is not 1 to 32 letters, digits, `.`, `_` or `-`"));
        }
        let travel_date = parse_date(date).ok_or_else(|| fail("the date is no date"))?;
        Ok(TrainDateKey {
            train_id: train_id.into(),
            travel_date,
        })
    }
}

impl fmt::Display for TrainDateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&train_date_key(&self.train_id, self.travel_date))
    }
}

/// Returns the key that a command's record must have; it names the ledger document that the command concerns.
pub fn command_key(command: &Command) -> Text {
    match command {
        Command::Book(request) => train_date_key(&request.train_id, request.travel_date),
        Command::Cancel(request) => train_date_key(&request.train_id, request.travel_date),
    }
}

/// Returns whether a record's key is that of its command, and a valid one. It is the same as to parse the key and to
/// compare it with [`command_key`], but for the parsing: a date that was written by us is one.
pub fn is_key_of(key: &str, command: &Command) -> bool {
    let (Command::Book(BookingRequest {
        train_id, travel_date, ..
    })
    | Command::Cancel(CancellationRequest {
        train_id, travel_date, ..
    })) = command;
    is_train_id(train_id)
        && (TRAVEL_DATE_MIN..=TRAVEL_DATE_MAX).contains(travel_date)
        && key == train_date_key(train_id, *travel_date)
}

/// Returns whether a text is a valid train id.
pub fn is_train_id(text: &str) -> bool {
    (1..=TRAIN_ID_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Formats a date as `2026-12-01`, for messages.
pub(crate) fn date_text(date: Date) -> String {
    let (year, month, day) = civil_from_days(date);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Parses a date. Written by hand, because this runs for every record and the general parser takes a microsecond.
fn parse_date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u32, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let year = i32::try_from(number(&bytes[..4])?).ok()?;
    let date = chrono::NaiveDate::from_ymd_opt(year, number(&bytes[5..7])?, number(&bytes[8..])?)?;
    let days = date.signed_duration_since(chrono::NaiveDate::default()).num_days();
    Date::try_from(days).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn a_key_reads_back() {
        for key in ["12951|2026-12-01", "IC-5.1_a|1969-12-31", "1|2028-02-29"] {
            assert_eq!(TrainDateKey::parse(key).unwrap().to_string(), key);
        }
    }

    #[test]
    fn a_key_is_that_of_a_command_if_it_is_valid_and_equal() {
        let mut request = example::booking("r1", 1);
        for train_id in ["12951", "a b", "", "1|2", "é"] {
            let dates = [TRAVEL_DATE_MIN, 0, 20_750, TRAVEL_DATE_MAX];
            let dates = dates.into_iter().flat_map(|date| date - 1..=date + 1);
            for travel_date in dates.chain([Date::MIN, Date::MAX]) {
                (request.train_id, request.travel_date) = (train_id.into(), travel_date);
                let command = Command::Book(request.clone());
                let key = command_key(&command);
                assert_eq!(is_key_of(&key, &command), TrainDateKey::parse(&key).is_ok(), "{key}");
                assert!(!is_key_of("12951|1999-01-01", &command));
            }
        }
    }

    #[test]
    fn what_is_no_key_says_why() {
        for key in [
            "",
            "12951",
            "|2026-12-01",
            "12951|",
            "12951|2026-13-01",
            "12951|2026-2-1",
            "12951|2026-12-1",
            "12951|2026-12-011",
            "12951|2026/12/01",
            "12951|+026-12-01",
            "12951|2026-02-29",
            "12951|2026-12-0é",
            "a b|2026-12-01",
            "1|2|2026-12-01",
        ] {
            assert!(TrainDateKey::parse(key).is_err(), "{key}");
        }
    }
}
