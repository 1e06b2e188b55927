//! Decodes a topic's value into a record, for any version of the schema that wrote it.

use std::sync::Arc;

use crate::avro::union_branch;
use crate::codec::{DecodeDatum, Payload};
use crate::datum_error::DatumError;
use crate::frame::{SchemaRef, WireError, parse_value};
use crate::record_type::RecordType;
use crate::registry::{Registry, RegistryError};
use crate::resolve::{Resolution, SchemaProblem, union_of};

/// The reason why a value could not be decoded. [`DecodeError::remedy`] says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The value is not in the Confluent wire format.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The decoder has not seen this schema before; only [`Decoder::try_decode`] returns this.
    #[error("schema {0} was not fetched yet")]
    UnknownId(SchemaRef),
    /// The registry has no schema of this id.
    #[error("the schema registry ({registry}) has no schema of {} {id}", kind(id))]
    NotRegistered {
        /// The value's schema.
        id: SchemaRef,
        /// The registry.
        registry: String,
    },
    /// The schema is known, and can never be used here.
    #[error("schema {id} can't be used: {problem}")]
    Schema {
        /// The value's schema.
        id: SchemaRef,
        /// The error in the schema.
        problem: Arc<SchemaProblem>,
    },
    /// The datum does not match its schema.
    #[error("written with schema {id}: {source}")]
    Datum {
        /// The value's schema.
        id: SchemaRef,
        /// The error in the datum.
        source: DatumError,
    },
    /// The registry could not be reached; the value may be valid.
    #[error(transparent)]
    Registry(RegistryError),
}

/// The remedy for a [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Await [`Decoder::fetch`] with this id, then decode again.
    Fetch(SchemaRef),
    /// Pause and try again: nothing is wrong with the value.
    Retry,
    /// The value will never be valid: hand it to the policy for undecodable input.
    Reject,
}

impl DecodeError {
    /// Returns the remedy.
    pub fn remedy(&self) -> Remedy {
        match self {
            DecodeError::UnknownId(id) => Remedy::Fetch(*id),
            DecodeError::Registry(_) => Remedy::Retry,
            DecodeError::Wire(_)
            | DecodeError::NotRegistered { .. }
            | DecodeError::Schema { .. }
            | DecodeError::Datum { .. } => Remedy::Reject,
        }
    }
}

/// Decodes values of a topic that carries `P`. Each worker owns a decoder, because the cache has no lock.
///
/// A schema is fetched once. An unusable schema is remembered too, so that a topic full of such records does not cause
/// a call for each of them. A failed fetch is not remembered, because the registry may come back or get the schema
/// later.
pub struct Decoder<P: Payload> {
    registry: Arc<dyn Registry>,
    /// Schemas ordered by id; a topic has a handful of versions.
    known: Vec<(SchemaRef, Known<P>)>,
}

type Known<P> = Result<Usable<P>, Arc<SchemaProblem>>;

/// The way to read data of one schema.
enum Usable<P> {
    /// The schema is a record.
    Record(Branch<P>),
    /// The schema is a union of several types, as one that lists what a topic carries; some may be of no use here.
    Union(Vec<Result<Branch<P>, Arc<SchemaProblem>>>),
}

struct Branch<P> {
    resolution: Resolution,
    decode: DecodeDatum<P>,
}

fn kind(schema: &SchemaRef) -> &'static str {
    match schema {
        SchemaRef::Id(_) => "id",
        SchemaRef::Guid(_) => "GUID",
    }
}

impl<P: Payload> Decoder<P> {
    /// Creates a decoder that knows no schema yet.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Decoder {
            registry,
            known: Vec::new(),
        }
    }

    /// Decodes a value, and fetches its schema if necessary. Never returns [`DecodeError::UnknownId`].
    pub async fn decode(&mut self, value: &[u8]) -> Result<P, DecodeError> {
        self.decode_with(value, None).await
    }

    /// Decodes a value as [`decode`](Self::decode) does. `header` is the record's header of the name
    /// [`VALUE_SCHEMA_HEADER`](crate::VALUE_SCHEMA_HEADER).
    pub async fn decode_with(&mut self, value: &[u8], header: Option<&[u8]>) -> Result<P, DecodeError> {
        match self.try_decode_with(value, header) {
            Err(DecodeError::UnknownId(id)) => {
                self.fetch(id).await?;
                self.try_decode_with(value, header)
            }
            decoded => decoded,
        }
    }

    /// Decodes a value without waiting. [`DecodeError::UnknownId`] asks the caller to [`fetch`](Self::fetch) the schema
    /// first.
    pub fn try_decode(&self, value: &[u8]) -> Result<P, DecodeError> {
        self.try_decode_with(value, None)
    }

    /// Decodes a value as [`try_decode`](Self::try_decode) does. `header` is the record's header of the name
    /// [`VALUE_SCHEMA_HEADER`](crate::VALUE_SCHEMA_HEADER).
    pub fn try_decode_with(&self, value: &[u8], header: Option<&[u8]>) -> Result<P, DecodeError> {
        let (id, datum) = parse_value(value, header)?;
        let unusable = |problem: &Arc<SchemaProblem>| DecodeError::Schema {
            id,
            problem: Arc::clone(problem),
        };
        let broken = |source| DecodeError::Datum { id, source };
        let index = self.position(id).map_err(|_| DecodeError::UnknownId(id))?;
        match self.known[index].1.as_ref().map_err(unusable)? {
            Usable::Record(branch) => branch.decode(datum).map_err(broken),
            Usable::Union(branches) => {
                let (index, datum) = union_branch(datum).map_err(broken)?;
                let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
                let branch = branch.ok_or_else(|| broken(DatumError::no_branch(index, branches.len())))?;
                branch.as_ref().map_err(unusable)?.decode(datum).map_err(broken)
            }
        }
    }

    /// Asks the registry for a schema. Success means that `try_decode` knows what to make of it, be it an error.
    pub async fn fetch(&mut self, id: SchemaRef) -> Result<(), DecodeError> {
        let schema = match id {
            SchemaRef::Id(id) => self.registry.schema_by_id(id).await,
            SchemaRef::Guid(guid) => self.registry.schema_by_guid(guid).await,
        };
        let known = match schema {
            Ok(schema) => Usable::new(&schema),
            Err(RegistryError::NotAvro { found, .. }) => Err(SchemaProblem::NotAvro { found }),
            Err(RegistryError::NotRegistered { registry, .. } | RegistryError::GuidNotRegistered { registry, .. }) => {
                return Err(DecodeError::NotRegistered { id, registry });
            }
            Err(error) => return Err(DecodeError::Registry(error)),
        };
        if let Err(index) = self.position(id) {
            self.known.insert(index, (id, known.map_err(Arc::new)));
        }
        Ok(())
    }

    fn position(&self, id: SchemaRef) -> Result<usize, usize> {
        self.known.binary_search_by_key(&id, |(known, _)| *known)
    }
}

impl<P: Payload> Usable<P> {
    fn new(schema: &str) -> Result<Self, SchemaProblem> {
        match union_of(schema)? {
            None => Branch::new(schema).map(Usable::Record),
            Some(branches) => {
                let branches = branches.iter().map(|branch| Branch::new(branch).map_err(Arc::new));
                Ok(Usable::Union(branches.collect()))
            }
        }
    }
}

impl<P: Payload> Branch<P> {
    fn new(schema: &str) -> Result<Self, SchemaProblem> {
        let accepted: Vec<RecordType> = P::ACCEPTED.iter().map(|(record, _)| *record).collect();
        let (record, resolution) = Resolution::new(schema, &accepted)?;
        let decode = P::ACCEPTED
            .iter()
            .find(|(accepted, _)| *accepted == record)
            .map(|(_, decode)| *decode);
        let decode = decode.unwrap_or_else(|| unreachable!("{record} is one of those that were accepted"));
        Ok(Branch { resolution, decode })
    }

    fn decode(&self, datum: &[u8]) -> Result<P, DatumError> {
        (self.decode)(&self.resolution.datum(datum)?)
    }
}
