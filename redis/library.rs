//! The function library on the servers.
//!
//! Functions are replicated and persisted with the data, unlike script caches. A server may still lack them (a new
//! node, a fail-over to an empty master, `FUNCTION FLUSH`) or have those of another build. They are therefore compared
//! at every connect, and loaded again when a call reports that they are missing.

use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};

use crate::connection::Connection;

/// Code of the library; its first line names it. A change of the stored format needs a new number, here and in the
/// file.
pub(crate) const CODE: &str = include_str!("ledger.lua");

/// Name of the library, and prefix of its functions.
pub(crate) const NAME: &str = "interlock_ledger_6";

/// Returns the full name of a function.
pub(crate) fn function(name: &str) -> String {
    format!("{NAME}_{name}")
}

/// Loads the library if it is missing or differs.
///
/// For a user without the right to list functions, an administrator is assumed to have loaded it. In a cluster, a node
/// that is down does not prevent the use of the others; a later call to it fails.
pub(crate) async fn ensure(connection: &mut Connection) -> RedisResult<()> {
    match ensure_strictly(connection).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
            tracing::debug!(%error, library = NAME, "not allowed to look for the functions, so they should be there");
            Ok(())
        }
        Err(error) if matches!(connection, Connection::Cluster(_)) => {
            tracing::warn!(%error, library = NAME, "couldn't load the functions on all masters");
            Ok(())
        }
        result => result,
    }
}

/// Loads the library on one server, or on the node that has this key's slot.
pub(crate) async fn load(connection: &mut Connection, routing: RoutingInfo) -> RedisResult<()> {
    connection.send(load_command(), routing).await.map(drop)
}

async fn ensure_strictly(connection: &mut Connection) -> RedisResult<()> {
    let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg(NAME).arg("WITHCODE");
    let listed = connection.send(list, all.clone()).await?;
    let same = match (&connection, listed) {
        (Connection::Cluster(_), Value::Map(nodes)) => nodes.iter().all(|(_, listed)| has_code(listed)),
        (_, listed) => has_code(&listed),
    };
    if same { Ok(()) } else { load(connection, all).await }
}

fn load_command() -> Cmd {
    let mut load = redis::cmd("FUNCTION");
    load.arg("LOAD").arg("REPLACE").arg(CODE);
    load
}

/// Returns whether an answer of `FUNCTION LIST` contains exactly this code.
fn has_code(listed: &Value) -> bool {
    match listed {
        Value::BulkString(text) => text == CODE.as_bytes(),
        Value::VerbatimString { text, .. } => text == CODE,
        Value::Array(values) => values.iter().any(has_code),
        Value::Map(pairs) => pairs.iter().any(|(_, value)| has_code(value)),
        _ => false,
    }
}

/// Returns the error of a server that lacks the library although it was just loaded.
pub(crate) fn still_missing(error: &RedisError) -> RedisError {
    let detail = format!("{error}: {NAME} was loaded and is missing again");
    RedisError::from(std::io::Error::other(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_has_the_name() {
        assert!(CODE.starts_with(&format!("#!lua name={NAME}\n")));
        assert!(CODE.contains(&format!("'{NAME}_' .. name")));
    }
}
