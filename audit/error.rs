//! The reasons why an audit could not be carried out. A broken invariant is a finding, not an error.

use interlock_schemas::DecodeError;
use interlock_streams::ledger::LedgerError;
use interlock_streams::log::LogError;
use interlock_streams::log::partition_reader::ReadError;

/// The reason why an installation could not be audited.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A partition can't be read to its end.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The ledger store did not answer.
    #[error(transparent)]
    Store(#[from] LedgerError),
    /// The schema registry did not answer.
    #[error("the schema registry is needed to decode records (schema_registry.url)")]
    Registry(#[source] DecodeError),
    /// The topics, or the offsets committed for them, do not belong to one installation.
    #[error("{0}")]
    Installation(String),
    /// The address of the database can't be parsed. The address is not repeated: it may hold a password.
    #[error("database.url (INTERLOCK_DATABASE_URL) can't be read: write postgres://role:password@host:5432/database")]
    DatabaseUrl,
    /// The database did not answer, or refused.
    #[error("{doing}")]
    Database {
        /// The attempted operation, and a hint what to check.
        doing: String,
        /// The database's error.
        #[source]
        source: sqlx::Error,
    },
    /// The task of a ledger panicked.
    #[error("the audit of a ledger panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

impl AuditError {
    /// Returns a conversion that adds the attempted operation to a database's error.
    pub(crate) fn database(doing: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Database { doing, source }
    }
}

/// The result of a step of an audit.
pub(crate) type Result<T, E = AuditError> = std::result::Result<T, E>;
