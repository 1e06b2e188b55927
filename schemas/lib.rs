//! The public contract of Interlock: Avro schemas, their Rust types and the Confluent wire codec.
//!
//! | to | use |
//! | --- | --- |
//! | know which topic carries what | [`topics`], [`RecordType`] |
//! | register the schemas at the start | [`registry::register_all`] |
//! | write a value | [`Encoder`], with the [`registry::Ids`] of the registration |
//! | read a value | [`Decoder`]: `Decoder<Command>`, `Decoder<Event>`, `Decoder<TrainService>`, one for each worker |
//! | a datum without its frame | [`AvroRecord`] |
//!
//! ```
//! use std::sync::Arc;
//! use interlock_schemas::registry::{MemoryRegistry, Registry, register_all};
//! use interlock_schemas::{CancellationRequest, Command, Decoder, Encoder, topics};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::default());
//! let ids = register_all(&*registry, &topics::contract()).await?;
//!
//! let command = Command::Cancel(CancellationRequest {
//!     request_id: "c-1".into(),
//!     train_id: "12951".into(),
//!     travel_date: 20_788,
//!     booking_request_id: "b-1".into(),
//!     passengers: vec![],
//!     user_id: "ada".into(),
//!     requested_at: 1_795_000_000_000,
//! });
//! let mut value = Vec::new();
//! Encoder::new(ids).encode(&command, &mut value)?;
//!
//! let mut decoder = Decoder::<Command>::new(registry);
//! assert_eq!(decoder.decode(&value).await?, command);
//! # Ok(())
//! # }
//! ```
//!
//! Without the feature `registry` there is no HTTP client, and neither tokio nor reqwest is pulled in.

mod avro;
pub mod codec;
mod datum_error;
mod decoder;
mod encoder;
pub mod frame;
mod record_type;
pub mod registry;
mod resolve;
pub mod topics;
pub mod types;

pub use codec::{AvroRecord, Payload};
pub use datum_error::{DatumError, Problem};
pub use decoder::{DecodeError, Decoder, Remedy};
pub use encoder::{Encoder, Unregistered};
pub use frame::{
    KEY_SCHEMA_HEADER, SchemaRef, VALUE_SCHEMA_HEADER, WireError, frame, parse_frame, parse_key, parse_value,
};
pub use record_type::RecordType;
pub use resolve::SchemaProblem;
pub use types::*;
