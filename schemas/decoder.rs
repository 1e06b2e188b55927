//! From a topic's value to a record, whichever version of the schema wrote it.

use std::sync::Arc;

use crate::codec::{DecodeDatum, Payload};
use crate::datum_error::DatumError;
use crate::frame::{WireError, parse_frame};
use crate::record_type::RecordType;
use crate::registry::{Registry, RegistryError};
use crate::resolve::{Resolution, SchemaProblem};

/// Why a value gave no record. [`DecodeError::remedy`] says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The value is not in the Confluent wire format.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// No record of this schema was seen before; only [`Decoder::try_decode`] says so.
    #[error("schema {0} was not fetched yet")]
    UnknownId(u32),
    /// The registry answers, and has no schema of this id.
    #[error("the schema registry ({registry}) has no schema of id {id}")]
    NotRegistered {
        /// The value's schema id.
        id: u32,
        /// Which registry.
        registry: String,
    },
    /// The schema is known but can't be used here, nor will it ever.
    #[error("schema {id} can't be used: {problem}")]
    Schema {
        /// The value's schema id.
        id: u32,
        /// What is wrong with the schema.
        problem: Arc<SchemaProblem>,
    },
    /// The datum is not one of its schema.
    #[error("written with schema {id}: {source}")]
    Datum {
        /// The value's schema id.
        id: u32,
        /// What is wrong with the datum.
        source: DatumError,
    },
    /// The registry could not be asked. The value may be good.
    #[error(transparent)]
    Registry(RegistryError),
}

/// What to do about a [`DecodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Await [`Decoder::fetch`] with this id, then decode again.
    Fetch(u32),
    /// Pause, and try again: nothing is wrong with the value.
    Retry,
    /// The value is bad and stays so: hand it to the policy for undecodable input.
    Reject,
}

impl DecodeError {
    /// What to do next.
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

/// Decodes values of a topic that carries `P`. Each worker owns one: the cache has no lock.
///
/// A schema is fetched once. That a fetched schema can't be used is remembered, so that a topic full of such records
/// costs no call for each. A failed fetch is not remembered, whether the registry was out of reach or has no such id:
/// both may change.
pub struct Decoder<P: Payload> {
    registry: Arc<dyn Registry>,
    /// In order of id. A topic has a handful of versions.
    known: Vec<(u32, Known<P>)>,
}

type Known<P> = Result<Usable<P>, Arc<SchemaProblem>>;

struct Usable<P> {
    resolution: Resolution,
    decode: DecodeDatum<P>,
}

impl<P: Payload> Decoder<P> {
    /// A decoder that knows no schema yet.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Decoder {
            registry,
            known: Vec::new(),
        }
    }

    /// Decodes a value, fetching its schema if it is the first of its kind. Never [`DecodeError::UnknownId`].
    pub async fn decode(&mut self, value: &[u8]) -> Result<P, DecodeError> {
        match self.try_decode(value) {
            Err(DecodeError::UnknownId(id)) => {
                self.fetch(id).await?;
                self.try_decode(value)
            }
            decoded => decoded,
        }
    }

    /// Decodes a value without waiting: [`DecodeError::UnknownId`] asks for a [`fetch`](Self::fetch) first.
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

    /// Asks the registry for schema `id`. Success means that `try_decode` knows what to make of it, be it an error.
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
