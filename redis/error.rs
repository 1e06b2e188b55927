//! What Redis and the connection say, sorted by what the caller does next.

use std::fmt::Display;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use interlock_streams::ledger::LedgerError;

/// Codes of answers that say "not now": memory is full, the disk failed, too few replicas, a script runs too long,
/// connections are used up, this is a replica by now. The request was refused as a whole.
const NOT_NOW: [&str; 7] = [
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "UNBLOCKED",
    "LOADING",
    "READONLY",
];

/// Whether the same call may succeed later. Everything else (wrong type, wrong password, missing permission, an answer
/// that can't be read) stays wrong until someone does something about it.
pub(crate) fn is_transient(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => true,
        // Certificates are renewed.
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

/// What kind of error it is, in the server's words; of a transaction that was refused when it was to be executed, why.
fn code(error: &RedisError) -> Option<&str> {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ExecAbort) => {
            error.detail()?.split_once("because of: ")?.1.split(' ').next()
        }
        _ => error.code(),
    }
}

/// Whether the server's certificate is not one that we trust.
fn is_certificate_refused(error: &RedisError) -> bool {
    error.to_string().contains("certificate verify failed")
}

/// Whether the server doesn't have the library: it was not executed.
pub(crate) fn is_function_missing(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}

/// Whether another node of the cluster must be asked: it was not executed. (`ASK` isn't followed: it is answered only
/// while the slot moves, and then most calls, which name several keys, get `TRYAGAIN` anyhow.)
pub(crate) fn is_moved(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::Moved)
}

/// Whether the connection must be replaced: it is broken, too slow (perhaps the server is gone without a word), out of
/// step, or leads to a server that is the master no more.
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

/// What to do, where the server's own words don't say.
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
