//! Where schemas get their ids: `ConfluentRegistry` over HTTP (feature `registry`), [`MemoryRegistry`] in the process.

mod compatibility;
#[cfg(feature = "registry")]
mod confluent;
mod memory;
mod register;
#[cfg(feature = "registry")]
mod settings;

use std::pin::Pin;

#[cfg(feature = "registry")]
pub use confluent::ConfluentRegistry;
pub use memory::MemoryRegistry;
#[cfg(feature = "registry")]
pub use register::register_all_within;
pub use register::{Ids, check_all, register_all};
#[cfg(feature = "registry")]
pub use settings::{Credentials, RegistrySettings};

/// What a [`Registry`] promises.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send + 'a>>;

/// A schema registry.
pub trait Registry: Send + Sync {
    /// Registers a schema under a subject; the same again gives the same id.
    fn register<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, u32>;

    /// The schema of an id, self-contained, or [`RegistryError::NotRegistered`].
    fn schema_by_id(&self, id: u32) -> Answer<'_, String>;

    /// From now on a subject takes only schemas that can read, and be read by, all of its earlier ones
    /// (`FULL_TRANSITIVE`): then the order in which producers and consumers are upgraded does not matter.
    fn require_full_compatibility<'a>(&'a self, subject: &'a str) -> Answer<'a, ()>;

    /// Whether a subject would take the schema: if not, [`RegistryError::Incompatible`]. A new subject takes anything.
    fn check<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, ()>;
}

/// Why a registry did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The settings can't be used.
    #[error("{setting}: {problem}")]
    Settings {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// No answer: it is down, or out of reach.
    #[error("no answer from the schema registry ({registry}) to {request}: {cause}; is it up, and is {hint} right?")]
    Unreachable {
        /// Which registry.
        registry: String,
        /// What was asked.
        request: String,
        /// What happened.
        cause: String,
        /// The settings that decide it.
        hint: &'static str,
    },
    /// An answer, but not one to the question: not allowed, not a registry, or a fault of the registry.
    #[error("the schema registry ({registry}) did not accept {request}: {cause}; check {hint}")]
    Refused {
        /// Which registry.
        registry: String,
        /// What was asked.
        request: String,
        /// What it answered.
        cause: String,
        /// The settings that decide it.
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
    /// The schema of this id is of another type.
    #[error("schema {id} is of type {found}, expected AVRO")]
    NotAvro {
        /// The id.
        id: u32,
        /// Its type.
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
        /// What is incompatible.
        problems: Vec<String>,
    },
}

impl RegistryError {
    /// The same request may succeed later without anybody's help.
    pub fn is_transient(&self) -> bool {
        matches!(self, RegistryError::Unreachable { .. })
    }
}
