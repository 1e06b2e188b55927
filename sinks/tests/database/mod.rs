//! A schema of its own in the real database, for one test.

use std::sync::Arc;

use interlock_sinks::timescale::TimescaleOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

const VARIABLE: &str = "INTERLOCK_DATABASE_URL";

/// The database and the test's schema.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) schema: String,
}

/// The sink's options for this schema.
pub(crate) fn options(database: &Database) -> TimescaleOptions {
    TimescaleOptions {
        schema: Some(database.schema.clone()),
        ..TimescaleOptions::default()
    }
}

/// Runs a test with a fresh schema, which is dropped however the test ends.
pub(crate) async fn in_schema<F>(test: impl FnOnce(Arc<Database>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(database) = Database::fresh().await.map(Arc::new) else {
        return;
    };
    let ended = tokio::spawn(test(database.clone())).await;
    database.drop_schema().await;
    if let Err(failed) = ended {
        std::panic::resume_unwind(failed.into_panic());
    }
}

impl Database {
    /// An empty schema; none, said aloud, where no database is given.
    pub(crate) async fn fresh() -> Option<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Ok(url) = std::env::var(VARIABLE) else {
            eprintln!("SKIPPED: {VARIABLE} is not set; eval \"$(scripts/services env)\" and run it again");
            return None;
        };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // A name that must be quoted in every place.
        let schema = format!("Test \"sink\" {}-{number}", std::process::id());
        let database = Self { url, schema };
        database.execute(&format!("CREATE SCHEMA {}", database.quoted())).await;
        Some(database)
    }

    fn quoted(&self) -> String {
        format!("\"{}\"", self.schema.replace('"', "\"\""))
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url.parse().expect("an address");
        let mut connection = options.connect().await.expect("a database");
        Self::run_on(
            &mut connection,
            &format!("SET search_path = {}; SET timezone = 'UTC'", self.quoted()),
        )
        .await;
        Self::run_on(&mut connection, "SET client_min_messages = warning").await;
        connection
    }

    pub(crate) async fn run_on(connection: &mut PgConnection, sql: &str) {
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())))
            .await
            .expect(sql);
    }

    pub(crate) async fn execute(&self, sql: &str) {
        Self::run_on(&mut self.connect().await, sql).await;
    }

    /// The rows of a query of one text column.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        rows.fetch_all(&mut self.connect().await).await.expect(sql)
    }

    pub(crate) async fn has_timescale(&self) -> bool {
        !self
            .texts("SELECT extname::text FROM pg_extension WHERE extname = 'timescaledb'")
            .await
            .is_empty()
    }

    /// The address that distinguishes these sessions from those of other tests.
    pub(crate) fn url_of(&self, application: &str) -> String {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{separator}application_name={application}", self.url)
    }

    /// Ends the sessions of an application.
    pub(crate) async fn end_sessions_of(&self, application: &str) -> usize {
        let end = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name =";
        self.texts(&format!("{end} '{application}'")).await.len()
    }

    /// Drops the schema under the lock of `hypertables.sql`: TimescaleDB looks at the hypertables of all schemas
    /// meanwhile, and fails with "cache lookup failed for relation" where another test's appear or go.
    pub(crate) async fn drop_schema(&self) {
        let lock = "SELECT pg_advisory_xact_lock(hashtext('interlock hypertables'))";
        self.execute(&format!("{lock}; DROP SCHEMA {} CASCADE", self.quoted()))
            .await;
    }
}
