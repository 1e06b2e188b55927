//! What a stream thread does next when something went wrong.

use crate::ledger::LedgerError;
use crate::log::LogError;
use crate::runtime::task::node::ProcessError;
#[cfg(feature = "windows")]
use crate::sink::SinkError;

/// What went wrong in a task, sorted by what its stream thread does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// Drop the cache and everything uncommitted, confirm ownership by a poll, back off, acquire again. Nothing is lost:
    /// what the ledgers hold is sent again, what they don't hold is read again.
    #[error("{detail}")]
    Restart {
        /// A short name for counters and logs.
        reason: &'static str,
        /// What happened, with coordinates.
        detail: String,
        /// The producer is good for nothing any more: a new one settles what it left open.
        producer_lost: bool,
    },
    /// Trying again can't help, or would risk what is promised: stop loudly.
    #[error("{0}")]
    Fatal(String),
}

impl TaskError {
    fn restart(reason: &'static str, error: &impl ToString, producer_lost: bool) -> Self {
        Self::Restart {
            reason,
            detail: error.to_string(),
            producer_lost,
        }
    }
}

impl From<LogError> for TaskError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Retriable { .. } => Self::restart("log_unavailable", &error, false),
            LogError::Abortable { .. } => Self::restart("transaction_aborted", &error, false),
            LogError::Fenced { .. } => Self::restart("producer_fenced", &error, true),
            LogError::Fatal { .. } => Self::Fatal(error.to_string()),
        }
    }
}

impl From<LedgerError> for TaskError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Fenced { .. } => Self::restart("ledger_fenced", &error, false),
            LedgerError::Behind { .. } => Self::restart("ledger_behind", &error, false),
            LedgerError::Unavailable { .. } => Self::restart("ledger_unavailable", &error, false),
            LedgerError::Fatal { .. } => Self::Fatal(error.to_string()),
        }
    }
}

#[cfg(feature = "windows")]
impl From<SinkError> for TaskError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Fenced { .. } => Self::restart("sink_fenced", &error, false),
            SinkError::Unavailable { .. } => Self::restart("sink_unavailable", &error, false),
            SinkError::Fatal { .. } => Self::Fatal(error.to_string()),
        }
    }
}

impl From<ProcessError> for TaskError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Ledger(error) => error.into(),
            ProcessError::Log(error) => error.into(),
            ProcessError::Unavailable(detail) => Self::Restart {
                reason: "registry_unavailable",
                detail,
                producer_lost: false,
            },
            ProcessError::Fatal(detail) => Self::Fatal(detail),
        }
    }
}
