//! The errors of procedures.

use interlock_schemas::Unregistered;
use interlock_streams::ledger::LedgerError;
use interlock_streams::log::LogError;
use interlock_streams::log::partition_reader::ReadError;
use interlock_streams::runtime::RepartitionError;
use interlock_streams::sink::SinkError;

/// The reason why a procedure was not carried out, sorted by who can help: the service, or the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperateError {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A partition can't be read to its end.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The ledger store did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The window tables did not answer.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The schema of plans is not registered.
    #[error(transparent)]
    Unregistered(#[from] Unregistered),
    /// The number of ledgers can't be changed.
    #[error(transparent)]
    Repartition(#[from] RepartitionError),
    /// The procedure was refused; the text states the reason, the changes made, and the remedy.
    #[error("{0}")]
    Refused(String),
    /// Some letters may not have been sent again.
    #[error(
        "some letters may not have been sent again; `interlock dlq list` shows which were. Run the command again: it \
         sends only the others. (Of two that run at the same time, the second stops the first.)"
    )]
    Unsent(#[source] LogError),
    /// The caller could not report the progress, and stopped the procedure.
    #[error("the progress can't be written")]
    Told(#[source] std::io::Error),
}

/// The result of a step of a procedure.
pub(crate) type Result<T, E = OperateError> = std::result::Result<T, E>;

/// Refuses, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::refused(format!($($reason)+)));
        }
    };
}
pub(crate) use ensure;

/// Returns the error of a procedure that must not be done.
pub(crate) fn refused(reason: impl Into<String>) -> OperateError {
    OperateError::Refused(reason.into())
}
