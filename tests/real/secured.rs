//! An installation in which every server is secured and every user has only the rights that are needed.
//!
//! | who | Kafka | Redis | database | registry |
//! | --- | --- | --- | --- | --- |
//! | deployer: `seed`, `migrate` | TLS, SCRAM | | `interlock_owner` | password |
//! | worker: `run` | TLS, SCRAM | `interlock` | `interlock_worker` | password |
//! | operator: `loadgen`, `audit`, … | TLS, client certificate | `interlock` | `interlock_reader` | token |
//!
//! The rights are those that `deploy/` grants and docs/operating.md describes.

mod certificates;
mod secrets;
mod servers;

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::sync::OnceCell;

use super::installation::{Installation, in_turn};
use super::services::root;
use servers::{SecuredServers, secure_postgres};

pub use certificates::Certificates;
pub use secrets::Secrets;

/// Variables and their values.
pub type Settings = Vec<(&'static str, String)>;

/// The credentials of all users.
#[derive(Debug)]
pub struct Secured {
    servers: &'static SecuredServers,
    database: String,
    namespace: String,
}

/// Runs a scenario in an installation of its own on secured servers. By default its commands run as the operator.
///
/// # Errors
/// The error of the scenario or of the set-up.
pub async fn in_secured_installation(
    test: &str,
    scenario: impl AsyncFnOnce(&Installation, &Secured) -> Result<()>,
) -> Result<()> {
    static SERVERS: OnceCell<SecuredServers> = OnceCell::const_new();
    in_turn(test, async || {
        let servers = SERVERS.get_or_try_init(SecuredServers::start).await?;
        let addresses = servers.addresses.clone();
        let mut installation = Installation::new(test, servers.servers.clone(), addresses).await?;
        let secured = Secured {
            servers,
            database: installation.application_id().to_owned(),
            namespace: installation.application_id().to_owned(),
        };
        secured.grant(&installation).await?;
        installation.settings = secured.operator()?;
        installation
            .carry_out(async |installation| scenario(installation, &secured).await)
            .await
    })
    .await
}

impl Secured {
    /// Grants the rights of `deploy/`, and sets passwords.
    async fn grant(&self, installation: &Installation) -> Result<()> {
        let users = std::fs::read_to_string(root().join("deploy/redis/users.acl"))?;
        let password = format!(">{}", self.secrets().of("redis"));
        let rules = users
            .replace("nopass", &password)
            .replace("{il:", &format!("{{{}:", self.namespace));
        let mut user = redis::cmd("ACL");
        user.arg("SETUSER")
            .arg(rules.split_whitespace().skip(1).collect::<Vec<_>>());
        let client = redis::Client::open(installation.redis_url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        user.exec_async(&mut connection)
            .await
            .context("deploy/redis/users.acl")?;

        let mut database = installation.database().await?;
        let roles = std::fs::read_to_string(root().join("deploy/postgres/roles.sql"))?;
        let done = database.execute(sqlx::raw_sql(AssertSqlSafe(roles))).await;
        done.context("deploy/postgres/roles.sql")?;
        for (role, owner) in [("owner", "owner"), ("worker", "worker"), ("reader", "worker")] {
            let password = self.secrets().of(&format!("database-{owner}"));
            let alter = format!("ALTER ROLE interlock_{role} PASSWORD '{password}'");
            database.execute(sqlx::raw_sql(AssertSqlSafe(alter))).await?;
        }
        Ok(())
    }

    /// Returns all secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.servers.secrets
    }

    /// Returns the certificates.
    pub fn certificates(&self) -> &Certificates {
        &self.servers.certificates
    }

    /// Returns the settings of the deployer, who creates topics and tables.
    pub fn deployer(&self) -> Result<Settings> {
        let mut settings = self.scram("deployer")?;
        settings.extend(self.registry_by_password());
        settings.extend(self.redis());
        settings.extend(self.database("owner", "owner")?);
        Ok(settings)
    }

    /// Returns the settings of a worker.
    pub fn worker(&self) -> Result<Settings> {
        let mut settings = self.scram("worker")?;
        settings.extend(self.registry_by_password());
        settings.extend(self.redis());
        settings.extend(self.database("worker", "worker")?);
        settings.push(("INTERLOCK_DATABASE_MIGRATE", "false".to_owned()));
        settings.push(("INTERLOCK_TOPICS_CREATE", "false".to_owned()));
        Ok(settings)
    }

    /// Returns the settings of the operator, who sends requests and reads.
    pub fn operator(&self) -> Result<Settings> {
        let certificates = self.certificates();
        let properties = format!(
            "security.protocol=SSL,ssl.ca.location={},ssl.certificate.location={},ssl.key.location={}",
            certificates.ca().display(),
            certificates.certificate("operator").display(),
            certificates.key("operator").display()
        );
        let mut settings = vec![
            ("INTERLOCK_KAFKA_BOOTSTRAP_SERVERS", self.kafka_mutual()),
            ("INTERLOCK_KAFKA_PROPERTIES", properties),
            ("INTERLOCK_SCHEMA_REGISTRY_URL", self.registry_url()),
            (
                "INTERLOCK_SCHEMA_REGISTRY_CA_FILE",
                certificates.ca().display().to_string(),
            ),
            (
                "INTERLOCK_SCHEMA_REGISTRY_TOKEN",
                self.secrets().of("registry-token").to_owned(),
            ),
        ];
        settings.extend(self.redis());
        settings.extend(self.database("reader", "worker")?);
        Ok(settings)
    }

    /// Returns Kafka's address for clients with a certificate.
    pub fn kafka_mutual(&self) -> String {
        format!("127.0.0.1:{}", self.servers.entrances.kafka_mutual)
    }

    /// Returns the address at which Kafka shows an expired certificate.
    pub fn kafka_expired(&self) -> String {
        format!("127.0.0.1:{}", self.servers.entrances.kafka_expired)
    }

    fn scram(&self, user: &str) -> Result<Settings> {
        let owner = format!("kafka-{user}");
        let password = self.secrets().file(&owner, self.secrets().of(&owner))?;
        Ok(vec![
            (
                "INTERLOCK_KAFKA_BOOTSTRAP_SERVERS",
                format!("127.0.0.1:{}", self.servers.entrances.kafka_scram),
            ),
            ("INTERLOCK_KAFKA_PROPERTIES", self.scram_properties()),
            ("INTERLOCK_KAFKA_USER", format!("interlock-{user}")),
            ("INTERLOCK_KAFKA_PASSWORD_FILE", password),
        ])
    }

    fn scram_properties(&self) -> String {
        format!(
            "security.protocol=SASL_SSL,sasl.mechanism=SCRAM-SHA-512,ssl.ca.location={}",
            self.certificates().ca().display()
        )
    }

    fn registry_url(&self) -> String {
        format!("https://localhost:{}/apis/ccompat/v7", self.servers.entrances.registry)
    }

    /// Returns the address at which the registry shows an expired certificate.
    pub fn registry_expired(&self) -> String {
        format!(
            "https://localhost:{}/apis/ccompat/v7",
            self.servers.entrances.registry_expired
        )
    }

    fn registry_by_password(&self) -> Settings {
        vec![
            ("INTERLOCK_SCHEMA_REGISTRY_URL", self.registry_url()),
            (
                "INTERLOCK_SCHEMA_REGISTRY_CA_FILE",
                self.certificates().ca().display().to_string(),
            ),
            ("INTERLOCK_SCHEMA_REGISTRY_TOKEN", String::new()),
            ("INTERLOCK_SCHEMA_REGISTRY_USER", "interlock".to_owned()),
            (
                "INTERLOCK_SCHEMA_REGISTRY_PASSWORD",
                self.secrets().of("registry").to_owned(),
            ),
        ]
    }

    fn redis(&self) -> Settings {
        vec![
            ("INTERLOCK_REDIS_URL", self.redis_url(self.secrets().of("redis"))),
            (
                "INTERLOCK_REDIS_CA_FILE",
                self.certificates().ca().display().to_string(),
            ),
        ]
    }

    /// Returns Redis's address with this password.
    pub fn redis_url(&self, password: &str) -> String {
        format!(
            "rediss://interlock:{password}@localhost:{}",
            self.servers.entrances.redis
        )
    }

    fn database(&self, role: &str, owner: &str) -> Result<Settings> {
        let url = self.database_url(role, self.secrets().of(&format!("database-{owner}")), "ca.pem");
        let file = self.secrets().file(&format!("{}-{role}.url", self.database), &url)?;
        Ok(vec![("INTERLOCK_DATABASE_URL_FILE", file)])
    }

    /// Returns the database's address for this role and password, trusting this authority.
    pub fn database_url(&self, role: &str, password: &str, authority: &str) -> String {
        format!(
            "postgres://interlock_{role}:{password}@localhost:{}/{}?sslmode=verify-full&sslrootcert={}",
            self.servers.entrances.postgres,
            self.database,
            self.certificates().ca().with_file_name(authority).display(),
        )
    }

    /// Makes Redis and PostgreSQL show another certificate: `server` or `expired`.
    pub async fn show_certificate(&self, installation: &Installation, name: &str) -> Result<()> {
        let certificates = self.certificates();
        let mut set = redis::cmd("CONFIG");
        set.arg("SET")
            .arg("tls-cert-file")
            .arg(certificates.certificate(name).display().to_string());
        set.arg("tls-key-file")
            .arg(certificates.key(name).display().to_string());
        let client = redis::Client::open(installation.redis_url())?;
        set.exec_async(&mut client.get_multiplexed_async_connection().await?)
            .await?;
        secure_postgres(&self.servers.addresses.database_url, certificates, name).await
    }
}
