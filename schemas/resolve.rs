//! Reads data of another schema than ours: an older or newer version, or another author's text of the same schema.
//!
//! The way to read is chosen once per writer schema:
//!
//! ```text
//! writer schema ── same canonical form? ── yes ─> the datum is ours as it is
//!                                      └─ no ──> apache-avro: datum ─> value ─> resolved to our schema ─> our datum
//! ```
//!
//! Then the hand-written decoder reads the datum, so that only one decoder produces the Rust types. The canonical form
//! holds everything that determines the bytes. It omits defaults, docs and logical types, which are
//! checked where they matter.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{LazyLock, Mutex, PoisonError};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::SchemaKind;
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::writer::datum::GenericDatumWriter;

use crate::datum_error::{DatumError, Problem};
use crate::record_type::RecordType;

/// The most that apache-avro may allocate for one string or array. With its own limit of 512 MiB, one bad record of a
/// few bytes could take the worker's memory; Kafka's records have at most 1 MiB by default.
const RESOLVED_BYTES_MAX: usize = 64 << 20;

/// The reason why data of a schema cannot be read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// The schema is a JSON Schema, Protobuf or another type.
    #[error("it is of type {found}, expected AVRO")]
    NotAvro {
        /// The type, as the registry names it.
        found: String,
    },
    /// The schema is not valid Avro.
    #[error("it is not an Avro schema: {cause}")]
    Malformed {
        /// Message of apache-avro.
        cause: String,
    },
    /// The schema describes a record that the topic does not carry.
    #[error("it describes {found}, expected {}", names(expected))]
    UnexpectedRecord {
        /// Full name of the record, or the kind of schema.
        found: String,
        /// The record types that the topic carries.
        expected: Vec<RecordType>,
    },
    /// Avro's rules do not allow reading it with our schema.
    #[error("it cannot be read as {record}: {cause}")]
    Incompatible {
        /// Our record type.
        record: RecordType,
        /// Message of apache-avro.
        cause: String,
    },
    /// A date or instant has another unit than ours.
    #[error("{field} is a {found}, expected {expected}")]
    Unit {
        /// Path of the field.
        field: String,
        /// The writer's logical type.
        found: String,
        /// Our logical type.
        expected: String,
    },
    /// A record contains itself, so a datum could exhaust the stack. None of our records does.
    #[error("{name} contains itself")]
    Recursive {
        /// Full name of the record.
        name: String,
    },
}

fn names(records: &[RecordType]) -> String {
    records
        .iter()
        .map(|record| record.name())
        .collect::<Vec<_>>()
        .join(" or ")
}

/// Returns the branches of a schema that is a top-level union, each as a schema that needs no other; none for any other
/// schema.
pub(crate) fn union_of(schema: &str) -> Result<Option<Vec<String>>, SchemaProblem> {
    // Only a union's JSON is a list.
    if !schema.trim_start().starts_with('[') {
        return Ok(None);
    }
    let malformed = |cause: &dyn std::fmt::Display| SchemaProblem::Malformed {
        cause: cause.to_string(),
    };
    let parsed = Schema::parse_str(schema).map_err(|error| malformed(&error))?;
    let Schema::Union(union) = parsed else { return Ok(None) };
    let branches = union.variants().iter().map(|branch| {
        let mut branch = branch.clone();
        branch
            .denormalize(union.variants())
            .map_err(|error| malformed(&error))?;
        serde_json::to_string(&branch).map_err(|error| malformed(&error))
    });
    branches.collect::<Result<_, _>>().map(Some)
}

/// The conversion of data from a writer's schema to ours.
pub(crate) enum Resolution {
    /// No conversion is needed.
    Same,
    /// Conversion through apache-avro's values.
    Other(Box<Resolver>),
}

pub(crate) struct Resolver {
    record: RecordType,
    reader: GenericDatumReader<'static>,
    writer: GenericDatumWriter<'static>,
}

impl Resolution {
    /// Returns the record type that `schema` describes, and how to read its data.
    pub(crate) fn new(schema: &str, accepted: &[RecordType]) -> Result<(RecordType, Self), SchemaProblem> {
        // Nearly always the schema equals ours byte for byte, and parsing takes longer than decoding a thousand
        // records.
        if let Some(record) = accepted.iter().find(|record| record.schema() == schema) {
            return Ok((*record, Resolution::Same));
        }
        let malformed = |error: apache_avro::Error| SchemaProblem::Malformed {
            cause: error.to_string(),
        };
        let schema = Schema::parse_str(schema).map_err(malformed)?;
        let record = record_of(&schema, accepted)?;
        check_units(&schema, record.parsed(), record.name())?;

        let canonical = schema.canonical_form();
        if canonical == record.parsed().canonical_form() {
            return Ok((record, Resolution::Same));
        }
        SchemaCompatibility::can_read(&schema, record.parsed()).map_err(|error| SchemaProblem::Incompatible {
            record,
            cause: error.to_string(),
        })?;
        check_not_recursive(&schema, &mut Vec::new())?;

        apache_avro::util::max_allocation_bytes(RESOLVED_BYTES_MAX);
        // The canonical form has no logical types: a string that its writer calls a UUID is a string here.
        let writer_schema = interned(canonical).map_err(malformed)?;
        let reader = GenericDatumReader::builder(writer_schema)
            .reader_schema(record.parsed())
            .build()
            .map_err(malformed)?;
        let writer = GenericDatumWriter::builder(record.parsed())
            .build()
            .map_err(malformed)?;
        Ok((record, Resolution::Other(Box::new(Resolver { record, reader, writer }))))
    }

    /// Converts the datum to our schema.
    pub(crate) fn datum<'a>(&self, datum: &'a [u8]) -> Result<Cow<'a, [u8]>, DatumError> {
        match self {
            Resolution::Same => Ok(Cow::Borrowed(datum)),
            Resolution::Other(resolver) => resolver.resolve(datum).map(Cow::Owned),
        }
    }
}

impl Resolver {
    fn resolve(&self, datum: &[u8]) -> Result<Vec<u8>, DatumError> {
        let mut input = Input {
            rest: datum,
            short: false,
        };
        let result = self.reader.read_value(&mut input);
        let at = datum.len() - input.rest.len();
        let error = |problem| DatumError {
            field: self.record.name(),
            at,
            problem,
        };
        // If the input ends early, apache-avro reads strings and booleans as null and continues.
        if input.short {
            return Err(error(Problem::Truncated { needed: 1, left: 0 }));
        }
        let refused = |cause: apache_avro::Error| {
            error(Problem::Resolution {
                cause: cause.to_string(),
            })
        };
        let value = result.map_err(refused)?;
        if !input.rest.is_empty() {
            return Err(error(Problem::Trailing {
                bytes: input.rest.len(),
            }));
        }
        self.writer.write_value_to_vec(value).map_err(refused)
    }
}

/// A reader over a datum that notes whether a read went past the end.
struct Input<'a> {
    rest: &'a [u8],
    short: bool,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.short |= self.rest.len() < buffer.len();
        self.rest.read(buffer)
    }
}

/// apache-avro's readers borrow their schema. Each distinct schema is kept until the process ends; there are only as
/// many as versions were ever written.
fn interned(canonical: String) -> Result<&'static Schema, apache_avro::Error> {
    static INTERNED: LazyLock<Mutex<HashMap<String, &'static Schema>>> = LazyLock::new(Mutex::default);
    let mut interned = INTERNED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(schema) = interned.get(&canonical) {
        return Ok(schema);
    }
    let schema: &'static Schema = Box::leak(Box::new(Schema::parse_str(&canonical)?));
    interned.insert(canonical, schema);
    Ok(schema)
}

fn record_of(schema: &Schema, accepted: &[RecordType]) -> Result<RecordType, SchemaProblem> {
    let found = match schema {
        Schema::Record(record) => record.name.fullname(None),
        other => format!("a value of kind {:?}", SchemaKind::from(other)),
    };
    let record = accepted.iter().copied().find(|record| record.name() == found);
    record.ok_or_else(|| SchemaProblem::UnexpectedRecord {
        found,
        expected: accepted.to_vec(),
    })
}

/// Compares logical types. Avro's rules compare only the underlying int or long, and would read microseconds as
/// milliseconds.
fn check_units(theirs: &Schema, ours: &Schema, path: &str) -> Result<(), SchemaProblem> {
    match (theirs, ours) {
        (Schema::Record(theirs), Schema::Record(ours)) => ours.fields.iter().try_for_each(|field| {
            let Some(same) = theirs.fields.iter().find(|other| other.name == field.name) else {
                return Ok(());
            };
            check_units(&same.schema, &field.schema, &format!("{path}.{}", field.name))
        }),
        (Schema::Array(theirs), Schema::Array(ours)) => check_units(&theirs.items, &ours.items, path),
        (Schema::Union(theirs), _) => theirs
            .variants()
            .iter()
            .try_for_each(|theirs| check_units(theirs, ours, path)),
        (_, Schema::Date | Schema::TimestampMillis) => {
            let (found, expected) = (SchemaKind::from(theirs), SchemaKind::from(ours));
            let plain = matches!(found, SchemaKind::Int | SchemaKind::Long);
            if plain || found == expected || !is_temporal(theirs) {
                return Ok(());
            }
            Err(SchemaProblem::Unit {
                field: path.to_owned(),
                found: format!("{found:?}"),
                expected: format!("{expected:?}"),
            })
        }
        _ => Ok(()),
    }
}

fn is_temporal(schema: &Schema) -> bool {
    matches!(
        schema,
        Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos
    )
}

/// Returns the name of a record that contains itself. `open` holds the names of the records around `schema`.
fn check_not_recursive(schema: &Schema, open: &mut Vec<String>) -> Result<(), SchemaProblem> {
    match schema {
        Schema::Record(record) => {
            open.push(record.name.fullname(None));
            record
                .fields
                .iter()
                .try_for_each(|field| check_not_recursive(&field.schema, open))?;
            open.pop();
            Ok(())
        }
        Schema::Array(array) => check_not_recursive(&array.items, open),
        Schema::Map(map) => check_not_recursive(&map.types, open),
        Schema::Union(union) => union
            .variants()
            .iter()
            .try_for_each(|variant| check_not_recursive(variant, open)),
        Schema::Ref { name } if open.contains(&name.fullname(None)) => Err(SchemaProblem::Recursive {
            name: name.fullname(None),
        }),
        _ => Ok(()),
    }
}
