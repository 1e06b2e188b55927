//! Sorts the errors of Redis and of the connection by what the caller does next.

use std::fmt::Display;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use interlock_streams::ledger::LedgerError;

/// Error codes for a temporary condition: memory is full, the disk failed, there are too few replicas, a script runs
/// too long, connections are used up, or the server has become a replica. The request was refused as a whole.
const NOT_NOW: [&str; 7] = [
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "UNBLOCKED",
    "LOADING",
    "READONLY",
];

/// Returns whether the same call may succeed later. All other errors (a wrong type, a wrong password, a missing right,
/// an unreadable answer) need a person to act.
pub(crate) fn is_transient(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => true,
        // A certificate may be renewed.
        _ if is_certificate_refused(error) => true,
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::BusyLoading
            | ServerErrorKind::NoScript
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly => true,
            ServerErrorKind::ExecAbort => code(error).is_some_and(|code| NOT_NOW.contains(&code)),
            _ => is_function_missing(error) || error.to_string().contains("max number of clients"),
        },
        _ => error.code().is_some_and(|code| NOT_NOW.contains(&code)),
    }
}

/// Returns the server's error code; for a refused transaction, that of the cause.
fn code(error: &RedisError) -> Option<&str> {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ExecAbort) => {
            error.detail()?.split_once("because of: ")?.1.split(' ').next()
        }
        _ => error.code(),
    }
}

/// Returns whether the server's certificate is not trusted.
fn is_certificate_refused(error: &RedisError) -> bool {
    error.to_string().contains("certificate verify failed")
}

/// Returns whether the server lacks the library, so that the call was not executed.
pub(crate) fn is_function_missing(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}

/// Returns whether another node of the cluster has the slot, so that the call was not executed. (`ASK` is not followed:
/// it occurs only while the slot moves, and most calls, which name several keys, get `TRYAGAIN` then anyway.)
pub(crate) fn is_moved(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::Moved)
}

/// Returns whether the connection must be replaced: it is broken, too slow (the server may have vanished), out of step,
/// or leads to a server that is no longer the master.
pub(crate) fn is_connection_spent(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading)
}

/// Returns the error of a call about a ledger, or of opening or checking a store (no ledger).
pub(crate) fn ledger_error(ledger: Option<i32>, servers: &str, error: &RedisError) -> LedgerError {
    let reason = format!("Redis at {servers}: {}", with_advice(error));
    match is_transient(error) {
        true => LedgerError::Unavailable { ledger, reason },
        false => LedgerError::Fatal { ledger, reason },
    }
}

/// Returns the error of a server that is not fit for ledgers, or of settings that are wrong.
pub(crate) fn unfit(servers: &str, reason: impl Display) -> LedgerError {
    LedgerError::Fatal {
        ledger: None,
        reason: format!("Redis at {servers}: {reason}"),
    }
}

/// Returns advice that the server's message lacks.
fn with_advice(error: &RedisError) -> String {
    let advice = match (error.kind(), code(error)) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            "; check user and password in the URL"
        }
        (_, Some("NOPERM")) => "; docs/operating.md lists the rights that the user needs on the namespace's keys",
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => "; this is a replica, or became one in a fail-over",
        _ if is_certificate_refused(error) => "; is it signed by what `ca_file` holds, for this host, and not expired?",
        (_, Some("OOM")) => "; raise maxmemory or free some, writes are refused until then",
        (_, Some("WRONGTYPE")) => "; something else writes under this namespace: choose another `namespace`",
        _ => "",
    };
    format!("{error}{advice}")
}
