//! Schema registries: `ConfluentRegistry` over HTTP (feature `registry`), and [`MemoryRegistry`] in the process.

mod compatibility;
#[cfg(feature = "registry")]
mod confluent;
mod memory;
mod register;
#[cfg(feature = "registry")]
mod settings;

use std::pin::Pin;

use crate::frame::SchemaRef;

#[cfg(feature = "registry")]
pub use confluent::ConfluentRegistry;
pub use memory::MemoryRegistry;
#[cfg(feature = "registry")]
pub use register::register_all_within;
pub use register::{Ids, check_all, register_all};
#[cfg(feature = "registry")]
pub use settings::{Credentials, RegistrySettings};

/// The future returned by a [`Registry`].
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send + 'a>>;

/// A schema registry.
pub trait Registry: Send + Sync {
    /// Registers a schema under a subject, and returns its id. The same schema gets the same id again.
    fn register<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, u32>;

    /// Returns the self-contained schema of an id, or [`RegistryError::NotRegistered`].
    fn schema_by_id(&self, id: u32) -> Answer<'_, String>;

    /// The schema of a GUID, self-contained, or [`RegistryError::GuidNotRegistered`], also of a registry without GUIDs.
    fn schema_by_guid(&self, guid: [u8; 16]) -> Answer<'_, String>;

    /// Makes a subject accept only schemas that can read, and be read by, all its earlier ones (`FULL_TRANSITIVE`). The
    /// order in which producers and consumers are upgraded then does not matter.
    fn require_full_compatibility<'a>(&'a self, subject: &'a str) -> Answer<'a, ()>;

    /// Checks whether a subject would accept the schema; if not, returns [`RegistryError::Incompatible`]. A new subject
    /// accepts any schema.
    fn check<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, ()>;
}

/// The reason why a call to a registry failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The settings are invalid.
    #[error("{setting}: {problem}")]
    Settings {
        /// The setting.
        setting: &'static str,
        /// The error in it.
        problem: String,
    },
    /// The registry does not answer: it is down or out of reach.
    #[error("no answer from the schema registry ({registry}) to {request}: {cause}; is it up, and is {hint} right?")]
    Unreachable {
        /// Which registry.
        registry: String,
        /// The action that failed.
        request: String,
        /// The cause.
        cause: String,
        /// The settings to check.
        hint: &'static str,
    },
    /// The registry refused the call, failed, or is not a registry.
    #[error("the schema registry ({registry}) did not accept {request}: {cause}; check {hint}")]
    Refused {
        /// Which registry.
        registry: String,
        /// The action that failed.
        request: String,
        /// The answer.
        cause: String,
        /// The settings to check.
        hint: &'static str,
    },
    /// The registry has no schema of this id.
    #[error("the schema registry ({registry}) has no schema of id {id}")]
    NotRegistered {
        /// The id.
        id: u32,
        /// Which registry.
        registry: String,
    },
    /// The registry has no schema of this GUID.
    #[error("the schema registry ({registry}) has no schema of GUID {guid}")]
    GuidNotRegistered {
        /// The GUID, with hyphens.
        guid: String,
        /// Which registry.
        registry: String,
    },
    /// The schema of this id is not Avro.
    #[error("schema {id} is of type {found}, expected AVRO")]
    NotAvro {
        /// Its id or GUID.
        id: SchemaRef,
        /// Type of the schema.
        found: String,
    },
    /// The schema breaks the compatibility of its subject.
    #[error(
        "subject {subject} does not take this version of the schema, for readers and writers of all its versions must \
         understand each other: {}",
        problems.join("; ")
    )]
    Incompatible {
        /// The subject.
        subject: String,
        /// The incompatibilities.
        problems: Vec<String>,
    },
}

impl RegistryError {
    /// Returns whether the same request may succeed later by itself.
    pub fn is_transient(&self) -> bool {
        matches!(self, RegistryError::Unreachable { .. })
    }
}
