//! Parses the answers of the library's functions and of plain reads. An unreadable answer is [`LedgerError::Fatal`].

use std::str::FromStr;

use bytes::Bytes;
use redis::Value;

use interlock_streams::ledger::{
    Digest, Document, Fields, Head as DocumentHead, Holder, LedgerError, LedgerState, Lineage, LogEntry, Release, Token,
};

use crate::keys::INDEX_PREFIX;
use crate::request::{HEAD_FORMAT, SEQUENCE_FIELD, SUM_FIELD};

/// Format of `meta` that this program reads; the same as in `ledger.lua`.
const FORMAT: &str = "2";

/// The same as bytes.
pub(crate) const FORMAT_BYTES: &[u8] = FORMAT.as_bytes();

/// Reads the answer of a function: the values returned, or the reason of a refusal. `expected` is the version that the
/// caller stated.
pub(crate) fn answer(ledger: i32, value: Value, expected: u64) -> Result<Option<Value>, LedgerError> {
    let mut parts = list(ledger, value)?.into_iter();
    let kind = parts.next().unwrap_or_default();
    let mut next_text = || text(ledger, parts.next().unwrap_or_default());
    match bytes(ledger, kind)?.as_ref() {
        b"ok" => Ok(parts.next()),
        b"fenced" => {
            let (epoch, token) = (number(ledger, &next_text()?)?, Token(next_text()?));
            Err(LedgerError::Fenced { ledger, epoch, token })
        }
        b"behind" => Err(LedgerError::Behind {
            ledger,
            found: number(ledger, &next_text()?)?,
            rebuilding: !next_text()?.is_empty(),
            expected,
        }),
        b"application" => {
            let name = next_text()?;
            let advice = "choose another redis.namespace, or set application.id to this one if the ledger is yours";
            Err(fatal(ledger, format!("belongs to the application {name:?}; {advice}")))
        }
        b"format" => {
            let version = next_text()?;
            Err(fatal(
                ledger,
                format!(
                    "another version of interlock wrote it, in format {version:?} and not {FORMAT:?}; stop all workers of that \
                     version, run `interlock replay --ledgers`, and start workers of this one, which rebuild it from its events"
                ),
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
    for (field, stored) in pairs(ledger, value.unwrap_or(Value::Array(Vec::new())))? {
        let value =
            || String::from_utf8(stored.to_vec()).map_err(|_| fatal(ledger, format!("meta {field:?} isn't text")));
        match field.as_ref() {
            b"epoch" => state.epoch = number(ledger, &value()?)?,
            b"token" => state.token = Token(value()?),
            b"earlier_token" => earlier = Token(value()?),
            b"version" => state.version = number(ledger, &value()?)?,
            b"applied" => state.applied = optional(ledger, &value()?)?,
            b"floor" => state.floor = optional(ledger, &value()?)?,
            b"chain" => state.chain = Some(digest(ledger, &stored)?),
            b"sequence" => state.sequence = number(ledger, &value()?)?,
            b"lineage" => state.lineage = lineage(ledger, &value()?)?,
            b"release_id" => release.0 = Some(value()?),
            b"release_token" => release.1 = Some(Token(value()?)),
            b"rebuilding" => state.rebuilding = true,
            other => {
                if let Some(owner) = other.strip_prefix(b"owner:") {
                    state.owners.push(String::from_utf8_lossy(owner).into_owned());
                } else if let Some(document) = other.strip_prefix(INDEX_PREFIX) {
                    let head = index_head(&stored);
                    state.index.insert(Bytes::copy_from_slice(document), head);
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

/// Reads a head of the index. One that can't be read is the head of no document, so that the document counts as lost.
pub(crate) fn index_head(stored: &[u8]) -> DocumentHead {
    DocumentHead::from_bytes(stored).unwrap_or(DocumentHead {
        sequence: i64::MIN,
        sum: 0,
    })
}

fn digest(ledger: i32, stored: &[u8]) -> Result<Digest, LedgerError> {
    let digest = stored.try_into();
    digest.map_err(|_| fatal(ledger, format!("meta \"chain\" has {} bytes", stored.len())))
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
    pub(crate) fn permits(&self, application: &str, holder: &Holder, version: u64) -> bool {
        let is = |value: &Value, text: &str| matches!(value, Value::BulkString(bytes) if bytes == text.as_bytes());
        let [format, owner, epoch, token, found, Value::Nil] = &self.0[..] else {
            return false;
        };
        is(found, &version.to_string())
            && is(format, FORMAT)
            && is(owner, application)
            && holder.epoch > 0
            && is(epoch, &holder.epoch.to_string())
            && is(token, &holder.token.0)
    }
}

/// Reads a document from the answer of `HGETALL`, ascending by field.
pub(crate) fn document(ledger: i32, value: Value) -> Result<Document, LedgerError> {
    Ok(split(pairs(ledger, value)?))
}

/// Reads some fields of a document from the answer of `HMGET`.
pub(crate) fn some_fields<'a>(
    ledger: i32,
    names: impl IntoIterator<Item = &'a [u8]>,
    values: Value,
) -> Result<Document, LedgerError> {
    let mut fields = Fields::new();
    for (name, value) in names.into_iter().zip(list(ledger, values)?) {
        if let Some(value) = field(ledger, value)? {
            fields.push((Bytes::copy_from_slice(name), value));
        }
    }
    Ok(split(fields))
}

/// Parts the head of a document from its other fields.
fn split(mut fields: Fields) -> Document {
    let (mut sequence, mut sum) = (None, None);
    fields.retain(|(name, value)| match &**name {
        SEQUENCE_FIELD => {
            sequence = match **value {
                [HEAD_FORMAT, ref number @ ..] => number.try_into().ok().map(i64::from_be_bytes),
                _ => None,
            };
            false
        }
        SUM_FIELD => {
            sum = std::str::from_utf8(value).ok().and_then(|sum| sum.parse().ok());
            false
        }
        _ => true,
    });
    fields.sort_unstable();
    let head = sequence.zip(sum);
    Document {
        head: head.map(|(sequence, sum)| DocumentHead { sequence, sum }),
        fields,
    }
}

/// Reads the value of a field, if there is one.
pub(crate) fn field(ledger: i32, value: Value) -> Result<Option<Bytes>, LedgerError> {
    match value {
        Value::Nil => Ok(None),
        value => bytes(ledger, value).map(Some),
    }
}

/// Reads the log, ascending by offset.
pub(crate) fn log(ledger: i32, value: Value) -> Result<Vec<LogEntry>, LedgerError> {
    let entry = |(offset, value): (Bytes, Bytes)| {
        let last_offset = number(ledger, &String::from_utf8_lossy(&offset))?;
        Ok(LogEntry { last_offset, value })
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

fn number<N: FromStr>(ledger: i32, text: &str) -> Result<N, LedgerError> {
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
