//! A client of Confluent's HTTP API, for Confluent's registry, Apicurio (`…/apis/ccompat/v7`), Karapace and Redpanda.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::{Certificate, Method, StatusCode, Url};
use schema_registry_converter::async_impl::schema_registry::{
    self as client, SrSettings, get_referenced_schema, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredReference, RegisteredSchema, SchemaType, SuppliedSchema,
};
use serde_json::{Value, json};

use crate::frame::SchemaRef;

use super::settings::{bad_url, parse_ca, parse_url};
use super::{Answer, Credentials, Registry, RegistryError, RegistrySettings, compatibility};

/// The settings that errors point to.
const ALL_SETTINGS: &str = "schema_registry.url (Apicurio's ends in /apis/ccompat/v7) and its credentials";
const REACH_SETTINGS: &str = "schema_registry.url, schema_registry.timeout or (of https) schema_registry.ca_file";

/// Codes of Confluent's API that are answers rather than trouble.
const SUBJECT_NOT_FOUND: u32 = 40401;
const VERSION_NOT_FOUND: u32 = 40402;
const SCHEMA_NOT_FOUND: u32 = 40403;
const INCOMPATIBLE: u32 = 409;
/// The status of an answer that has no code.
const NOT_FOUND: u32 = 404;

/// A registry over HTTP.
#[derive(Debug)]
pub struct ConfluentRegistry {
    settings: SrSettings,
    /// HTTP client for calls that the client library lacks.
    http: reqwest::Client,
    urls: Vec<Url>,
    credentials: Credentials,
    /// Name of the registry in errors.
    name: String,
    /// Schemas by id, which never change. A worker that starts over while the registry is down needs only these.
    known: Mutex<BTreeMap<u32, String>>,
}

impl ConfluentRegistry {
    /// Checks the settings, without a call to the registry.
    pub fn new(settings: RegistrySettings) -> Result<Self, RegistryError> {
        let RegistrySettings {
            urls,
            credentials,
            timeout,
            ca,
        } = settings;
        let ca = ca.map(|pem| parse_ca(&pem)).transpose()?.unwrap_or_default();
        let urls = urls.iter().map(|url| parse_url(url)).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<String> = urls
            .iter()
            .map(|url| url.as_str().trim_end_matches('/').to_owned())
            .collect();
        let Some((first, others)) = texts.split_first() else {
            return Err(bad_url("it is empty".to_owned()));
        };

        let mut builder = SrSettings::new_builder(first.clone());
        for other in others {
            builder.add_url(other.clone());
        }
        match &credentials {
            Credentials::None => &mut builder,
            Credentials::Basic { user, password } => builder.set_basic_authorization(user, Some(password)),
            Credentials::Bearer(token) => builder.set_token_authorization(token),
        };
        let settings = builder
            .set_timeout(timeout)
            .build_with(client_builder(&ca))
            .map_err(|error| bad_url(words(&error)))?;
        let http = client_builder(&ca)
            .timeout(timeout)
            .build()
            .map_err(|error| bad_url(chain(&error)))?;
        Ok(ConfluentRegistry {
            settings,
            http,
            urls,
            credentials,
            name: texts.join(", "),
            known: Mutex::default(),
        })
    }

    async fn known_or_fetched(&self, id: u32) -> Result<String, RegistryError> {
        let known = self.known().get(&id).cloned();
        if let Some(schema) = known {
            return Ok(schema);
        }
        let schema = self.fetch(id).await?;
        self.known().insert(id, schema.clone());
        Ok(schema)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u32, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, id: u32) -> Result<String, RegistryError> {
        let request = || format!("GET schemas/ids/{id}");
        let registered = get_schema_by_id(id, &self.settings)
            .await
            .map_err(|error| match code(&error) {
                Some(SCHEMA_NOT_FOUND) => RegistryError::NotRegistered {
                    id,
                    registry: self.name.clone(),
                },
                _ => self.trouble(request(), &error),
            })?;
        if registered.schema_type != SchemaType::Avro {
            return Err(RegistryError::NotAvro {
                id: id.into(),
                found: format!("{:?}", registered.schema_type),
            });
        }
        self.self_contained(registered.schema, registered.references).await
    }

    /// Returns a schema with the types of other subjects written out.
    async fn self_contained(
        &self,
        schema: String,
        references: Vec<RegisteredReference>,
    ) -> Result<String, RegistryError> {
        if references.is_empty() {
            return Ok(schema);
        }
        let mut referenced: Vec<RegisteredSchema> = Vec::new();
        let mut open = references;
        while let Some(reference) = open.pop() {
            let what = || format!("GET subjects/{}/versions/{}", reference.subject, reference.version);
            let found = get_referenced_schema(&self.settings, &reference)
                .await
                .map_err(|error| self.trouble(what(), &error))?;
            if referenced.iter().all(|known| known.schema != found.schema) {
                open.extend(found.references.iter().cloned());
                referenced.push(found);
            }
        }
        // A schema that does not parse is returned as it is: the decoder reports the error and remembers it.
        let texts: Vec<&str> = referenced.iter().map(|found| found.schema.as_str()).collect();
        Ok(compatibility::inline(&schema, &texts).unwrap_or(schema))
    }

    async fn fetch_guid(&self, guid: [u8; 16]) -> Result<String, RegistryError> {
        let name = SchemaRef::Guid(guid).to_string();
        let path = ["schemas", "guids", &name];
        let answer = match self.call(Method::GET, &path, "", None).await? {
            Reply::Ok(answer) => answer,
            // A registry that has no GUIDs answers with the status alone.
            Reply::Error {
                code: SCHEMA_NOT_FOUND | NOT_FOUND,
                ..
            } => {
                return Err(RegistryError::GuidNotRegistered {
                    guid: name.clone(),
                    registry: self.name.clone(),
                });
            }
            Reply::Error { cause, .. } => return Err(self.refused(path.join("/"), cause)),
        };
        let no_schema = |what: String| self.refused(path.join("/"), format!("the answer holds {what}"));
        if let Some(other) = answer["schemaType"].as_str().filter(|found| *found != "AVRO") {
            return Err(RegistryError::NotAvro {
                id: SchemaRef::Guid(guid),
                found: other.to_owned(),
            });
        }
        let schema = answer["schema"]
            .as_str()
            .ok_or_else(|| no_schema("no schema".to_owned()))?;
        let references = match &answer["references"] {
            Value::Null => Vec::new(),
            list => serde_json::from_value(list.clone()).map_err(|error| no_schema(error.to_string()))?,
        };
        self.self_contained(schema.to_owned(), references).await
    }

    async fn post(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
        match post_schema(&self.settings, subject.to_owned(), supplied).await {
            Ok(registered) => {
                self.known().insert(registered.id, schema.to_owned());
                Ok(registered.id)
            }
            Err(error) if code(&error) == Some(INCOMPATIBLE) => Err(RegistryError::Incompatible {
                subject: subject.to_owned(),
                problems: self.problems(subject, schema, error.cause.into_iter().collect()).await,
            }),
            Err(error) => Err(self.trouble(format!("POST subjects/{subject}/versions"), &error)),
        }
    }

    async fn ask_compatible(&self, subject: &str, schema: &str) -> Result<(), RegistryError> {
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let body = json!({ "schema": schema, "schemaType": "AVRO" });
        let answer = match self.call(Method::POST, &path, "verbose=true", Some(&body)).await? {
            Reply::Ok(answer) => answer,
            Reply::Error {
                code: SUBJECT_NOT_FOUND | VERSION_NOT_FOUND,
                ..
            } => return Ok(()),
            Reply::Error { cause, .. } => return Err(self.refused(path.join("/"), cause)),
        };
        if answer["is_compatible"] == true {
            return Ok(());
        }
        let messages = answer["messages"].as_array().into_iter().flatten();
        let messages = messages
            .filter_map(|message| message.as_str().map(str::to_owned))
            .collect();
        Err(RegistryError::Incompatible {
            subject: subject.to_owned(),
            problems: self.problems(subject, schema, messages).await,
        })
    }

    async fn put_full_transitive(&self, subject: &str) -> Result<(), RegistryError> {
        let path = ["config", subject];
        match self
            .call(
                Method::PUT,
                &path,
                "",
                Some(&json!({ "compatibility": "FULL_TRANSITIVE" })),
            )
            .await?
        {
            Reply::Ok(_) => Ok(()),
            Reply::Error { cause, .. } => Err(self.refused(path.join("/"), cause)),
        }
    }

    /// Joins the registry's explanation with ours, because some registries only say "no".
    async fn problems(&self, subject: &str, schema: &str, mut problems: Vec<String>) -> Vec<String> {
        let latest = client::get_schema_by_subject_and_version(&self.settings, subject, None).await;
        if let Ok(latest) = latest {
            problems.extend(compatibility::problems_of_texts(&latest.schema, schema));
        }
        if problems.is_empty() {
            problems.push("the registry does not say what is incompatible".to_owned());
        }
        problems
    }

    /// Calls the URLs in order until one answers without a fault.
    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        body: Option<&Value>,
    ) -> Result<Reply, RegistryError> {
        let mut last = None;
        for base in &self.urls {
            let mut request = self.http.request(method.clone(), join(base, path, query));
            if let Some(body) = body {
                request = request.json(body);
            }
            let request = match &self.credentials {
                Credentials::None => request,
                Credentials::Basic { user, password } => request.basic_auth(user, Some(password)),
                Credentials::Bearer(token) => request.bearer_auth(token),
            };
            let cause = match request.send().await {
                Ok(response) if is_passing(response.status().as_u16().into()) => {
                    format!("HTTP status {}", response.status())
                }
                Ok(response) => return Ok(Reply::read(response).await),
                Err(error) => chain(&error),
            };
            last = Some(cause);
        }
        Err(self.unreachable(format!("{method} {}", path.join("/")), last.unwrap_or_default()))
    }

    fn trouble(&self, request: String, error: &SRCError) -> RegistryError {
        match error.retriable || code(error).is_some_and(is_passing) {
            true => self.unreachable(request, words(error)),
            false => self.refused(request, words(error)),
        }
    }

    fn unreachable(&self, request: String, cause: String) -> RegistryError {
        RegistryError::Unreachable {
            registry: self.name.clone(),
            request,
            cause,
            hint: REACH_SETTINGS,
        }
    }

    fn refused(&self, request: String, cause: String) -> RegistryError {
        RegistryError::Refused {
            registry: self.name.clone(),
            request,
            cause,
            hint: ALL_SETTINGS,
        }
    }
}

impl Registry for ConfluentRegistry {
    fn register<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, u32> {
        Box::pin(self.post(subject, schema))
    }

    fn schema_by_id(&self, id: u32) -> Answer<'_, String> {
        Box::pin(self.known_or_fetched(id))
    }

    fn schema_by_guid(&self, guid: [u8; 16]) -> Answer<'_, String> {
        // Each decoder asks once for each schema, and remembers it.
        Box::pin(self.fetch_guid(guid))
    }

    fn require_full_compatibility<'a>(&'a self, subject: &'a str) -> Answer<'a, ()> {
        Box::pin(self.put_full_transitive(subject))
    }

    fn check<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, ()> {
        Box::pin(self.ask_compatible(subject, schema))
    }
}

/// Creates an HTTP client without a connection pool. A connection lives on the runtime that opened it, stream threads
/// have runtimes of their own, and the end of one would break connections of the others. Each schema is fetched only
/// once.
fn client_builder(ca: &[Certificate]) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().pool_max_idle_per_host(0);
    match ca {
        [] => builder,
        ca => builder.tls_certs_only(ca.iter().cloned()),
    }
}

/// The answer to a call made without the client library.
enum Reply {
    Ok(Value),
    Error { code: u32, cause: String },
}

impl Reply {
    async fn read(response: reqwest::Response) -> Self {
        let status = response.status();
        let body: Result<Value, _> = response.json().await;
        match (status, body) {
            (StatusCode::OK, Ok(body)) => Reply::Ok(body),
            (status, Ok(body)) => Reply::Error {
                code: body["error_code"]
                    .as_u64()
                    .and_then(|code| u32::try_from(code).ok())
                    .unwrap_or(0),
                cause: format!(
                    "HTTP status {status}: {}",
                    body["message"].as_str().unwrap_or("no message")
                ),
            },
            (status, Err(error)) => Reply::Error {
                code: status.as_u16().into(),
                cause: format!(
                    "HTTP status {status}, and not the JSON of a schema registry: {}",
                    chain(&error)
                ),
            },
        }
    }
}

/// Returns the registry's error code, or `None` if the answer is not from a registry.
fn code(error: &SRCError) -> Option<u32> {
    error.source()?.downcast_ref::<RawError>().map(|raw| raw.error_code)
}

/// Returns whether a code (an HTTP status, or one with two more digits) means a fault that may pass by itself.
fn is_passing(code: u32) -> bool {
    let status = if code < 1_000 { code } else { code / 100 };
    matches!(status, 429 | 500..=599)
}

/// Formats the client library's error with its causes, without its remarks on retrying.
fn words(error: &SRCError) -> String {
    match error.source() {
        Some(cause) => format!("{}: {}", error.error, chain(cause)),
        None => error.error.clone(),
    }
}

/// Formats an error with all its causes; reqwest keeps "connection refused" at the bottom.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Percent-encodes the parts of a path, because a subject may contain any character.
fn join(base: &Url, path: &[&str], query: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url.set_query(Some(query).filter(|query| !query.is_empty()));
    url
}
