//! Errors of a task, sorted by the stream thread's next step.

use crate::ledger::LedgerError;
use crate::log::LogError;
#[cfg(feature = "windows")]
use crate::sink::SinkError;

/// An error of a task, sorted by what its stream thread does next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// Drop the cache and everything uncommitted, confirm ownership by a poll, back off, acquire again. Nothing is
    /// lost: outputs in the ledgers are sent again, records that are not applied are read again.
    #[error("{detail}")]
    Restart {
        /// The cause.
        reason: Reason,
        /// A description, with coordinates.
        detail: String,
    },
    /// Another attempt can't help, or would risk a guarantee: stop loudly.
    #[error("{0}")]
    Fatal(String),
}

/// The cause of a restart, as counters and logs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Reason {
    LogUnavailable,
    TransactionAborted,
    /// The producer can't be used any more: a new one settles its open transaction.
    ProducerFenced,
    PartitionsLost,
    LedgerFenced,
    LedgerBehind,
    LedgerUnavailable,
    /// A part of the ledger is lost or older than the rest.
    LedgerDamaged,
    /// The store may drop parts of ledgers, so nothing is decided.
    LedgerUnfit,
    SinkFenced,
    SinkUnavailable,
    RegistryUnavailable,
    TopicMissing,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::LogUnavailable,
        Self::TransactionAborted,
        Self::ProducerFenced,
        Self::PartitionsLost,
        Self::LedgerFenced,
        Self::LedgerBehind,
        Self::LedgerUnavailable,
        Self::LedgerDamaged,
        Self::LedgerUnfit,
        Self::SinkFenced,
        Self::SinkUnavailable,
        Self::RegistryUnavailable,
        Self::TopicMissing,
    ];

    /// Returns the value of the metrics' label `reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogUnavailable => "log_unavailable",
            Self::TransactionAborted => "transaction_aborted",
            Self::ProducerFenced => "producer_fenced",
            Self::PartitionsLost => "partitions_lost",
            Self::LedgerFenced => "ledger_fenced",
            Self::LedgerBehind => "ledger_behind",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::LedgerDamaged => "ledger_damaged",
            Self::LedgerUnfit => "ledger_unfit",
            Self::SinkFenced => "sink_fenced",
            Self::SinkUnavailable => "sink_unavailable",
            Self::RegistryUnavailable => "registry_unavailable",
            Self::TopicMissing => "topic_missing",
        }
    }
}

impl TaskError {
    pub(crate) fn restart(reason: Reason, detail: String) -> Self {
        Self::Restart { reason, detail }
    }

    /// Returns whether the producer can't be used after this error.
    pub(crate) fn loses_producer(&self) -> bool {
        match self {
            Self::Restart { reason, .. } => *reason == Reason::ProducerFenced,
            Self::Fatal(_) => true,
        }
    }
}

impl From<LogError> for TaskError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Retriable { .. } => Self::restart(Reason::LogUnavailable, error.to_string()),
            LogError::Abortable { .. } => Self::restart(Reason::TransactionAborted, error.to_string()),
            LogError::Fenced { .. } => Self::restart(Reason::ProducerFenced, error.to_string()),
            LogError::Fatal { .. } => Self::Fatal(error.to_string()),
        }
    }
}

impl From<LedgerError> for TaskError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Fenced { .. } => Self::restart(Reason::LedgerFenced, error.to_string()),
            LedgerError::Behind { .. } => Self::restart(Reason::LedgerBehind, error.to_string()),
            LedgerError::Unavailable { .. } => Self::restart(Reason::LedgerUnavailable, error.to_string()),
            LedgerError::Unfit { .. } => Self::restart(Reason::LedgerUnfit, error.to_string()),
            LedgerError::Fatal { .. } => Self::Fatal(error.to_string()),
        }
    }
}

#[cfg(feature = "windows")]
impl From<SinkError> for TaskError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Fenced { .. } => Self::restart(Reason::SinkFenced, error.to_string()),
            SinkError::Unavailable { .. } => Self::restart(Reason::SinkUnavailable, error.to_string()),
            SinkError::Fatal { .. } => Self::Fatal(error.to_string()),
        }
    }
}
