//! Kafka's errors, sorted by what the caller does next.
#![allow(
    clippy::needless_pass_by_value,
    reason = "reasons are errors, codes and texts, owned or not; each is written down once"
)]

use interlock_streams::log::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::ffi::TransactionError;

pub(crate) fn retriable(action: impl Into<String>, reason: impl ToString) -> LogError {
    LogError::Retriable {
        action: action.into(),
        reason: reason.to_string(),
    }
}

pub(crate) fn abortable(action: impl Into<String>, reason: impl ToString) -> LogError {
    LogError::Abortable {
        action: action.into(),
        reason: reason.to_string(),
    }
}

pub(crate) fn fenced(action: impl Into<String>, reason: impl ToString) -> LogError {
    LogError::Fenced {
        action: action.into(),
        reason: reason.to_string(),
    }
}

pub(crate) fn fatal(action: impl Into<String>, reason: impl ToString) -> LogError {
    LogError::Fatal {
        action: action.into(),
        reason: reason.to_string(),
    }
}

/// Returns whether no retry helps: a missing right, an invalid request, a record that no broker accepts.
pub(crate) fn is_hopeless(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::UnsupportedSASLMechanism
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidConfig
            | Code::PolicyViolation
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::InvalidTransactionTimeout
            | Code::MessageSizeTooLarge
            | Code::InvalidRecord
            | Code::FencedInstanceId
    )
}

/// Returns advice for a missing right.
fn advice(code: RDKafkaErrorCode) -> &'static str {
    use RDKafkaErrorCode as Code;
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => "; docs/operating.md lists the rights that the user needs",
        _ => "",
    }
}

/// Sorts the error of a call outside of transactions.
pub(crate) fn from_code(action: impl Into<String>, code: RDKafkaErrorCode, reason: impl ToString) -> LogError {
    if is_hopeless(code) {
        fatal(action, format!("{}{}", reason.to_string(), advice(code)))
    } else {
        retriable(action, reason)
    }
}

/// Sorts an error of rust-rdkafka. One without a code is a wrong setting or a wrong use.
pub(crate) fn from_kafka(action: impl Into<String>, error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(code) => from_code(action, code, error),
        None => fatal(action, error),
    }
}

/// Sorts the error of a transactional call by its flags, as librdkafka's INTRODUCTION.md says; one without flags is
/// fatal to the producer. Missing rights and records that no broker accepts come first, because a new transaction would
/// fail too.
pub(crate) fn from_transaction(action: impl Into<String>, error: &TransactionError) -> LogError {
    let TransactionError { code, text, .. } = error;
    let reason = format!("{text} ({code:?}){}", advice(*code));
    if is_hopeless(*code) && *code != RDKafkaErrorCode::FencedInstanceId {
        fatal(action, reason)
    } else if error.fatal {
        fenced(action, reason)
    } else if error.abortable {
        abortable(action, reason)
    } else if error.retriable {
        retriable(action, reason)
    } else {
        fenced(action, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(code: RDKafkaErrorCode, (fatal, abortable, retriable): (bool, bool, bool)) -> LogError {
        from_transaction(
            "commit",
            &TransactionError {
                code,
                text: String::new(),
                fatal,
                retriable,
                abortable,
            },
        )
    }

    #[test]
    fn flags_decide_what_the_caller_does_next() {
        use RDKafkaErrorCode as Code;
        let (f, t) = (false, true);
        assert!(matches!(sorted(Code::Fenced, (t, f, f)), LogError::Fenced { .. }));
        assert!(matches!(
            sorted(Code::IllegalGeneration, (f, t, f)),
            LogError::Abortable { .. }
        ));
        assert!(matches!(
            sorted(Code::OperationTimedOut, (f, f, t)),
            LogError::Retriable { .. }
        ));
        assert!(matches!(
            sorted(Code::OperationTimedOut, (f, t, t)),
            LogError::Abortable { .. }
        ));
        assert!(
            matches!(sorted(Code::State, (f, f, f)), LogError::Fenced { .. }),
            "no flag: treat as fatal"
        );
        assert!(matches!(
            sorted(Code::TopicAuthorizationFailed, (f, t, f)),
            LogError::Fatal { .. }
        ));
    }
}
