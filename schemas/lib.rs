//! The public contract of Interlock: Avro schemas, their Rust types and the Confluent wire codec.

mod avro;
pub mod codec;
pub mod frame;
mod record_type;
pub mod topics;
pub mod types;

pub use codec::{AvroRecord, DatumError, Payload};
pub use frame::{WireError, frame, parse_frame};
pub use record_type::RecordType;
pub use types::*;
