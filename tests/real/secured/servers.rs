//! Servers that authenticate every client: TLS everywhere, with certificates of this run; in Kafka SCRAM, client
//! certificates and ACLs; in Redis and PostgreSQL the users and roles of `deploy/`; in front of the registry a proxy
//! that asks for a password or a token. This test is the administrator and keeps its access.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};

use super::certificates::Certificates;
use super::secrets::Secrets;
use crate::real::services::{Addresses, Servers, Service, Wanted, free_kafka_port, free_port, root};

/// Ports of the secured listeners.
#[derive(Debug)]
pub(super) struct Entrances {
    /// Kafka with TLS and SCRAM-SHA-512.
    pub(super) kafka_scram: u16,
    /// Kafka with TLS and client certificates.
    pub(super) kafka_mutual: u16,
    /// The same as `kafka_scram`, with an expired certificate.
    pub(super) kafka_expired: u16,
    /// Redis with TLS.
    pub(super) redis: u16,
    /// PostgreSQL, with TLS for all but the administrator.
    pub(super) postgres: u16,
    /// The proxy in front of the registry.
    pub(super) registry: u16,
    /// The same with an expired certificate.
    pub(super) registry_expired: u16,
}

/// The servers and their credentials.
#[derive(Debug)]
pub(super) struct SecuredServers {
    pub(super) servers: Arc<Servers>,
    /// The administrator's addresses.
    pub(super) addresses: Addresses,
    pub(super) entrances: Entrances,
    pub(super) certificates: Certificates,
    pub(super) secrets: Secrets,
    _proxy: Proxy,
}

impl SecuredServers {
    pub(super) async fn start() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("interlock-secured-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let certificates = Certificates::make(&folder)?;
        let secrets = Secrets::make(&folder);
        let kafka_port = free_kafka_port(1)?;
        let mut entrances = Entrances {
            kafka_scram: free_port(&[])?,
            kafka_mutual: free_port(&[])?,
            kafka_expired: free_port(&[])?,
            redis: free_port(&[])?,
            postgres: 0,
            registry: free_port(&[])?,
            registry_expired: free_port(&[])?,
        };
        let kafka = folder.join("kafka.properties");
        fs::write(&kafka, kafka_properties(kafka_port, &entrances, &certificates))?;
        let servers = Servers::start(Wanted {
            services: vec![Service::Kafka, Service::Registry, Service::Redis, Service::Postgres],
            kafka_port: Some(kafka_port),
            kafka_extra: Some(kafka),
            state: Some(folder.clone()),
            ..Wanted::default()
        })?;
        let mut addresses = servers.addresses().clone();
        let administrator = secrets.of("redis-administrator");
        let with_password = format!("redis://default:{administrator}@");
        addresses.redis_url = addresses.redis_url.replacen("redis://", &with_password, 1);
        entrances.postgres = port_of(&addresses.database_url)?;
        addresses.database_url = format!("postgres://postgres@127.0.0.1:{}/postgres", entrances.postgres);
        secure_redis(&addresses.redis_url, &entrances, &certificates, administrator).await?;
        secure_postgres(&addresses.database_url, &certificates, "server").await?;
        secure_kafka(&addresses.bootstrap_servers, &secrets)?;
        let registry = port_of(&addresses.registry_url)?;
        let proxy = Proxy::start(&folder, registry, &entrances, &certificates, &secrets)?;
        Ok(Self {
            servers: Arc::new(servers),
            addresses,
            entrances,
            certificates,
            secrets,
            _proxy: proxy,
        })
    }
}

/// Returns the port of an address such as `http://host:port/path`.
fn port_of(url: &str) -> Result<u16> {
    let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next());
    port.and_then(|port| port.parse().ok())
        .with_context(|| format!("no port in {url}"))
}

fn kafka_properties(clients: u16, entrances: &Entrances, certificates: &Certificates) -> String {
    let Entrances {
        kafka_scram: scram,
        kafka_mutual: mutual,
        kafka_expired: expired,
        ..
    } = entrances;
    // The same port as in scripts/services.
    let controller = clients + 100;
    let listeners = format!(
        "CLIENTS://127.0.0.1:{clients},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual},EXPIRED://127.0.0.1:{expired}"
    );
    let jaas = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    format!(
        "
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listeners}
listener.security.protocol.map=CLIENTS:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,EXPIRED:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config={jaas}
listener.name.expired.scram-sha-512.sasl.jaas.config={jaas}
ssl.keystore.type=PEM
ssl.keystore.location={server}
listener.name.expired.ssl.keystore.type=PEM
listener.name.expired.ssl.keystore.location={expired_pem}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.mutual.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/interlock-$1/
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
",
        server = certificates.both("server").display(),
        expired_pem = certificates.both("expired").display(),
        ca = certificates.ca().display(),
    )
}

/// Creates the users with their passwords and rights.
fn secure_kafka(bootstrap_servers: &str, secrets: &Secrets) -> Result<()> {
    let classes = kafka_classes()?;
    let java = |class: &str| {
        let mut java = Command::new("java");
        java.args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", &classes, class]);
        java.args(["--bootstrap-server", bootstrap_servers]);
        java
    };
    for user in ["deployer", "worker", "stranger"] {
        let password = secrets.of(&format!("kafka-{user}"));
        let mut alter = java("kafka.admin.ConfigCommand");
        alter.args(["--alter", "--entity-type", "users"]);
        alter.args(["--entity-name", &format!("interlock-{user}")]);
        alter.args([
            "--add-config",
            &format!("SCRAM-SHA-512=[iterations=4096,password={password}]"),
        ]);
        carry_out(alter)?;
    }
    let acls = java("org.apache.kafka.tools.AclCommand");
    let mut grant = Command::new(root().join("deploy/kafka/grant"));
    // The prefix of the names of all installations in tests.
    grant.arg("e2e_").arg(acls.get_program()).args(acls.get_args());
    carry_out(grant)
}

/// Returns the class path of the Kafka that `scripts/services` installed.
fn kafka_classes() -> Result<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let cache = variable("INTERLOCK_CACHE").unwrap_or_else(|| {
        let home = variable("HOME").unwrap_or_default();
        format!(
            "{}/interlock",
            variable("XDG_CACHE_HOME").unwrap_or(format!("{home}/.cache"))
        )
    });
    Ok(format!("{cache}/kafka-{}/lib/*", kafka_version()?))
}

/// Returns the version of Kafka in `scripts/services`.
fn kafka_version() -> Result<String> {
    let settings = fs::read_to_string(root().join("scripts/services.d/settings.sh"))?;
    let version = settings
        .lines()
        .find_map(|line| line.strip_prefix("readonly kafka_version="));
    Ok(version
        .context("kafka_version in scripts/services.d/settings.sh")?
        .to_owned())
}

fn carry_out(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| command.get_program().display().to_string())?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success(), "{}: {said}", command.get_program().display());
    Ok(())
}

async fn secure_redis(
    url: &str,
    entrances: &Entrances,
    certificates: &Certificates,
    administrator: &str,
) -> Result<()> {
    let mut tls = redis::cmd("CONFIG");
    tls.arg("SET").arg("tls-ca-cert-file").arg(path(&certificates.ca())?);
    tls.arg("tls-cert-file").arg(path(&certificates.certificate("server"))?);
    tls.arg("tls-key-file").arg(path(&certificates.key("server"))?);
    tls.arg("tls-auth-clients")
        .arg("no")
        .arg("tls-port")
        .arg(entrances.redis);
    let mut password = redis::cmd("ACL");
    password
        .arg("SETUSER")
        .arg("default")
        .arg("resetpass")
        .arg(format!(">{administrator}"));
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    tls.exec_async(&mut connection).await.context("TLS for Redis")?;
    password
        .exec_async(&mut connection)
        .await
        .context("a password for Redis")
}

/// Sets PostgreSQL's certificate, and requires TLS and a password of every role but the administrator.
pub(super) async fn secure_postgres(url: &str, certificates: &Certificates, certificate: &str) -> Result<()> {
    let rules = "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256";
    let mut connection = url.parse::<PgConnectOptions>()?.connect().await?;
    for (file, text) in [
        ("server.crt", fs::read_to_string(certificates.certificate(certificate))?),
        ("server.key", fs::read_to_string(certificates.key(certificate))?),
        ("pg_hba.conf", rules.to_owned()),
    ] {
        // The server itself writes the file, as its folder may belong to another user.
        let write = format!(
            "COPY (SELECT string_to_table('{text}', E'\\n')) TO PROGRAM 'umask 077 && cat > {file}.new && mv {file}.new {file}'"
        );
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(write)))
            .await
            .context(file)?;
    }
    connection.execute("ALTER SYSTEM SET ssl = on").await?;
    connection.execute("SELECT pg_reload_conf()").await?;
    Ok(())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// nginx in front of the registry. A shell stops it when its own input ends, which is when this value is dropped or
/// this process ends.
#[derive(Debug)]
struct Proxy(Child);

impl Proxy {
    fn start(
        folder: &Path,
        registry: u16,
        entrances: &Entrances,
        certificates: &Certificates,
        secrets: &Secrets,
    ) -> Result<Self> {
        let file = folder.join("nginx.conf");
        fs::write(
            &file,
            proxy_settings(folder, registry, entrances, certificates, secrets),
        )?;
        let mut shell = Command::new("setsid");
        shell.args(["bash", "-c", "nginx \"$@\" & cat >/dev/null; kill $!; wait", "nginx"]);
        shell.arg("-c").arg(&file).arg("-p").arg(folder);
        shell.arg("-e").arg(folder.join("nginx.log"));
        // Debian installs nginx in a folder outside of users' PATH.
        shell.env(
            "PATH",
            format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
        );
        let child = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Ok(Self(child.context("setsid bash")?))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn proxy_settings(
    folder: &Path,
    registry: u16,
    entrances: &Entrances,
    certificates: &Certificates,
    secrets: &Secrets,
) -> String {
    let basic = secrets.of("registry-basic");
    let server = |port: u16, certificate: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {};
               location / {{ if ($known = 0) {{ return 401; }} proxy_pass http://127.0.0.1:{registry}; }} }}",
            certificates.certificate(certificate).display(),
            certificates.key(certificate).display()
        )
    };
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = kinds.map(|kind| format!("{kind}_temp_path {}/nginx-{kind};", folder.display()));
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; events {{}}
http {{ access_log off; map_hash_bucket_size 256; {folders}
  map $http_authorization $known {{ default 0; \"Basic {basic}\" 1; \"Bearer {token}\" 1; }}
  {}
  {} }}",
        server(entrances.registry, "server"),
        server(entrances.registry_expired, "expired"),
        folder = folder.display(),
        folders = folders.join(" "),
        token = secrets.of("registry-token"),
    )
}
