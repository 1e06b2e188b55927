//! Sorts the database's errors by what the caller does next.

use interlock_streams::sink::SinkError;
use sqlx::migrate::MigrateError;

use crate::doing::Doing;

impl Doing<'_> {
    /// Sorts an error of the driver or the database.
    pub(super) fn failed(&self, error: &sqlx::Error) -> SinkError {
        match error {
            sqlx::Error::Database(said) => {
                let code = said.code().unwrap_or_default();
                let reason = format!("{} [SQLSTATE {code}]", said.message());
                match advice(&code) {
                    _ if passes(&code, said.message()) => self.unavailable(&reason),
                    Some(advice) => self.fatal(&format!("{reason}; {advice}")),
                    None => self.fatal(&reason),
                }
            }
            // A certificate may be renewed.
            sqlx::Error::Tls(_) => self.unavailable(&format!(
                "{error}; is it signed by what sslrootcert in the address names, for this host, and not expired?"
            )),
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolTimedOut => {
                self.unavailable(&error.to_string())
            }
            other => self.fatal(&other.to_string()),
        }
    }

    pub(super) fn migration_failed(&self, error: &MigrateError) -> SinkError {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.failed(error),
            MigrateError::VersionMismatch(version) => self.fatal(&format!(
                "migration {version} was applied with another text; the database belongs to another build of Interlock: \
                 use an empty schema, or restore the file as it was"
            )),
            other => self.fatal(&other.to_string()),
        }
    }
}

/// Returns whether an error may pass by itself: a broken connection, a conflict with another transaction, a server that
/// starts, stops or stands by. <https://www.postgresql.org/docs/17/errcodes-appendix.html>
fn passes(code: &str, message: &str) -> bool {
    match code {
        "25P03" | "25P04" => true, // idle in transaction or transaction for too long: we were away
        "25006" => true,           // read-only: a standby that is about to be promoted
        "55P03" => true,           // lock not available
        // "tuple concurrently updated", and "cache lookup failed for relation": another session dropped it.
        "XX000" => message.contains("concurrently") || message.starts_with("cache lookup failed"),
        _ => matches!(code.get(..2), Some("08" | "40" | "53" | "57" | "58")),
    }
}

/// Returns advice for an error that does not pass by itself.
fn advice(code: &str) -> Option<&'static str> {
    Some(match code {
        "42P01" | "42703" | "42883" | "3F000" => {
            "the tables are missing or older than this program: start once with migrations on, under a role that owns them"
        }
        "42P10" => "the table's primary key must consist of exactly the window's key columns",
        "42501" => {
            "grant the role SELECT, INSERT and UPDATE on the tables (and CREATE on the schema if it runs the migrations; to \
             begin windows anew also TRUNCATE on them, and DELETE on sink_offsets)"
        }
        "28000" | "28P01" => "check user, password and sslmode in the database's address",
        "3D000" => "create the database, or correct its name in the address",
        "23502" | "42804" => "the columns of the table don't fit the window's: compare them with the .sql file",
        "22003" => "a sum left the range of its column: it must be bigint",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_and_what_does_not() {
        for code in [
            "08006", "40001", "40P01", "57P01", "57014", "53300", "25006", "55P03", "58030",
        ] {
            assert!(passes(code, ""), "{code}");
        }
        for code in ["42P01", "42501", "28P01", "3D000", "22003", "23502", "XX000", ""] {
            assert!(!passes(code, ""), "{code}");
        }
        assert!(passes("XX000", "tuple concurrently updated"));
        assert!(passes("XX000", "cache lookup failed for relation 60460"));
    }

    #[test]
    fn says_what_where_and_what_to_do() {
        let doing = Doing {
            task: "occupancy-3",
            what: "merging into t",
            place: "interlock@db:5432/interlock",
        };
        let lost = doing.failed(&sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        assert!(matches!(lost, SinkError::Unavailable { .. }), "{lost}");
        let text = lost.to_string();
        assert!(text.starts_with("sink task occupancy-3: merging into t: "), "{text}");
        assert!(text.contains("(interlock@db:5432/interlock)"), "{text}");
        assert!(matches!(
            doing.failed(&sqlx::Error::RowNotFound),
            SinkError::Fatal { .. }
        ));
    }
}
