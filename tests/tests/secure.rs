//! Tests an installation with TLS, passwords, client certificates, tokens, and no more rights than needed. All commands
//! work, mistakes are reported with their place and a remedy, and no secret is ever shown.

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use interlock_schemas::topics;
use interlock_tests::real::secured::{Secured, Settings, in_secured_installation};
use interlock_tests::real::{Finished, Installation, PATIENCE, Worker, wait_for};

/// Number of times to run a command that ends while its clients do: one in seven crashed when they freed shared state.
const ENDINGS: usize = 20;

/// Runs a command with a user's settings.
async fn call(installation: &Installation, who: Settings, arguments: &[&str]) -> Result<Finished> {
    let mut command = installation.command(arguments)?;
    command.envs(who);
    installation.spawn(&mut command, arguments[0])?.finish(PATIENCE).await
}

/// Starts a worker with these settings.
async fn worker(installation: &Installation, settings: &Settings) -> Result<Worker> {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    installation.worker_with(&settings).await
}

/// Checks everything printed and logged so far for secrets.
fn check_secrets(installation: &Installation, secured: &Secured) -> Result<()> {
    let mut searched = 0;
    for entry in std::fs::read_dir(installation.folder())? {
        let path = entry?.path();
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        secured.secrets().check_absent(&path.display().to_string(), &text)?;
        searched += text.len();
    }
    ensure!(searched > 0, "nothing was printed at all");
    let told = format!("told: {}", secured.secrets().of("redis"));
    ensure!(
        secured.secrets().check_absent("here", &told).is_err(),
        "the search finds nothing"
    );
    Ok(())
}

#[tokio::test]
async fn everything_works_secured_and_no_secret_is_told() -> Result<()> {
    in_secured_installation("secured", async |installation, secured| {
        let deployer = || secured.deployer();
        call(installation, deployer()?, &["seed", "--demo", "--days", "3"])
            .await?
            .success()?;
        call(installation, deployer()?, &["migrate"]).await?.success()?;
        call(installation, deployer()?, &["schemas", "check"])
            .await?
            .success()?;

        let mut loud = secured.worker()?;
        loud.push(("INTERLOCK_LOG_FILTER", "debug".to_owned()));
        let mut json = secured.worker()?;
        json.push(("INTERLOCK_LOG_FORMAT", "json".to_owned()));
        let workers = [worker(installation, &loud).await?, worker(installation, &json).await?];
        for worker in &workers {
            worker.wait_until_ready().await?;
        }
        installation.load(2_000).await?;
        let report = installation.audit().await?;
        ensure!(report["totals"]["answered"] == 2_000, "{report:#}");
        for worker in &workers {
            secured.secrets().check_absent("/metrics", &worker.metrics().await?)?;
        }

        // Repeated, because clients still use TLS on threads of their own when the command's work is done, and the
        // process must end cleanly.
        for _ in 0..ENDINGS {
            let listed = call(installation, secured.operator()?, &["dlq", "list", "--json"]);
            listed.await?.success()?;
        }
        for arguments in [
            &["consume", "--topic", topics::CONFIRMED, "--limit", "1"][..],
            &["replay", "--ledgers", "--partitions", "0"],
            &["config"],
            &["config", "--json"],
            &["schemas", "check", "--json"],
        ] {
            call(installation, secured.operator()?, arguments).await?.success()?;
        }
        call(installation, deployer()?, &["config"]).await?.success()?;
        call(installation, secured.worker()?, &["config", "--json"])
            .await?
            .success()?;
        for worker in workers {
            worker.stop().await?;
        }
        installation.audit().await?;
        check_secrets(installation, secured)
    })
    .await
}

/// A mistake: the settings of a worker that differ, and the words that its message must contain.
struct Wrong {
    what: &'static str,
    settings: Settings,
    words: Vec<&'static str>,
}

fn wrong<const N: usize>(what: &'static str, settings: [(&'static str, String); N], words: &[&'static str]) -> Wrong {
    Wrong {
        what,
        settings: settings.into(),
        words: words.to_vec(),
    }
}

/// Checks that workers with one mistake each report it, while they wait or when they end.
async fn check_all(installation: &Installation, secured: &Secured, all: &[Wrong]) -> Result<()> {
    // A few at a time: each is a whole worker.
    for some in all.chunks(5) {
        try_join_all(some.iter().map(|wrong| check(installation, secured, wrong))).await?;
    }
    Ok(())
}

async fn check(installation: &Installation, secured: &Secured, wrong: &Wrong) -> Result<()> {
    let mut settings = secured.worker()?;
    settings.extend(wrong.settings.iter().cloned());
    let mut command = installation.command(&["run", "--metrics-listen", "127.0.0.1:0"])?;
    command.envs(settings);
    let mut process = installation.spawn(&mut command, wrong.what)?;
    let said = wait_for("it says what is wrong", PATIENCE, async || {
        let log = process.log();
        let is_said = |line: &str| wrong.words.iter().all(|word| line.contains(word));
        // librdkafka's own lines don't count: the message must be in one of ours, and at /readyz.
        let said = log.lines().any(|line| !line.contains("librdkafka: ") && is_said(line));
        Ok((said || !process.is_running()?).then_some(said))
    });
    let said = said
        .await
        .with_context(|| format!("{}: {:?}", wrong.what, wrong.words))?;
    ensure!(
        said,
        "{}: it ended without {:?}:\n{}",
        wrong.what,
        wrong.words,
        process.log()
    );
    process.kill()
}

fn wrong_in_kafka(secured: &Secured) -> Vec<Wrong> {
    let (ca, other) = (secured.certificates().ca(), secured.certificates().other_ca());
    let tls = |protocol: &str, ca: &std::path::Path| {
        let ca = ca.display();
        (
            "INTERLOCK_KAFKA_PROPERTIES",
            format!("security.protocol={protocol},sasl.mechanism=SCRAM-SHA-512,ssl.ca.location={ca}"),
        )
    };
    let password = || {
        [
            ("INTERLOCK_KAFKA_PASSWORD_FILE", String::new()),
            (
                "INTERLOCK_KAFKA_PASSWORD",
                secured.secrets().of("kafka-stranger").to_owned(),
            ),
        ]
    };
    let [no_file, a_password] = password();
    let place = "INTERLOCK_KAFKA_BOOTSTRAP_SERVERS";
    vec![
        wrong(
            "kafka-authority",
            [tls("SASL_SSL", &other)],
            &[place, "certificate verify failed", "ssl.ca.location"],
        ),
        wrong(
            "kafka-expired",
            [(place, secured.kafka_expired())],
            &[place, "certificate verify failed", "not expired"],
        ),
        wrong(
            "kafka-password",
            password(),
            &[place, "invalid credentials", "kafka.password"],
        ),
        wrong(
            "kafka-stranger",
            [
                ("INTERLOCK_KAFKA_USER", "interlock-stranger".to_owned()),
                no_file,
                a_password,
            ],
            &["booking-requests", "TopicAuthorizationFailed", "docs/operating.md"],
        ),
        wrong(
            "kafka-plain",
            [tls("PLAINTEXT", &ca)],
            &[place, "doesn't answer", "security.protocol"],
        ),
        wrong(
            "kafka-no-certificate",
            [(place, secured.kafka_mutual()), tls("SSL", &ca)],
            &[place, "certificate", "ssl.certificate.location"],
        ),
        wrong(
            "kafka-no-file",
            [tls("SASL_SSL", std::path::Path::new("/nowhere.pem"))],
            &[place, "ssl.ca.location failed"],
        ),
    ]
}

fn wrong_in_registry(secured: &Secured) -> Vec<Wrong> {
    let (url, ca) = ("INTERLOCK_SCHEMA_REGISTRY_URL", "INTERLOCK_SCHEMA_REGISTRY_CA_FILE");
    vec![
        wrong(
            "registry-authority",
            [(ca, secured.certificates().other_ca().display().to_string())],
            &[
                "https://localhost",
                "certificate verify failed",
                "schema_registry.ca_file",
            ],
        ),
        wrong(
            "registry-expired",
            [(url, secured.registry_expired())],
            &["https://localhost", "certificate has expired"],
        ),
        wrong(
            "registry-password",
            [(
                "INTERLOCK_SCHEMA_REGISTRY_PASSWORD",
                secured.secrets().of("redis").to_owned(),
            )],
            &["https://localhost", "401", "credentials"],
        ),
        wrong(
            "registry-no-file",
            [(ca, "/nowhere.pem".to_owned())],
            &["schema_registry.ca_file: /nowhere.pem can't be read"],
        ),
    ]
}

fn wrong_in_redis(secured: &Secured) -> Vec<Wrong> {
    vec![
        wrong(
            "redis-authority",
            [(
                "INTERLOCK_REDIS_CA_FILE",
                secured.certificates().other_ca().display().to_string(),
            )],
            &[
                "rediss://interlock:••••@localhost",
                "certificate verify failed",
                "ca_file",
            ],
        ),
        wrong(
            "redis-password",
            [(
                "INTERLOCK_REDIS_URL",
                secured.redis_url(secured.secrets().of("registry")),
            )],
            &["rediss://interlock:••••@localhost", "check user and password"],
        ),
        wrong(
            "redis-plain",
            [
                (
                    "INTERLOCK_REDIS_URL",
                    secured
                        .redis_url(secured.secrets().of("redis"))
                        .replace("rediss:", "redis:"),
                ),
                ("INTERLOCK_REDIS_CA_FILE", String::new()),
            ],
            &["redis://interlock:••••@localhost", "is redis.url right?"],
        ),
        wrong(
            "redis-namespace",
            [("INTERLOCK_REDIS_NAMESPACE", "others".to_owned())],
            &[
                "rediss://interlock:••••@localhost",
                "no permissions",
                "docs/operating.md",
            ],
        ),
    ]
}

fn wrong_in_database(secured: &Secured) -> Vec<Wrong> {
    let (worker, stranger) = (
        secured.secrets().of("database-worker"),
        secured.secrets().of("registry"),
    );
    let url = |url: String| {
        [
            ("INTERLOCK_DATABASE_URL_FILE", String::new()),
            ("INTERLOCK_DATABASE_URL", url),
        ]
    };
    let right = secured.database_url("worker", worker, "ca.pem");
    vec![
        wrong(
            "database-authority",
            url(secured.database_url("worker", worker, "other-ca.pem")),
            &["interlock_worker@localhost", "certificate verify failed", "sslrootcert"],
        ),
        wrong(
            "database-password",
            url(secured.database_url("worker", stranger, "ca.pem")),
            &[
                "interlock_worker@localhost",
                "password authentication failed",
                "check user",
            ],
        ),
        wrong(
            "database-plain",
            url(right.replace("verify-full", "disable")),
            &["interlock_worker@localhost", "no encryption", "sslmode"],
        ),
        wrong(
            "database-rights",
            url(secured.database_url("reader", worker, "ca.pem")),
            &[
                "interlock_reader@localhost",
                "permission denied for table sink_tasks",
                "grant the role",
            ],
        ),
        wrong(
            "database-migrate",
            [("INTERLOCK_DATABASE_MIGRATE", "true".to_owned())],
            &[
                "interlock_worker@localhost",
                "permission denied for schema",
                "grant the role",
            ],
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_is_said_with_place_and_remedy() -> Result<()> {
    in_secured_installation("wrong", async |installation, secured| {
        call(installation, secured.deployer()?, &["seed", "--demo", "--days", "3"])
            .await?
            .success()?;
        call(installation, secured.deployer()?, &["migrate"]).await?.success()?;
        check_all(installation, secured, &wrong_in_kafka(secured)).await?;
        check_all(installation, secured, &wrong_in_registry(secured)).await?;
        check_all(installation, secured, &wrong_in_redis(secured)).await?;
        check_all(installation, secured, &wrong_in_database(secured)).await?;

        // Certificates expire while servers run: clients that connect wait, report it, and continue with renewed ones.
        secured.show_certificate(installation, "expired").await?;
        let expired = ["certificate has expired", "not expired?", "again in"];
        let redis = wrong(
            "redis-expired",
            [],
            &[&["rediss://interlock:••••@localhost"], &expired[..]].concat(),
        );
        check(installation, secured, &redis).await?;
        let revenue = [("INTERLOCK_RUN_TOPOLOGIES", "revenue".to_owned())];
        let database = wrong(
            "database-expired",
            revenue,
            &[&["interlock_worker@localhost"], &expired[..]].concat(),
        );
        check(installation, secured, &database).await?;
        let waiting = worker(installation, &secured.worker()?).await?;
        waiting.wait_until_troubled("certificate has expired").await?;
        secured.show_certificate(installation, "server").await?;
        waiting.wait_until_ready().await?;
        waiting.stop().await?;
        check_secrets(installation, secured)
    })
    .await
}
