//! Converts between JSON and the keys and values of a topic, by the topic's contract.

use std::sync::{Arc, Mutex, PoisonError};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::SchemaKind;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use interlock_inventory::{TEXT_CHARS_MAX, TRAIN_ID_CHARS_MAX, is_train_id};
use interlock_schemas::registry::{Ids, Registry, RegistryError};
use interlock_schemas::topics::{BOOKING_REQUESTS, key_fields};
use interlock_schemas::{
    Command, DecodeError, Decoder, RecordType, SchemaRef, VALUE_SCHEMA_HEADER, frame, parse_value,
};
use interlock_streams::record::Record;
use rustc_hash::FxHashMap;
use serde_json::Value as Json;

use crate::json::{FieldError, Shown, date_text, to_avro};

/// The most bytes that apache-avro may allocate for one string or array; its own limit is 512 MiB.
const VALUE_BYTES_MAX: usize = 64 << 20;

/// Encodes with the contract's schemas, and decodes with the schemas that values were written with.
pub(crate) struct Codec {
    registry: Arc<dyn Registry>,
    ids: Ids,
    /// Writer schemas by id; a topic has a handful of versions. `None`: values of this schema cannot be read.
    schemas: Mutex<FxHashMap<SchemaRef, Option<Arc<Schema>>>>,
}

/// A record, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The key made from the record's fields.
    pub key: String,
    /// In the Confluent wire format.
    pub value: Vec<u8>,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decoded {
    /// Full name of the record type that the value was written as.
    pub record_type: String,
    /// The value as JSON.
    pub value: Shown,
}

/// The reason why a record's value cannot be shown as JSON.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The value has no registered schema, or does not fit it. Reading it again fails again.
    #[error("{0}")]
    Malformed(String),
    /// The schema registry does not answer.
    #[error(transparent)]
    Registry(RegistryError),
}

impl From<RegistryError> for ValueError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::NotRegistered { .. }
            | RegistryError::GuidNotRegistered { .. }
            | RegistryError::NotAvro { .. } => Self::Malformed(error.to_string()),
            unavailable => Self::Registry(unavailable),
        }
    }
}

impl Codec {
    /// Creates a codec. `ids` are those of the contract's schemas in the registry.
    pub(crate) fn new(registry: Arc<dyn Registry>, ids: Ids) -> Self {
        apache_avro::util::max_allocation_bytes(VALUE_BYTES_MAX);
        Self {
            registry,
            ids,
            schemas: Mutex::default(),
        }
    }

    /// Encodes a record for a topic that carries these types. Returns all errors of the record, not only the first.
    pub(crate) fn encode(&self, topic: &str, accepted: &[RecordType], json: &Json) -> Result<Encoded, Vec<FieldError>> {
        let whole = |problem: String| {
            let field = String::new();
            vec![FieldError { field, problem }]
        };
        let record = meant(accepted, json).ok_or_else(|| whole(format!("{topic} carries no records")))?;
        let avro = to_avro(record.parsed(), json)?;
        let key = key_of(topic, &avro).ok_or_else(|| whole("its fields make no key".to_owned()))?;
        if topic == BOOKING_REQUESTS {
            is_answerable(&avro)?;
        }
        let id = self.ids.get(record);
        let id = id.ok_or_else(|| whole(format!("{record} was not registered at start")))?;
        let mut value = Vec::new();
        frame(id, &mut value);
        let writer = GenericDatumWriter::builder(record.parsed()).build();
        let datum = writer.and_then(|writer| writer.write_value_to_vec(avro));
        value.extend(datum.map_err(|error| whole(error.to_string()))?);
        Ok(Encoded { key, value })
    }

    /// Decodes values that were encoded here as commands.
    pub(crate) async fn commands(&self, encoded: &[Encoded]) -> Result<Vec<Command>, DecodeError> {
        let mut decoder = Decoder::new(Arc::clone(&self.registry));
        let mut commands = Vec::with_capacity(encoded.len());
        for encoded in encoded {
            commands.push(decoder.decode(&encoded.value).await?);
        }
        Ok(commands)
    }

    /// Decodes a record's value with the schema that it names.
    pub(crate) async fn decode(&self, record: &Record) -> Result<Decoded, ValueError> {
        let value = record.value.as_deref().unwrap_or_default();
        let header = record.header(VALUE_SCHEMA_HEADER).map(|header| &header[..]);
        let (id, mut datum) = parse_value(value, header).map_err(|error| ValueError::Malformed(error.to_string()))?;
        let Some(schema) = self.schema(id).await? else {
            return Err(ValueError::Malformed(format!("schema {id} can't be used")));
        };
        let reader = GenericDatumReader::builder(&schema).build();
        let read = reader.and_then(|reader| reader.read_value(&mut datum));
        let value = read.map_err(|error| ValueError::Malformed(format!("written with schema {id}: {error}")))?;
        if !datum.is_empty() {
            return Err(ValueError::Malformed(format!(
                "{} bytes follow the record",
                datum.len()
            )));
        }
        Ok(Decoded {
            record_type: name_of(&schema, &value),
            value: Shown(value),
        })
    }

    async fn schema(&self, id: SchemaRef) -> Result<Option<Arc<Schema>>, RegistryError> {
        let known = self
            .schemas
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let text = match id {
            SchemaRef::Id(id) => self.registry.schema_by_id(id).await?,
            SchemaRef::Guid(guid) => self.registry.schema_by_guid(guid).await?,
        };
        let schema = Schema::parse_str(&text).ok().map(Arc::new);
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(schemas.entry(id).or_insert(schema).clone())
    }
}

/// Returns the record type that shares the most fields with a JSON object.
fn meant(accepted: &[RecordType], json: &Json) -> Option<RecordType> {
    let fitting = |record: &RecordType| {
        let Schema::Record(schema) = record.parsed() else {
            return 0;
        };
        let is_given = |name: &str| json.get(name).is_some();
        schema.fields.iter().filter(|field| is_given(&field.name)).count()
    };
    // Of equals, the first: for `{}`, for example.
    accepted.iter().copied().rev().max_by_key(fitting)
}

fn key_of(topic: &str, record: &Value) -> Option<String> {
    let Value::Record(fields) = record else { return None };
    let text = |name: &&str| {
        let (_, value) = fields.iter().find(|(field, _)| field == name)?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Date(days) => date_text(*days),
            _ => None,
        }
    };
    let parts: Option<Vec<String>> = key_fields(topic).iter().map(text).collect();
    Some(parts?.join("|"))
}

/// Refuses a request that would become a dead letter: its train makes no key, or no event can carry its id.
fn is_answerable(request: &Value) -> Result<(), Vec<FieldError>> {
    let Value::Record(fields) = request else { return Ok(()) };
    let problem = |(name, value): &(String, Value)| {
        let Value::String(text) = value else { return None };
        let problem = match name.as_str() {
            "train_id" if !is_train_id(text) => {
                format!("must be 1 to {TRAIN_ID_CHARS_MAX} letters, digits, `.`, `_` or `-`")
            }
            "request_id" if text.chars().count() > TEXT_CHARS_MAX => {
                format!("is longer than {TEXT_CHARS_MAX} characters")
            }
            _ => return None,
        };
        let field = name.clone();
        Some(FieldError { field, problem })
    };
    let problems: Vec<FieldError> = fields.iter().filter_map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Returns the full name of the type that a value was written as; of a union, that of its branch.
fn name_of(schema: &Schema, value: &Value) -> String {
    match (schema, value) {
        (Schema::Union(union), Value::Union(branch, value)) => {
            let variant = union.variants().get(*branch as usize);
            variant.map_or_else(|| "union".to_owned(), |variant| name_of(variant, value))
        }
        _ => match schema.name() {
            Some(name) => name.fullname(None),
            None => format!("{:?}", SchemaKind::from(schema)).to_lowercase(),
        },
    }
}

#[cfg(test)]
mod tests {
    use interlock_schemas::registry::{MemoryRegistry, register_all};
    use interlock_schemas::topics;
    use serde_json::json;

    use super::*;

    async fn codec() -> (Arc<dyn Registry>, Codec) {
        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
        let ids = register_all(&*registry, &topics::contract()).await.unwrap();
        (Arc::clone(&registry), Codec::new(registry, ids))
    }

    fn accepted() -> &'static [RecordType] {
        topics::records_of(topics::BOOKING_REQUESTS).unwrap()
    }

    fn record(value: &[u8]) -> Record {
        Record {
            value: Some(bytes::Bytes::copy_from_slice(value)),
            ..Record::default()
        }
    }

    fn cancellation() -> Json {
        json!({
            "request_id": "c-1", "train_id": "12951", "travel_date": "2026-12-01", "booking_request_id": "b-1",
            "user_id": "ada", "requested_at": 0,
        })
    }

    #[tokio::test]
    async fn everybody_elses_decoder_reads_what_was_encoded() {
        let (registry, codec) = codec().await;
        let encoded = codec
            .encode(topics::BOOKING_REQUESTS, accepted(), &cancellation())
            .unwrap();
        assert_eq!(encoded.key, "12951|2026-12-01");
        let command = Decoder::<Command>::new(registry).decode(&encoded.value).await.unwrap();
        let Command::Cancel(request) = command else {
            panic!("another type")
        };
        assert_eq!(
            (request.travel_date, request.booking_request_id.as_str()),
            (20_788, "b-1")
        );
        let decoded = codec.decode(&record(&encoded.value)).await.unwrap();
        assert_eq!(decoded.record_type, "interlock.CancellationRequest");
    }

    #[tokio::test]
    async fn requests_that_cannot_be_answered_are_refused() {
        let (_, codec) = codec().await;
        for (field, text) in [("train_id", "a|b"), ("train_id", ""), ("request_id", &"x".repeat(257))] {
            let mut request = cancellation();
            request[field] = json!(text);
            let refused = codec.encode(topics::BOOKING_REQUESTS, accepted(), &request);
            let fields: Vec<String> = refused.unwrap_err().into_iter().map(|error| error.field).collect();
            assert_eq!(fields, [field], "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_meant_is_told_by_its_fields() {
        assert_eq!(
            meant(accepted(), &cancellation()),
            Some(RecordType::CancellationRequest)
        );
        assert_eq!(
            meant(accepted(), &json!({ "train_id": "1" })),
            Some(RecordType::BookingRequest)
        );
        assert_eq!(meant(&[], &json!({})), None);
    }

    #[tokio::test]
    async fn a_value_of_a_union_is_named_by_its_branch() {
        let (registry, codec) = codec().await;
        let encoded = codec
            .encode(topics::BOOKING_REQUESTS, accepted(), &cancellation())
            .unwrap();
        let schemas = accepted().iter().map(|accepted| accepted.schema());
        let union = format!("[{}]", schemas.collect::<Vec<_>>().join(","));
        let id = registry.register("booking-requests-value", &union).await.unwrap();
        let branch = accepted()
            .iter()
            .position(|accepted| *accepted == RecordType::CancellationRequest);
        let mut value = Vec::new();
        frame(id, &mut value);
        value.push(2 * branch.unwrap() as u8);
        value.extend(&encoded.value[5..]);
        let decoded = codec.decode(&record(&value)).await.unwrap();
        assert_eq!(decoded.record_type, "interlock.CancellationRequest");
        assert_eq!(
            serde_json::to_value(&decoded.value).unwrap()["booking_request_id"],
            "b-1"
        );
    }

    #[tokio::test]
    async fn what_is_no_record_says_why() {
        let (_, codec) = codec().await;
        for (value, why) in [
            (b"{}".as_slice(), "Confluent wire format"),
            (b"\0\0\0\0\x63x", "no schema of id 99"),
            (b"\0\0\0\0\x01\xff", "written with schema 1"),
        ] {
            let refused = codec.decode(&record(value)).await.unwrap_err();
            assert!(matches!(refused, ValueError::Malformed(_)), "{refused}");
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }
}
