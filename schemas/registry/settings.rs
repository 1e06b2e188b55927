//! Settings for a registry over HTTP. Errors name them as the configuration does: `schema_registry.…`.

use std::fmt;
use std::time::Duration;

use reqwest::{Certificate, Url};

use super::RegistryError;

/// Settings for a registry over HTTP.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    /// `schema_registry.url`: URLs without credentials, tried in order.
    pub urls: Vec<String>,
    /// Credentials of the client.
    pub credentials: Credentials,
    /// `schema_registry.timeout`: longest duration of one request.
    pub timeout: Duration,
    /// Trusted certificates in PEM, instead of those of the system.
    pub ca: Option<Vec<u8>>,
}

impl RegistrySettings {
    /// Creates settings with one URL, no credentials, and a time-out of ten seconds.
    pub fn new(url: impl Into<String>) -> Self {
        RegistrySettings {
            urls: vec![url.into()],
            credentials: Credentials::None,
            timeout: Duration::from_secs(10),
            ca: None,
        }
    }
}

/// Credentials of a client. `Debug` does not print secrets.
#[derive(Clone, Default)]
pub enum Credentials {
    /// No authentication.
    #[default]
    None,
    /// Name and password; for Confluent Cloud, API key and secret.
    Basic {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::None => f.write_str("None"),
            Credentials::Basic { user, .. } => write!(f, "Basic {{ user: {user:?}, password: … }}"),
            Credentials::Bearer(_) => f.write_str("Bearer(…)"),
        }
    }
}

pub(super) fn parse_url(text: &str) -> Result<Url, RegistryError> {
    let url =
        Url::parse(text).map_err(|error| bad_url(format!("{error}; expected something like http://host:8081")))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(bad_url(format!("{}: is not http or https", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad_url(
            "it contains credentials, which errors would show: give them apart".to_owned(),
        ));
    }
    Ok(url)
}

pub(super) fn bad_url(problem: String) -> RegistryError {
    RegistryError::Settings {
        setting: "schema_registry.url",
        problem,
    }
}

/// Parses the certificates of [`RegistrySettings::ca`].
pub(super) fn parse_ca(pem: &[u8]) -> Result<Vec<Certificate>, RegistryError> {
    let wrong = |problem: String| RegistryError::Settings {
        setting: "schema_registry.ca_file",
        problem,
    };
    let certificates = Certificate::from_pem_bundle(pem).map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("it holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}
