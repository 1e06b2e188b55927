//! Encodes and decodes records as Avro datums by hand: directly between bytes and structs, without an intermediate
//! value.
//!
//! `avro.rs` encodes the fields; the files here only list them in the order of the schemas. The tests compare every
//! record type with apache-avro, which reads the `.avsc` files, in both directions.

mod commands;
mod events;
mod plan;

use crate::avro::{Field, Reader};
use crate::datum_error::DatumError;
use crate::record_type::RecordType;
use crate::types::{
    BookingCancelled, BookingConfirmed, BookingRejected, BookingRequest, BookingWaitlisted, CancellationRequest,
    Command, Event, TrainDateOpened, TrainService,
};

/// A record type of the contract, with the schema that it is written by.
pub trait AvroRecord: Sized {
    /// The record type.
    const TYPE: RecordType;
    /// Full name in Avro.
    const NAME: &'static str = Self::TYPE.name();
    /// Schema, as in the `.avsc` file.
    const SCHEMA: &'static str = Self::TYPE.schema();

    /// Appends the datum, without a frame.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads a whole datum, without a frame, that was written with exactly this schema.
    fn decode(datum: &[u8]) -> Result<Self, DatumError>;
}

macro_rules! avro_records {
    ($($record:ident),+ $(,)?) => {
        $(impl AvroRecord for $record {
            const TYPE: RecordType = RecordType::$record;

            fn encode(&self, out: &mut Vec<u8>) {
                self.write(out);
            }

            fn decode(datum: &[u8]) -> Result<Self, DatumError> {
                let mut reader = Reader::new(datum);
                let record = <$record as Field>::read(&mut reader, Self::NAME)?;
                reader.finish(Self::NAME)?;
                Ok(record)
            }
        })+
    };
}

avro_records!(
    BookingRequest,
    CancellationRequest,
    BookingConfirmed,
    BookingWaitlisted,
    BookingCancelled,
    BookingRejected,
    TrainDateOpened,
    TrainService,
);

/// The value of a topic's records: one record type, or one of several.
pub trait Payload: Sized + 'static {
    /// The possible record types, each with its decoder.
    const ACCEPTED: &'static [(RecordType, DecodeDatum<Self>)];

    /// Returns the record type of this value.
    fn record_type(&self) -> RecordType;

    /// Appends the datum, without a frame.
    fn encode_datum(&self, out: &mut Vec<u8>);
}

/// Reads a datum that was written with our schema.
pub type DecodeDatum<P> = fn(&[u8]) -> Result<P, DatumError>;

impl<T: AvroRecord + 'static> Payload for T {
    const ACCEPTED: &'static [(RecordType, DecodeDatum<T>)] = &[(T::TYPE, T::decode)];

    fn record_type(&self) -> RecordType {
        T::TYPE
    }

    fn encode_datum(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

macro_rules! one_of {
    ($payload:ident { $($variant:ident($record:ident)),+ $(,)? }) => {
        impl Payload for $payload {
            const ACCEPTED: &'static [(RecordType, DecodeDatum<Self>)] =
                &[$((RecordType::$record, |datum| $record::decode(datum).map(Self::$variant))),+];

            fn record_type(&self) -> RecordType {
                match self {
                    $(Self::$variant(_) => RecordType::$record),+
                }
            }

            fn encode_datum(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(record) => record.encode(out)),+
                }
            }
        }
    };
}

one_of!(Command { Book(BookingRequest), Cancel(CancellationRequest) });

one_of!(Event {
    Confirmed(BookingConfirmed),
    Waitlisted(BookingWaitlisted),
    Cancelled(BookingCancelled),
    Rejected(BookingRejected),
    Opened(TrainDateOpened),
});
