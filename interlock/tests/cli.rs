//! The built binary from outside: help, exit statuses, what goes to which stream. Needs no services.

#![allow(clippy::unwrap_used, reason = "what fails here is to fail the test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The binary in an empty folder, with none of our variables.
fn interlock(arguments: &str) -> (Command, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_interlock"));
    command
        .args(arguments.split_whitespace())
        .current_dir(folder.path())
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INTERLOCK_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    (command, folder)
}

fn run(arguments: &str) -> Output {
    let (mut command, _folder) = interlock(arguments);
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_is_data_and_has_examples() {
    for command in ["", "run"] {
        let output = run(&format!("{command} --help"));
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(
            stdout(&output).contains("Examples:") && output.stderr.is_empty(),
            "{command}"
        );
    }
    assert!(stdout(&run("--version")).starts_with("interlock "));
}

#[test]
fn what_can_not_be_used_ends_with_two() {
    for arguments in [
        "",
        "sell",
        "seed",
        "config --set nonsense",
        "config --set run.thread=1",
        "run --threads many",
        "gateway --listen here",
        "produce",
        "consume --topic confirmed --from yesterday",
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments}");
    }
    let output = run("config --config nowhere.toml");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("nowhere.toml can't be read"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_configuration_is_printed_with_sources_and_without_secrets() {
    let (mut command, folder) = interlock("config --set run.threads=3 --json");
    std::fs::write(folder.path().join("interlock.toml"), "[redis]\nnamespace = \"mine\"").unwrap();
    command
        .env("INTERLOCK_DATABASE_URL", "postgres://me:s3cret@h/db")
        .env("INTERLOCK_GRAFANA_PORT", "3000");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |key: &str| {
        rows.as_array()
            .unwrap()
            .iter()
            .find(|row| row["key"] == key)
            .unwrap()
            .clone()
    };
    assert_eq!(
        row("run.threads")["source"],
        serde_json::json!({ "from": "flag", "name": "--set" })
    );
    assert_eq!(row("redis.namespace")["source"]["from"], "file");
    assert_eq!(row("database.url")["source"]["name"], "INTERLOCK_DATABASE_URL");
    assert_eq!(row("topics.partitions")["source"]["from"], "default");
    let said = stderr(&output);
    assert_eq!(said, "");
    assert!(!stdout(&output).contains("s3cret"));
}

#[test]
fn a_guessed_variable_ends_with_two_before_anything_is_done() {
    let (mut command, _folder) = interlock("run");
    let output = command.env("INTERLOCK_REDIS_NAMESPAC", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("did you mean INTERLOCK_REDIS_NAMESPACE?"), "{said}");
}

#[test]
fn completions_and_manual_need_no_configuration() {
    for (arguments, part) in [
        ("completions bash", "complete -F _interlock"),
        ("completions zsh", "#compdef interlock"),
        ("completions fish", "complete -c interlock"),
        ("man", ".TH interlock 1"),
        ("man run", ".TH interlock-run 1"),
    ] {
        let (mut command, folder) = interlock(arguments);
        std::fs::write(folder.path().join("interlock.toml"), "not = [ valid").unwrap();
        let output = command.env("INTERLOCK_NONSENSE", "x").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments}: {}", stderr(&output));
        assert!(stdout(&output).contains(part), "{arguments}: {}", stdout(&output));
    }
    assert_eq!(run("completions tcl").status.code(), Some(2));
    assert_eq!(run("man sell").status.code(), Some(1));
}

#[test]
fn who_stops_reading_is_no_failure() {
    let (mut command, _folder) = interlock("config --reference");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn schemas_and_topologies_are_described_without_asking_anybody() {
    let schemas = run("schemas --json");
    let rows: serde_json::Value = serde_json::from_slice(&schemas.stdout).unwrap();
    assert_eq!(rows[0]["subject"], "booking-requests-interlock.BookingRequest");
    let topologies = run("topology --json");
    let rows: serde_json::Value = serde_json::from_slice(&topologies.stdout).unwrap();
    assert_eq!(rows[0]["reads"], serde_json::json!(["booking-requests"]));
    assert!(stdout(&run("topology booking --mermaid")).contains("flowchart LR"));
    assert_eq!(run("topology bookings").status.code(), Some(1));
}

#[test]
fn a_service_that_is_down_is_named_with_its_setting() {
    let output = run("schemas check --set schema_registry.url=http://127.0.0.1:1");
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("http://127.0.0.1:1") && said.contains("schema_registry.url"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn without_servers_a_command_says_soon_how_to_get_some() {
    let began = Instant::now();
    let (mut command, _folder) = interlock("consume --topic confirmed --set kafka.bootstrap_servers=127.0.0.1:1");
    let mut waiting = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(waiting.0.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    for line in lines.map_while(Result::ok) {
        said.push(line);
        let last = said.last().unwrap();
        if last.contains("scripts/services start") && last.contains("interlock dev") {
            assert!(last.chars().count() <= 100, "{last}");
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(20), "it was said after {waited:?}");
            return;
        }
    }
    panic!("it ended without a hint: {said:#?}");
}

#[test]
fn nothing_to_produce_is_said() {
    let output = run("produce --topic confirmed --url http://127.0.0.1:1");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("nothing was sent"), "{}", stderr(&output));
}

#[test]
fn a_taken_port_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for (command, flag) in [("run", "--metrics-listen"), ("gateway", "--listen")] {
        let output = run(&format!("{command} {flag} {}", taken.local_addr().unwrap()));
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&format!("by {flag} ")), "{}", stderr(&output));
    }
}

#[test]
fn a_worker_that_waits_lives_is_not_ready_says_why_and_can_be_stopped() {
    let (mut command, _folder) =
        interlock("run --metrics-listen 127.0.0.1:0 --log-format json --set schema_registry.url=http://127.0.0.1:1");
    let mut worker = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(worker.0.stderr.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let message = first["message"].as_str().unwrap();
    let address = message
        .split("http://")
        .nth(1)
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let waiting = lines.next().unwrap().unwrap();
    assert!(waiting.contains("schema_registry.url"), "{waiting}");

    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    let ready = get(&address, "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("schema_registry.url"),
        "{ready}"
    );

    let id = worker.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(worker.0.wait().unwrap().code(), Some(0));
}

/// Is not left behind when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
