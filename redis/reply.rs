//! Parses the answers of the library's functions and of plain reads. An unreadable answer is [`LedgerError::Fatal`].

use bytes::Bytes;
use redis::Value;

use interlock_streams::ledger::{Fields, Holder, LedgerError, LedgerState, Lineage, OutboxEntry, Release, Token};

/// Format of `meta` that this program reads; the same as in `ledger.lua`.
const FORMAT: &str = "1";

/// The answer of a function: success, or the reason of a refusal.
pub(crate) enum Answer {
    /// Success, with the values returned.
    Done(Option<Value>),
    /// The named documents are not the ledger's documents.
    OtherDocuments,
}

/// Reads the answer of a function. `expected` is the applied offset that the caller stated.
pub(crate) fn answer(ledger: i32, value: Value, expected: Option<i64>) -> Result<Answer, LedgerError> {
    let mut parts = list(ledger, value)?.into_iter();
    let kind = parts.next().unwrap_or_default();
    let mut next_text = || text(ledger, parts.next().unwrap_or_default());
    match bytes(ledger, kind)?.as_ref() {
        b"ok" => Ok(Answer::Done(parts.next())),
        b"documents" => Ok(Answer::OtherDocuments),
        b"fenced" => {
            let (epoch, token) = (number(ledger, &next_text()?)?, Token(next_text()?));
            Err(LedgerError::Fenced { ledger, epoch, token })
        }
        b"behind" => Err(LedgerError::Behind {
            ledger,
            found: optional(ledger, &next_text()?)?,
            expected,
        }),
        b"application" => {
            let name = next_text()?;
            let advice = "choose another redis.namespace, or set application.id to this one if the ledger is yours";
            Err(fatal(ledger, format!("belongs to the application {name:?}; {advice}")))
        }
        b"format" => {
            let version = next_text()?;
            let advice = "run the version that wrote it, or choose a new redis.namespace";
            Err(fatal(
                ledger,
                format!("is stored in format {version:?}, this program knows format {FORMAT:?}; {advice}"),
            ))
        }
        b"refused" => Err(fatal(ledger, next_text()?)),
        other => Err(fatal(
            ledger,
            format!("the function answered {:?}", String::from_utf8_lossy(other)),
        )),
    }
}

/// Reads `meta` from the answer of `HGETALL`. Unknown fields are ignored.
pub(crate) fn state(ledger: i32, value: Option<Value>) -> Result<(LedgerState, Token), LedgerError> {
    let mut state = LedgerState::default();
    let (mut earlier, mut release) = (Token::default(), (None, None));
    for (field, value) in pairs(ledger, value.unwrap_or(Value::Array(Vec::new())))? {
        let value =
            || String::from_utf8(value.to_vec()).map_err(|_| fatal(ledger, format!("meta {field:?} isn't text")));
        match field.as_ref() {
            b"epoch" => state.epoch = number(ledger, &value()?)?,
            b"token" => state.token = Token(value()?),
            b"earlier_token" => earlier = Token(value()?),
            b"applied" => state.applied = optional(ledger, &value()?)?,
            b"sequence" => state.sequence = number(ledger, &value()?)?,
            b"lineage" => state.lineage = lineage(ledger, &value()?)?,
            b"release_id" => release.0 = Some(value()?),
            b"release_token" => release.1 = Some(Token(value()?)),
            b"rebuilding" => state.rebuilding = true,
            other => {
                if let Some(owner) = other.strip_prefix(b"owner:") {
                    state.owners.push(String::from_utf8_lossy(owner).into_owned());
                }
            }
        }
    }
    state.owners.sort();
    if let (Some(transactional_id), Some(token)) = release {
        state.release = Some(Release {
            transactional_id,
            token,
        });
    }
    Ok((state, earlier))
}

/// The first fields of `meta`, in the order of [`HEAD`](crate::request::HEAD).
pub(crate) struct Head(Vec<Value>);

impl Head {
    pub(crate) fn of(value: Value) -> Self {
        match value {
            Value::Array(values) => Self(values),
            _ => Self(Vec::new()),
        }
    }

    /// Returns whether a batch may be applied, by the same conditions as the function `commit`. A change must be made
    /// in both.
    pub(crate) fn permits(&self, application: &str, holder: &Holder, expected: Option<i64>) -> bool {
        let is = |value: &Value, text: &str| matches!(value, Value::BulkString(bytes) if bytes == text.as_bytes());
        let [format, owner, epoch, token, applied, Value::Nil] = &self.0[..] else {
            return false;
        };
        let at = match expected {
            Some(expected) => is(applied, &expected.to_string()),
            None => *applied == Value::Nil,
        };
        at && is(format, FORMAT)
            && is(owner, application)
            && holder.epoch > 0
            && is(epoch, &holder.epoch.to_string())
            && is(token, &holder.token.0)
    }
}

/// Reads a document, ascending by field.
pub(crate) fn fields(ledger: i32, value: Value) -> Result<Fields, LedgerError> {
    let mut fields = pairs(ledger, value)?;
    fields.sort_unstable();
    Ok(fields)
}

/// Reads the value of a field, if there is one.
pub(crate) fn field(ledger: i32, value: Value) -> Result<Option<Bytes>, LedgerError> {
    match value {
        Value::Nil => Ok(None),
        value => bytes(ledger, value).map(Some),
    }
}

/// Reads the outbox, ascending by offset.
pub(crate) fn outbox(ledger: i32, value: Value) -> Result<Vec<OutboxEntry>, LedgerError> {
    let entry = |(offset, value): (Bytes, Bytes)| {
        let last_offset = number(ledger, &String::from_utf8_lossy(&offset))?;
        Ok(OutboxEntry { last_offset, value })
    };
    let mut entries = pairs(ledger, value)?
        .into_iter()
        .map(entry)
        .collect::<Result<Vec<_>, LedgerError>>()?;
    entries.sort_unstable_by_key(|entry| entry.last_offset);
    Ok(entries)
}

/// Reads a number that Redis counted itself.
pub(crate) fn integer(ledger: i32, value: &Value) -> Result<i64, LedgerError> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(unexpected(ledger, "a number", other)),
    }
}

/// Reads a set or list of binary strings.
pub(crate) fn members(ledger: i32, value: Value) -> Result<Vec<Bytes>, LedgerError> {
    list(ledger, value)?
        .into_iter()
        .map(|member| bytes(ledger, member))
        .collect()
}

fn pairs(ledger: i32, value: Value) -> Result<Fields, LedgerError> {
    if let Value::Map(map) = value {
        return map
            .into_iter()
            .map(|(field, value)| Ok((bytes(ledger, field)?, bytes(ledger, value)?)))
            .collect();
    }
    let flat = list(ledger, value)?;
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
        pairs.push((bytes(ledger, field)?, bytes(ledger, value)?));
    }
    Ok(pairs)
}

/// Reads a list.
pub(crate) fn list(ledger: i32, value: Value) -> Result<Vec<Value>, LedgerError> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        other => Err(unexpected(ledger, "a list", &other)),
    }
}

fn bytes(ledger: i32, value: Value) -> Result<Bytes, LedgerError> {
    match value {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        Value::SimpleString(text) => Ok(Bytes::from(text)),
        other => Err(unexpected(ledger, "a string", &other)),
    }
}

fn text(ledger: i32, value: Value) -> Result<String, LedgerError> {
    Ok(String::from_utf8_lossy(&bytes(ledger, value)?).into_owned())
}

fn number(ledger: i32, text: &str) -> Result<i64, LedgerError> {
    text.parse()
        .map_err(|_| fatal(ledger, format!("{text:?} is stored where a number belongs")))
}

fn optional(ledger: i32, text: &str) -> Result<Option<i64>, LedgerError> {
    if text.is_empty() {
        Ok(None)
    } else {
        number(ledger, text).map(Some)
    }
}

fn lineage(ledger: i32, text: &str) -> Result<Lineage, LedgerError> {
    let entries: Vec<(i64, String)> =
        serde_json::from_str(text).map_err(|error| fatal(ledger, format!("lineage {text:?}: {error}")))?;
    Ok(Lineage(
        entries
            .into_iter()
            .map(|(sequence, token)| (sequence, Token(token)))
            .collect(),
    ))
}

fn unexpected(ledger: i32, expected: &str, found: &Value) -> LedgerError {
    let found = format!("{found:?}").chars().take(200).collect::<String>();
    fatal(ledger, format!("Redis answered {found} where {expected} was expected"))
}

fn fatal(ledger: i32, reason: String) -> LedgerError {
    LedgerError::Fatal {
        ledger: Some(ledger),
        reason,
    }
}
