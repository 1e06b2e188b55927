//! Tests the configuration.

use std::path::{Path, PathBuf};

use super::*;

fn sources(file: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let directory = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(directory.path().join("interlock.toml"), text).unwrap();
    }
    let sources = Sources {
        file: None,
        directory: directory.path().to_owned(),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        flags: flags
            .iter()
            .map(|(key, value)| Flag {
                name: "--set".into(),
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
    };
    (directory, sources)
}

fn loaded(file: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> anyhow::Result<Loaded> {
    let (_directory, sources) = sources(file, variables, flags);
    load(&sources)
}

fn error(file: Option<&str>, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    format!("{:#}", loaded(file, variables, flags).unwrap_err())
}

fn setting(key: &str) -> &'static Setting {
    settings::find(key).unwrap()
}

#[test]
fn table_and_types_have_the_same_settings() {
    let loaded = loaded(None, &[], &[]).unwrap();
    for setting in SETTINGS {
        assert_eq!(loaded.shown(setting).1, Origin::Default, "{}", setting.key);
        let shown = loaded.shown(setting).0;
        assert_eq!(shown, setting.default, "{}", setting.key);
    }
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file = Some("[run]\nthreads = 2\nbatch_records_max = 20\n[topics]\npartitions = 2");
    let variables = [
        ("INTERLOCK_RUN_THREADS", "3"),
        ("INTERLOCK_RUN_BATCH_RECORDS_MAX", "30"),
    ];
    let loaded = loaded(file, &variables, &[("run.threads", "4"), ("run.threads", "5")]).unwrap();
    let config = &loaded.config;
    assert_eq!(
        (
            config.run.threads,
            config.run.batch_records_max,
            config.topics.partitions,
            config.topics.replication
        ),
        (5, 30, 2, 1)
    );
    assert_eq!(
        loaded.shown(setting("run.threads")),
        ("5".into(), Origin::Flag("--set".into()))
    );
    assert_eq!(
        loaded.shown(setting("run.batch_records_max")).1,
        Origin::Variable("INTERLOCK_RUN_BATCH_RECORDS_MAX".into())
    );
    assert_eq!(
        loaded.shown(setting("topics.partitions")).1,
        Origin::File("interlock.toml".into())
    );
    assert_eq!(loaded.shown(setting("topics.replication")).1, Origin::Default);
}

#[test]
fn another_file_can_be_named_and_must_then_exist() {
    let (directory, mut sources) = sources(Some("[run]\nthreads = 2"), &[], &[]);
    let other = directory.path().join("other.toml");
    sources.file = Some(other.clone());
    assert!(format!("{:#}", load(&sources).unwrap_err()).contains("other.toml"));
    std::fs::write(other, "[run]\nthreads = 7").unwrap();
    assert_eq!(load(&sources).unwrap().config.run.threads, 7);
}

#[test]
fn maps_are_merged_and_may_be_written_with_or_without_quotes() {
    let file =
        Some("[kafka.properties]\nsecurity.protocol = \"SSL\"\n\"ssl.ca.location\" = \"/ca.pem\"\nlog_level = 3");
    let variables = [(
        "INTERLOCK_KAFKA_PROPERTIES",
        "security.protocol=SASL_SSL, sasl.password=s3cret",
    )];
    let loaded = loaded(file, &variables, &[]).unwrap();
    let pairs = loaded.config.kafka.properties.0.clone();
    for (name, value) in [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", "/ca.pem"),
        ("log_level", "3"),
        ("sasl.password", "s3cret"),
    ] {
        assert!(
            pairs.contains(&(name.to_owned(), value.to_owned())),
            "{name} in {pairs:?}"
        );
    }
    let (shown, origin) = loaded.shown(setting("kafka.properties"));
    assert!(
        shown.contains("sasl.password=••••") && !shown.contains("s3cret"),
        "{shown}"
    );
    assert_eq!(origin, Origin::Variable("INTERLOCK_KAFKA_PROPERTIES".into()));
}

#[test]
fn secrets_come_by_variable_or_file_and_are_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("url");
    std::fs::write(&path, "postgres://me:s3cret@h/db\n").unwrap();
    let variables = [
        ("INTERLOCK_REDIS_URL", "redis://:s3cret@h:1"),
        ("INTERLOCK_SCHEMA_REGISTRY_PASSWORD", "s3cret"),
        ("INTERLOCK_DATABASE_URL_FILE", path.to_str().unwrap()),
    ];
    let loaded = loaded(None, &variables, &[]).unwrap();
    let config = &loaded.config;
    assert_eq!(config.redis.url.0, "redis://:s3cret@h:1");
    assert_eq!(config.schema_registry.password.0, "s3cret");
    assert_eq!(config.database.url.0, "postgres://me:s3cret@h/db");
    assert!(!format!("{config:?}").contains("s3cret"));
    assert!(
        SETTINGS
            .iter()
            .all(|setting| !loaded.shown(setting).0.contains("s3cret"))
    );
}

#[test]
fn secrets_in_the_file_or_on_the_command_line_are_refused() {
    for (file, variable) in [
        (
            "[schema_registry]\npassword = \"s3cret\"",
            "INTERLOCK_SCHEMA_REGISTRY_PASSWORD",
        ),
        (
            "[redis]\nurl = \"redis://:s3cret@h\"",
            "INTERLOCK_REDIS_URL or by redis.url_file",
        ),
        (
            "[kafka.properties]\n\"sasl.password\" = \"s3cret\"",
            "INTERLOCK_KAFKA_PROPERTIES",
        ),
        (
            "[kafka.properties]\nsasl.password = \"s3cret\"",
            "INTERLOCK_KAFKA_PROPERTIES",
        ),
    ] {
        let error = error(Some(file), &[], &[]);
        assert!(error.contains(variable) && !error.contains("s3cret"), "{error}");
    }
    for (key, value) in [
        ("redis.url", "redis://:s3cret@h"),
        ("kafka.properties", "a=b,sasl.password=s3cret"),
    ] {
        let error = error(None, &[], &[(key, value)]);
        assert!(error.contains("holds a secret") && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_missing_secret_file_is_named_with_its_setting() {
    let error = error(None, &[("INTERLOCK_REDIS_URL_FILE", "/nowhere/url")], &[]);
    assert!(error.contains("redis.url_file: /nowhere/url can't be read"), "{error}");
}

#[test]
fn unknown_names_are_said_with_the_nearest_known_one() {
    let message = error(
        Some("[kafka]\nbootstrap_server = \"h:1\"\n[runn]\nthreads = 1"),
        &[],
        &[],
    );
    assert!(
        message.contains("kafka.bootstrap_server is not a setting; did you mean kafka.bootstrap_servers?"),
        "{message}"
    );
    assert!(
        message.contains("runn.threads is not a setting; did you mean run.threads?"),
        "{message}"
    );
    assert!(error(None, &[], &[("topics.partition", "1")]).contains("did you mean topics.partitions?"));
}

#[test]
fn unknown_variables_are_refused_with_the_nearest_known_one() {
    for (name, meant) in [
        ("INTERLOCK_BOOTSTRAP_SERVERS", "INTERLOCK_KAFKA_BOOTSTRAP_SERVERS"),
        ("INTERLOCK_KAFKA_BOOTSTRAP_SERVER", "INTERLOCK_KAFKA_BOOTSTRAP_SERVERS"),
        ("INTERLOCK_THREADS", "INTERLOCK_RUN_THREADS"),
    ] {
        let message = error(None, &[(name, "x")], &[]);
        assert!(
            message.ends_with(&format!("{name} is not a setting; did you mean {meant}?")),
            "{message}"
        );
    }
    let message = error(None, &[("INTERLOCK_PAYMENT_PROVIDER_ACCOUNT", "x")], &[]);
    assert!(message.contains("docs/configuration.md"), "{message}");
}

#[test]
fn variables_of_scripts_and_of_kubernetes_are_left_alone() {
    let others = [
        ("INTERLOCK_KAFKA_PORT", "9092"),
        ("INTERLOCK_GRAFANA_URL", "x"),
        ("INTERLOCK_SERVICE_HOST", "10.0.0.11"),
        ("INTERLOCK_WORKER_SERVICE_PORT_METRICS", "9464"),
        ("INTERLOCK_PORT", "tcp://10.0.0.11:9464"),
        ("INTERLOCK_PORT_9464_TCP_ADDR", "10.0.0.11"),
        ("HOME", "somewhere"),
    ];
    loaded(None, &others, &[]).unwrap();
    assert!(error(None, &[("INTERLOCK_PORT", "9464")], &[]).contains("not a setting"));
}

/// A developer who runs the scripts and the tests has their variables set, and runs `interlock` in the same shell.
#[test]
fn every_variable_of_the_scripts_is_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("docker-compose.yml")];
    let mut folders = vec![root.join("scripts"), root.join("deploy"), root.join("fuzz")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let is_name = word.starts_with("INTERLOCK_") && !word.ends_with('_');
            let unknown = is_name.then(|| names::unknown_variable(word, "")).flatten();
            assert_eq!(unknown, None, "{}", file.display());
        }
    }
}

#[test]
fn wrong_values_are_said_with_source_and_setting() {
    for (error, source, key) in [
        (
            error(Some("[run]\nthreads = \"many\""), &[], &[]),
            "file interlock.toml",
            "run.threads",
        ),
        (
            error(None, &[("INTERLOCK_RUN_THREADS", "many")], &[]),
            "variable INTERLOCK_RUN_THREADS",
            "run.threads",
        ),
        (
            error(None, &[], &[("run.commit_interval", "100")]),
            "flag --set",
            "run.commit_interval",
        ),
        (
            error(None, &[("INTERLOCK_METRICS_LISTEN", "9464")], &[]),
            "variable INTERLOCK_METRICS_LISTEN",
            "metrics.listen",
        ),
        (
            error(None, &[("INTERLOCK_KAFKA_GROUP_PROTOCOL", "new")], &[]),
            "INTERLOCK_KAFKA_GROUP_PROTOCOL",
            "classic",
        ),
        (
            error(None, &[("INTERLOCK_RUN_THREADS", "0")], &[]),
            "run.threads",
            "at least 1",
        ),
        (
            error(Some("[run\n"), &[], &[]),
            "interlock.toml is not valid TOML",
            "line 1",
        ),
    ] {
        assert!(error.contains(source) && error.contains(key), "{error}");
    }
}

#[test]
fn rust_log_is_used_where_ours_is_not_set() {
    let filter = |variables: &[(&str, &str)]| loaded(None, variables, &[]).unwrap().config.log.filter;
    assert_eq!(filter(&[]), "info,sqlx=warn");
    assert_eq!(filter(&[("RUST_LOG", "debug")]), "debug");
    assert_eq!(
        filter(&[("RUST_LOG", "debug"), ("INTERLOCK_LOG_FILTER", "warn")]),
        "warn"
    );
}

#[test]
fn the_file_in_the_repository_holds_every_setting_with_its_default() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../interlock.toml");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(
        text == example(),
        "write it again: `cargo run -q -p interlock -- config --example > interlock.toml`"
    );
    let loaded = loaded(Some(&text), &[], &[]).unwrap();
    for setting in SETTINGS {
        assert_eq!(loaded.shown(setting).0, setting.default, "{}", setting.key);
    }
}

#[test]
fn the_reference_in_the_documentation_is_the_one_that_is_printed() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    assert!(
        std::fs::read_to_string(path).unwrap() == reference(),
        "write it again: `cargo run -q -p interlock -- config --reference > docs/configuration.md`"
    );
}

#[test]
fn durations_need_a_unit() {
    for (text, milliseconds) in [
        ("100ms", 100),
        ("1.5s", 1_500),
        ("10 s", 10_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("400d", 34_560_000_000),
    ] {
        let expected = Duration::from_millis(milliseconds);
        assert_eq!(parse_duration(text), Ok(expected), "{text}");
    }
    for wrong in [
        "",
        "10",
        "s",
        "-1s",
        "10 stones",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        let said = parse_duration(wrong).unwrap_err();
        assert!(said.contains("write 100ms"), "{said}");
    }
}
