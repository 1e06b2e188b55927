//! Tests the requests of the HTTP client, and its handling of answers that a healthy registry never gives.

#![cfg(feature = "registry")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use interlock_schemas::registry::{
    ConfluentRegistry, Credentials, Registry, RegistryError, RegistrySettings, register_all_within,
};
use interlock_schemas::{Command, Decoder, Remedy, frame, topics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers every request alike, and keeps what was asked.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(status: &'static str, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                kept.lock().expect("not poisoned").push(request);
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Server { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    loop {
        let read = stream.read(&mut part).await.unwrap_or(0);
        request.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(read > 0, "the request ended early");
            continue;
        };
        let head = head.to_lowercase();
        let length = head
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return text.into_owned();
        }
    }
}

fn connect(settings: RegistrySettings) -> ConfluentRegistry {
    ConfluentRegistry::new(settings).expect("good settings")
}

async fn ask(status: &'static str, body: &'static str) -> RegistryError {
    let server = Server::start(status, body).await;
    let registry = connect(RegistrySettings::new(&server.url));
    registry.schema_by_id(7).await.expect_err("not a schema")
}

#[tokio::test]
async fn only_the_registry_s_own_code_makes_an_id_unknown() {
    let error = ask(
        "404 Not Found",
        r#"{"error_code": 40403, "message": "Schema 7 not found"}"#,
    )
    .await;
    assert!(matches!(error, RegistryError::NotRegistered { id: 7, .. }), "{error}");

    // A wrong path: were this an unknown id, a typing error would send every record to the DLQ.
    for body in [
        "<html>nginx</html>",
        r#"{"error_code": 404, "message": "HTTP 404 Not Found"}"#,
    ] {
        let error = ask("404 Not Found", body).await;
        assert!(matches!(error, RegistryError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("check schema_registry.url"), "{error}");
    }
}

#[tokio::test]
async fn a_schema_is_asked_for_once() {
    let server = Server::start("200 OK", r#"{"schema": "\"string\""}"#).await;
    let registry = connect(RegistrySettings::new(&server.url));
    for _ in 0..2 {
        assert_eq!(registry.schema_by_id(7).await.as_deref(), Ok("\"string\""));
    }
    assert_eq!(server.requests().len(), 1);

    // Neither is one that we registered ourselves: a worker that starts over meanwhile needs no registry.
    let server = Server::start("200 OK", r#"{"id": 3}"#).await;
    let registry = connect(RegistrySettings::new(&server.url));
    assert_eq!(registry.register("s", "\"long\"").await, Ok(3));
    assert_eq!(registry.schema_by_id(3).await.as_deref(), Ok("\"long\""));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn trouble_names_url_request_and_settings() {
    let cases = [
        (
            "401 Unauthorized",
            r#"{"error_code": 401, "message": "who are you?"}"#,
            false,
        ),
        ("403 Forbidden", "<html>", false),
        (
            "429 Too Many Requests",
            r#"{"error_code": 42901, "message": "slowly"}"#,
            true,
        ),
        (
            "500 Internal Server Error",
            r#"{"error_code": 50001, "message": "backend store"}"#,
            true,
        ),
        ("503 Service Unavailable", "", true),
    ];
    for (status, body, transient) in cases {
        let server = Server::start(status, body).await;
        let registry = connect(RegistrySettings::new(&server.url));
        let fetch = registry.schema_by_id(7).await.expect_err("trouble");
        let check = registry.check("s", "\"string\"").await.expect_err("trouble");
        for (error, request) in [
            (fetch, "GET schemas/ids/7"),
            (check, "compatibility/subjects/s/versions/latest"),
        ] {
            assert_eq!(error.is_transient(), transient, "{error}");
            let text = error.to_string();
            assert!(text.contains("http://127.0.0.1:") && text.contains(request), "{text}");
            assert!(text.contains(status) && text.contains("schema_registry.url"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_schema_of_another_type_is_said_so() {
    let error = ask(
        "200 OK",
        r#"{"schemaType": "PROTOBUF", "schema": "syntax = \"proto3\";"}"#,
    )
    .await;
    assert_eq!(
        error,
        RegistryError::NotAvro {
            id: 7.into(),
            found: "Protobuf".to_owned()
        }
    );
}

#[tokio::test]
async fn credentials_are_sent_and_not_shown() {
    let cases = [
        (Credentials::Bearer("s3cret".into()), "authorization: bearer s3cret"),
        (
            Credentials::Basic {
                user: "ada".into(),
                password: "s3cret".into(),
            },
            "authorization: basic ywrhonmzy3jlda==",
        ),
    ];
    for (credentials, header) in cases {
        let server = Server::start("200 OK", r#"{"id": 7, "is_compatible": true, "schema": "\"string\""}"#).await;
        let registry = connect(RegistrySettings {
            credentials,
            ..RegistrySettings::new(&server.url)
        });
        assert_eq!(registry.schema_by_id(7).await, Ok("\"string\"".to_owned()));
        assert_eq!(registry.register("s", "\"string\"").await, Ok(7));
        assert_eq!(registry.check("s", "\"string\"").await, Ok(()));
        assert_eq!(registry.require_full_compatibility("s").await, Ok(()));
        let requests = server.requests();
        assert_eq!(requests.len(), 4);
        for request in requests {
            assert!(request.to_lowercase().contains(header), "{request}");
        }
        assert!(!format!("{registry:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn a_subject_is_encoded_in_the_path() {
    let server = Server::start("200 OK", r#"{"is_compatible": true}"#).await;
    let registry = connect(RegistrySettings::new(format!("{}base", server.url)));
    registry.check("a/b c?", "\"string\"").await.expect("compatible");
    registry.require_full_compatibility("a/b c?").await.expect("accepted");
    let requests = server.requests();
    let check = "POST /base/compatibility/subjects/a%2Fb%20c%3F/versions/latest?verbose=true HTTP";
    assert!(requests[0].starts_with(check), "{}", requests[0]);
    assert!(
        requests[1].starts_with("PUT /base/config/a%2Fb%20c%3F HTTP"),
        "{}",
        requests[1]
    );
    assert!(
        requests[1].ends_with(r#"{"compatibility":"FULL_TRANSITIVE"}"#),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn the_next_url_is_asked_where_one_gives_no_answer() {
    let server = Server::start("200 OK", r#"{"id": 7, "is_compatible": true, "schema": "\"string\""}"#).await;
    let urls = vec![dead().await, server.url.clone()];
    let registry = connect(RegistrySettings {
        urls,
        ..RegistrySettings::new("")
    });
    assert_eq!(registry.schema_by_id(7).await, Ok("\"string\"".to_owned()));
    assert_eq!(registry.check("s", "\"string\"").await, Ok(()));
}

/// A URL where no server listens.
async fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound"))
}

#[tokio::test]
async fn a_registry_out_of_reach_pauses_the_work() {
    let registry: Arc<dyn Registry> = Arc::new(connect(RegistrySettings::new(dead().await)));
    let mut value = Vec::new();
    frame(7, &mut value);
    let error = Decoder::<Command>::new(Arc::clone(&registry))
        .decode(&value)
        .await
        .expect_err("nobody listens");
    assert_eq!(error.remedy(), Remedy::Retry);
    assert!(
        error.to_string().to_lowercase().contains("connection refused"),
        "{error}"
    );

    let patience = Duration::from_millis(250);
    let error = register_all_within(patience, &*registry, &topics::contract())
        .await
        .expect_err("nobody listens");
    assert!(error.is_transient(), "{error}");
    assert!(
        error
            .to_string()
            .contains("PUT config/booking-requests-interlock.BookingRequest"),
        "{error}"
    );
}

#[tokio::test]
async fn a_silent_registry_is_given_up_after_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let registry = connect(RegistrySettings {
        timeout: Duration::from_millis(50),
        ..RegistrySettings::new(url)
    });
    let error = registry.schema_by_id(7).await.expect_err("it is silent");
    assert!(error.is_transient(), "{error}");
    let error = registry.check("s", "\"string\"").await.expect_err("it is silent");
    assert!(
        error.is_transient() && error.to_string().contains("schema_registry.timeout"),
        "{error}"
    );
}

#[test]
fn settings_are_checked_first() {
    let check = |url: &str, problem: &str| {
        let error = ConfluentRegistry::new(RegistrySettings::new(url))
            .expect_err("a bad URL")
            .to_string();
        assert!(
            error.starts_with("schema_registry.url: ") && error.contains(problem),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    };
    check("", "relative URL without a base");
    check("localhost:8081", "is not http or https");
    check("http://ada:s3cret@host", "credentials");
    let none = RegistrySettings {
        urls: vec![],
        ..RegistrySettings::new("")
    };
    assert!(ConfluentRegistry::new(none).is_err());
}
