//! The public contract of Interlock: Avro schemas, their Rust types and the Confluent wire codec.

pub mod types;

pub use types::*;
