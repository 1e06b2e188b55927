//! Reads the answers of `INFO` and `ROLE`, which need fewer rights than `CONFIG`: fitness for ledgers, the id of the
//! process, the role.

use std::sync::Arc;

use interlock_streams::ledger::LedgerError;
use redis::Value;

use crate::error::unfit;

/// The first version with functions.
const VERSION_MIN: u32 = 7;

/// Checks the answer of one server, or of each master of a cluster.
pub(crate) fn check(servers: &str, info: Value) -> Result<(), LedgerError> {
    match info {
        Value::Map(nodes) => nodes
            .iter()
            .try_for_each(|(node, info)| check_one(&text(node), &text(info))),
        info => check_one(servers, &text(&info)),
    }
}

/// Returns the id of the process that answered; it changes with each restart.
pub(crate) fn run_id(info: &Value) -> Option<Arc<str>> {
    field(&text(info), "run_id").map(Arc::from)
}

/// Returns the role of a server, as it answers `ROLE`: `master`, `slave` or `sentinel`.
pub(crate) fn role(answer: &Value) -> String {
    match answer {
        Value::Array(values) => values.first().map(text).unwrap_or_default(),
        other => text(other),
    }
}

/// Returns the reason why a server may drop parts of ledgers by itself, from its answer to `INFO memory`.
pub(crate) fn evicts(info: &Value) -> Option<String> {
    policy_problem(&text(info))
}

/// Returns whether a server writes an append-only file, from its answer to `INFO persistence`.
pub(crate) fn is_persistent(info: &Value) -> bool {
    field(&text(info), "aof_enabled") != Some("0")
}

/// Warns that a server loses acknowledged writes at every restart.
pub(crate) fn warn_not_persistent(server: &str) {
    tracing::warn!(
        server,
        "appendonly is off: a restart loses acknowledged writes, and each ledger is rebuilt from the log; \
         set `appendonly yes`"
    );
}

fn policy_problem(info: &str) -> Option<String> {
    let policy = field(info, "maxmemory_policy").unwrap_or("unknown");
    let advice = "set `maxmemory-policy noeviction` in redis.conf, or by CONFIG SET";
    (policy != "noeviction")
        .then(|| format!("maxmemory-policy is {policy}: it would drop parts of ledgers when memory is full; {advice}"))
}

fn check_one(server: &str, info: &str) -> Result<(), LedgerError> {
    let refuse = |reason: String| Err(unfit(server, reason));
    let version = field(info, "redis_version").unwrap_or("unknown");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < VERSION_MIN) {
        return refuse(format!(
            "version is {version}; ledgers need functions: use Redis 7.0 or later"
        ));
    }
    if let Some(problem) = policy_problem(info) {
        return refuse(problem);
    }
    if field(info, "aof_enabled") == Some("0") {
        warn_not_persistent(server);
    }
    Ok(())
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(version: &str, policy: &str) -> String {
        let info = format!("# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\naof_enabled:1\r\n");
        check("redis://h", Value::BulkString(info.into_bytes()))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn processes_are_told_apart() {
        let info = |text: &str| run_id(&Value::BulkString(text.as_bytes().to_vec()));
        assert_eq!(info("redis_version:7.0.15\r\nrun_id:1f\r\n").as_deref(), Some("1f"));
        assert_eq!(info("redis_version:7.0.15\r\n"), None);
    }

    #[test]
    fn old_and_evicting_servers_are_refused() {
        assert_eq!(verdict("7.0.15", "noeviction"), "");
        assert_eq!(verdict("8.2.1", "noeviction"), "");
        assert!(verdict("6.2.6", "noeviction").contains("Redis 7.0 or later"));
        assert!(verdict("7.2.4", "allkeys-lru").contains("set `maxmemory-policy noeviction`"));
        assert!(check("redis://h", Value::Nil).is_err());
    }
}
