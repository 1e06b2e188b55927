//! Decodes a topic's value into a record, for any version of the schema that wrote it.

use std::sync::Arc;

use crate::codec::{DecodeDatum, Payload};
use crate::datum_error::DatumError;
use crate::frame::{WireError, parse_frame};
use crate::record_type::RecordType;
use crate::registry::{Registry, RegistryError};
use crate::resolve::{Resolution, SchemaProblem};

/// The reason why a value could not be decoded. [`DecodeError::remedy`] says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The value is not in the Confluent wire format.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The decoder has not seen this schema before; only [`Decoder::try_decode`] returns this.
    #[error("schema {0} was not fetched yet")]
    UnknownId(u32),
    /// The registry has no schema of this id.
    #[error("the schema registry ({registry}) has no schema of id {id}")]
    NotRegistered {
        /// Schema id of the value.
        id: u32,
        /// The registry.
        registry: String,
    },
    /// The schema is known, and can never be used here.
    #[error("schema {id} can't be used: {problem}")]
    Schema {
        /// Schema id of the value.
        id: u32,
        /// The error in the schema.
        problem: Arc<SchemaProblem>,
    },
    /// The datum does not match its schema.
    #[error("written with schema {id}: {source}")]
    Datum {
        /// Schema id of the value.
        id: u32,
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
    Fetch(u32),
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
    known: Vec<(u32, Known<P>)>,
}

type Known<P> = Result<Usable<P>, Arc<SchemaProblem>>;

struct Usable<P> {
    resolution: Resolution,
    decode: DecodeDatum<P>,
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
        match self.try_decode(value) {
            Err(DecodeError::UnknownId(id)) => {
                self.fetch(id).await?;
                self.try_decode(value)
            }
            decoded => decoded,
        }
    }

    /// Decodes a value without waiting. [`DecodeError::UnknownId`] asks the caller to [`fetch`](Self::fetch) the schema
    /// first.
    pub fn try_decode(&self, value: &[u8]) -> Result<P, DecodeError> {
        let (id, datum) = parse_frame(value)?;
        let index = self.position(id).map_err(|_| DecodeError::UnknownId(id))?;
        match &self.known[index].1 {
            Ok(usable) => usable.decode(datum).map_err(|source| DecodeError::Datum { id, source }),
            Err(problem) => Err(DecodeError::Schema {
                id,
                problem: Arc::clone(problem),
            }),
        }
    }

    /// Fetches schema `id` from the registry. After success `try_decode` can decode or reject values of this schema.
    pub async fn fetch(&mut self, id: u32) -> Result<(), DecodeError> {
        let known = match self.registry.schema_by_id(id).await {
            Ok(schema) => Usable::new(&schema),
            Err(RegistryError::NotAvro { found, .. }) => Err(SchemaProblem::NotAvro { found }),
            Err(RegistryError::NotRegistered { id, registry }) => {
                return Err(DecodeError::NotRegistered { id, registry });
            }
            Err(error) => return Err(DecodeError::Registry(error)),
        };
        if let Err(index) = self.position(id) {
            self.known.insert(index, (id, known.map_err(Arc::new)));
        }
        Ok(())
    }

    fn position(&self, id: u32) -> Result<usize, usize> {
        self.known.binary_search_by_key(&id, |(known, _)| *known)
    }
}

impl<P: Payload> Usable<P> {
    fn new(schema: &str) -> Result<Self, SchemaProblem> {
        let accepted: Vec<RecordType> = P::ACCEPTED.iter().map(|(record, _)| *record).collect();
        let (record, resolution) = Resolution::new(schema, &accepted)?;
        let decode = P::ACCEPTED
            .iter()
            .find(|(accepted, _)| *accepted == record)
            .map(|(_, decode)| *decode);
        let decode = decode.unwrap_or_else(|| unreachable!("{record} is one of those that were accepted"));
        Ok(Usable { resolution, decode })
    }

    fn decode(&self, datum: &[u8]) -> Result<P, DatumError> {
        (self.decode)(&self.resolution.datum(datum)?)
    }
}
